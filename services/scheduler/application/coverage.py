"""Which coming cycles the stock cannot serve."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime

from services.runtime.db.pool import Database
from services.scheduler.application.forecasts import Span, require_at_most, walk
from services.scheduler.clients import Clients
from services.scheduler.domain.coverage import Coverage, CycleDemand, Supply, coverage
from services.scheduler.domain.order import HOLD_WINDOW, Line, Order, OrderState

COVERAGE_MAX_PRODUCTS = 1000
# Some 20 MiB.
COVERAGE_MAX_ITEMS = 50_000


async def cover(
    database: Database, clients: Clients, span: Span, now: datetime
) -> list[tuple[str, Coverage]]:
    """By product (its name), how far its stock reaches: first what runs short, the soonest first.

    Raises INVALID_ARGUMENT FORECAST_TOO_LARGE.
    """
    wanted: dict[str, list[CycleDemand]] = defaultdict(list)
    # Of orders that are being paid: their units are held, and their slots are those of their day.
    paying: dict[str, list[CycleDemand]] = defaultdict(list)
    item_count = 0

    def add(order: Order, _currency: str, lines: Sequence[Line]) -> None:
        nonlocal item_count
        demands = paying if order.state is OrderState.AWAITING_PAYMENT else wanted
        for line in lines:
            demands[line.product].append(
                CycleDemand(order.due_time, order.key, order.local_date, line.quantity)
            )
        item_count += len(lines)
        require_at_most(item_count, COVERAGE_MAX_ITEMS, "items")
        require_at_most(len(demands), COVERAGE_MAX_PRODUCTS, "products")

    # With the orders that are late: those that wait for units are.
    await walk(database, clients, replace(span, first=span.first - HOLD_WINDOW), now, add)
    supplies = await clients.supplies(list({**wanted, **paying}), span.first, span.last)
    for product, supply in supplies.items():
        if supply.days is not None:
            wanted[product] += paying[product]
    of_parts = _wanted_of_parts(wanted, supplies)
    lacking = [product for product in of_parts if product not in supplies]
    supplies = {**supplies, **await clients.supplies(lacking, span.first, span.last)}
    covered = [
        (
            product,
            coverage(supply, wanted[product] + of_parts[product], span.first, span.last),
        )
        for product, supply in supplies.items()
        if supply.is_tracked and (wanted[product] or of_parts[product])
    ]
    return sorted(covered, key=_first_short)


def _wanted_of_parts(
    wanted: Mapping[str, Sequence[CycleDemand]], supplies: Mapping[str, Supply]
) -> defaultdict[str, list[CycleDemand]]:
    """By product, what is wanted of it as a part of bundles."""
    of_parts: defaultdict[str, list[CycleDemand]] = defaultdict(list)
    for bundle, supply in supplies.items():
        for part, quantity in supply.parts.items():
            of_parts[part] += [
                demand._replace(units=demand.units * quantity) for demand in wanted[bundle]
            ]
    return of_parts


def _first_short(covered: tuple[str, Coverage]) -> tuple[date, str]:
    product, found = covered
    return (found.short[0].local_date if found.short else date.max), product
