"""What the books and the provider's list do not agree on. Pure."""

from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple


class FindingKind(StrEnum):
    """How they differ."""

    MISSING_HERE = "MISSING_HERE"
    MISSING_AT_PROVIDER = "MISSING_AT_PROVIDER"
    DIFFERENT_AMOUNT = "DIFFERENT_AMOUNT"
    DIFFERENT_STATE = "DIFFERENT_STATE"
    DUPLICATE = "DUPLICATE"


class Finding(NamedTuple):
    """A charge or refund that both sides do not have in the same way."""

    kind: FindingKind
    # Its resource name.
    source: str
    # In minor units; 0 where a side has none.
    booked_minor: int
    provider_minor: int
    currency: str


class Reconciliation(NamedTuple):
    """What came of the comparison of a day."""

    # Whether the provider's list of the day was read to its end.
    complete: bool
    matched_count: int
    findings: list[Finding]


def day_of(day: date) -> tuple[datetime, datetime]:
    """The instants (UTC) at which a day begins and ends."""
    begin = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return begin, begin + timedelta(days=1)
