"""How long a statement may take, where that is longer than every connection allows."""

from services.runtime.db.pool import Connection
from services.runtime.db.statements import Query, scalar

_EXTEND: Query[str] = Query("SELECT set_config('statement_timeout', :milliseconds, true)", scalar)


async def extend(tx: Connection, seconds: float) -> None:
    """Let each statement of this transaction take so long."""
    await _EXTEND.one(tx, milliseconds=str(int(seconds * 1000)))
