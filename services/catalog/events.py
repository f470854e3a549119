"""What the catalog tells, and what it does when orders end."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from recurring.catalog.v1 import events_pb2
from recurring.scheduler.v1 import events_pb2 as scheduler_events_pb2
from sqlalchemy.ext.asyncio import AsyncConnection

from services.catalog.domain import Price, Product, ProductKey, subscriber_effective_time
from services.catalog.store import stock as stock_store
from services.runtime.messaging.events import Event, OutboxEvent, Subscription, Subscriptions
from services.runtime.resource_names import NamePattern
from services.runtime.rpc.conversions import to_money, to_timestamp
from services.runtime.workers.clock import Clock

PRODUCT = NamePattern("merchants/{merchant}/products/{product}")
PRICE = NamePattern("merchants/{merchant}/products/{product}/prices/{price}")

# --- out ----------------------------------------------------------------------------------------


def price_change_scheduled(product: Product, price: Price, previous: Price | None) -> OutboxEvent:
    """A new price was announced."""
    message = events_pb2.PriceChangeScheduled(
        product=product_name(product.key),
        title=product.title,
        price=PRICE.format(product.key.merchant, product.key.product, price.price),
        unit_price=to_money(price.amount_minor, price.currency),
        effective_time=to_timestamp(price.effective_time),
        subscriber_effective_time=to_timestamp(
            subscriber_effective_time(price, previous, product.increase_notice_days)
        ),
    )
    if previous is not None:
        message.previous_unit_price.CopyFrom(to_money(previous.amount_minor, previous.currency))
    return _fact(product.key, message.price, message, price.announce_time)


def price_change_withdrawn(product: Product, price: Price, now: datetime) -> OutboxEvent:
    """A price that was announced will not take effect."""
    message = events_pb2.PriceChangeWithdrawn(
        product=product_name(product.key),
        title=product.title,
        price=PRICE.format(product.key.merchant, product.key.product, price.price),
        unit_price=to_money(price.amount_minor, price.currency),
        effective_time=to_timestamp(price.effective_time),
        withdraw_time=to_timestamp(now),
    )
    return _fact(product.key, message.price, message, now)


def product_discontinued(product: Product, now: datetime) -> OutboxEvent:
    """A product went off sale."""
    name = product_name(product.key)
    message = events_pb2.ProductDiscontinued(
        product=name, title=product.title, discontinue_time=to_timestamp(now)
    )
    return _fact(product.key, name, message, now)


def stock_low(product: Product, available_units: int, version: int, now: datetime) -> OutboxEvent:
    """The available units fell to the threshold or below it, by this version of the stock."""
    name = product_name(product.key)
    message = events_pb2.StockLow(
        product=name,
        title=product.title,
        available_units=available_units,
        low_stock_threshold=product.low_stock_threshold,
    )
    return _fact(product.key, f"{name}@{version}", message, now)


def product_name(key: ProductKey) -> str:
    """The product's resource name."""
    return PRODUCT.format(key.merchant, key.product)


def _fact(key: ProductKey, fact_key: str, message: Any, now: datetime) -> OutboxEvent:  # noqa: ANN401
    return OutboxEvent(
        key=fact_key,
        message=message,
        tenant=key.merchant,
        partition_key=product_name(key),
        occur_time=now,
    )


# --- in ----------------------------------------------------------------------------------------


async def on_order_confirmed(tx: AsyncConnection, events: Sequence[Event[Any]]) -> None:
    """Paid: the held units leave the stock."""
    await stock_store.close_holds(tx, [event.message.ref.order for event in events], taken=True)


async def on_order_ended(tx: AsyncConnection, events: Sequence[Event[Any]]) -> None:
    """Ended without payment: the held units become available again."""
    await stock_store.close_holds(tx, [event.message.ref.order for event in events], taken=False)


def subscriptions(_clock: Clock) -> Subscriptions:
    """Whose events the catalog reads, and what it does with them."""
    return {
        "SCHEDULER": (
            Subscription(scheduler_events_pb2.OrderConfirmed, on_order_confirmed),
            Subscription(scheduler_events_pb2.OrderLapsed, on_order_ended),
            Subscription(scheduler_events_pb2.OrderCancelled, on_order_ended),
            Subscription(scheduler_events_pb2.OrderSkipped, on_order_ended),
        )
    }
