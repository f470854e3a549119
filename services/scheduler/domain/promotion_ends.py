"""The first cycle of a standing order that its promotion takes nothing off. Pure."""

from datetime import datetime
from typing import NamedTuple

from services.runtime.money import Money
from services.scheduler.domain import calendar
from services.scheduler.domain.promotions import EndingPromotion
from services.scheduler.domain.standing_order import StandingOrder

# More cycles than there can be between the notice of an end and the end, one a day.
CYCLES_LOOKED_AT_MAX = 400


class PromotionEnd(NamedTuple):
    """From which cycle on a standing order costs more, and how much."""

    standing_order: StandingOrder
    promotion: EndingPromotion
    first_cycle: int
    first_due_time: datetime
    # What that cycle costs, and the one before it; None: it has no price.
    amount: Money | None
    previous_amount: Money | None

    @property
    def is_news(self) -> bool:
        """Whether the customer is notified: not if the price does not rise."""
        if self.amount is None or self.previous_amount is None:
            return True
        return self.amount.amount_minor > self.previous_amount.amount_minor


def first_cycle_after(standing_order: StandingOrder) -> int | None:
    """The first cycle after its promotion; None: there is none, or it was announced already."""
    promotion, cycle = standing_order.ending_promotion, standing_order.next_cycle
    if promotion is None or cycle is None:
        return None
    for following in range(cycle, cycle + CYCLES_LOOKED_AT_MAX):
        date_ = standing_order.date(following)
        if date_ is None:
            return None
        if promotion.is_over(following, date_.due_at):
            is_late = following == cycle and not _last_order_had(standing_order, promotion)
            return None if is_late else following
    return None


def _last_order_had(standing_order: StandingOrder, promotion: EndingPromotion) -> bool:
    """Whether the promotion takes something off the last cycle that has an order; False: none has.

    Its date is the one that it had: the present schedule may have that cycle on another date, or not.
    """
    last, schedule = standing_order.last_nominal_date, standing_order.schedule
    if last is None or standing_order.next_cycle is None:
        return False
    due_time = calendar.local_to_utc(last, schedule.local_time, schedule.time_zone)
    return not promotion.is_over(standing_order.next_cycle - 1, due_time)
