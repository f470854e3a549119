"""Pauses: how one begins, which cycles it leaves out, and how it ends. Pure functions."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from services.scheduler.domain.calendar import CycleDate
from services.scheduler.domain.cycles import new_order, opened_while, outlasts_pause
from services.scheduler.domain.order import Order, OrderReason
from services.scheduler.domain.order_lifecycle import skipped
from services.scheduler.domain.standing_order import Opening, StandingOrder, State
from services.scheduler.domain.transitions import STANDING_ORDER, StandingOrderEvent


def paused(
    standing_order: StandingOrder, until_time: datetime | None, cycle_count: int | None
) -> StandingOrder:
    """A standing order that is paused: until it is resumed, until then, or for so many cycles."""
    resume_time = until_time
    if cycle_count is not None and standing_order.next_cycle is not None:
        following = standing_order.next_cycle + cycle_count
        date_ = standing_order.date(following)
        # When the cycle after them is to be prepared, it is resumed just in time for it.
        resume_time = standing_order.prepare_at(following, date_.due_at) if date_ else None
    return _moved(standing_order, StandingOrderEvent.PAUSE, resume_time)


def is_over(standing_order: StandingOrder, now: datetime) -> bool:
    """Whether a pause has ended by itself, and nobody has resumed the standing order yet."""
    return (
        standing_order.state is State.PAUSED
        and standing_order.next_cycle is not None
        and standing_order.resume_time is not None
        and standing_order.resume_time <= now
    )


def reactivated(standing_order: StandingOrder) -> StandingOrder:
    """A paused standing order that bills again."""
    return _moved(standing_order, StandingOrderEvent.RESUME, None)


def _moved(
    standing_order: StandingOrder, event: StandingOrderEvent, resume_time: datetime | None
) -> StandingOrder:
    state = STANDING_ORDER.to(standing_order.state, event)
    return replace(standing_order, state=state, resume_time=resume_time)


def pause_recorded(standing_order: StandingOrder, now: datetime) -> Opening:
    """A standing order that stays paused; the cycles that fell due so far get their rows."""
    return _left_out(standing_order, now, lambda _cycle, date_: date_.due_at <= now)


def resumed(standing_order: StandingOrder, now: datetime) -> Opening:
    """A standing order after its pause; it continues with the first cycle it can announce in time.

    A pause that had an end leaves out nothing after it, however late somebody is there to resume it.
    """
    end = min(now, standing_order.resume_time or now)
    return _left_out(
        reactivated(standing_order),
        now,
        lambda cycle, date_: not outlasts_pause(standing_order, cycle, date_, end),
    )


def _left_out(
    standing_order: StandingOrder,
    now: datetime,
    is_left_out: Callable[[int, CycleDate], bool],
) -> Opening:
    """Each of the next cycles that a pause leaves out gets its one row."""

    def order_of(cycle: int, date_: CycleDate, following: CycleDate | None) -> Order:
        order = new_order(standing_order, cycle, date_, following, now)
        return skipped(order, OrderReason.PAUSED, now)

    return opened_while(standing_order, is_left_out, order_of)
