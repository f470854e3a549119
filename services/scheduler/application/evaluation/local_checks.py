"""What our own rows say against orders that are to be prepared or collected, for the whole batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from services.runtime.db.pool import Database
from services.scheduler.application.evaluation.pricing import Templates, template_of
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


@dataclass(frozen=True, slots=True)
class LocalChecks:
    """What was found for a batch."""

    # When products were last bought elsewhere.
    bought: Mapping[PurchaseKey, datetime]
    # By order, the cycle before it that is unpaid.
    unpaid: Mapping[OrderKey, int]


@dataclass(frozen=True, slots=True)
class CheckedBatch:
    """A batch, by whether there is anything to ask others about."""

    # Left out or HELD, as they are to be stored.
    decided: list[Order]
    going_on: list[Order]


async def check_locally(
    database: Database,
    orders: Sequence[Order],
    standing_orders: Templates,
    stage: Stage,
    now: datetime,
) -> CheckedBatch:
    """Leave out or hold the orders that our own rows speak against, before anybody is asked."""
    found = await _load(database, orders, standing_orders, now)
    result = CheckedBatch([], [])
    for order in orders:
        decided = _decide(order, standing_orders, found, stage, now) if found else None
        if decided is None:
            result.going_on.append(order)
        else:
            result.decided.append(decided)
    return result


async def _load(
    database: Database, orders: Sequence[Order], standing_orders: Templates, now: datetime
) -> LocalChecks | None:
    """One statement for each rule that any of the standing orders has; None where none has one."""
    counting = [order for order in orders if template_of(order, standing_orders).repurchase]
    waiting = [
        order.key for order in orders if template_of(order, standing_orders).waits_for_payment
    ]
    if not counting and not waiting:
        return None
    async with database.read() as connection:
        keys = [key for order in counting for key in keys_of(order)]
        return LocalChecks(
            bought=await purchases.last(connection, keys) if keys else {},
            unpaid=await settings.unpaid_before(connection, waiting, now) if waiting else {},
        )


def _decide(
    order: Order, standing_orders: Templates, found: LocalChecks, stage: Stage, now: datetime
) -> Order | None:
    rule = template_of(order, standing_orders).repurchase
    bought = repeated(order, rule, found.bought)
    if bought is not None and rule is not None:
        data = {"product": bought.product, "purchase_time": bought.purchase_time.isoformat()}
        if rule.action is RepurchaseAction.SKIP:
            return skipped(order, OrderReason.PURCHASED_ELSEWHERE, now, data)
        return held(order, (OrderReason.PURCHASED_ELSEWHERE,), stage, now, data)
    unpaid = found.unpaid.get(order.key)
    if unpaid is not None:
        return held(order, (OrderReason.PREVIOUS_UNPAID,), stage, now, {"unpaid_cycle": unpaid})
    return None
