"""What keeps two imports of a merchant apart."""

from services.catalog.domain.products import MerchantId
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command

_LOCK_MERCHANT = Command(
    "SELECT FROM pg_advisory_xact_lock(hashtextextended('imports/' || :merchant, 0))"
)


async def lock_merchant(tx: Connection, merchant: MerchantId) -> None:
    """Wait until no other import of the merchant stores anything, until the transaction ends."""
    await _LOCK_MERCHANT.run(tx, merchant=merchant)
