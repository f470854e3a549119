"""Stock, and its holds for orders."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from services.catalog.application import products
from services.catalog.domain.products import Fault, Item, ProductKey
from services.catalog.domain.stock import HoldRequest, Stock, allocate, shortages
from services.catalog.domain.transitions import HoldEvent
from services.catalog.publishers import stock_low
from services.catalog.store import products as product_store
from services.catalog.store import stock as stock_store
from services.runtime.db.pool import Connection
from services.runtime.errors import wrong_state
from services.runtime.messaging.events import OutboxEvent
from services.runtime.mutations import Applied


async def adjust(
    tx: Connection, key: ProductKey, delta_units: int, now: datetime
) -> Applied[Stock]:
    """Add to or take from the units on hand.

    Raises NOT_FOUND PRODUCT_NOT_FOUND, FAILED_PRECONDITION STOCK_NOT_TRACKED or STOCK_INSUFFICIENT.
    """
    product = await products.existing(tx, key, lock=True)
    if not product.stock_tracked:
        raise wrong_state("STOCK_NOT_TRACKED", "the product's stock is not tracked")
    before = await stock_store.stock(tx, key)
    after = await stock_store.adjust_stock(tx, key, delta_units)
    if after is None:
        raise wrong_state("STOCK_INSUFFICIENT", "fewer units would be on hand than are held")
    # Units may have been held since `before` was read.
    available_before = {key: after.available_units - delta_units}
    return Applied(after, before, await _low_stock_events(tx, available_before, [after], now))


async def hold(
    tx: Connection, wanted: Sequence[HoldRequest], now: datetime
) -> tuple[list[HoldRequest], dict[str, list[Fault]], list[OutboxEvent]]:
    """Hold stock for orders, each whole or not at all; an order that has its hold keeps it.

    Returns the holds that are new, what each other order lacks, and the events to publish.
    """
    keys = (item.key for request in wanted for item in request.items)
    tracked = await stock_store.tracked_stock(tx, keys, lock=True)
    held = await stock_store.orders_with_holds(tx, [request.order for request in wanted])
    new = {request.order: request for request in wanted if request.order not in held}
    granted, short = allocate(list(new.values()), tracked)
    changed = await stock_store.insert_holds(tx, granted)
    return granted, short, await _low_stock_events(tx, tracked, changed, now)


async def check(connection: Connection, wanted: Sequence[Sequence[Item]]) -> list[list[Fault]]:
    """What is short of each list of items, without holding anything."""
    keys = (item.key for items in wanted for item in items)
    tracked = await stock_store.tracked_stock(connection, keys, lock=False)
    return [shortages(items, tracked) for items in wanted]


async def commit_holds(tx: Connection, orders: Sequence[str]) -> None:
    """Take the held units of orders out of the stock."""
    await stock_store.end_holds(tx, orders, HoldEvent.COMMIT)


async def release_holds(tx: Connection, orders: Sequence[str]) -> None:
    """Make the held units of orders available again."""
    await stock_store.end_holds(tx, orders, HoldEvent.RELEASE)


async def expire_holds(tx: Connection, now: datetime, limit: int) -> tuple[int, datetime | None]:
    """Release a batch of holds that ran out; returns how many, or when the next one will."""
    expired = await stock_store.expire_holds(tx, now, limit)
    return expired, None if expired else await stock_store.next_hold_expiry(tx)


async def _low_stock_events(
    tx: Connection,
    available_before: Mapping[ProductKey, int],
    changed: Sequence[Stock],
    now: datetime,
) -> list[OutboxEvent]:
    """Events of products whose available units have just come down to their threshold."""
    stocks = {stock.key: stock for stock in changed}
    known = await product_store.products_by_key(tx, stocks)
    return [
        stock_low(product, stocks[key].available_units, stocks[key].version, now)
        for key, product in known.items()
        if stocks[key].available_units <= product.low_stock_threshold < available_before[key]
    ]
