"""How merchants' ledgers are kept."""

from collections.abc import Iterable

from services.payments.domain.keys import MerchantId
from services.payments.domain.revenue import LedgerSettings
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query

_OF_MERCHANTS = Query(
    """
    SELECT merchant, revenue_recognition, version
    FROM ledger_settings
    JOIN unnest(CAST(:merchants AS text[])) AS wanted (merchant) USING (merchant)
""",
    LedgerSettings,
)

_ENSURE = Command("""
    INSERT INTO ledger_settings (merchant, revenue_recognition, version)
    VALUES (:merchant, :revenue_recognition, :version)
    ON CONFLICT (merchant) DO NOTHING
""")

_GET_LOCKED = Query(
    """
    SELECT merchant, revenue_recognition, version
    FROM ledger_settings WHERE merchant = :merchant FOR UPDATE
""",
    LedgerSettings,
)

_CHANGE = Query(
    """
    UPDATE ledger_settings
    SET revenue_recognition = :revenue_recognition, version = version + 1
    WHERE merchant = :merchant
    RETURNING merchant, revenue_recognition, version
""",
    LedgerSettings,
)


async def of_merchants(
    tx: Connection, merchants: Iterable[MerchantId]
) -> dict[MerchantId, LedgerSettings]:
    """The settings of those merchants that have set any."""
    settings = await _OF_MERCHANTS.all(tx, merchants=sorted(set(merchants)))
    return {it.merchant: it for it in settings}


async def get(tx: Connection, merchant: MerchantId, *, lock: bool = False) -> LedgerSettings:
    """A merchant's settings, or those that hold where none were set; locked if asked for."""
    standard = LedgerSettings(merchant)
    if not lock:
        return (await of_merchants(tx, [merchant])).get(merchant, standard)
    # There must be a row to lock.
    await _ENSURE.run(
        tx,
        merchant=merchant,
        revenue_recognition=standard.revenue_recognition,
        version=standard.version,
    )
    return await _GET_LOCKED.one(tx, merchant=merchant)


async def change(tx: Connection, wanted: LedgerSettings) -> LedgerSettings:
    """Store what a caller's change made of settings that are locked."""
    return await _CHANGE.one(
        tx, merchant=wanted.merchant, revenue_recognition=wanted.revenue_recognition
    )
