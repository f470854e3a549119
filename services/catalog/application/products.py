"""Products come and go."""

from datetime import datetime

from services.catalog.domain.products import Product, ProductKey
from services.catalog.domain.transitions import PRODUCT, ProductEvent
from services.catalog.names import PRODUCT as PRODUCT_NAME
from services.catalog.publishers import product_discontinued
from services.catalog.store import products
from services.runtime.db.pool import Connection
from services.runtime.errors import already_exists, etag_mismatch, not_found
from services.runtime.mutations import Applied
from services.runtime.rpc.conversions import etag


async def create(tx: Connection, product: Product) -> Applied[Product]:
    """Create a product with its empty stock. Raises ALREADY_EXISTS PRODUCT_ALREADY_EXISTS."""
    if not await products.insert_product(tx, product):
        raise already_exists("PRODUCT_ALREADY_EXISTS", PRODUCT_NAME.format(*product.key))
    return Applied(product)


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
