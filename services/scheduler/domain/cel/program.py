"""Expressions of CEL, compiled to closures that count their steps."""

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache, partial
from typing import TypeVar

from services.scheduler.domain.cel.functions import (
    FUNCTIONS,
    MATCH_STEPS,
    TEXT_METHODS,
    compiled_pattern,
)
from services.scheduler.domain.cel.meter import Meter, text_steps
from services.scheduler.domain.cel.operators import (
    OPERATORS,
    NoValueError,
    Value,
    need_bool,
    need_key,
    negated,
)
from services.scheduler.domain.cel.syntax import Node, parse

# The largest takes some 100 KiB, and less than a millisecond to make again.
_CACHED_PROGRAMS = 128

Item = TypeVar("Item")
Scope = Mapping[str, Value]
Evaluate = Callable[[Scope, Meter], Value]


class Program:
    """An expression, ready to be evaluated again and again."""

    __slots__ = ("_evaluate", "_steps")

    def __init__(self, node: Node) -> None:
        self._evaluate = _compile(node)
        self._steps = _own_steps(node)

    def evaluate(self, variables: Scope, meter: Meter) -> Value:
        """The value. Raises NoValueError or TooCostlyError."""
        meter.count(self._steps)
        return self._evaluate(variables, meter)


@lru_cache(maxsize=_CACHED_PROGRAMS)
def program(source: str) -> Program:
    """The program of an expression. Raises ParseError."""
    return Program(parse(source))


def _own_steps(node: Node) -> int:
    """How many nodes are evaluated once, if all of them are: those of a macro's body are not."""
    children = node.args[:1] if node.is_macro else node.args
    return 1 + sum(map(_own_steps, children))


def _compile(node: Node) -> Evaluate:
    return _COMPILERS[node.kind](node)


def _literal(node: Node) -> Evaluate:
    value = node.value
    return lambda _scope, _meter: value


def _name(node: Node) -> Evaluate:
    name = node.value

    def evaluate(scope: Scope, _meter: Meter) -> Value:
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

    def evaluate(scope: Scope, meter: Meter) -> Value:
        entries = {}
        for key, value in zip(keys, values, strict=True):
            entries[need_key(key(scope, meter))] = value(scope, meter)
        if len(entries) < len(keys):
            raise NoValueError("a key comes twice")
        return entries

    return evaluate


def _select(node: Node) -> Evaluate:
    operand, field = _compile(node.args[0]), node.value

    def evaluate(scope: Scope, meter: Meter) -> Value:
        try:
            return operand(scope, meter)[field]
        except (KeyError, TypeError):
            raise NoValueError(field) from None

    return evaluate


def _index(node: Node) -> Evaluate:
    operand, key = map(_compile, node.args)

    def evaluate(scope: Scope, meter: Meter) -> Value:
        collection, index = operand(scope, meter), need_key(key(scope, meter))
        if isinstance(collection, dict):
            has_element = index in collection
        else:
            # A text has none, and no index counts from the end.
            has_element = (
                isinstance(collection, list)
                and isinstance(index, int)
                and 0 <= index < len(collection)
            )
        if not has_element:
            raise NoValueError("index")
        return collection[index]

    return evaluate


def _if(node: Node) -> Evaluate:
    condition, first, second = map(_compile, node.args)
    return lambda scope, meter: (
        first(scope, meter) if need_bool(condition(scope, meter)) else second(scope, meter)
    )


def _not(node: Node) -> Evaluate:
    operand = _compile(node.args[0])
    return lambda scope, meter: not need_bool(operand(scope, meter))


def _minus(node: Node) -> Evaluate:
    operand = _compile(node.args[0])
    return lambda scope, meter: negated(operand(scope, meter))


def _and_or(node: Node) -> Evaluate:
    operands = tuple(map(_compile, node.args))
    decisive = node.kind == "or"
    return lambda scope, meter: _decide(
        operands, lambda operand: operand(scope, meter), decisive=decisive
    )


def _decide(items: Iterable[Item], evaluate: Callable[[Item], Value], *, decisive: bool) -> bool:
    """Whether one is true, or all are; one that decides is enough, if another has no value."""
    failed: NoValueError | None = None
    for item in items:
        try:
            if need_bool(evaluate(item)) is decisive:
                return decisive
        except NoValueError as error:
            failed = error
    if failed is not None:
        raise failed
    return not decisive


def _chain(node: Node) -> Evaluate:
    first = _compile(node.args[0])
    rest = tuple(
        (OPERATORS[sign], _compile(operand))
        for sign, operand in zip(node.value, node.args[1:], strict=True)
    )

    def evaluate(scope: Scope, meter: Meter) -> Value:
        value = first(scope, meter)
        for operation, operand in rest:
            value = operation(value, operand(scope, meter), meter)
        return value

    return evaluate


def _call(node: Node) -> Evaluate:
    name, arguments = node.value, node.args
    if name == "has":
        return _has(arguments[0])
    if name == "matches":
        return _match(arguments)
    function = FUNCTIONS[name]
    operand = _compile(arguments[0])
    return lambda scope, meter: function(operand(scope, meter))


def _has(selected: Node) -> Evaluate:
    operand, field = _compile(selected.args[0]), selected.value

    def evaluate(scope: Scope, meter: Meter) -> bool:
        fields = operand(scope, meter)
        if not isinstance(fields, dict):
            raise NoValueError(field)
        return field in fields

    return evaluate


def _method(node: Node) -> Evaluate:
    if node.is_macro:
        return _macro(node)
    if node.value in {"matches", "size"}:
        return _call(node)
    method, (text, part) = TEXT_METHODS[node.value], map(_compile, node.args)

    def evaluate(scope: Scope, meter: Meter) -> bool:
        searched, sought = text(scope, meter), part(scope, meter)
        if not (isinstance(searched, str) and isinstance(sought, str)):
            raise NoValueError(node.value)
        meter.count(text_steps(len(searched)))
        return method(searched, sought)

    return evaluate


def _match(arguments: tuple[Node, ...]) -> Evaluate:
    text, pattern = _compile(arguments[0]), compiled_pattern(arguments[1].value)

    def evaluate(scope: Scope, meter: Meter) -> bool:
        searched = text(scope, meter)
        if not isinstance(searched, str):
            raise NoValueError("matches")
        meter.count(MATCH_STEPS * text_steps(len(searched)))
        return pattern.search(searched) is not None

    return evaluate


def _macro(node: Node) -> Evaluate:
    """A macro: its body is evaluated with each element, under the name that the macro gives to it."""
    collection, name = _compile(node.args[0]), node.args[1].value
    *conditions, body = map(_compile, node.args[2:])
    steps = 1 + sum(map(_own_steps, node.args[2:]))
    apply = _MACROS[node.value]

    def evaluate(scope: Scope, meter: Meter) -> Value:
        elements = collection(scope, meter)
        if not isinstance(elements, list | dict):
            raise NoValueError(node.value)
        inner = dict(scope)

        def of_element(expression: Evaluate, element: Value) -> Value:
            inner[name] = element
            meter.count(steps)
            return expression(inner, meter)

        # A `map` of three arguments has a condition before its body.
        for condition in conditions:
            elements = _filter(elements, partial(of_element, condition))
        return apply(elements, partial(of_element, body))

    return evaluate


def _filter(elements: Iterable[Value], condition: Callable[[Value], Value]) -> list[Value]:
    return [element for element in elements if need_bool(condition(element))]


_MACROS: Mapping[str, Callable[[Iterable[Value], Callable[[Value], Value]], Value]] = {
    "all": partial(_decide, decisive=False),
    "exists": partial(_decide, decisive=True),
    "exists_one": lambda elements, body: len(_filter(elements, body)) == 1,
    "map": lambda elements, body: list(map(body, elements)),
    "filter": _filter,
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
    "and": _and_or,
    "or": _and_or,
    "if": _if,
    "not": _not,
    "minus": _minus,
}
