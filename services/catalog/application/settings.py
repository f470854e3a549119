"""How a merchant's prices and taxes are meant."""

from dataclasses import replace

from services.catalog.domain.tax import CatalogSettings
from services.catalog.names import SETTINGS
from services.catalog.store import settings
from services.runtime.db.pool import Connection
from services.runtime.errors import etag_mismatch
from services.runtime.mutations import Applied
from services.runtime.rpc.conversions import etag


async def change(
    tx: Connection, wanted: CatalogSettings, present_etag: str
) -> Applied[CatalogSettings]:
    """Change a merchant's settings as a whole. Raises ABORTED ETAG_MISMATCH."""
    present = await settings.get(tx, wanted.merchant, lock=True)
    if present_etag and present_etag != etag(present.version):
        raise etag_mismatch(SETTINGS.format(wanted.merchant))
    changed = replace(wanted, version=present.version)
    return Applied(await settings.change(tx, changed), present)
