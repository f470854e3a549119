"""From requests to the domain, noting everything that is wrong with them."""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

from google.protobuf.message import Message
from recurring.catalog.v1 import catalog_pb2

from services.catalog.domain.pricing import Cap, Cart, Line, Lock, Price, SignUpPrice
from services.catalog.domain.products import (
    INCREASE_NOTICE_DAYS_DEFAULT,
    Item,
    MerchantId,
    PriceId,
    PriceKey,
    Product,
    ProductId,
    ProductKey,
    ProductState,
)
from services.catalog.domain.stock import HoldRequest
from services.catalog.names import MERCHANT, ORDER, PRODUCT, STANDING_ORDER
from services.runtime.auth.call_context import caller
from services.runtime.errors import Violations
from services.runtime.resource_names import KeyPattern
from services.runtime.rpc.conversions import from_timestamp, read_money, read_timestamp

# A price "from now on" may be on the wire for a while.
EFFECTIVE_TIME_GRACE = timedelta(minutes=1)

M = TypeVar("M")
D = TypeVar("D")
K = TypeVar("K", ProductKey, PriceKey)


def read_merchant(name: str) -> MerchantId:
    """The merchant that the caller names, which must be its own."""
    merchant = MERCHANT.key(name)
    caller().check(merchant)
    return merchant


def read(pattern: KeyPattern[K], name: str) -> K:
    """What a name of a pattern is of, which must be of the caller's merchant."""
    key = pattern.key(name)
    caller().check(key.merchant)
    return key


def read_product(request: catalog_pb2.CreateProductRequest, now: datetime) -> Product:
    """The product to create."""
    wanted = request.product
    notice_days = INCREASE_NOTICE_DAYS_DEFAULT
    if wanted.HasField("increase_notice_days"):
        notice_days = wanted.increase_notice_days
    return Product(
        merchant=read_merchant(request.parent),
        product=ProductId(request.product_id),
        title=wanted.title,
        increase_notice_days=notice_days,
        stock_tracked=wanted.stock_tracked,
        low_stock_threshold=wanted.low_stock_threshold,
        state=ProductState.ACTIVE,
        create_time=now,
    )


def read_new_price(request: catalog_pb2.CreatePriceRequest, now: datetime) -> Price:
    """The price to add."""
    violations = Violations()
    amount = read_money(violations, "price.unit_price", request.price.unit_price)
    effective_time = now
    if request.price.HasField("effective_time"):
        effective_time = read_timestamp(
            violations, "price.effective_time", request.price.effective_time
        )
        violations.require(
            "price.effective_time",
            "must not be past",
            met=effective_time >= now - EFFECTIVE_TIME_GRACE,
        )
    violations.check()
    key = PriceKey(*read(PRODUCT, request.parent), PriceId(request.price_id))
    return Price(*key, amount.amount_minor, amount.currency, effective_time, now)


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
        items=_read_items(violations, f"{field}.items", merchant, cart.items),
        price_time=_read_time(violations, field, cart, "price_time"),
    )


def read_protected(violations: Violations, field: str, entry: catalog_pb2.ProtectPrices) -> Cart:
    """A cart that is priced as a new customer's at sign-up: nothing protects it yet."""
    merchant, standing_order = STANDING_ORDER.key(entry.standing_order)
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
    merchant = ORDER.key(entry.order).merchant
    return HoldRequest(
        order=entry.order,
        items=_read_sums(violations, f"{field}.items", merchant, entry.items),
        expire_time=_read_time(violations, field, entry, "expire_time"),
    )


def read_stock_check(
    violations: Violations, field: str, entry: catalog_pb2.StockCheck
) -> tuple[Item, ...]:
    """Items whose stock is checked; a product that is named twice is wanted as one sum."""
    merchant = MERCHANT.key(entry.merchant)
    return _read_sums(violations, f"{field}.items", merchant, entry.items)


def _read_sums(
    violations: Violations, field: str, merchant: MerchantId, items: Sequence[catalog_pb2.Item]
) -> tuple[Item, ...]:
    sums: Counter[ProductKey] = Counter()
    for item in _read_items(violations, field, merchant, items):
        sums[item.key] += item.quantity
    return tuple(Item(key, quantity) for key, quantity in sums.items())


def sign_up_price(entry: catalog_pb2.ProtectPrices, line: Line) -> SignUpPrice:
    """What is remembered of a product's price at sign-up: a new customer signs up to the list price."""
    key = STANDING_ORDER.key(entry.standing_order)
    return SignUpPrice(
        *key,
        product=line.item.key.product,
        sign_up_amount_minor=line.unit.list_amount_minor,
        sign_up_price=line.unit.list_price,
        currency=line.unit.currency,
        sign_up_time=from_timestamp(entry.sign_up_time),
        terms=_terms(entry.protection),
    )


def _terms(protection: catalog_pb2.PriceProtection) -> Lock | Cap | None:
    kind = protection.WhichOneof("kind")
    if kind == "lock":
        lock = protection.lock
        until_time = from_timestamp(lock.until_time) if lock.HasField("until_time") else None
        return Lock(lock.cycle_count or None, until_time)
    return Cap(protection.cap.increase_limit_bps) if kind == "cap" else None


def _read_items(
    violations: Violations, field: str, merchant: MerchantId, items: Sequence[catalog_pb2.Item]
) -> tuple[Item, ...]:
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


def _read_time(violations: Violations, field: str, message: Message, name: str) -> datetime:
    return read_timestamp(violations, f"{field}.{name}", getattr(message, name))
