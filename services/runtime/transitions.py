"""State machines as tables: `(from, event) -> to`, and nothing else changes a state."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Generic, TypeVar

S = TypeVar("S", bound=StrEnum)
E = TypeVar("E", bound=StrEnum)


class IllegalTransitionError(Exception):
    """The event does not happen in this state."""


class Transitions(Generic[S, E]):
    """The transitions of one kind of thing."""

    def __init__(self, table: Mapping[tuple[S, E], S]) -> None:
        self.table = table

    def to(self, state: S, event: E) -> S:
        """The state after an event. Raises IllegalTransitionError."""
        after = self.table.get((state, event))
        if after is None:
            raise IllegalTransitionError(f"{event} does not happen in {state}")
        return after

    def sources(self, event: E) -> frozenset[S]:
        """The states in which an event may happen."""
        return frozenset(state for state, happens in self.table if happens is event)

    def is_terminal(self, state: S) -> bool:
        """Whether nothing leads out of a state to another one."""
        return all(after is state for (before, _), after in self.table.items() if before is state)
