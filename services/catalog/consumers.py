"""What the catalog does with the scheduler's events: it settles the holds of orders that end."""

from collections.abc import Sequence
from typing import Any

from recurring.scheduler.v1 import events_pb2

from services.catalog.application import stock
from services.runtime.db.pool import Connection
from services.runtime.messaging.events import Event, Subscription, Subscriptions
from services.runtime.workers.clock import Clock


async def on_order_confirmed(tx: Connection, events: Sequence[Event[Any]]) -> None:
    """Paid: the held units leave the stock."""
    await stock.commit_holds(tx, [event.message.ref.order for event in events])


async def on_order_ended(tx: Connection, events: Sequence[Event[Any]]) -> None:
    """Ended without payment: the held units become available again."""
    await stock.release_holds(tx, [event.message.ref.order for event in events])


def subscriptions(_clock: Clock) -> Subscriptions:
    """The events that the catalog consumes, by the stream that they are in."""
    return {
        "SCHEDULER": (
            Subscription(events_pb2.OrderConfirmed, on_order_confirmed),
            Subscription(events_pb2.OrderLapsed, on_order_ended),
            Subscription(events_pb2.OrderCancelled, on_order_ended),
            Subscription(events_pb2.OrderSkipped, on_order_ended),
        )
    }
