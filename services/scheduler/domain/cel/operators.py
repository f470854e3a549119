"""The operators of CEL between two values."""

import operator
from collections.abc import Callable, Mapping
from typing import Any

from services.scheduler.domain.cel.meter import Meter, text_steps
from services.scheduler.domain.cel.syntax import INT_MAX, INT_MIN

# A value of CEL: None, or a bool, int, float, str, list or dict.
Value = Any
Operation = Callable[[Value, Value, Meter], Value]

_NUMBERS = frozenset({int, float})
_ORDERED = frozenset({int, float, str, bool})


class NoValueError(Exception):
    """An expression has no value for these variables: it divides by zero, say."""


def need_bool(value: Value) -> bool:
    """The value of a condition. Raises NoValueError if it is no bool."""
    if isinstance(value, bool):
        return value
    raise NoValueError("bool")


def need_key(key: Value) -> int | str:
    """A key of a map or an index of a list. Raises NoValueError if it cannot be one."""
    if type(key) not in {int, str}:
        raise NoValueError("key")
    return key  # type: ignore[no-any-return]


def need_in_range(value: Value) -> Value:
    """The value. Raises NoValueError for an integer of more than 64 bits."""
    if type(value) is int and not INT_MIN <= value <= INT_MAX:
        raise NoValueError("overflow")
    return value


def negated(value: Value) -> Value:
    """The number with the other sign. Raises NoValueError if it is no number, or has none."""
    if type(value) not in _NUMBERS:
        raise NoValueError("-")
    return need_in_range(-value)


def _ordering(compare: Callable[[Value, Value], bool]) -> Operation:
    def ordered(left: Value, right: Value, _meter: Meter) -> bool:
        types = {type(left), type(right)}
        if not types <= _NUMBERS and not (len(types) == 1 and types <= _ORDERED):
            raise NoValueError("order")
        return compare(left, right)

    return ordered


def _arithmetic(compute: Callable[[Value, Value], Value]) -> Operation:
    def computed(left: Value, right: Value, _meter: Meter) -> Value:
        if type(left) is not type(right) or type(left) not in _NUMBERS:
            raise NoValueError("number")
        try:
            return need_in_range(compute(left, right))
        except (ZeroDivisionError, OverflowError):
            raise NoValueError("number") from None

    return computed


def _plus(left: Value, right: Value, meter: Meter) -> Value:
    if type(left) is type(right) and isinstance(left, str | list):
        joined = left + right
        meter.count(text_steps(len(joined)) if isinstance(joined, str) else len(joined))
        return joined
    return _ADD(left, right, meter)


def _divide(left: Value, right: Value) -> Value:
    """Integers are rounded towards zero."""
    if isinstance(left, float):
        return left / right
    quotient = abs(left) // abs(right)
    return quotient if (left < 0) == (right < 0) else -quotient


def _remainder(left: Value, right: Value) -> Value:
    if isinstance(left, float):
        raise NoValueError("%")
    return left - right * _divide(left, right)


def _equal(left: Value, right: Value, meter: Meter) -> bool:
    meter.count()
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(
            _equal(*elements, meter) for elements in zip(left, right, strict=True)
        )
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(
            _equal(value, right[key], meter) for key, value in left.items()
        )
    return bool(left == right)


def _in(sought: Value, collection: Value, meter: Meter) -> bool:
    if isinstance(collection, dict):
        return need_key(sought) in collection
    if not isinstance(collection, list):
        raise NoValueError("in")
    return any(_equal(sought, element, meter) for element in collection)


_ADD = _arithmetic(operator.add)
OPERATORS: Mapping[str, Operation] = {
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
