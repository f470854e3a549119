"""What the catalog does with the events of others: it settles holds, notes who was notified."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from recurring.notify.v1 import events_pb2 as notify_events_pb2
from recurring.scheduler.v1 import events_pb2

from services.catalog.application import bookings, stock
from services.catalog.names import PRICE, STANDING_ORDER
from services.catalog.store import protections
from services.catalog.store.protections import PriceNotice
from services.runtime.db.pool import Connection
from services.runtime.messaging.events import Event, Subscription, Subscriptions
from services.runtime.rpc.conversions import from_timestamp
from services.runtime.workers.clock import Clock


async def on_order_confirmed(clock: Clock, tx: Connection, events: Sequence[Event[Any]]) -> None:
    """Paid: the held units leave the stock, and the booked slots are used."""
    orders = [event.message.ref.order for event in events]
    await stock.commit_holds(tx, orders, clock.now())
    # What an attempt had booked that came to nothing is not used by an order without services.
    await bookings.commit(tx, [e.message.ref.order for e in events if e.message.services])


async def on_order_slots_booked(tx: Connection, events: Sequence[Event[Any]]) -> None:
    """The orders are stored that slots were booked for, which are kept until they are settled."""
    expire_times = {
        event.message.ref.order: from_timestamp(event.message.expire_time) for event in events
    }
    await bookings.keep(tx, expire_times)


async def on_order_ended(clock: Clock, tx: Connection, events: Sequence[Event[Any]]) -> None:
    """Ended without payment: the held units and booked slots become available again."""
    refs = [event.message.ref for event in events]
    ended = [(ref.order, ref.announcement_count) for ref in refs]
    await stock.end_holds(tx, ended, clock.now())
    await bookings.end(tx, ended, clock.now())


async def on_price_notice_delivered(
    tx: Connection, events: Sequence[Event[notify_events_pb2.PriceNoticeDelivered]]
) -> None:
    """Customers were notified of a price: from then on the notice of an increase runs."""
    notices = [
        PriceNotice(
            merchant,
            STANDING_ORDER.key(standing_order).standing_order,
            product,
            price,
            from_timestamp(event.message.announce_time),
            from_timestamp(event.message.deliver_time),
        )
        for event in events
        for merchant, product, price in [PRICE.key(event.message.price)]
        for standing_order in event.message.standing_orders
    ]
    await protections.insert_notices(tx, notices)


def subscriptions(clock: Clock) -> Subscriptions:
    """The events that the catalog consumes, by the stream that they are in."""
    ended = partial(on_order_ended, clock)
    return {
        "SCHEDULER": (
            Subscription(events_pb2.OrderConfirmed, partial(on_order_confirmed, clock)),
            Subscription(events_pb2.OrderSlotsBooked, on_order_slots_booked),
            Subscription(events_pb2.OrderLapsed, ended),
            Subscription(events_pb2.OrderCancelled, ended),
            Subscription(events_pb2.OrderSkipped, ended),
        ),
        "NOTIFY": (
            Subscription(notify_events_pb2.PriceNoticeDelivered, on_price_notice_delivered),
        ),
    }
