"""Measurements, and summaries of several of one kind."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Run:
    """A number of cycles (or jobs), and the time that they took."""

    count: int
    seconds: float
    # Part of the stack -> its CPU time, where it was measured.
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
    """The lower or upper bound that a figure should keep."""

    bound: float
    at_least: bool = True

    def reached(self, value: float) -> bool:
        """Whether a value keeps the bound."""
        return value >= self.bound if self.at_least else value <= self.bound

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.bound:g}"


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number, and its aim if it has one."""

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


def check(what: str, expected: int, actual: int) -> None:
    """Raise WrongResultError unless the work is there in full."""
    if actual != expected:
        raise WrongResultError(f"{what}: {actual} instead of {expected}")
