"""What standing orders will want: the cycles to come of each, and the sums over all. Pure functions."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import count

from services.scheduler.domain import calendar
from services.scheduler.domain.cycles import new_order, reason_against
from services.scheduler.domain.order import Line, Order
from services.scheduler.domain.pauses import resumed
from services.scheduler.domain.standing_order import StandingOrder, State


@dataclass(frozen=True, slots=True, order=True)
class DemandKey:
    """What is summed up together."""

    local_date: date
    product: str
    currency: str


@dataclass(slots=True)
class Demand:
    """Units of one product on one date, and what they bring, in minor units."""

    units: int = 0
    revenue_minor: int = 0
    list_revenue_minor: int = 0
    gross_revenue_minor: int = 0


@dataclass(slots=True)
class Forecast:
    """The sums so far."""

    _demands: dict[DemandKey, Demand] = field(default_factory=dict)

    def add(self, local_date: date, currency: str, lines: Iterable[Line]) -> None:
        """Add what one cycle will bring."""
        for line in lines:
            key = DemandKey(local_date, line.product, currency)
            demand = self._demands.setdefault(key, Demand())
            demand.units += line.quantity
            demand.revenue_minor += line.amount_minor
            demand.list_revenue_minor += line.list_amount_minor
            demand.gross_revenue_minor += line.gross_minor

    @property
    def demands(self) -> Mapping[DemandKey, Demand]:
        """The sums by date, product and currency, in that order."""
        return dict(sorted(self._demands.items()))

    def __len__(self) -> int:
        return len(self._demands)


def coming_orders(
    standing_order: StandingOrder, first: date, last: date, now: datetime
) -> Iterator[Order]:
    """The orders of the cycles without one that will take place from a date to another, unpriced."""
    going_on = _going_on(standing_order, now)
    if going_on is None or going_on.next_cycle is None:
        return
    for cycle in count(_first_cycle(going_on, going_on.next_cycle, first)):
        cycle_date = going_on.date(cycle)
        # Local dates strictly increase, and so do those of which one is skipped.
        if cycle_date is None or cycle_date.day > last:
            return
        following = going_on.date(cycle + 1)
        left_out = reason_against(going_on, cycle, cycle_date, now) is not None
        if not left_out and cycle_date.local_date is not None and cycle_date.local_date >= first:
            yield new_order(going_on, cycle, cycle_date, following, now)


def _going_on(standing_order: StandingOrder, now: datetime) -> StandingOrder | None:
    """The standing order as it will bill; None if nothing says that it will."""
    if standing_order.state is State.ACTIVE:
        return standing_order
    if standing_order.state is State.PAUSED and standing_order.resume_time is not None:
        return resumed(standing_order, max(standing_order.resume_time, now)).standing_order
    return None


def _first_cycle(standing_order: StandingOrder, next_cycle: int, first: date) -> int:
    """A cycle from which on none is missed, without walking there from the next one."""
    index = calendar.first_index_on_or_after(standing_order.schedule, first)
    if index is None:
        return next_cycle
    # The cycle before may have moved onto the date or past it, and single cycles may be anywhere.
    begin = min((standing_order.base_cycle + index - 1, *standing_order.changes))
    return max(next_cycle, begin)
