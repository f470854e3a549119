"""What was read from a column's JSON text, kept in memory where the text is short."""

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import TypeVar

_TEXTS_MAX = 4096
# Longer ones are rare, up to 60 000, and would take too much memory.
_TEXT_MAX_CHARACTERS = 500

T = TypeVar("T")


def cached(read: Callable[[str], T]) -> Callable[[str], T]:
    """Read a text once while it is kept: texts are read each cycle, and many are the same."""
    known = lru_cache(maxsize=_TEXTS_MAX)(read)

    @wraps(read)
    def load(text: str) -> T:
        return known(text) if len(text) <= _TEXT_MAX_CHARACTERS else read(text)

    return load
