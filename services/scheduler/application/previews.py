"""What is to come of standing orders: dates, amounts, and what would be left out."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from services.runtime.db.pool import Database
from services.runtime.quiet_hours import announce_time
from services.runtime.rpc.limits import ConcurrencyLimiter
from services.scheduler.application.evaluation.context import Context
from services.scheduler.application.evaluation.evaluation import plan_announced
from services.scheduler.application.evaluation.projection import Projection, project
from services.scheduler.clients import Clients
from services.scheduler.domain.conditions import has_expression
from services.scheduler.domain.cycles import new_order, reason_against
from services.scheduler.domain.order import Order, OrderReason, OrderState
from services.scheduler.domain.standing_order import StandingOrder
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
        [
            _preview(order, skip_reason, projections.get(order.key), now)
            for order, skip_reason in cycles
        ]
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


def _preview(
    order: Order,
    skip_reason: OrderReason | None,
    projection: Projection | None,
    now: datetime,
) -> CyclePreview:
    if projection is not None:
        order = projection.order
        if order.state is OrderState.SKIPPED:
            (skip_reason,) = order.reasons
    # The order as it would be prepared knows what rule packs ask for.
    notice_time = announce_time(order.due_time - order.notice_lead, order.terms.time_zone)
    return CyclePreview(order, max(notice_time, now), skip_reason, projection)
