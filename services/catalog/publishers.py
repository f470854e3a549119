"""The events that the catalog publishes."""

from datetime import datetime

from google.protobuf.message import Message
from recurring.catalog.v1 import events_pb2

from services.catalog.domain.prices import Price, subscriber_effective_time
from services.catalog.domain.products import Product, ProductKey
from services.catalog.domain.stock import Stock, StockChange
from services.catalog.names import PRICE, PRODUCT
from services.runtime.messaging.events import OutboxEvent
from services.runtime.rpc.conversions import to_money, to_timestamp


def price_change_scheduled(product: Product, price: Price, previous: Price | None) -> OutboxEvent:
    """A new price was announced."""
    message = events_pb2.PriceChangeScheduled(
        product=PRODUCT.format(*product.key),
        title=product.title,
        price=PRICE.format(*price.key),
        unit_price=to_money(price.unit_price_minor, price.currency),
        effective_time=to_timestamp(price.effective_time),
        subscriber_effective_time=to_timestamp(
            subscriber_effective_time(price, previous, product.increase_notice_days)
        ),
        announce_time=to_timestamp(price.announce_time),
    )
    if previous is not None:
        message.previous_unit_price.CopyFrom(to_money(previous.unit_price_minor, previous.currency))
    # Each correction announces it again.
    return _event(product.key, f"{message.price}@{price.version}", message, price.announce_time)


def price_change_withdrawn(product: Product, price: Price, now: datetime) -> OutboxEvent:
    """A price that was announced will not take effect."""
    message = events_pb2.PriceChangeWithdrawn(
        product=PRODUCT.format(*product.key),
        title=product.title,
        price=PRICE.format(*price.key),
        unit_price=to_money(price.unit_price_minor, price.currency),
        effective_time=to_timestamp(price.effective_time),
        withdraw_time=to_timestamp(now),
    )
    return _event(product.key, message.price, message, now)


def product_discontinued(product: Product, now: datetime) -> OutboxEvent:
    """A product went off sale."""
    name = PRODUCT.format(*product.key)
    message = events_pb2.ProductDiscontinued(
        product=name, title=product.title, discontinue_time=to_timestamp(now)
    )
    return _event(product.key, name, message, now)


def stock_changed(
    product: Product, stock: Stock, change: StockChange, now: datetime
) -> OutboxEvent:
    """The available units changed as somebody wants to be notified, by this version of the stock."""
    name, available_units = PRODUCT.format(*product.key), stock.available_units
    message: Message
    match change:
        case StockChange.LOW:
            message = events_pb2.StockLow(
                product=name,
                title=product.title,
                available_units=available_units,
                low_stock_threshold=product.low_stock_threshold,
            )
        case StockChange.OUT:
            message = events_pb2.StockOut(product=name, title=product.title)
        case StockChange.RESTOCKED:
            message = events_pb2.StockRestocked(
                product=name, title=product.title, available_units=available_units
            )
    return _event(product.key, f"{name}@{stock.version}", message, now)


def stock_low(product: Product, stock: Stock, now: datetime) -> OutboxEvent:
    """The threshold of a product rose to its available units, by this version of the product."""
    name = PRODUCT.format(*product.key)
    message = events_pb2.StockLow(
        product=name,
        title=product.title,
        available_units=stock.available_units,
        low_stock_threshold=product.low_stock_threshold,
    )
    return _event(product.key, f"{name}@{stock.version}/{product.version}", message, now)


def slots_freed(product: Product, freed_count: int, now: datetime) -> OutboxEvent:
    """A service that orders wait for has slots again, for the nth time."""
    name = PRODUCT.format(*product.key)
    message = events_pb2.StockRestocked(product=name, title=product.title)
    return _event(product.key, f"{name}@slots-{freed_count}", message, now)


def _event(key: ProductKey, event_key: str, message: Message, now: datetime) -> OutboxEvent:
    return OutboxEvent(
        key=event_key,
        message=message,
        tenant=key.merchant,
        partition_key=PRODUCT.format(*key),
        occur_time=now,
    )
