"""What our own rows say against orders that are to be prepared or collected, for the whole batch."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from services.scheduler.application.evaluation.context import Context
from services.scheduler.domain.ids import OrderKey
from services.scheduler.domain.order import Order, OrderReason, Stage
from services.scheduler.domain.order_lifecycle import held, skipped
from services.scheduler.domain.purchases import (
    PurchaseKey,
    RepurchaseAction,
    keys_of,
    repeated,
)
from services.scheduler.store import purchases, settings


class CheckedBatch(NamedTuple):
    """A batch, by whether there is anything to ask others about."""

    # Left out or HELD, as they are to be stored.
    decided: list[Order]
    going_on: list[Order]


async def check_locally(context: Context, orders: Sequence[Order], stage: Stage) -> CheckedBatch:
    """Leave out or hold the orders that our own rows speak against, before any call."""
    counting = [order for order in orders if context.standing_order(order).repurchase]
    waiting = [order.key for order in orders if context.standing_order(order).waits_for_payment]
    if not counting and not waiting:
        return CheckedBatch([], list(orders))
    keys = [key for order in counting for key in keys_of(order)]
    # One statement for each rule that any of the standing orders has.
    async with context.database.read() as connection:
        bought = await purchases.last(connection, keys) if keys else {}
        unpaid = await settings.unpaid_before(connection, waiting, context.now) if waiting else {}
    batch = CheckedBatch([], [])
    for order in orders:
        decided = _decide(context, order, stage, bought, unpaid)
        if decided is None:
            batch.going_on.append(order)
        else:
            batch.decided.append(decided)
    return batch


def _decide(
    context: Context,
    order: Order,
    stage: Stage,
    bought: Mapping[PurchaseKey, datetime],
    unpaid: Mapping[OrderKey, int],
) -> Order | None:
    """An order that is left out or held; None if it goes on.

    `bought` is when products were last bought elsewhere, `unpaid` by order the cycle before it that
    is unpaid.
    """
    rule = context.standing_order(order).repurchase
    purchase = repeated(order, rule, bought)
    if purchase is not None and rule is not None:
        data = {"product": purchase.product, "purchase_time": purchase.purchase_time.isoformat()}
        if rule.action is RepurchaseAction.SKIP:
            return skipped(order, OrderReason.PURCHASED_ELSEWHERE, context.now, data)
        return held(order, (OrderReason.PURCHASED_ELSEWHERE,), stage, context.now, data)
    if order.key in unpaid:
        unpaid_cycle = {"unpaid_cycle": unpaid[order.key]}
        return held(order, (OrderReason.PREVIOUS_UNPAID,), stage, context.now, unpaid_cycle)
    return None
