"""What a check finds: each thing that does not agree, in words, of one of four kinds."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeVar

from cli.prove.records import OrderKey
from cli.values import format_minor

SUCCEEDED = "SUCCEEDED"

T = TypeVar("T")
K = TypeVar("K")


class Kind(StrEnum):
    """In which way something does not agree."""

    # There once too often, or for no reason at all.
    DUPLICATE = "duplicate"
    MISSING = "missing"
    IMBALANCE = "imbalance"
    # There, once, and not as it has to be.
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that does not agree."""

    kind: Kind
    text: str


@dataclass(frozen=True, slots=True)
class Check:
    """One comparison: how much was expected, how much was there, and what does not agree."""

    what: str
    expected: str
    found: str
    findings: tuple[Finding, ...]

    def count(self, kind: Kind) -> int:
        """How many findings are of a kind."""
        return sum(finding.kind is kind for finding in self.findings)


class Priced(Protocol):
    """Something with an amount in minor units."""

    @property
    def amount_minor(self) -> int | None: ...  # noqa: D102
    @property
    def currency(self) -> str: ...  # noqa: D102


def exactly_one(found: Sequence[object], what: str) -> list[Finding]:
    """A finding unless there is exactly one."""
    if not found:
        return [Finding(Kind.MISSING, f"no {what}")]
    if len(found) > 1:
        return [Finding(Kind.DUPLICATE, f"{len(found)} of: {what}")]
    return []


def same_amount(one: Priced, other: Priced, what: str) -> list[Finding]:
    """A finding unless amount and currency are the same."""
    if (one.amount_minor, one.currency) == (other.amount_minor, other.currency):
        return []
    amounts = [
        "nothing" if each.amount_minor is None else format_minor(each.amount_minor, each.currency)
        for each in (one, other)
    ]
    return [Finding(Kind.IMBALANCE, f"{what}: {amounts[0]} and {amounts[1]}")]


def wrong(text: str) -> Finding:
    """A finding of the kind WRONG."""
    return Finding(Kind.WRONG, text)


def grouped(values: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    """The values by a key of theirs, in their order."""
    groups: dict[K, list[T]] = defaultdict(list)
    for value in values:
        groups[key(value)].append(value)
    return groups


def cycle_text(key: OrderKey) -> str:
    """An order's key for people."""
    return f"{key[2]} of {key[0]}/{key[1]}"


def new_check(what: str, expected: int, found: int, findings: list[Finding]) -> Check:
    """A comparison of two counts."""
    return Check(what, str(expected), str(found), tuple(findings))
