"""Cycles that fell due before anybody opened them, when their standing order changes or ends. Pure."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from services.scheduler.domain.calendar import CycleDate
from services.scheduler.domain.cycles import new_order, opened_while, reason_against
from services.scheduler.domain.order import Order, OrderReason, OrderState, Stage
from services.scheduler.domain.order_lifecycle import cancelled, moved, skipped
from services.scheduler.domain.standing_order import Opening, StandingOrder, advanced
from services.scheduler.domain.transitions import STANDING_ORDER, OrderEvent, StandingOrderEvent


def overdue_opened(
    standing_order: StandingOrder, now: datetime, new_trace: Callable[[], str] = str
) -> Opening:
    """A standing order whose cycles up to now all have their rows: a change of it loses none.

    Those of a pause are left out. Of the others the catch-up policy says which are missed; what it
    bills late is yet to be prepared.
    """

    def order_of(cycle: int, date_: CycleDate, following: CycleDate | None) -> Order:
        order = new_order(standing_order, cycle, date_, following, now)
        reason = reason_against(standing_order, cycle, date_, following, now)
        return skipped(order, reason, now) if reason else _to_prepare(order, now, new_trace)

    return opened_while(standing_order, lambda _cycle, date_: date_.due_at <= now, order_of)


def ended(standing_order: StandingOrder, now: datetime) -> Opening:
    """A standing order that is cancelled at once; the cycles that fell due have their rows."""
    opening = overdue_opened(standing_order, now)
    orders = (
        order
        if order.state is OrderState.SKIPPED
        else cancelled(order, OrderReason.STANDING_ORDER_CANCELLED, now)
        for order in opening.orders
    )
    state = STANDING_ORDER.to(standing_order.state, StandingOrderEvent.CANCEL)
    over = replace(standing_order, state=state, resume_time=None)
    return Opening(advanced(over, 0, None), tuple(orders))


def _to_prepare(order: Order, now: datetime, new_trace: Callable[[], str]) -> Order:
    """An order that is prepared as soon as its turn comes."""
    return moved(
        order,
        OrderEvent.HOLD,
        recheck_time=now,
        held_stage=Stage.PREPARE,
        traceparent=new_trace(),
    )
