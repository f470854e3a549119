"""The functions and methods of CEL."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import re2

from services.scheduler.domain.cel.operators import NoValueError, Value, need_in_range

# Of a pattern, compiled: a short one can repeat much, and half a second goes by over it.
PATTERN_MAX_BYTES = 64 * 1024
MATCH_STEPS = 10
# Python reads more as a number than CEL does: digits of other scripts, blanks, `1_000`. No number of 64
# bits is longer.
_INT_TEXT = re.compile(r"-?[0-9]{1,20}")
_DOUBLE_TEXT = re.compile(r"[+-]?([0-9]{1,40}\.?[0-9]{0,40}|\.[0-9]{1,40})([eE][+-]?[0-9]{1,4})?")

_PATTERN_OPTIONS = re2.Options()
_PATTERN_OPTIONS.max_mem = PATTERN_MAX_BYTES
# Merchants write the patterns.
_PATTERN_OPTIONS.log_errors = False


def compiled_pattern(pattern: str) -> Any:  # noqa: ANN401 - re2 has no types
    """A pattern as RE2 has it. Raises re2.error if it is none, or too large."""
    return re2.compile(pattern, _PATTERN_OPTIONS)


def _size(value: Value) -> int:
    if isinstance(value, str | list | dict):
        return len(value)
    raise NoValueError("size")


def _to_int(value: Value) -> int:
    return int(need_in_range(_number(value, int, _INT_TEXT)))


def _to_double(value: Value) -> float:
    return float(_number(value, float, _DOUBLE_TEXT))


def _number(value: Value, number: type[int | float], form: "re.Pattern[str]") -> int | float:
    is_convertible = (
        form.fullmatch(value) if isinstance(value, str) else type(value) in {int, float}
    )
    if not is_convertible:
        raise NoValueError(number.__name__)
    try:
        return number(value)
    except (ValueError, OverflowError):
        raise NoValueError(number.__name__) from None


def _to_string(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise NoValueError("string")


FUNCTIONS: Mapping[str, Callable[[Value], Value]] = {
    "size": _size,
    "int": _to_int,
    "double": _to_double,
    "string": _to_string,
    "dyn": lambda value: value,
}
TEXT_METHODS: Mapping[str, Callable[[str, str], bool]] = {
    "contains": lambda text, part: part in text,
    "startsWith": lambda text, prefix: text.startswith(prefix),
    "endsWith": lambda text, suffix: text.endswith(suffix),
}
