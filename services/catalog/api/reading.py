"""From the suite's messages to the domain, noting everything that is wrong with them."""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, TypeVar

from google.protobuf.message import Message
from recurring.catalog.v1 import catalog_pb2

from services.catalog import events
from services.catalog.domain import Cart, HoldRequest, Item, Line, ProductKey
from services.catalog.store import stock as stock_store
from services.runtime.auth.call_context import caller
from services.runtime.errors import Violations
from services.runtime.resource_names import NamePattern
from services.runtime.rpc.conversions import from_timestamp, read_timestamp

MERCHANT = NamePattern("merchants/{merchant}")
STANDING_ORDER = NamePattern("merchants/{merchant}/standingOrders/{standing_order}")

M = TypeVar("M")
D = TypeVar("D")


def read_merchant(name: str) -> str:
    """The merchant that the caller names, which must be its own."""
    (merchant,) = MERCHANT.parse(name)
    caller().check(merchant)
    return merchant


def read_key(name: str) -> ProductKey:
    """The product that the caller names, which must be of its own merchant."""
    merchant, product = events.PRODUCT.parse(name)
    caller().check(merchant)
    return ProductKey(merchant, product)


def read_price(name: str) -> tuple[ProductKey, str]:
    """The price that the caller names, which must be of its own merchant: its product and its id."""
    merchant, product, price = events.PRICE.parse(name)
    caller().check(merchant)
    return ProductKey(merchant, product), price


def read_batch(
    field: str, entries: Sequence[M], read: Callable[[Violations, str, M], D]
) -> list[D]:
    """Every entry of a batch; raises INVALID_ARGUMENT with what is wrong with any of them."""
    violations = Violations()
    found = [read(violations, f"{field}[{place}]", entry) for place, entry in enumerate(entries)]
    violations.check()
    return found


def read_cart(violations: Violations, field: str, cart: catalog_pb2.Cart) -> Cart:
    """What to price, for whom and when."""
    merchant, standing_order = STANDING_ORDER.parse(cart.standing_order)
    return Cart(
        standing_order=standing_order,
        cycle=cart.cycle,
        items=_read_items(violations, f"{field}.items", merchant, cart.items),
        price_time=_read_time(violations, field, cart, "price_time"),
    )


def read_protected(violations: Violations, field: str, entry: catalog_pb2.ProtectPrices) -> Cart:
    """A cart that is priced as a new customer's at sign-up: nothing protects it yet."""
    merchant, standing_order = STANDING_ORDER.parse(entry.standing_order)
    keys = _read_products(violations, f"{field}.products", merchant, entry.products)
    lock = entry.protection.lock
    if lock.HasField("until_time"):
        read_timestamp(violations, f"{field}.protection.lock.until_time", lock.until_time)
    return Cart(
        standing_order=standing_order,
        cycle=1,
        items=tuple(Item(key, 1) for key in dict.fromkeys(keys)),
        price_time=_read_time(violations, field, entry, "sign_up_time"),
    )


def read_hold(
    violations: Violations, field: str, entry: catalog_pb2.StockHoldRequest
) -> HoldRequest:
    """Stock wanted for one order; a product that is named twice is wanted as one sum."""
    merchant, _, _ = stock_store.ORDER.parse(entry.order)
    return HoldRequest(
        order=entry.order,
        items=_read_sums(violations, f"{field}.items", merchant, entry.items),
        expire_time=_read_time(violations, field, entry, "expire_time"),
    )


def read_stock_check(
    violations: Violations, field: str, entry: catalog_pb2.StockCheck
) -> tuple[Item, ...]:
    """Items whose stock is asked about; a product that is named twice is wanted as one sum."""
    (merchant,) = MERCHANT.parse(entry.merchant)
    return _read_sums(violations, f"{field}.items", merchant, entry.items)


def _read_sums(
    violations: Violations, field: str, merchant: str, items: Sequence[catalog_pb2.Item]
) -> tuple[Item, ...]:
    sums: Counter[ProductKey] = Counter()
    for item in _read_items(violations, field, merchant, items):
        sums[item.key] += item.quantity
    return tuple(Item(key, quantity) for key, quantity in sums.items())


def protection_row(entry: catalog_pb2.ProtectPrices, line: Line) -> dict[str, Any]:
    """What is remembered of a product's price at sign-up."""
    merchant, standing_order = STANDING_ORDER.parse(entry.standing_order)
    lock = entry.protection.lock
    kind = entry.protection.WhichOneof("kind")
    return {
        "merchant": merchant,
        "standing_order": standing_order,
        "product": line.item.key.product,
        # A new customer signs up to the list price.
        "sign_up_amount_minor": line.unit.list_amount_minor,
        "sign_up_price": line.unit.list_price,
        "currency": line.unit.currency,
        "sign_up_time": from_timestamp(entry.sign_up_time),
        "kind": (kind or "none").upper(),
        "lock_cycle_count": lock.cycle_count or None if kind == "lock" else None,
        "lock_until_time": (
            from_timestamp(lock.until_time)
            if kind == "lock" and lock.HasField("until_time")
            else None
        ),
        "cap_bps": entry.protection.cap.increase_limit_bps if kind == "cap" else None,
    }


def _read_items(
    violations: Violations, field: str, merchant: str, items: Sequence[catalog_pb2.Item]
) -> tuple[Item, ...]:
    names = [item.product for item in items]
    keys = _read_products(violations, field, merchant, names, suffix=".product")
    return tuple(Item(key, item.quantity) for key, item in zip(keys, items, strict=True))


def _read_products(
    violations: Violations, field: str, merchant: str, names: Sequence[str], suffix: str = ""
) -> list[ProductKey]:
    keys = []
    for place, name in enumerate(names):
        owner, product = events.PRODUCT.parse(name)
        if owner != merchant:
            violations.add(f"{field}[{place}]{suffix}", "must be a product of the same merchant")
        keys.append(ProductKey(owner, product))
    return keys


def _read_time(violations: Violations, field: str, message: Message, name: str) -> datetime:
    return read_timestamp(violations, f"{field}.{name}", getattr(message, name))
