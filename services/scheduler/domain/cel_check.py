"""What an expression of CEL is before it is evaluated: its type, and the most that it can cost. Pure.

Every part is looked at, also those that an evaluation may pass over. A bound of the size of each value
gives a bound of the steps, so that what is accepted never runs out of them.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import re2

from services.scheduler.domain import cel
from services.scheduler.domain.cel_syntax import Node


class UnsoundError(Exception):
    """An expression that has no value for any order; the message says why, after "it"."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What is known of a value: its type, and bounds of its size."""

    # int, double, string, bool, null, list, map; `dyn` where it may be several of them.
    kind: str
    # At most so many elements (of a list or map).
    length: int = 1
    # At most so many steps to go through all of it.
    weight: int = 1
    # Of a list, or of a map's values; None: it has none.
    element: "Shape | None" = None
    # Of a map whose keys are known.
    fields: "Mapping[str, Shape] | None" = None


INT, DOUBLE, BOOL, NULL = map(Shape, ("int", "double", "bool", "null"))
_NUMBERS = frozenset({"int", "double"})


def text(characters: int) -> Shape:
    """A text of at most so many characters."""
    return Shape("string", weight=1 + characters // cel.PIECE_CHARACTERS)


def list_of(element: Shape | None, length: int) -> Shape:
    """A list of at most so many."""
    return Shape("list", length, 1 + length * (element.weight if element else 0), element)


def map_of(fields: Mapping[str, Shape]) -> Shape:
    """A map whose keys are known."""
    weight = 1 + sum(1 + field.weight for field in fields.values())
    return Shape("map", len(fields), weight, _joined(fields.values()), fields)


Scope = Mapping[str, Shape]


@dataclass(frozen=True, slots=True)
class Checked:
    """A part: what its value is, and at most how many steps it takes."""

    shape: Shape
    steps: int


def check(node: Node, scope: Scope) -> Checked:
    """Look at a part. Raises UnsoundError."""
    return _CHECKS[node.kind](node, scope)


def _type_fault() -> UnsoundError:
    return UnsoundError("uses a value as another type than it has")


def _unknown(name: str) -> UnsoundError:
    return UnsoundError(f"knows no {name!r}")


def _need(shape: Shape, *kinds: str) -> None:
    if shape.kind not in {*kinds, "dyn"}:
        raise _type_fault()


def _need_condition(shape: Shape) -> None:
    if shape.kind not in {"bool", "dyn"}:
        raise UnsoundError("must be true or false where it is a condition")


def _joined(shapes: Iterable[Shape]) -> Shape | None:
    """What is one of several values."""
    joined: Shape | None = None
    for shape in shapes:
        joined = shape if joined is None else _either(joined, shape)
    return joined


def _either(one: Shape, other: Shape) -> Shape:
    fields = None
    if (
        one.fields is not None
        and other.fields is not None
        and one.fields.keys() == other.fields.keys()
    ):
        fields = {name: _either(field, other.fields[name]) for name, field in one.fields.items()}
    return Shape(
        one.kind if one.kind == other.kind else "dyn",
        max(one.length, other.length),
        max(one.weight, other.weight),
        _joined([each for each in (one.element, other.element) if each is not None]),
        fields,
    )


def _literal(node: Node, _scope: Scope) -> Checked:
    value = node.value
    if isinstance(value, str):
        return Checked(text(len(value)), 1)
    kinds = {bool: BOOL, int: INT, float: DOUBLE}
    return Checked(kinds.get(type(value), NULL), 1)


def _name(node: Node, scope: Scope) -> Checked:
    if node.value not in scope:
        raise _unknown(node.value)
    return Checked(scope[node.value], 1)


def _list(node: Node, scope: Scope) -> Checked:
    parts = [check(each, scope) for each in node.args]
    shape = list_of(_joined(part.shape for part in parts), len(parts))
    return Checked(shape, 1 + sum(part.steps for part in parts))


def _map(node: Node, scope: Scope) -> Checked:
    keys = [check(each, scope) for each in node.args[::2]]
    values = [check(each, scope) for each in node.args[1::2]]
    for key in keys:
        _need(key.shape, "int", "string")
    steps = 1 + sum(part.steps for part in (*keys, *values))
    names = [each.value for each in node.args[::2] if each.kind == "literal"]
    if len(names) == len(keys) and all(isinstance(name, str) for name in names):
        if len(set(names)) < len(names):
            raise UnsoundError("has a map with a key twice")
        fields = {name: value.shape for name, value in zip(names, values, strict=True)}
        return Checked(map_of(fields), steps)
    element = _joined(part.shape for part in values)
    weight = 1 + sum(1 + part.shape.weight for part in values)
    return Checked(Shape("map", len(values), weight, element), steps)


def _select(node: Node, scope: Scope) -> Checked:
    operand = check(node.args[0], scope)
    _need(operand.shape, "map")
    return Checked(_field(operand.shape, node.value), operand.steps + 1)


def _field(shape: Shape, name: str) -> Shape:
    if shape.fields is not None:
        if name not in shape.fields:
            raise UnsoundError(f"has a map that knows no {name!r}")
        return shape.fields[name]
    return _any_element(shape)


def _any_element(shape: Shape) -> Shape:
    return shape.element or replace(shape, kind="dyn", fields=None)


def _index(node: Node, scope: Scope) -> Checked:
    operand, key = (check(each, scope) for each in node.args)
    _need(operand.shape, "list", "map")
    _need(key.shape, *(("int",) if operand.shape.kind == "list" else ("int", "string")))
    literal = node.args[1]
    shape = _any_element(operand.shape)
    if operand.shape.fields is not None and literal.kind == "literal":
        shape = _field(operand.shape, literal.value)
    return Checked(shape, operand.steps + key.steps + 1)


def _conditions(node: Node, scope: Scope) -> Checked:
    parts = [check(each, scope) for each in node.args]
    for part in parts:
        _need_condition(part.shape)
    return Checked(BOOL, 1 + sum(part.steps for part in parts))


def _if(node: Node, scope: Scope) -> Checked:
    condition, first, second = (check(each, scope) for each in node.args)
    _need_condition(condition.shape)
    steps = 1 + condition.steps + first.steps + second.steps
    return Checked(_either(first.shape, second.shape), steps)


def _minus(node: Node, scope: Scope) -> Checked:
    operand = check(node.args[0], scope)
    _need(operand.shape, *_NUMBERS)
    return Checked(operand.shape, operand.steps + 1)


def _chain(node: Node, scope: Scope) -> Checked:
    parts = [check(each, scope) for each in node.args]
    shape, steps = parts[0].shape, 1 + sum(part.steps for part in parts)
    for sign, part in zip(node.value, parts[1:], strict=True):
        shape, taken = _operated(sign, shape, part.shape)
        steps += taken
    return Checked(shape, steps)


def _operated(sign: str, left: Shape, right: Shape) -> tuple[Shape, int]:
    """What an operator makes of two values, and the steps of that beyond its own."""
    kinds = {left.kind, right.kind}
    if sign == "in":
        _need(right, "list", "map")
        if right.kind == "list" and right.element is not None:
            _need_comparable(left, right.element)
        return BOOL, right.length * left.weight + right.weight
    if sign in {"==", "!="}:
        _need_comparable(left, right)
        return BOOL, left.weight + right.weight
    if sign in {"<", "<=", ">", ">="}:
        if "dyn" not in kinds and not kinds <= _NUMBERS and kinds not in ({"string"}, {"bool"}):
            raise _type_fault()
        return BOOL, 0
    if sign == "+" and ("dyn" in kinds or kinds in ({"string"}, {"list"})):
        joined = _sum(left, right, "dyn" if "dyn" in kinds else left.kind)
        return joined, left.weight + right.weight
    known = kinds - {"dyn"}
    if len(known) > 1 or not known <= (_NUMBERS - {"double"} if sign == "%" else _NUMBERS):
        raise _type_fault()
    return (Shape("dyn") if "dyn" in kinds else left), 0


def _sum(left: Shape, right: Shape, kind: str) -> Shape:
    return Shape(
        kind,
        left.length + right.length,
        left.weight + right.weight,
        _joined([each for each in (left.element, right.element) if each is not None]),
    )


def _need_comparable(left: Shape, right: Shape) -> None:
    kinds = {left.kind, right.kind}
    if len(kinds) > 1 and not kinds <= _NUMBERS and not kinds & {"dyn", "null"}:
        raise _type_fault()


def _call(node: Node, scope: Scope) -> Checked:
    name, arguments = node.value, node.args
    if name == "matches":
        return _match(arguments, scope)
    if name != "has" and name not in cel.FUNCTIONS:
        raise _unknown(name)
    if len(arguments) != 1 or (name == "has" and arguments[0].kind != "select"):
        raise UnsoundError(f"calls {name!r} with other arguments than it takes")
    if name == "has":
        operand = check(arguments[0].args[0], scope)
        _need(operand.shape, "map")
        return Checked(BOOL, operand.steps + 2)
    argument = check(arguments[0], scope)
    return Checked(_FUNCTIONS[name](argument.shape), argument.steps + 1)


def _sized(shape: Shape) -> Shape:
    _need(shape, "string", "list", "map")
    return INT


def _to_number(kind: Shape) -> Callable[[Shape], Shape]:
    def converted(shape: Shape) -> Shape:
        _need(shape, "int", "double", "string")
        return kind

    return converted


def _to_string(shape: Shape) -> Shape:
    _need(shape, "int", "double", "string", "bool")
    return Shape("string", weight=shape.weight + 1)


_FUNCTIONS: Mapping[str, Callable[[Shape], Shape]] = {
    "size": _sized,
    "int": _to_number(INT),
    "double": _to_number(DOUBLE),
    "string": _to_string,
    "dyn": lambda shape: replace(shape, kind="dyn", fields=None),
}


def _method(node: Node, scope: Scope) -> Checked:
    name, arguments = node.value, node.args
    if name in cel.MACROS:
        return _macro(node, scope)
    if name == "size":
        return _call(Node("call", name, arguments), scope)
    if name == "matches":
        return _match(arguments, scope)
    if name not in cel.TEXT_METHODS:
        raise _unknown(name)
    if len(arguments) != len(("text", "part")):
        raise UnsoundError(f"calls {name!r} with other arguments than it takes")
    parts = [check(each, scope) for each in arguments]
    for part in parts:
        _need(part.shape, "string")
    return Checked(BOOL, 1 + sum(part.steps for part in parts) + parts[0].shape.weight)


def _match(arguments: tuple[Node, ...], scope: Scope) -> Checked:
    if len(arguments) != len(("text", "pattern")):
        raise UnsoundError("calls 'matches' with other arguments than it takes")
    searched, pattern = check(arguments[0], scope), arguments[1]
    _need(searched.shape, "string")
    if pattern.kind != "literal" or not isinstance(pattern.value, str):
        raise UnsoundError("must have the pattern of 'matches' as a text in quotes")
    try:
        cel.compiled_pattern(pattern.value)
    except re2.error:
        raise UnsoundError("has a pattern that cannot be evaluated") from None
    return Checked(BOOL, searched.steps + 2 + cel.MATCH_STEPS * searched.shape.weight)


def _macro(node: Node, scope: Scope) -> Checked:
    name, (listed, *arguments) = node.value, node.args
    counts = {2, 3} if name == "map" else {2}
    if len(arguments) not in counts or arguments[0].kind != "name":
        raise UnsoundError(f"calls {name!r} with other arguments than it takes")
    bodies = arguments[1:]
    if any(cel.is_macro(part) for body in bodies for part in _parts(body)):
        raise UnsoundError("must not have a macro inside a macro")
    if any(cel.is_macro(part) and part.value == "map" for part in _parts(listed)):
        raise UnsoundError("must not have a macro on what map gives")
    elements = check(listed, scope)
    _need(elements.shape, "list", "map")
    each = _each(elements.shape)
    checked = [check(body, {**scope, arguments[0].value: each}) for body in bodies]
    for condition in checked if name != "map" else checked[:-1]:
        _need_condition(condition.shape)
    once = 1 + sum(part.steps for part in checked)
    steps = elements.steps + 1 + elements.shape.length * len(bodies) * once
    if name == "map":
        return Checked(list_of(checked[-1].shape, elements.shape.length), steps)
    return Checked(elements.shape if name == "filter" else BOOL, steps)


def _each(shape: Shape) -> Shape:
    """What a macro goes through: the elements of a list, the keys of a map."""
    if shape.kind == "list":
        return _any_element(shape)
    return Shape("dyn", shape.length, shape.weight, shape.element)


def _parts(node: Node) -> list[Node]:
    return [node, *(part for each in node.args for part in _parts(each))]


_CHECKS: Mapping[str, Callable[[Node, Scope], Checked]] = {
    "literal": _literal,
    "name": _name,
    "list": _list,
    "map": _map,
    "select": _select,
    "index": _index,
    "call": _call,
    "method": _method,
    "chain": _chain,
    "and": _conditions,
    "or": _conditions,
    "not": _conditions,
    "if": _if,
    "minus": _minus,
}
