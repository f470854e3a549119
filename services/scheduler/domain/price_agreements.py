"""How the prices of a standing order are protected, and from which cycle on. Pure functions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

# How long before the last protected cycle, or before the protection ends, its customer is notified.
ENDING_NOTICE_LEAD = timedelta(days=14)
# Orders of the cycles before may be open still.
AGREEMENTS_MAX = 3
LAST_CYCLE = 100_000


class Agreed(NamedTuple):
    """What the catalog has made of an agreement."""

    # The last cycle that is protected (0: none by its number), and the instant before which they are.
    last_cycle: int
    until_time: datetime | None
    survives_schedule_changes: bool
    # By product (id), the price version that is kept.
    prices: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class PriceAgreement:
    """How prices are protected from a cycle on."""

    first_cycle: int
    agree_time: datetime
    # As plain data, for showing; None: they are not.
    protection: Mapping[str, Any] | None
    last_cycle: int = 0
    until_time: datetime | None = None
    survives_schedule_changes: bool = True
    prices: Mapping[str, str] = field(default_factory=dict)
    # Whether the customer was notified that it is about to end.
    ending_notified: bool = False

    @property
    def offer(self) -> str:
        """The offer that was accepted, by its resource name; empty: none was."""
        return str(self.protection.get("offer", "")) if self.protection else ""

    def is_over(self, cycle: int | None, at: datetime) -> bool:
        """Whether it protects no cycle from one on, which is due at an instant."""
        by_cycle = bool(self.last_cycle) and cycle is not None and cycle > self.last_cycle
        return by_cycle or (self.until_time is not None and self.until_time <= at)


def agreement_of(agreements: Sequence[PriceAgreement], cycle: int) -> PriceAgreement | None:
    """The one that applies to a cycle."""
    applying = [agreement for agreement in agreements if agreement.first_cycle <= cycle]
    return applying[-1] if applying else None


def with_agreement(
    agreements: Sequence[PriceAgreement], agreement: PriceAgreement
) -> tuple[PriceAgreement, ...]:
    """Agreements with another one, which takes the place of those that no cycle had."""
    before = [other for other in agreements if other.first_cycle < agreement.first_cycle]
    return (*before[1 - AGREEMENTS_MAX :], agreement)


def accepted(
    agreements: Sequence[PriceAgreement], agreed: Agreed | None
) -> tuple[PriceAgreement, ...]:
    """Agreements with what the catalog has made of the last; a price that is kept already stays."""
    if not agreements or agreed is None:
        return tuple(agreements)
    *before, last = agreements
    last = replace(
        last,
        last_cycle=agreed.last_cycle,
        until_time=agreed.until_time,
        survives_schedule_changes=agreed.survives_schedule_changes,
        prices={**agreed.prices, **last.prices},
    )
    return (*before, last)


def with_ending_notified(agreements: Sequence[PriceAgreement]) -> tuple[PriceAgreement, ...]:
    """Agreements whose last one the customer was notified about before it ends."""
    *before, last = agreements
    return (*before, replace(last, ending_notified=True))
