"""Pauses: how one begins, what it swallows, and how a standing order goes on. Pure functions."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from services.scheduler.domain.calendar import CycleDate
from services.scheduler.domain.cycles import new_order, outlasts_pause
from services.scheduler.domain.order import Order, OrderReason
from services.scheduler.domain.order_lifecycle import skipped
from services.scheduler.domain.standing_order import Opening, StandingOrder, State, coming, place_at


def paused(
    standing_order: StandingOrder, until_time: datetime | None, cycle_count: int | None
) -> StandingOrder:
    """A standing order that rests: until it is resumed, until then, or for so many cycles."""
    resume_time = until_time
    if cycle_count is not None and standing_order.next_cycle is not None:
        following = standing_order.next_cycle + cycle_count
        date_ = standing_order.date(following)
        # When the cycle after them is to be prepared, it is resumed just in time for it.
        resume_time = standing_order.prepare_at(following, date_.due_at) if date_ else None
    return replace(standing_order, state=State.PAUSED, resume_time=resume_time)


def pause_recorded(standing_order: StandingOrder, now: datetime) -> Opening:
    """A paused standing order that rests on; the cycles that fell due so far get their rows."""
    return _swallowed(standing_order, now, lambda _cycle, date_: date_.due_at <= now)


def resumed(standing_order: StandingOrder, now: datetime) -> Opening:
    """A standing order after its pause: it goes on with the first cycle that can be told in time."""
    active = replace(standing_order, state=State.ACTIVE, resume_time=None)
    return _swallowed(
        active, now, lambda cycle, date_: not outlasts_pause(standing_order, cycle, date_, now)
    )


def _swallowed(
    standing_order: StandingOrder,
    now: datetime,
    is_swallowed: Callable[[int, CycleDate], bool],
) -> Opening:
    """Each of the next cycles that a pause leaves out gets its one row."""
    orders: list[Order] = []
    opened = None
    cycle, date_ = coming(standing_order)
    while date_ is not None and is_swallowed(cycle, date_):
        order = new_order(standing_order, cycle, date_, now)
        orders.append(skipped(order, OrderReason.PAUSED, now))
        opened, cycle = date_, cycle + 1
        date_ = standing_order.date(cycle)
    return Opening(standing_order, tuple(orders), place_at(standing_order, cycle, date_, opened))
