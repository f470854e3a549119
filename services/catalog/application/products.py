"""Products come and go."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from services.catalog.domain.bundles import (
    BUNDLE_MAX_PRODUCTS,
    BUNDLE_MAX_UNITS,
    bundle_faults,
    flattened,
)
from services.catalog.domain.prices import increase_since
from services.catalog.domain.products import Product, ProductKey
from services.catalog.domain.transitions import PRODUCT, ProductEvent
from services.catalog.names import PRICE as PRICE_NAME
from services.catalog.names import PRODUCT as PRODUCT_NAME
from services.catalog.publishers import product_discontinued, stock_low
from services.catalog.store import prices as price_store
from services.catalog.store import products
from services.catalog.store import stock as stock_store
from services.runtime.db.pool import Connection
from services.runtime.errors import (
    Violations,
    already_exists,
    not_found,
    wrong_state,
)
from services.runtime.messaging.events import OutboxEvent
from services.runtime.mutations import Applied
from services.runtime.rpc.conversions import check_etag

# However far ahead prices are scheduled.
ALL_TIME = datetime.max.replace(tzinfo=UTC)
_BUNDLE_FAULTS = {
    "BUNDLE_PART_NOT_FOUND": "does not exist",
    "BUNDLE_PART_BY_DAY": "must not be a service, whose capacity is by day",
    "BUNDLE_CONTAINS_ITSELF": "must not be the bundle itself",
    "BUNDLE_TOO_LARGE": f"must have at most {BUNDLE_MAX_PRODUCTS} products in all, and "
    f"{BUNDLE_MAX_UNITS} units of each",
}


async def create(tx: Connection, product: Product) -> Applied[Product]:
    """Create a product with its empty stock; one that is a bundle, with the parts of its bundles.

    Raises ALREADY_EXISTS PRODUCT_ALREADY_EXISTS, INVALID_ARGUMENT with what is wrong with its parts.
    """
    if product.parts:
        known = await products.products_by_key(tx, [part.key for part in product.parts])
        violations = Violations()
        product = with_parts(violations, product, known)
        violations.check()
    if not await products.insert_products(tx, [product]):
        raise already_exists("PRODUCT_ALREADY_EXISTS", PRODUCT_NAME.format(*product.key))
    return Applied(product)


def with_parts(
    violations: Violations, product: Product, known: Mapping[ProductKey, Product]
) -> Product:
    """A bundle with the parts of the bundles in it; what is wrong with its parts is noted.

    `known` has those of its parts that exist.
    """
    if not product.parts:
        return product
    parts = [known[part.key] for part in product.parts if part.key in known]
    parts_of = {part.key: part.parts for part in parts}
    services = {part.key for part in parts if part.capacity_by_day}
    faults = bundle_faults(product.key, product.parts, parts_of, services)
    for place, reason in faults:
        field = "product.bundle_parts" + ("" if place is None else f"[{place}].product")
        violations.add(field, _BUNDLE_FAULTS[reason], reason)
    items = product.parts if faults else flattened(product.parts, parts_of)
    return replace(
        product,
        part_products=tuple(item.key.product for item in items),
        part_quantities=tuple(item.quantity for item in items),
    )


async def change(
    tx: Connection,
    key: ProductKey,
    wanted_etag: str,
    merge: Callable[[Product], Product],
    now: datetime,
) -> Applied[Product]:
    """Change a product as `merge` does; one that it leaves as it is stays as it is.

    Raises NOT_FOUND PRODUCT_NOT_FOUND, FAILED_PRECONDITION PRODUCT_DISCONTINUED or INCREASE_ANNOUNCED,
    ABORTED if the etag is another version's.
    """
    present = await existing(tx, key, lock=True)
    check_etag(wanted_etag, present.version, PRODUCT_NAME.format(*key))
    if PRODUCT.is_terminal(present.state):
        raise wrong_state("PRODUCT_DISCONTINUED", "the product is off sale for good")
    wanted = merge(present)
    if wanted == present:
        return Applied(present, before=present)
    if wanted.increase_notice_days < present.increase_notice_days:
        await _refuse_announced(tx, present, now)
    changed = await products.update(tx, wanted)
    return Applied(changed, before=present, events=await _low_by(tx, present, changed, now))


async def _refuse_announced(tx: Connection, product: Product, now: datetime) -> None:
    """Refuse a shorter notice while customers may have been notified of an increase by this one."""
    since = now - timedelta(days=product.increase_notice_days)
    versions = await price_store.prices_by_key(tx, [product.key], ALL_TIME)
    increase = increase_since(versions.get(product.key, ()), since)
    if increase is not None:
        name, days = PRICE_NAME.format(*increase.key), product.increase_notice_days
        message = f"{name} is an increase whose {days} days of notice may not be over"
        raise wrong_state("INCREASE_ANNOUNCED", message, price=name)


async def _low_by(
    tx: Connection, before: Product, after: Product, now: datetime
) -> list[OutboxEvent]:
    """StockLow where the threshold rose to the available units: they will not fall to it."""
    if not after.stock_tracked or after.low_stock_threshold <= before.low_stock_threshold:
        return []
    stock = await stock_store.stock(tx, after.key)
    if before.low_stock_threshold < stock.available_units <= after.low_stock_threshold:
        return [stock_low(after, stock, now)]
    return []


async def discontinue(
    tx: Connection, key: ProductKey, wanted_etag: str, now: datetime
) -> Applied[Product]:
    """Take a product off sale for good; one that is off sale already stays as it is.

    Raises NOT_FOUND PRODUCT_NOT_FOUND, and ABORTED if the etag is another version's.
    """
    product = await existing(tx, key, lock=True)
    check_etag(wanted_etag, product.version, PRODUCT_NAME.format(*key))
    if PRODUCT.is_terminal(product.state):
        return Applied(product, before=product)
    state = PRODUCT.to(product.state, ProductEvent.DISCONTINUE)
    discontinued = await products.update_state(tx, key, state)
    return Applied(discontinued, before=product, events=[product_discontinued(product, now)])


async def existing(connection: Connection, key: ProductKey, *, lock: bool = False) -> Product:
    """A product. Raises NOT_FOUND PRODUCT_NOT_FOUND."""
    product = await products.product(connection, key, lock=lock)
    if product is None:
        raise not_found("PRODUCT_NOT_FOUND", PRODUCT_NAME.format(*key))
    return product
