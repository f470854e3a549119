"""The checker: the type of an expression, and a bound of the steps that an evaluation takes.

Every node is checked, also those that an evaluation may pass over. A bound of the size of each value
gives the bound of the steps, so that what is accepted never runs out of them.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import re2

from services.scheduler.domain.cel.functions import (
    FUNCTIONS,
    MATCH_STEPS,
    TEXT_METHODS,
    compiled_pattern,
)
from services.scheduler.domain.cel.shapes import (
    BOOL,
    DOUBLE,
    INT,
    NULL,
    Shape,
    concatenated,
    either,
    list_of,
    map_of,
    map_steps,
    text,
    union,
)
from services.scheduler.domain.cel.syntax import Node

_NUMBERS = frozenset({"int", "double"})


class CheckError(Exception):
    """An expression that has no value for any order; the message says why, after "it"."""


Scope = Mapping[str, Shape]


@dataclass(frozen=True, slots=True)
class Checked:
    """A node: what is known of its value, and at most how many steps it takes."""

    shape: Shape
    steps: int


def check(node: Node, scope: Scope) -> Checked:
    """Check a node and all below it. Raises CheckError."""
    return _CHECKS[node.kind](node, scope)


def _check_all(nodes: Iterable[Node], scope: Scope) -> list[Checked]:
    return [check(node, scope) for node in nodes]


def _steps(children: Iterable[Checked]) -> int:
    """The steps of a node: its own one, and those of its children."""
    return 1 + sum(child.steps for child in children)


def _type_error() -> CheckError:
    return CheckError("uses a value as another type than it has")


def _unknown(name: str) -> CheckError:
    return CheckError(f"knows no {name!r}")


def _need(shape: Shape, *types: str) -> None:
    if shape.type not in {*types, "dyn"}:
        raise _type_error()


def _need_condition(shape: Shape) -> None:
    if shape.type not in {"bool", "dyn"}:
        raise CheckError("must be true or false where it is a condition")


def _literal(node: Node, _scope: Scope) -> Checked:
    value = node.value
    if isinstance(value, str):
        return Checked(text(len(value)), 1)
    shapes = {bool: BOOL, int: INT, float: DOUBLE}
    return Checked(shapes.get(type(value), NULL), 1)


def _name(node: Node, scope: Scope) -> Checked:
    if node.value not in scope:
        raise _unknown(node.value)
    return Checked(scope[node.value], 1)


def _list(node: Node, scope: Scope) -> Checked:
    elements = _check_all(node.args, scope)
    shape = list_of(union(element.shape for element in elements), len(elements))
    return Checked(shape, _steps(elements))


def _map(node: Node, scope: Scope) -> Checked:
    keys, values = _check_all(node.args[::2], scope), _check_all(node.args[1::2], scope)
    for key in keys:
        _need(key.shape, "int", "string")
    steps = _steps((*keys, *values))
    names = [key.value for key in node.args[::2] if key.kind == "literal"]
    if len(names) == len(keys) and all(isinstance(name, str) for name in names):
        if len(set(names)) < len(names):
            raise CheckError("has a map with a key twice")
        fields = {name: value.shape for name, value in zip(names, values, strict=True)}
        return Checked(map_of(fields), steps)
    shapes = [value.shape for value in values]
    return Checked(Shape("map", len(values), map_steps(shapes), union(shapes)), steps)


def _select(node: Node, scope: Scope) -> Checked:
    operand = check(node.args[0], scope)
    _need(operand.shape, "map")
    return Checked(_field(operand.shape, node.value), operand.steps + 1)


def _field(shape: Shape, name: str) -> Shape:
    if shape.fields is not None:
        if name not in shape.fields:
            raise CheckError(f"has a map that knows no {name!r}")
        return shape.fields[name]
    return shape.any_element()


def _index(node: Node, scope: Scope) -> Checked:
    operand, key = _check_all(node.args, scope)
    _need(operand.shape, "list", "map")
    _need(key.shape, *(("int",) if operand.shape.type == "list" else ("int", "string")))
    literal = node.args[1]
    shape = operand.shape.any_element()
    if operand.shape.fields is not None and literal.kind == "literal":
        shape = _field(operand.shape, literal.value)
    return Checked(shape, _steps((operand, key)))


def _conditions(node: Node, scope: Scope) -> Checked:
    conditions = _check_all(node.args, scope)
    for condition in conditions:
        _need_condition(condition.shape)
    return Checked(BOOL, _steps(conditions))


def _if(node: Node, scope: Scope) -> Checked:
    condition, first, second = _check_all(node.args, scope)
    _need_condition(condition.shape)
    return Checked(either(first.shape, second.shape), _steps((condition, first, second)))


def _minus(node: Node, scope: Scope) -> Checked:
    operand = check(node.args[0], scope)
    _need(operand.shape, *_NUMBERS)
    return Checked(operand.shape, operand.steps + 1)


def _chain(node: Node, scope: Scope) -> Checked:
    operands = _check_all(node.args, scope)
    shape, steps = operands[0].shape, _steps(operands)
    for sign, operand in zip(node.value, operands[1:], strict=True):
        shape, more_steps = _operated(sign, shape, operand.shape)
        steps += more_steps
    return Checked(shape, steps)


def _operated(sign: str, left: Shape, right: Shape) -> tuple[Shape, int]:
    """The result of an operator, and the steps that it takes beside its own one."""
    types = {left.type, right.type}
    if sign == "in":
        _need(right, "list", "map")
        if right.type == "list" and right.element is not None:
            _need_comparable(left, right.element)
        return BOOL, right.length * left.steps + right.steps
    if sign in {"==", "!="}:
        _need_comparable(left, right)
        return BOOL, left.steps + right.steps
    if sign in {"<", "<=", ">", ">="}:
        if "dyn" not in types and not types <= _NUMBERS and types not in ({"string"}, {"bool"}):
            raise _type_error()
        return BOOL, 0
    if sign == "+" and ("dyn" in types or types in ({"string"}, {"list"})):
        return concatenated(left, right), left.steps + right.steps
    known = types - {"dyn"}
    if len(known) > 1 or not known <= (_NUMBERS - {"double"} if sign == "%" else _NUMBERS):
        raise _type_error()
    return (Shape("dyn") if "dyn" in types else left), 0


def _need_comparable(left: Shape, right: Shape) -> None:
    types = {left.type, right.type}
    if len(types) > 1 and not types <= _NUMBERS and not types & {"dyn", "null"}:
        raise _type_error()


def _call(node: Node, scope: Scope) -> Checked:
    name, arguments = node.value, node.args
    if name == "matches":
        return _match(arguments, scope)
    if name != "has" and name not in FUNCTIONS:
        raise _unknown(name)
    if len(arguments) != 1 or (name == "has" and arguments[0].kind != "select"):
        raise CheckError(f"calls {name!r} with other arguments than it takes")
    if name == "has":
        operand = check(arguments[0].args[0], scope)
        _need(operand.shape, "map")
        return Checked(BOOL, operand.steps + 2)
    argument = check(arguments[0], scope)
    return Checked(_FUNCTIONS[name](argument.shape), argument.steps + 1)


def _sized(shape: Shape) -> Shape:
    _need(shape, "string", "list", "map")
    return INT


def _to_number(number: Shape) -> Callable[[Shape], Shape]:
    def converted(shape: Shape) -> Shape:
        _need(shape, "int", "double", "string")
        return number

    return converted


def _to_string(shape: Shape) -> Shape:
    _need(shape, "int", "double", "string", "bool")
    return Shape("string", steps=shape.steps + 1)


_FUNCTIONS: Mapping[str, Callable[[Shape], Shape]] = {
    "size": _sized,
    "int": _to_number(INT),
    "double": _to_number(DOUBLE),
    "string": _to_string,
    "dyn": lambda shape: replace(shape, type="dyn", fields=None),
}


def _method(node: Node, scope: Scope) -> Checked:
    name, arguments = node.value, node.args
    if node.is_macro:
        return _macro(node, scope)
    if name in {"matches", "size"}:
        return _call(node, scope)
    if name not in TEXT_METHODS:
        raise _unknown(name)
    if len(arguments) != len(("text", "part")):
        raise CheckError(f"calls {name!r} with other arguments than it takes")
    searched, sought = _check_all(arguments, scope)
    _need(searched.shape, "string")
    _need(sought.shape, "string")
    return Checked(BOOL, _steps((searched, sought)) + searched.shape.steps)


def _match(arguments: tuple[Node, ...], scope: Scope) -> Checked:
    if len(arguments) != len(("text", "pattern")):
        raise CheckError("calls 'matches' with other arguments than it takes")
    searched, pattern = check(arguments[0], scope), arguments[1]
    _need(searched.shape, "string")
    if pattern.kind != "literal" or not isinstance(pattern.value, str):
        raise CheckError("must have the pattern of 'matches' as a text in quotes")
    try:
        compiled_pattern(pattern.value)
    except re2.error:
        raise CheckError("has a pattern that cannot be evaluated") from None
    return Checked(BOOL, searched.steps + 2 + MATCH_STEPS * searched.shape.steps)


def _macro(node: Node, scope: Scope) -> Checked:
    name, (collection, *arguments) = node.value, node.args
    counts = {2, 3} if name == "map" else {2}
    if len(arguments) not in counts or arguments[0].kind != "name":
        raise CheckError(f"calls {name!r} with other arguments than it takes")
    bodies = arguments[1:]
    if any(inner.is_macro for body in bodies for inner in _nodes(body)):
        raise CheckError("must not have a macro inside a macro")
    if any(inner.is_macro and inner.value == "map" for inner in _nodes(collection)):
        raise CheckError("must not have a macro on what map gives")
    elements = check(collection, scope)
    _need(elements.shape, "list", "map")
    checked = _check_all(bodies, {**scope, arguments[0].value: _iterated(elements.shape)})
    for condition in checked if name != "map" else checked[:-1]:
        _need_condition(condition.shape)
    steps = elements.steps + 1 + elements.shape.length * len(bodies) * _steps(checked)
    if name == "map":
        return Checked(list_of(checked[-1].shape, elements.shape.length), steps)
    return Checked(elements.shape if name == "filter" else BOOL, steps)


def _iterated(shape: Shape) -> Shape:
    """What a macro goes through: the elements of a list, the keys of a map."""
    if shape.type == "list":
        return shape.any_element()
    return Shape("dyn", shape.length, shape.steps, shape.element)


def _nodes(node: Node) -> Iterator[Node]:
    yield node
    for argument in node.args:
        yield from _nodes(argument)


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
