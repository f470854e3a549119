"""What one measurement is, and how several of one kind are summed up."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Run:
    """So many cycles (or jobs), done in so long."""

    count: int
    seconds: float
    # Part -> the time that its processors worked for it, where that was looked at.
    cpu_seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def per_second(self) -> float:
        """The rate."""
        return self.count / self.seconds

    @property
    def cpu_microseconds(self) -> float:
        """The processors' time for one, of all parts together."""
        return sum(self.cpu_seconds.values()) / self.count * 1e6


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


@dataclass(frozen=True, slots=True)
class Aim:
    """How much something is to be: at least so much, or at most."""

    bound: float
    at_least: bool = True

    def reached(self, value: float) -> bool:
        """Whether a value is what it is to be."""
        return value >= self.bound if self.at_least else value <= self.bound

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.bound:g}"


@dataclass(frozen=True, slots=True)
class Finding:
    """One number that was found, and what it is to be, if that was ever said."""

    name: str
    value: float
    unit: str
    aim: Aim | None = None


def percentile(numbers: Sequence[float], share: float) -> float:
    """The least of the numbers that is not below this share of them."""
    ordered = sorted(numbers)
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)]


class WrongResultError(Exception):
    """What was measured did not do its work, so that its speed means nothing."""


def check(what: str, expected: int, found: int) -> None:
    """Raise WrongResultError unless the work is there in full."""
    if found != expected:
        raise WrongResultError(f"{what}: {found} instead of {expected}")
