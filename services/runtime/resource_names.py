"""Resource names and ids (AIP-122)."""

import re
from collections.abc import Callable
from typing import Generic, TypeVar

from services.runtime.errors import Violations

_ID = r"[a-z0-9][a-z0-9-]{0,62}"
# An id that is composed of others is longer.
_DERIVED_ID = r"[a-z0-9][a-z0-9-]{0,126}"
ID_PATTERN = re.compile(_ID)

K = TypeVar("K")


class NamePattern:
    """A resource name pattern such as `merchants/{merchant}/products/{product}` (AIP-122).

    The variable `wildcard` can also be `-`; the variable `derived` holds an id made from others.
    """

    def __init__(
        self, pattern: str, *, wildcard: str | None = None, derived: str | None = None
    ) -> None:
        self.pattern = pattern
        self._variables = re.findall(r"\{(\w+)\}", pattern)

        def group(match: re.Match[str]) -> str:
            form = _DERIVED_ID if match[1] == derived else _ID
            return f"(?P<{match[1]}>{form}{'|-' if match[1] == wildcard else ''})"

        expression = re.sub(r"\{(\w+)\}", group, pattern)
        self._expression = re.compile(expression)
        self._template = re.sub(r"\{\w+\}", "%s", pattern)

    def read(self, violations: Violations, field: str, name: str) -> tuple[str, ...]:
        """The ids in a caller's name, in order; a violation if it does not match."""
        match = self._expression.fullmatch(name)
        if match is None:
            violations.add(field, f"must match {self.pattern}")
            return ("",) * len(self._variables)
        return match.groups()

    def parse(self, name: str) -> tuple[str, ...]:
        """The ids in a valid name. Raises ValueError for any other."""
        match = self._expression.fullmatch(name)
        if match is None:
            raise ValueError(f"{name!r} does not match {self.pattern}")
        return match.groups()

    def format(self, *ids: str) -> str:
        """The name with these ids, in order. Raises TypeError if they are too few or too many."""
        return self._template % ids


class KeyPattern(NamePattern, Generic[K]):
    """A resource name pattern whose variables are the fields of a key, in their order."""

    def __init__(
        self,
        pattern: str,
        to_key: Callable[..., K],
        *,
        wildcard: str | None = None,
        derived: str | None = None,
    ) -> None:
        super().__init__(pattern, wildcard=wildcard, derived=derived)
        self.to_key = to_key

    def key(self, name: str) -> K:
        """The key in a name, as `parse`. Raises ValueError."""
        return self.to_key(*self.parse(name))


def require_within(violations: Violations, field: str, name: str, merchant: str) -> None:
    """Require a filter to be the name of the merchant, of a resource of it, or empty."""
    violations.require(
        field,
        "must be the name of a resource of the parent merchant",
        met=not name or f"{name}/".startswith(f"merchants/{merchant}/"),
    )
