"""How a merchant's standing orders behave beyond what each says of itself."""

from dataclasses import replace

from services.runtime.db.pool import Connection
from services.runtime.mutations import Applied
from services.runtime.rpc.conversions import check_etag
from services.scheduler import names
from services.scheduler.domain.settings import SchedulerSettings
from services.scheduler.store import settings


async def change(
    tx: Connection, wanted: SchedulerSettings, present_etag: str
) -> Applied[SchedulerSettings]:
    """Change a merchant's settings as a whole. Raises ABORTED ETAG_MISMATCH."""
    present = await settings.get(tx, wanted.merchant, lock=True)
    check_etag(present_etag, present.version, names.SETTINGS.format(wanted.merchant))
    return Applied(await settings.change(tx, replace(wanted, version=present.version)), present)
