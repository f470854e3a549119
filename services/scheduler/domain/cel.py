"""Expressions of CEL as programs that are evaluated at a cost that is counted. Pure.

Steps are counted and not seconds, so that an expression has the same value on a busy machine. A step is
a part of the tree that is evaluated, an element that is compared or copied, or PIECE_CHARACTERS of a
text.
"""

import operator
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import re2

from services.scheduler.domain.cel_syntax import INT_MAX, INT_MIN, Node, parse

PIECE_CHARACTERS = 32
# Of a pattern, compiled: a short one can repeat much, and half a second goes by over it.
PATTERN_MAX_BYTES = 64 * 1024
MATCH_STEPS = 10
# The largest takes some 100 KiB, and less than a millisecond to make again.
_CACHED_PROGRAMS = 128
# Python reads more as a number than CEL does: digits of other scripts, blanks, `1_000`. No number of 64
# bits is longer.
_INT_TEXT = re.compile(r"-?[0-9]{1,20}")
_DOUBLE_TEXT = re.compile(r"[+-]?([0-9]{1,40}\.?[0-9]{0,40}|\.[0-9]{1,40})([eE][+-]?[0-9]{1,4})?")
MACROS = frozenset({"all", "exists", "exists_one", "map", "filter"})

_PATTERN_OPTIONS = re2.Options()
_PATTERN_OPTIONS.max_mem = PATTERN_MAX_BYTES
# Patterns are what a stranger wrote.
_PATTERN_OPTIONS.log_errors = False

Scope = Mapping[str, Any]


class TooCostlyError(Exception):
    """An evaluation took more steps than its meter has."""


class NoValueError(Exception):
    """An expression has no value for these variables: it divides by zero, say."""


class Meter:
    """The steps that evaluations may take together."""

    __slots__ = ("left",)

    def __init__(self, steps: int) -> None:
        self.left = steps

    def count(self, steps: int = 1) -> None:
        """Take steps. Raises TooCostlyError if there are none left."""
        self.left -= steps
        if self.left < 0:
            raise TooCostlyError


Evaluate = Callable[[Scope, Meter], Any]


class Program:
    """An expression, ready to be evaluated again and again."""

    __slots__ = ("_evaluate", "_steps")

    def __init__(self, node: Node) -> None:
        self._evaluate = _compile(node)
        self._steps = own_steps(node)

    def evaluate(self, variables: Scope, meter: Meter) -> Any:  # noqa: ANN401 - a value of CEL
        """The value. Raises NoValueError or TooCostlyError."""
        meter.count(self._steps)
        return self._evaluate(variables, meter)


@lru_cache(maxsize=_CACHED_PROGRAMS)
def program(source: str) -> Program:
    """The program of an expression. Raises SyntaxFault."""
    return Program(parse(source))


def compiled_pattern(pattern: str) -> Any:  # noqa: ANN401 - re2 has no types
    """A pattern as RE2 has it. Raises re2.error if it is none, or too large."""
    return re2.compile(pattern, _PATTERN_OPTIONS)


def pieces(text: str) -> int:
    """The steps of going through a text."""
    return 1 + len(text) // PIECE_CHARACTERS


def is_macro(node: Node) -> bool:
    """Whether a part evaluates one of its arguments once for each element of a list."""
    return node.kind == "method" and node.value in MACROS


def own_steps(node: Node) -> int:
    """How many parts are evaluated once, if all of them are: those of a macro's body are not."""
    parts = node.args[:1] if is_macro(node) else node.args
    return 1 + sum(map(own_steps, parts))


def _compile(node: Node) -> Evaluate:
    return _COMPILERS[node.kind](node)


def _literal(node: Node) -> Evaluate:
    value = node.value
    return lambda _scope, _meter: value


def _name(node: Node) -> Evaluate:
    name = node.value

    def evaluate(scope: Scope, _meter: Meter) -> Any:  # noqa: ANN401
        try:
            return scope[name]
        except KeyError:
            raise NoValueError(name) from None

    return evaluate


def _list(node: Node) -> Evaluate:
    elements = tuple(map(_compile, node.args))
    return lambda scope, meter: [element(scope, meter) for element in elements]


def _map(node: Node) -> Evaluate:
    keys = tuple(map(_compile, node.args[::2]))
    values = tuple(map(_compile, node.args[1::2]))

    def evaluate(scope: Scope, meter: Meter) -> Any:  # noqa: ANN401
        made = {}
        for key, value in zip(keys, values, strict=True):
            made[_key(key(scope, meter))] = value(scope, meter)
        if len(made) < len(keys):
            raise NoValueError("a key comes twice")
        return made

    return evaluate


def _key(key: Any) -> int | str:  # noqa: ANN401
    if type(key) not in {int, str}:
        raise NoValueError("key")
    return key  # type: ignore[no-any-return]


def _select(node: Node) -> Evaluate:
    operand, field = _compile(node.args[0]), node.value

    def evaluate(scope: Scope, meter: Meter) -> Any:  # noqa: ANN401
        try:
            return operand(scope, meter)[field]
        except (KeyError, TypeError):
            raise NoValueError(field) from None

    return evaluate


def _index(node: Node) -> Evaluate:
    operand, key = map(_compile, node.args)

    def evaluate(scope: Scope, meter: Meter) -> Any:  # noqa: ANN401
        listed, at = operand(scope, meter), _key(key(scope, meter))
        if isinstance(listed, list) and not (isinstance(at, int) and 0 <= at < len(listed)):
            raise NoValueError("index")
        try:
            return listed[at]
        except (LookupError, TypeError):
            raise NoValueError("index") from None

    return evaluate


def _if(node: Node) -> Evaluate:
    condition, first, second = map(_compile, node.args)
    return lambda scope, meter: (
        first(scope, meter) if _bool(condition(scope, meter)) else second(scope, meter)
    )


def _not(node: Node) -> Evaluate:
    operand = _compile(node.args[0])
    return lambda scope, meter: not _bool(operand(scope, meter))


def _minus(node: Node) -> Evaluate:
    operand = _compile(node.args[0])

    def evaluate(scope: Scope, meter: Meter) -> Any:  # noqa: ANN401
        value = operand(scope, meter)
        if type(value) not in {int, float}:
            raise NoValueError("-")
        return _in_range(-value)

    return evaluate


def _bool(value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise NoValueError("bool")


def _in_range(value: Any) -> Any:  # noqa: ANN401
    if type(value) is int and not INT_MIN <= value <= INT_MAX:
        raise NoValueError("overflow")
    return value


def _any_of(node: Node) -> Evaluate:
    return _decided(node, decisive=True)


def _all_of(node: Node) -> Evaluate:
    return _decided(node, decisive=False)


def _decided(node: Node, *, decisive: bool) -> Evaluate:
    """|| and &&: one operand that decides is enough, whether or not another has a value."""
    operands = tuple(map(_compile, node.args))

    def evaluate(scope: Scope, meter: Meter) -> bool:
        failed: NoValueError | None = None
        for operand in operands:
            try:
                if _bool(operand(scope, meter)) is decisive:
                    return decisive
            except NoValueError as error:
                failed = error
        if failed is not None:
            raise failed
        return not decisive

    return evaluate


def _chain(node: Node) -> Evaluate:
    first = _compile(node.args[0])
    rest = tuple(
        (_OPERATORS[sign], _compile(operand))
        for sign, operand in zip(node.value, node.args[1:], strict=True)
    )

    def evaluate(scope: Scope, meter: Meter) -> Any:  # noqa: ANN401
        value = first(scope, meter)
        for operation, operand in rest:
            value = operation(value, operand(scope, meter), meter)
        return value

    return evaluate


_NUMBERS = frozenset({int, float})
_ORDERED = frozenset({int, float, str, bool})
Operation = Callable[[Any, Any, Meter], Any]


def _ordering(compare: Callable[[Any, Any], bool]) -> Operation:
    def ordered(left: Any, right: Any, _meter: Meter) -> bool:  # noqa: ANN401
        kinds = {type(left), type(right)}
        if not kinds <= _NUMBERS and not (len(kinds) == 1 and kinds <= _ORDERED):
            raise NoValueError("order")
        return compare(left, right)

    return ordered


def _arithmetic(compute: Callable[[Any, Any], Any]) -> Operation:
    def computed(left: Any, right: Any, _meter: Meter) -> Any:  # noqa: ANN401
        if type(left) is not type(right) or type(left) not in _NUMBERS:
            raise NoValueError("number")
        try:
            return _in_range(compute(left, right))
        except (ZeroDivisionError, OverflowError):
            raise NoValueError("number") from None

    return computed


def _plus(left: Any, right: Any, meter: Meter) -> Any:  # noqa: ANN401
    if type(left) is type(right) and isinstance(left, str | list):
        joined = left + right
        meter.count(pieces(joined) if isinstance(joined, str) else len(joined))
        return joined
    return _ADD(left, right, meter)


def _divide(left: Any, right: Any) -> Any:  # noqa: ANN401
    """Whole numbers are rounded towards zero."""
    if isinstance(left, float):
        return left / right
    quotient = abs(left) // abs(right)
    return quotient if (left < 0) == (right < 0) else -quotient


def _remainder(left: Any, right: Any) -> Any:  # noqa: ANN401
    if isinstance(left, float):
        raise NoValueError("%")
    return left - right * _divide(left, right)


def _equal(left: Any, right: Any, meter: Meter) -> bool:  # noqa: ANN401
    meter.count()
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(
            _equal(one, other, meter) for one, other in zip(left, right, strict=True)
        )
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(
            _equal(value, right[key], meter) for key, value in left.items()
        )
    return bool(left == right)


def _in(element: Any, collection: Any, meter: Meter) -> bool:  # noqa: ANN401
    if isinstance(collection, dict):
        return _key(element) in collection
    if not isinstance(collection, list):
        raise NoValueError("in")
    return any(_equal(element, one, meter) for one in collection)


_ADD = _arithmetic(operator.add)
_OPERATORS: Mapping[str, Operation] = {
    "<": _ordering(operator.lt),
    "<=": _ordering(operator.le),
    ">": _ordering(operator.gt),
    ">=": _ordering(operator.ge),
    "==": _equal,
    "!=": lambda left, right, meter: not _equal(left, right, meter),
    "in": _in,
    "+": _plus,
    "-": _arithmetic(operator.sub),
    "*": _arithmetic(operator.mul),
    "/": _arithmetic(_divide),
    "%": _arithmetic(_remainder),
}


def _call(node: Node) -> Evaluate:
    name, arguments = node.value, node.args
    if name == "has":
        operand, field = _compile(arguments[0].args[0]), arguments[0].value
        return lambda scope, meter: field in operand(scope, meter)
    if name == "matches":
        return _match(arguments)
    function = FUNCTIONS[name]
    operand = _compile(arguments[0])
    return lambda scope, meter: function(operand(scope, meter))


def _size(value: Any) -> int:  # noqa: ANN401
    if isinstance(value, str | list | dict):
        return len(value)
    raise NoValueError("size")


def _to_int(value: Any) -> int:  # noqa: ANN401
    if isinstance(value, bool | list | dict | None):
        raise NoValueError("int")
    if isinstance(value, str) and not _INT_TEXT.fullmatch(value):
        raise NoValueError("int")
    try:
        return int(_in_range(int(value)))
    except (ValueError, OverflowError):
        raise NoValueError("int") from None


def _to_double(value: Any) -> float:  # noqa: ANN401
    if isinstance(value, bool | list | dict | None):
        raise NoValueError("double")
    if isinstance(value, str) and not _DOUBLE_TEXT.fullmatch(value):
        raise NoValueError("double")
    try:
        return float(value)
    except (ValueError, OverflowError):
        raise NoValueError("double") from None


def _to_string(value: Any) -> str:  # noqa: ANN401
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise NoValueError("string")


FUNCTIONS: Mapping[str, Callable[[Any], Any]] = {
    "size": _size,
    "int": _to_int,
    "double": _to_double,
    "string": _to_string,
    "dyn": lambda value: value,
}
TEXT_METHODS: Mapping[str, Callable[[str, str], bool]] = {
    "contains": lambda text, part: part in text,
    "startsWith": lambda text, part: text.startswith(part),
    "endsWith": lambda text, part: text.endswith(part),
}


def _method(node: Node) -> Evaluate:
    if node.value in MACROS:
        return _macro(node)
    if node.value == "matches":
        return _match(node.args)
    if node.value == "size":
        return _call(Node("call", "size", node.args))
    method, (text, part) = TEXT_METHODS[node.value], map(_compile, node.args)

    def evaluate(scope: Scope, meter: Meter) -> bool:
        searched, sought = text(scope, meter), part(scope, meter)
        if not (isinstance(searched, str) and isinstance(sought, str)):
            raise NoValueError(node.value)
        meter.count(pieces(searched))
        return method(searched, sought)

    return evaluate


def _match(arguments: tuple[Node, ...]) -> Evaluate:
    text, pattern = _compile(arguments[0]), compiled_pattern(arguments[1].value)

    def evaluate(scope: Scope, meter: Meter) -> bool:
        searched = text(scope, meter)
        if not isinstance(searched, str):
            raise NoValueError("matches")
        meter.count(MATCH_STEPS * pieces(searched))
        return pattern.search(searched) is not None

    return evaluate


def _macro(node: Node) -> Evaluate:
    """One of the macros: its body is evaluated with each element, by the name that it gives to it."""
    listed, name = _compile(node.args[0]), node.args[1].value
    bodies = tuple(map(_compile, node.args[2:]))
    steps = 1 + sum(map(own_steps, node.args[2:]))
    work = _MACROS[node.value]

    def evaluate(scope: Scope, meter: Meter) -> Any:  # noqa: ANN401
        elements = listed(scope, meter)
        if not isinstance(elements, list | dict):
            raise NoValueError(node.value)
        inner = dict(scope)

        def of(body: Evaluate, element: Any) -> Any:  # noqa: ANN401
            inner[name] = element
            meter.count(steps)
            return body(inner, meter)

        return work(elements, bodies, of)

    return evaluate


Of = Callable[[Evaluate, Any], Any]
Bodies = tuple[Evaluate, ...]


def _decided_by_one(elements: Any, bodies: Bodies, of: Of, *, decisive: bool) -> bool:  # noqa: ANN401
    failed: NoValueError | None = None
    for element in elements:
        try:
            if _bool(of(bodies[0], element)) is decisive:
                return decisive
        except NoValueError as error:
            failed = error
    if failed is not None:
        raise failed
    return not decisive


def _mapped(elements: Any, bodies: Bodies, of: Of) -> list[Any]:  # noqa: ANN401
    if len(bodies) == 1:
        return [of(bodies[0], element) for element in elements]
    return [of(bodies[1], each) for each in elements if _bool(of(bodies[0], each))]


_MACROS: Mapping[str, Callable[[Any, Bodies, Of], Any]] = {
    "all": lambda elements, bodies, of: _decided_by_one(elements, bodies, of, decisive=False),
    "exists": lambda elements, bodies, of: _decided_by_one(elements, bodies, of, decisive=True),
    "exists_one": lambda elements, bodies, of: (
        sum([_bool(of(bodies[0], each)) for each in elements]) == 1
    ),
    "map": _mapped,
    "filter": lambda elements, bodies, of: [
        each for each in elements if _bool(of(bodies[0], each))
    ],
}

_COMPILERS: Mapping[str, Callable[[Node], Evaluate]] = {
    "literal": _literal,
    "name": _name,
    "list": _list,
    "map": _map,
    "select": _select,
    "index": _index,
    "call": _call,
    "method": _method,
    "chain": _chain,
    "and": _all_of,
    "or": _any_of,
    "if": _if,
    "not": _not,
    "minus": _minus,
}
