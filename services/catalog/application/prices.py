"""Dated prices, what protects them, and what carts cost."""

from collections.abc import Sequence
from datetime import UTC, datetime

from services.catalog.application import products
from services.catalog.domain.pricing import Cart, Line, Price, SignUpPrice, in_force, quote
from services.catalog.domain.products import Fault, PriceKey, ProductState, StandingOrderKey
from services.catalog.names import PRICE
from services.catalog.publishers import price_change_scheduled, price_change_withdrawn
from services.catalog.store import prices as price_store
from services.catalog.store import products as product_store
from services.runtime.db.pool import Connection
from services.runtime.errors import Problem, already_exists, etag_mismatch, not_found, wrong_state
from services.runtime.mutations import Applied
from services.runtime.rpc.conversions import etag

PRICES_MAX = 1000
# After every price there is, by effective time and id.
AFTER_ALL_PRICES = (datetime.max.replace(tzinfo=UTC), "~")

QuoteResult = list[Line] | list[Fault]


async def add(tx: Connection, price: Price) -> Applied[Price]:
    """Add a dated price.

    Raises NOT_FOUND PRODUCT_NOT_FOUND, FAILED_PRECONDITION PRODUCT_DISCONTINUED, PRICES_TOO_MANY or
    CURRENCY_MISMATCH, ALREADY_EXISTS PRICE_ALREADY_EXISTS.
    """
    key = price.key.product_key
    product = await products.existing(tx, key, lock=True)
    if product.state is ProductState.DISCONTINUED:
        raise wrong_state("PRODUCT_DISCONTINUED", "the product is off sale for good")
    ever = await price_store.prices_of_product(tx, key, AFTER_ALL_PRICES, PRICES_MAX)
    if len(ever) == PRICES_MAX:
        raise wrong_state("PRICES_TOO_MANY", f"a product has at most {PRICES_MAX} prices")
    known = [other for other in ever if other.withdraw_time is None]
    if known and known[0].currency != price.currency:
        raise wrong_state("CURRENCY_MISMATCH", f"the product's currency is {known[0].currency}")
    if not await price_store.insert_price(tx, price):
        raise _price_taken(ever, price)
    before = in_force(known, price.effective_time)
    event = price_change_scheduled(product, price, before[-1] if before else None)
    return Applied(price, events=[event])


async def withdraw(
    tx: Connection, key: PriceKey, wanted_etag: str, now: datetime
) -> Applied[Price]:
    """Take back a price that has not taken effect; one that was withdrawn stays as it is.

    Raises NOT_FOUND PRICE_NOT_FOUND, FAILED_PRECONDITION PRICE_IN_EFFECT, and ABORTED if the etag is
    another version's.
    """
    # Prices of a product come and go one after the other.
    product = await product_store.product(tx, key.product_key, lock=True)
    price = await price_store.price(tx, key)
    if product is None or price is None:
        raise not_found("PRICE_NOT_FOUND", PRICE.format(*key))
    if wanted_etag and wanted_etag != etag(price.version):
        raise etag_mismatch(PRICE.format(*key))
    if price.withdraw_time is not None:
        return Applied(price, before=price)
    if price.effective_time <= now:
        raise wrong_state("PRICE_IN_EFFECT", "the price has taken effect; add another one")
    withdrawn = await price_store.withdraw(tx, key, now)
    event = price_change_withdrawn(product, price, now)
    return Applied(withdrawn, before=price, events=[event])


async def quote_carts(connection: Connection, carts: Sequence[Cart]) -> list[QuoteResult]:
    """Price carts with three statements, however many they are."""
    keys = {item.key for cart in carts for item in cart.items}
    known = await product_store.products_by_key(connection, keys)
    until = max((cart.price_time for cart in carts), default=None)
    prices = await price_store.prices_by_key(connection, keys, until) if until else {}
    standing_orders = {
        StandingOrderKey(cart.items[0].key.merchant, cart.standing_order) for cart in carts
    }
    protections = await price_store.protections(connection, standing_orders)
    return [quote(cart, known, prices, protections) for cart in carts]


async def remember_sign_up_prices(
    tx: Connection, signed_up: Sequence[SignUpPrice]
) -> list[SignUpPrice]:
    """Remember what standing orders signed up to; returns what was not remembered before."""
    new = await price_store.insert_protections(tx, signed_up)
    return [price for price in signed_up if price.key in new]


def _price_taken(ever: Sequence[Price], price: Price) -> Problem:
    """Which price has the id, or the instant, of a new one."""
    other = next(
        other
        for other in ever
        if other.price == price.price
        or (other.effective_time == price.effective_time and other.withdraw_time is None)
    )
    name = PRICE.format(*other.key)
    since = other.effective_time.isoformat(timespec="seconds").replace("+00:00", "Z")
    return already_exists(
        "PRICE_ALREADY_EXISTS",
        f"{name}, in force from {since},",
        price=name,
        effective_time=since,
    )
