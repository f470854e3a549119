"""How a merchant's customers are reached beyond what each contact says."""

from dataclasses import replace

from services.notify.domain.settings import NotifySettings
from services.notify.names import SETTINGS
from services.notify.store import settings
from services.runtime.db.pool import Connection
from services.runtime.mutations import Applied
from services.runtime.rpc.conversions import check_etag


async def change(
    tx: Connection, wanted: NotifySettings, present_etag: str
) -> Applied[NotifySettings]:
    """Change a merchant's settings as a whole. Raises ABORTED ETAG_MISMATCH."""
    present = await settings.get(tx, wanted.merchant, lock=True)
    check_etag(present_etag, present.version, SETTINGS.format(wanted.merchant))
    return Applied(await settings.change(tx, replace(wanted, version=present.version)), present)
