"""Products come and go."""

from dataclasses import replace
from datetime import datetime

from services.catalog.domain.bundles import (
    BUNDLE_MAX_PRODUCTS,
    BUNDLE_MAX_UNITS,
    bundle_faults,
    flattened,
)
from services.catalog.domain.products import Product, ProductKey
from services.catalog.domain.transitions import PRODUCT, ProductEvent
from services.catalog.names import PRODUCT as PRODUCT_NAME
from services.catalog.publishers import product_discontinued
from services.catalog.store import products
from services.runtime.db.pool import Connection
from services.runtime.errors import Violations, already_exists, etag_mismatch, not_found
from services.runtime.mutations import Applied
from services.runtime.rpc.conversions import etag

_BUNDLE_FAULTS = {
    "BUNDLE_PART_NOT_FOUND": "does not exist",
    "BUNDLE_CONTAINS_ITSELF": "must not be the bundle itself",
    "BUNDLE_TOO_LARGE": f"must have at most {BUNDLE_MAX_PRODUCTS} products in all, and "
    f"{BUNDLE_MAX_UNITS} units of each",
}


async def create(tx: Connection, product: Product) -> Applied[Product]:
    """Create a product with its empty stock; one that is a bundle, with the parts of its bundles.

    Raises ALREADY_EXISTS PRODUCT_ALREADY_EXISTS, INVALID_ARGUMENT with what is wrong with its parts.
    """
    if product.parts:
        product = await _bundle(tx, product)
    if not await products.insert_product(tx, product):
        raise already_exists("PRODUCT_ALREADY_EXISTS", PRODUCT_NAME.format(*product.key))
    return Applied(product)


async def _bundle(tx: Connection, product: Product) -> Product:
    known = await products.products_by_key(tx, [part.key for part in product.parts])
    parts_of = {key: part.parts for key, part in known.items()}
    violations = Violations()
    for place, reason in bundle_faults(product.key, product.parts, parts_of):
        field = "product.bundle_parts" + ("" if place is None else f"[{place}].product")
        violations.add(field, _BUNDLE_FAULTS[reason], reason)
    violations.check()
    parts = flattened(product.parts, parts_of)
    return replace(
        product,
        part_products=tuple(part.key.product for part in parts),
        part_quantities=tuple(part.quantity for part in parts),
    )


async def discontinue(
    tx: Connection, key: ProductKey, wanted_etag: str, now: datetime
) -> Applied[Product]:
    """Take a product off sale for good; one that is off sale already stays as it is.

    Raises NOT_FOUND PRODUCT_NOT_FOUND, and ABORTED if the etag is another version's.
    """
    product = await existing(tx, key, lock=True)
    if wanted_etag and wanted_etag != etag(product.version):
        raise etag_mismatch(PRODUCT_NAME.format(*key))
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
