"""JSON that a person or a program gives: each key of an object once, and no more than fits."""

import json
from typing import Any, NoReturn

REPEATED_KEY = "comes twice in one object; keep one of them"


class RepeatedKeyError(ValueError):
    """A key that an object has twice."""

    def __init__(self, key: str) -> None:
        super().__init__(f"{key} {REPEATED_KEY}")
        self.key = key


def load_json(text: str) -> Any:  # noqa: ANN401 - whatever JSON holds
    """The value that a text holds; raises ValueError where it is none, RepeatedKeyError for a key."""
    try:
        return json.loads(text, object_pairs_hook=_once_each, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _once_each(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object of JSON; where the parser would keep the last of two, neither is meant for sure."""
    members: dict[str, object] = {}
    for key, value in pairs:
        if key in members:
            raise RepeatedKeyError(key)
        members[key] = value
    return members


def _refuse_constant(name: str) -> NoReturn:
    """NaN and Infinity, which Python's parser takes and JSON does not have."""
    raise ValueError(f"{name} is no JSON")
