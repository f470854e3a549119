"""From requests to the domain, noting everything that is wrong with them."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar

from google.protobuf.message import Message
from recurring.catalog.v1 import catalog_pb2

from services.catalog.api.offer_messages import read_agreement
from services.catalog.domain.pricing import Cart, Line
from services.catalog.domain.products import (
    EFFECTIVE_TIME_GRACE,
    INCREASE_NOTICE_DAYS_DEFAULT,
    STANDARD_CATEGORY,
    Item,
    MerchantId,
    Product,
    ProductId,
    ProductKey,
    ProductState,
)
from services.catalog.domain.protections import Protection
from services.catalog.domain.stock import HoldRequest
from services.catalog.names import MERCHANT, ORDER, PRODUCT, STANDING_ORDER
from services.runtime.errors import Violations
from services.runtime.money import DIGITS
from services.runtime.rpc.conversions import from_timestamp, read_timestamp
from services.runtime.rpc.names import read_name

M = TypeVar("M")
D = TypeVar("D")
# What an update of a product may name.
CHANGEABLE_FIELDS = ("title", "tax_category", "increase_notice_days", "low_stock_threshold")


def read_new_product(request: catalog_pb2.CreateProductRequest, now: datetime) -> Product:
    """The product to create."""
    merchant = read_name(MERCHANT, request.parent)
    violations = Violations()
    key = ProductKey(merchant, ProductId(request.product_id))
    product = read_product(violations, "product", key, request.product, now)
    violations.check()
    return product


def read_product(
    violations: Violations,
    field: str,
    key: ProductKey,
    message: catalog_pb2.Product,
    now: datetime,
) -> Product:
    """A product that is on sale from now on."""
    parts = read_items_of(violations, f"{field}.bundle_parts", key.merchant, message.bundle_parts)
    violations.require(
        f"{field}.stock_tracked",
        "must be false for a bundle, whose stock is that of its parts",
        met=not (parts and message.stock_tracked),
    )
    violations.require(
        f"{field}.capacity_by_day",
        "must be false where units are tracked, and for a bundle",
        met=not (message.capacity_by_day and (parts or message.stock_tracked)),
    )
    _require_title(violations, field, message)
    notice_days = INCREASE_NOTICE_DAYS_DEFAULT
    if message.HasField("increase_notice_days"):
        notice_days = message.increase_notice_days
    return Product(
        *key,
        title=message.title,
        increase_notice_days=notice_days,
        stock_tracked=message.stock_tracked,
        low_stock_threshold=message.low_stock_threshold,
        state=ProductState.ACTIVE,
        create_time=now,
        part_products=tuple(part.key.product for part in parts),
        part_quantities=tuple(part.quantity for part in parts),
        tax_category=message.tax_category or STANDARD_CATEGORY,
        capacity_by_day=message.capacity_by_day,
    )


def _require_title(violations: Violations, field: str, message: catalog_pb2.Product) -> None:
    violations.require(f"{field}.title", "must be 1 to 100 characters", met=bool(message.title))


def read_product_name(request: catalog_pb2.UpdateProductRequest) -> ProductKey:
    """Which product is to be changed."""
    violations = Violations()
    violations.require("product.name", "must be given", met=bool(request.product.name))
    violations.check()
    return read_name(PRODUCT, request.product.name)


def read_product_change(
    request: catalog_pb2.UpdateProductRequest,
) -> Callable[[Product], Product]:
    """What a change makes of a product."""
    paths: Sequence[str] = request.update_mask.paths
    wanted = request.product
    violations = Violations()
    violations.require("update_mask", "must name at least one field", met=bool(paths))
    if not set(paths) <= set(CHANGEABLE_FIELDS):
        violations.add("update_mask", f"must name only {', '.join(CHANGEABLE_FIELDS)}")
    if "title" in paths:
        _require_title(violations, "product", wanted)
    violations.check()
    notice_days = INCREASE_NOTICE_DAYS_DEFAULT
    if wanted.HasField("increase_notice_days"):
        notice_days = wanted.increase_notice_days
    values: dict[str, str | int] = {
        "title": wanted.title,
        "tax_category": wanted.tax_category or STANDARD_CATEGORY,
        "increase_notice_days": notice_days,
        "low_stock_threshold": wanted.low_stock_threshold,
    }
    changes: dict[str, Any] = {path: values[path] for path in paths}
    return lambda present: replace(present, **changes)


def read_effective_time(
    violations: Violations,
    field: str,
    message: catalog_pb2.Price | catalog_pb2.TaxRate,
    now: datetime,
    *,
    may_be_past: bool = False,
) -> datetime:
    """When a new version takes over; it is now where the message does not say."""
    if not message.HasField("effective_time"):
        return now
    effective_time = read_timestamp(violations, field, message.effective_time)
    met = may_be_past or effective_time >= now - EFFECTIVE_TIME_GRACE
    violations.require(field, "must not be past", met=met)
    return effective_time


def read_batch(
    field: str, entries: Sequence[M], read: Callable[[Violations, str, M], D]
) -> list[D]:
    """Every entry of a batch; raises INVALID_ARGUMENT with what is wrong with any of them."""
    violations = Violations()
    read_entries = [
        read(violations, f"{field}[{index}]", entry) for index, entry in enumerate(entries)
    ]
    violations.check()
    return read_entries


def read_cart(violations: Violations, field: str, cart: catalog_pb2.Cart) -> Cart:
    """What to price, for whom and when."""
    merchant, standing_order = STANDING_ORDER.key(cart.standing_order)
    return Cart(
        standing_order=standing_order,
        cycle=cart.cycle,
        items=read_items(violations, f"{field}.items", merchant, cart.items),
        price_time=read_time(violations, field, cart, "price_time"),
        sign_up_time=(
            read_time(violations, field, cart, "sign_up_time")
            if cart.HasField("sign_up_time")
            else None
        ),
        region_code=cart.region_code,
        tax_id=cart.tax_id,
        agreement=(
            read_agreement(violations, f"{field}.agreement", merchant, cart.agreement)
            if cart.HasField("agreement")
            else None
        ),
        currency=read_currency(violations, f"{field}.currency", cart.currency),
    )


def read_protected(violations: Violations, field: str, entry: catalog_pb2.ProtectPrices) -> Cart:
    """A cart that is priced as a new customer's at sign-up: nothing protects it yet."""
    merchant, standing_order = STANDING_ORDER.key(entry.standing_order)
    keys = _read_products(violations, f"{field}.products", merchant, entry.products)
    agreement = None
    if entry.HasField("agreement"):
        agreement = read_agreement(violations, f"{field}.agreement", merchant, entry.agreement)
    return Cart(
        standing_order=standing_order,
        cycle=1,
        items=tuple(Item(key, 1) for key in dict.fromkeys(keys)),
        price_time=read_time(violations, field, entry, "sign_up_time"),
        currency=read_currency(violations, f"{field}.currency", entry.currency),
        agreement=agreement,
    )


def read_hold(
    violations: Violations, field: str, entry: catalog_pb2.StockHoldRequest
) -> HoldRequest:
    """Stock wanted for one order; a product that is named twice is wanted as one sum."""
    merchant = ORDER.key(entry.order).merchant
    return HoldRequest(
        order=entry.order,
        announcement_count=entry.announcement_count,
        items=read_items_of(violations, f"{field}.items", merchant, entry.items),
        expire_time=read_time(violations, field, entry, "expire_time"),
        due_time=read_time(violations, field, entry, "due_time"),
        paid=entry.paid,
    )


def read_stock_check(
    violations: Violations, field: str, entry: catalog_pb2.StockCheck
) -> tuple[Item, ...]:
    """Items whose stock is checked; a product that is named twice is wanted as one sum."""
    merchant = MERCHANT.key(entry.merchant)
    return read_items_of(violations, f"{field}.items", merchant, entry.items)


def read_items_of(
    violations: Violations, field: str, merchant: MerchantId, items: Sequence[catalog_pb2.Item]
) -> tuple[Item, ...]:
    """Items of one merchant; a product that is named twice is one sum."""
    sums: Counter[ProductKey] = Counter()
    for item in read_items(violations, field, merchant, items):
        sums[item.key] += item.quantity
    return tuple(Item(key, quantity) for key, quantity in sums.items())


def read_protection(entry: catalog_pb2.ProtectPrices, line: Line) -> Protection:
    """What is remembered of a product at sign-up: a new customer signs up to the list price."""
    key = STANDING_ORDER.key(entry.standing_order)
    return Protection(
        *key,
        product=line.item.key.product,
        sign_up_price=line.list_price,
        sign_up_time=from_timestamp(entry.sign_up_time),
    )


def read_items(
    violations: Violations, field: str, merchant: MerchantId, items: Sequence[catalog_pb2.Item]
) -> tuple[Item, ...]:
    """What is in a cart."""
    product_names = [item.product for item in items]
    keys = _read_products(violations, field, merchant, product_names, suffix=".product")
    return tuple(Item(key, item.quantity) for key, item in zip(keys, items, strict=True))


def _read_products(
    violations: Violations,
    field: str,
    merchant: MerchantId,
    product_names: Sequence[str],
    suffix: str = "",
) -> list[ProductKey]:
    keys = [PRODUCT.key(name) for name in product_names]
    for index, key in enumerate(keys):
        if key.merchant != merchant:
            violations.add(f"{field}[{index}]{suffix}", "must be a product of the same merchant")
    return keys


def read_currency(violations: Violations, field: str, currency: str) -> str:
    """A current currency; empty: none is named."""
    if currency and currency not in DIGITS:
        violations.add(field, "must be a current currency of ISO 4217")
    return currency


def read_time(violations: Violations, field: str, message: Message, name: str) -> datetime:
    """The instant in a field of a message."""
    return read_timestamp(violations, f"{field}.{name}", getattr(message, name))
