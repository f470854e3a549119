"""What is to come of standing orders: dates, amounts, and what would be left out."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from services.runtime.db.pool import Database
from services.runtime.rpc.limits import ConcurrencyLimiter
from services.scheduler.application.evaluation.context import Context
from services.scheduler.application.evaluation.evaluation import plan_announced
from services.scheduler.application.evaluation.projection import Projection, project
from services.scheduler.clients import Clients
from services.scheduler.domain.conditions import has_expression
from services.scheduler.domain.cycles import new_order, reason_against
from services.scheduler.domain.ids import OrderKey
from services.scheduler.domain.order import Order, OrderReason, OrderState
from services.scheduler.domain.standing_order import StandingOrder, under_rule_lead
from services.scheduler.store import orders

PREVIEW_DEFAULT_CYCLES = 12
# What takes long for one merchant leaves time for the others, and for what is due.
LONG_PREVIEWS_AT_ONCE_MAX = 2
LONG_PREVIEWS_OF_MERCHANT_MAX = 1


class CyclePreview(NamedTuple):
    """A cycle to come, as it would be if nothing changed."""

    order: Order
    notice_time: datetime
    # None: it would be ordered.
    skip_reason: OrderReason | None
    # None: a cycle that is left out anyway is not priced.
    projection: Projection | None


async def preview(
    database: Database,
    clients: Clients,
    limiter: ConcurrencyLimiter,
    standing_order: StandingOrder,
    count: int,
    now: datetime,
) -> list[CyclePreview]:
    """The coming cycles of a standing order, priced as they would be; long ones wait their turn."""
    if count <= PREVIEW_DEFAULT_CYCLES and not has_expression(standing_order.conditions):
        (previews,) = await preview_all(database, clients, [standing_order], count, now)
        return previews
    async with limiter.of(standing_order.merchant):
        (previews,) = await preview_all(database, clients, [standing_order], count, now)
        return previews


async def preview_all(
    database: Database,
    clients: Clients,
    standing_orders: Sequence[StandingOrder],
    count: int,
    now: datetime,
) -> list[list[CyclePreview]]:
    """The coming cycles of many standing orders, in their order, priced at once."""
    coming = [list(_coming(previewed, count, now)) for previewed in standing_orders]
    wanted = [order for cycles in coming for order, skip_reason in cycles if skip_reason is None]
    by_key = {standing_order.key: standing_order for standing_order in standing_orders}
    async with database.read() as connection:
        announced = await orders.announced(connection, list(by_key))
    planned, _ = await plan_announced(clients, announced)
    projected = await project(Context(database, clients, by_key, now), wanted, planned)
    projections = {projection.order.key: projection for projection in projected}
    return [
        _previews(standing_order, cycles, projections, now)
        for standing_order, cycles in zip(standing_orders, coming, strict=True)
    ]


def _coming(
    standing_order: StandingOrder, count: int, now: datetime
) -> Iterator[tuple[Order, OrderReason | None]]:
    """The orders of the next cycles without one, at most so many, and what leaves them out."""
    first = standing_order.next_cycle
    for cycle in range(first, first + count) if first is not None else ():
        date_ = standing_order.date(cycle)
        if date_ is None:
            return
        following = standing_order.date(cycle + 1)
        order = new_order(standing_order, cycle, date_, following, now)
        yield order, reason_against(standing_order, cycle, date_, now)


def _previews(
    standing_order: StandingOrder,
    coming: Sequence[tuple[Order, OrderReason | None]],
    projections: Mapping[OrderKey, Projection],
    now: datetime,
) -> list[CyclePreview]:
    """The cycles as they would be prepared, one after another and none during a pause."""
    prepare_time = max(now, standing_order.resume_time or now)
    previews = []
    for order, skip_reason in coming:
        prepare_time = max(prepare_time, standing_order.prepare_at(order.key.cycle, order.due_time))
        projection = projections.get(order.key)
        previews.append(_preview(order, skip_reason, projection, prepare_time))
        lead = projection.order.rule_lead if projection else None
        if lead is not None:
            # Those after it are prepared as early as rule packs ask for of this one.
            standing_order = under_rule_lead(standing_order, lead)
    return previews


def _preview(
    order: Order,
    skip_reason: OrderReason | None,
    projection: Projection | None,
    prepare_time: datetime,
) -> CyclePreview:
    if projection is None:
        return CyclePreview(order, prepare_time, skip_reason, None)
    prepared = projection.order
    if prepared.state is OrderState.SKIPPED:
        (skip_reason,) = prepared.reasons
    is_deferred = prepared.due_time != order.due_time
    notice_time = (prepared.recheck_time if is_deferred else None) or prepare_time
    return CyclePreview(prepared, notice_time, skip_reason, projection)
