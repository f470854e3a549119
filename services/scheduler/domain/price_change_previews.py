"""Whom a price version would touch, and by how much: the sums of a preview. Pure."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum

from services.scheduler.domain.ids import CustomerId, StandingOrderKey
from services.scheduler.domain.price_changes import Assessment, Holding
from services.scheduler.domain.standing_order import StandingOrder


class Timing(StrEnum):
    """From when on a standing order pays another amount, and why then."""

    AT_ONCE = "AT_ONCE"
    AFTER_NOTICE = "AFTER_NOTICE"
    AFTER_LOCK = "AFTER_LOCK"
    UP_TO_CAP = "UP_TO_CAP"
    NEVER = "NEVER"


_TIMINGS = {
    None: Timing.AT_ONCE,
    Holding.INCREASE_NOT_YET_NOTIFIED: Timing.AFTER_NOTICE,
    Holding.PRICE_LOCK: Timing.AFTER_LOCK,
    Holding.PRICE_CAP: Timing.UP_TO_CAP,
}


def timing_of(assessment: Assessment) -> Timing:
    """When a standing order is reached."""
    return Timing.NEVER if assessment.impact is None else _TIMINGS[assessment.held_by]


@dataclass(slots=True)
class PriceChangeSums:
    """Of some standing orders: who they are, and what they pay with the version and without it."""

    customers: set[CustomerId] = field(default_factory=set)
    standing_order_count: int = 0
    # Cycles that come to another amount.
    cycle_count: int = 0
    revenue_minor: int = 0
    previous_minor: int = 0
    # By local date, how many first cycles with another amount are on it.
    first_dates: Counter[date] = field(default_factory=Counter)

    def add_standing_order(self, standing_order: StandingOrder, first_date: date | None) -> None:
        """Count a standing order, and its first cycle with another amount."""
        self.customers.add(standing_order.customer)
        self.standing_order_count += 1
        if first_date is not None:
            self.first_dates[first_date] += 1

    def add_cycle(self, amount_minor: int, previous_minor: int) -> None:
        """Count what a cycle comes to."""
        self.cycle_count += amount_minor != previous_minor
        self.revenue_minor += amount_minor
        self.previous_minor += previous_minor


@dataclass(slots=True)
class PriceChangePreview:
    """The sums so far, of all and by timing."""

    groups: dict[Timing, PriceChangeSums] = field(default_factory=dict)

    def add(self, standing_order: StandingOrder, assessment: Assessment) -> Timing:
        """Count a standing order; returns how it is reached."""
        timing = timing_of(assessment)
        sums = self.groups.setdefault(timing, PriceChangeSums())
        sums.add_standing_order(standing_order, assessment.first_date)
        return timing

    @property
    def in_order(self) -> Sequence[tuple[Timing, PriceChangeSums]]:
        """The groups that there are."""
        return [(timing, self.groups[timing]) for timing in Timing if timing in self.groups]

    @property
    def total(self) -> PriceChangeSums:
        """Who is touched, and what all pay."""
        total = PriceChangeSums()
        for timing, sums in self.groups.items():
            if timing is not Timing.NEVER:
                total.customers |= sums.customers
                total.standing_order_count += sums.standing_order_count
            total.cycle_count += sums.cycle_count
            total.revenue_minor += sums.revenue_minor
            total.previous_minor += sums.previous_minor
        return total


Timings = dict[StandingOrderKey, Timing]
