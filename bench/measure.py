"""What one measurement is, and how several of one kind are summed up."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Run:
    """So many cycles (or jobs), done in so long."""

    count: int
    seconds: float

    @property
    def per_second(self) -> float:
        """The rate."""
        return self.count / self.seconds


@dataclass(frozen=True, slots=True)
class Summary:
    """The median of some numbers, and the lowest and highest of them."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, numbers: Sequence[float]) -> "Summary":
        """Sum up at least one number."""
        return cls(statistics.median(numbers), min(numbers), max(numbers))

    @classmethod
    def of_ratios(cls, upper: Sequence[Run], lower: Sequence[Run]) -> "Summary":
        """Sum up how many times faster one thing is than another, round by round."""
        return cls.of([a.per_second / b.per_second for a, b in zip(upper, lower, strict=True)])


class WrongResultError(Exception):
    """What was measured did not do its work, so that its speed means nothing."""


def check(what: str, expected: int, found: int) -> None:
    """Raise WrongResultError unless the work is there in full."""
    if found != expected:
        raise WrongResultError(f"{what}: {found} instead of {expected}")
