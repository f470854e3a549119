"""Stock, and its holds for orders.

Whoever changes both locks the stock of the products first, in the order of their keys (store/stock.py).
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from services.catalog.application import bookings, products
from services.catalog.domain.bookings import Booking
from services.catalog.domain.bundles import (
    bundle_stock,
    expanded,
    faults_as_ordered,
    held_as_ordered,
    request_expanded,
)
from services.catalog.domain.products import Fault, Item, Product, ProductKey
from services.catalog.domain.stock import (
    Hold,
    HoldRequest,
    Stock,
    StockChange,
    allocate,
    ended,
    held_again,
    shortages,
    stock_changes,
    to_hold,
)
from services.catalog.domain.transitions import HoldEvent, HoldState
from services.catalog.publishers import stock_changed
from services.catalog.store import holds as hold_store
from services.catalog.store import products as product_store
from services.catalog.store import stock as stock_store
from services.runtime.db.pool import Connection
from services.runtime.errors import not_found, wrong_state
from services.runtime.messaging import outbox
from services.runtime.messaging.events import OutboxEvent
from services.runtime.mutations import Applied


class OrderHold(NamedTuple):
    """What is held for an order, or was: units, and slots of a day."""

    order: str
    hold: Hold | None
    booking: Booking | None


async def adjust(
    tx: Connection, key: ProductKey, delta_units: int, now: datetime
) -> Applied[Stock]:
    """Add to or take from the units on hand.

    Raises NOT_FOUND PRODUCT_NOT_FOUND, FAILED_PRECONDITION STOCK_NOT_TRACKED or STOCK_INSUFFICIENT.
    """
    product = await products.existing(tx, key)
    if not product.stock_tracked:
        raise wrong_state("STOCK_NOT_TRACKED", "the product's stock is not tracked")
    before = await stock_store.tracked_stock(tx, [key], lock=True)
    after = await stock_store.adjust_stock(tx, key, delta_units)
    if after is None:
        held, on_hand = before[key].held_units, before[key].on_hand_units
        raise wrong_state(
            "STOCK_INSUFFICIENT",
            f"fewer units would be on hand than are held: {held} of {on_hand}",
            on_hand_units=str(on_hand),
            held_units=str(held),
        )
    return Applied(after, before[key], await _changed(tx, before, [after], now))


async def hold(
    tx: Connection, wanted: Sequence[HoldRequest], now: datetime
) -> tuple[list[HoldRequest], dict[str, list[Fault]], list[OutboxEvent]]:
    """Hold stock for orders, each whole or not at all; an order that has its hold keeps it.

    An order that was announced again gets a new hold; the units of one that is paid leave the stock at
    once. Returns the holds that are new, what each
    other order lacks, and the events to publish.
    """
    orders = [request.order for request in wanted]
    known = await hold_store.holds_of(tx, orders)
    ordered = {request.order: request.items for request in wanted}
    bundles = await product_store.bundles(tx, _keys(ordered.values()))
    wanted = [request_expanded(request, bundles) for request in wanted]
    keys = _keys(request.items for request in wanted)
    before = await stock_store.tracked_stock(tx, keys | _held_keys(known), lock=True)
    if known:
        # Holds of these products have not changed any more since their stock is locked.
        known = await hold_store.holds_of(tx, orders)
    new, outdated = to_hold(wanted, known)
    changed = await hold_store.settle_holds(tx, outdated, HoldEvent.RELEASE)
    present = before | {stock.key: stock for stock in changed}
    granted, short = allocate(new, _available(present))
    granted = [held_as_ordered(request, bundles, present) for request in granted]
    late = ended(wanted, known, _available(present))
    late = [held_as_ordered(request, bundles, present) for request in late]
    changed += await hold_store.insert_holds(tx, [*granted, *late])
    # What they had held before is not theirs any more.
    await hold_store.forget_items(tx, [it for it in granted if not it.items and it.order in known])
    paid = [request.order for request in wanted if request.paid]
    if paid:
        changed += await hold_store.settle_holds(tx, paid, HoldEvent.COMMIT)
    await _await_units(tx, short)
    available = _available(present)
    lacking = {
        order: faults_as_ordered(ordered[order], faults, bundles, available)
        for order, faults in short.items()
    }
    return granted, lacking, await _changed(tx, before, changed, now)


async def check(connection: Connection, wanted: Sequence[Sequence[Item]]) -> list[list[Fault]]:
    """What is short of each list of items, without holding anything."""
    bundles = await product_store.bundles(connection, _keys(wanted))
    taken = [expanded(items, bundles) for items in wanted]
    tracked = await stock_store.tracked_stock(connection, _keys(taken), lock=False)
    available = _available(tracked)
    return [
        faults_as_ordered(ordered, shortages(items, available), bundles, available)
        for ordered, items in zip(wanted, taken, strict=True)
    ]


async def stock_of(connection: Connection, product: Product) -> Stock:
    """The stock of a product; of a bundle, as many units as its parts make."""
    if not product.parts:
        return await stock_store.stock(connection, product.key)
    parts = [part.key for part in product.parts]
    stocks = await stock_store.tracked_stock(connection, parts, lock=False)
    return bundle_stock(product.key, product.parts, stocks)


async def commit_holds(tx: Connection, orders: Sequence[str], now: datetime) -> None:
    """Take the held units of orders out of the stock.

    An order that is paid after its hold ran out takes its units all the same, if they are there. So
    does one that had lapsed and was paid late, and one whose end the scheduler has lost. If they are
    gone the merchant owes them.
    """
    known = await hold_store.holds_of(tx, orders)
    before = await stock_store.tracked_stock(tx, _held_keys(known), lock=True)
    if known:
        # One of them may have run out before its stock was locked.
        known = await hold_store.holds_of(tx, orders)
    again, short = allocate(held_again(known.values()), _available(before))
    changed = await hold_store.insert_holds(tx, again)
    await hold_store.settle_holds(tx, orders, HoldEvent.COMMIT)
    if short:
        await hold_store.move_backorders(tx, list(short), HoldEvent.OWE)
        await _await_units(tx, short)
    if changed:
        # Units that were held are no news by leaving; others can be had no more.
        await outbox.put(tx, await _changed(tx, before, changed, now))


async def end_holds(tx: Connection, ended: Sequence[tuple[str, int]], now: datetime) -> None:
    """Make the held units of orders that ended available again, and let none be held for them.

    Of each order, how often it had been announced by then.
    """
    known = await hold_store.holds_of(tx, [order for order, _ in ended])
    before = await stock_store.tracked_stock(tx, _held_keys(known), lock=True)
    # One that was left out twice ended with its latest announcement.
    changed = await hold_store.end_holds(tx, dict(sorted(ended)))
    await outbox.put(tx, await _changed(tx, before, changed, now))


async def expire_holds(tx: Connection, due: Mapping[str, Hold], now: datetime) -> None:
    """Make units available again whose holds, by their orders' names, nobody settled in time."""
    before = await stock_store.tracked_stock(tx, _held_keys(due), lock=True)
    changed = await hold_store.expire_holds(tx, list(due), now)
    await outbox.put(tx, await _changed(tx, before, changed, now))


async def serve_backorders(tx: Connection, due: Mapping[str, Hold], now: datetime) -> None:
    """Give paid orders, by their names, the units that they are owed, as far as these have come.

    The first order comes first, each whole or not at all.
    """
    before = await stock_store.tracked_stock(tx, _held_keys(due), lock=True)
    wanted = [
        HoldRequest(hold.order, hold.announcement_count, hold.items, now, hold.due_time or now)
        for hold in due.values()
    ]
    granted, short = allocate(wanted, _available(before))
    served = [request.order for request in granted]
    items = await hold_store.move_backorders(tx, served, HoldEvent.SERVE)
    await stock_store.add_held(tx, items)
    changed = await stock_store.take_units(tx, items, taken=True)
    await hold_store.postpone_backorders(tx, list(short))
    await _await_units(tx, short)
    await outbox.put(tx, await _changed(tx, before, changed, now))


async def _await_units(tx: Connection, short: Mapping[str, Sequence[Fault]]) -> None:
    """Remember which units orders lack."""
    lacking = (fault.key for faults in short.values() for fault in faults)
    await stock_store.set_awaited(tx, lacking, is_awaited=True)


async def hold_of(connection: Connection, order: str) -> OrderHold:
    """What is held for an order. Raises NOT_FOUND STOCK_HOLD_NOT_FOUND."""
    known = await hold_store.holds_of(connection, [order])
    booking = await bookings.booking_of(connection, order)
    if order not in known and booking is None:
        raise not_found("STOCK_HOLD_NOT_FOUND", f"a hold of stock for {order}")
    return OrderHold(order, known.get(order), booking)


async def release(tx: Connection, order: str, now: datetime) -> Applied[OrderHold]:
    """Make what is held for an order available again; what was released already stays as it is.

    What is owed to one that is paid is owed no more.

    Raises NOT_FOUND STOCK_HOLD_NOT_FOUND, FAILED_PRECONDITION STOCK_HOLD_COMMITTED.
    """
    known = await hold_of(tx, order)
    held = {order: known.hold} if known.hold else {}
    before = await stock_store.tracked_stock(tx, _held_keys(held), lock=True)
    # It may have been settled before its stock was locked.
    found = await hold_of(tx, order)
    if found.hold and found.hold.state is HoldState.BACKORDERED:
        await hold_store.move_backorders(tx, [order], HoldEvent.WAIVE)
        return Applied(await hold_of(tx, order), found, resource=order)
    if HoldState.COMMITTED in (entry.state for entry in (found.hold, found.booking) if entry):
        raise wrong_state(
            "STOCK_HOLD_COMMITTED", f"{order} is paid, and its units and slots are gone"
        )
    changed = await hold_store.settle_holds(tx, [order], HoldEvent.RELEASE)
    events = await _changed(tx, before, changed, now)
    if found.booking:
        events += await bookings.release(tx, {found.booking.order: found.booking}, now)
    return Applied(await hold_of(tx, order), found, events, resource=order)


def _available(stocks: Mapping[ProductKey, Stock]) -> dict[ProductKey, int]:
    return {key: stock.available_units for key, stock in stocks.items()}


def _keys(lists: Iterable[Iterable[Item]]) -> set[ProductKey]:
    return {item.key for items in lists for item in items}


def _held_keys(known: Mapping[str, Hold]) -> set[ProductKey]:
    return _keys(hold.items for hold in known.values())


async def _changed(
    tx: Connection, before: Mapping[ProductKey, Stock], changed: Sequence[Stock], now: datetime
) -> list[OutboxEvent]:
    """The events of changed stock; of several changes of one product, the last counts."""
    after = {stock.key: stock for stock in changed if stock.key in before}
    known = await product_store.products_by_key(tx, after)
    changes = [
        (product, after[key], change)
        for key, product in known.items()
        for change in stock_changes(before[key], after[key], product.low_stock_threshold)
    ]
    restocked = {stock.key for _, stock, change in changes if change is StockChange.RESTOCKED}
    await stock_store.set_awaited(tx, restocked, is_awaited=False)
    if restocked:
        await hold_store.wake_backorders(tx, restocked, now)
    return [stock_changed(*entry, now) for entry in changes + await _bundles(tx, restocked, after)]


async def _bundles(
    tx: Connection, restocked: Collection[ProductKey], after: Mapping[ProductKey, Stock]
) -> list[tuple[Product, Stock, StockChange]]:
    """The bundles that can be had again since one of their parts can: orders wait for those, too."""
    found = await product_store.bundles_with(tx, restocked)
    parts = {part.key for bundle in found for part in bundle.parts}
    stocks = await stock_store.tracked_stock(tx, parts, lock=False)
    changes = []
    for bundle in found:
        units = bundle_stock(bundle.key, bundle.parts, stocks)
        # Distinguished by the version of the part, of which several can come at once.
        version = max(after[part.key].version for part in bundle.parts if part.key in restocked)
        if units.available_units:
            changes.append((bundle, replace(units, version=version), StockChange.RESTOCKED))
    return changes
