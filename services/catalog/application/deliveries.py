"""Deliveries: promised by suppliers, received into the stock, or cancelled."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import NamedTuple

from services.catalog.application import bookings, products, stock
from services.catalog.domain.deliveries import Delivery, DeliveryKey
from services.catalog.domain.products import Product, ProductKey
from services.catalog.domain.transitions import DELIVERY, DeliveryEvent, DeliveryState
from services.catalog.names import DELIVERY as DELIVERY_NAME
from services.catalog.store import deliveries as delivery_store
from services.catalog.store import products as product_store
from services.catalog.store import stock as stock_store
from services.runtime.db.pool import Connection
from services.runtime.errors import already_exists, not_found, wrong_state
from services.runtime.messaging.events import OutboxEvent
from services.runtime.mutations import Applied

# Of one product.
DELIVERIES_EXPECTED_MAX = 100


class Supply(NamedTuple):
    """What there is of a product, and what is expected."""

    key: ProductKey
    # None: there is no such product.
    product: Product | None
    available_units: int
    deliveries: Sequence[Delivery]
    # A service: of each wanted day, how many slots no paid order uses.
    service_days: Sequence[tuple[date, int]] = ()


async def create(tx: Connection, delivery: Delivery) -> Applied[Delivery]:
    """Remember a delivery.

    Raises NOT_FOUND PRODUCT_NOT_FOUND, FAILED_PRECONDITION STOCK_NOT_TRACKED or DELIVERIES_TOO_MANY,
    ALREADY_EXISTS DELIVERY_ALREADY_EXISTS.
    """
    key = delivery.key.product_key
    product = await products.existing(tx, key, lock=True)
    if not product.stock_tracked:
        raise wrong_state("STOCK_NOT_TRACKED", "the product's stock is not tracked")
    if await delivery_store.expected_count(tx, key) >= DELIVERIES_EXPECTED_MAX:
        most = f"{DELIVERIES_EXPECTED_MAX} deliveries of the product are expected"
        raise wrong_state("DELIVERIES_TOO_MANY", most)
    if not await delivery_store.insert(tx, delivery):
        raise already_exists("DELIVERY_ALREADY_EXISTS", DELIVERY_NAME.format(*delivery.key))
    return Applied(delivery)


async def receive(
    tx: Connection, key: DeliveryKey, received_units: int | None, now: datetime
) -> Applied[Delivery]:
    """Count a delivery among the units on hand; None: as many came as were expected.

    Raises NOT_FOUND DELIVERY_NOT_FOUND, FAILED_PRECONDITION DELIVERY_CANCELLED.
    """
    delivery = await _existing(tx, key)
    if delivery.state is DeliveryState.CANCELLED:
        raise wrong_state("DELIVERY_CANCELLED", "the delivery was cancelled")
    if delivery.state is DeliveryState.RECEIVED:
        return Applied(delivery, before=delivery)
    units = delivery.units if received_units is None else received_units
    state = DELIVERY.to(delivery.state, DeliveryEvent.RECEIVE)
    received = await delivery_store.update(tx, key, state, units)
    events: Sequence[OutboxEvent] = ()
    if units:
        events = (await stock.adjust(tx, key.product_key, units, now)).events
    return Applied(received, before=delivery, events=events)


async def cancel(tx: Connection, key: DeliveryKey) -> Applied[Delivery]:
    """Take back a delivery that will not come.

    Raises NOT_FOUND DELIVERY_NOT_FOUND, FAILED_PRECONDITION DELIVERY_RECEIVED.
    """
    delivery = await _existing(tx, key)
    if delivery.state is DeliveryState.RECEIVED:
        raise wrong_state("DELIVERY_RECEIVED", "the delivery has been received")
    if delivery.state is DeliveryState.CANCELLED:
        return Applied(delivery, before=delivery)
    state = DELIVERY.to(delivery.state, DeliveryEvent.CANCEL)
    return Applied(await delivery_store.update(tx, key, state, 0), before=delivery)


async def supplies(
    connection: Connection, keys: Sequence[ProductKey], span: tuple[date, date] | None = None
) -> list[Supply]:
    """What there is of products, in their order, and what is expected.

    With three statements, and two more for services, whose days of a span are wanted.
    """
    known = await product_store.products_by_key(connection, keys)
    tracked = await stock_store.tracked_stock(connection, keys, lock=False)
    expected = await delivery_store.expected(connection, keys)
    services = [key for key, product in known.items() if product.capacity_by_day]
    slots = await bookings.unused_slots(connection, services, *span) if span and services else {}
    return [
        Supply(
            key,
            known.get(key),
            tracked[key].available_units if key in tracked else 0,
            expected.get(key, ()),
            slots.get(key, ()),
        )
        for key in keys
    ]


async def _existing(tx: Connection, key: DeliveryKey) -> Delivery:
    delivery = await delivery_store.get_locked(tx, key)
    if delivery is None:
        raise not_found("DELIVERY_NOT_FOUND", DELIVERY_NAME.format(*key))
    return delivery
