"""How a merchant's prices and taxes are meant."""

from dataclasses import replace

from services.catalog.domain.tax import CatalogSettings
from services.catalog.names import SETTINGS
from services.catalog.store import settings
from services.runtime.db.pool import Connection
from services.runtime.mutations import Applied
from services.runtime.rpc.conversions import check_etag


async def change(
    tx: Connection, wanted: CatalogSettings, present_etag: str
) -> Applied[CatalogSettings]:
    """Change a merchant's settings as a whole. Raises ABORTED ETAG_MISMATCH."""
    present = await settings.get(tx, wanted.merchant, lock=True)
    check_etag(present_etag, present.version, SETTINGS.format(wanted.merchant))
    changed = replace(wanted, version=present.version)
    return Applied(await settings.change(tx, changed), present)
