"""What is to come of standing orders: dates, amounts, and what would be left out."""

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from typing import NamedTuple

from services.runtime.db.pool import Database
from services.runtime.rpc.limits import ConcurrencyLimiter
from services.scheduler.application.evaluation.evaluation import plan_announced
from services.scheduler.application.evaluation.projection import Projection, project
from services.scheduler.clients import Clients
from services.scheduler.domain.calendar import CycleDate
from services.scheduler.domain.conditions import has_expression
from services.scheduler.domain.cycles import new_order, reason_against
from services.scheduler.domain.ids import OrderKey
from services.scheduler.domain.order import OrderReason, OrderState
from services.scheduler.domain.standing_order import StandingOrder
from services.scheduler.store import orders

PREVIEW_DEFAULT_CYCLES = 12
# What takes long for one merchant leaves time for the others, and for what is due.
LONG_PREVIEWS_AT_ONCE_MAX = 2
LONG_PREVIEWS_OF_MERCHANT_MAX = 1


class CyclePreview(NamedTuple):
    """A cycle to come, as it would be if nothing changed."""

    cycle: int
    local_date: date
    due_time: datetime
    notice_time: datetime
    # None: it would be ordered.
    skip_reason: OrderReason | None
    # None: nothing is asked about a cycle that is left out anyway.
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
    dates = [list(_coming(standing_order, count)) for standing_order in standing_orders]
    wanted = [
        new_order(standing_order, cycle, found, now)
        for standing_order, coming in zip(standing_orders, dates, strict=True)
        for cycle, found in coming
        if reason_against(standing_order, cycle, found, now) is None
    ]
    by_key = {standing_order.key: standing_order for standing_order in standing_orders}
    async with database.read() as connection:
        announced = await orders.announced(connection, list(by_key))
    planned, _ = await plan_announced(clients, announced)
    projected = await project(database, clients, wanted, by_key, planned, now)
    projections = {projection.order.key: projection for projection in projected}
    return [
        [
            _preview(
                standing_order, cycle, found, projections.get(_key(standing_order, cycle)), now
            )
            for cycle, found in coming
        ]
        for standing_order, coming in zip(standing_orders, dates, strict=True)
    ]


def _coming(standing_order: StandingOrder, count: int) -> Iterator[tuple[int, CycleDate]]:
    """The next cycles without an order, at most so many, and their dates."""
    first = standing_order.next_cycle
    for cycle in range(first, first + count) if first is not None else ():
        found = standing_order.date(cycle)
        if found is None:
            return
        yield cycle, found


def _preview(
    standing_order: StandingOrder,
    cycle: int,
    found: CycleDate,
    projection: Projection | None,
    now: datetime,
) -> CyclePreview:
    local_date, due_time = found.local_date or found.nominal_date, found.due_at
    reason = reason_against(standing_order, cycle, found, now)
    if projection is not None:
        order = projection.order
        local_date, due_time = order.local_date, order.due_time
        if order.state is OrderState.SKIPPED:
            (reason,) = order.reasons
    notice_time = max(standing_order.prepare_at(cycle, due_time), now)
    return CyclePreview(cycle, local_date, due_time, notice_time, reason, projection)


def _key(standing_order: StandingOrder, cycle: int) -> OrderKey:
    return OrderKey(standing_order.merchant, standing_order.standing_order, cycle)
