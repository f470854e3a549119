"""Merchants' choices of providers."""

from services.payments.domain.keys import MerchantId
from services.payments.domain.payment_routing import PaymentRouting
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query

_GET = Query(
    """
    SELECT merchant, card_provider, bank_debit_provider, version
    FROM payment_routings WHERE merchant = :merchant
""",
    PaymentRouting,
)

_ENSURE = Command("""
    INSERT INTO payment_routings (merchant, card_provider, bank_debit_provider, version)
    VALUES (:merchant, :card_provider, :bank_debit_provider, :version)
    ON CONFLICT (merchant) DO NOTHING
""")

_GET_LOCKED = Query(
    """
    SELECT merchant, card_provider, bank_debit_provider, version
    FROM payment_routings WHERE merchant = :merchant FOR UPDATE
""",
    PaymentRouting,
)

_CHANGE = Query(
    """
    UPDATE payment_routings
    SET card_provider = :card_provider, bank_debit_provider = :bank_debit_provider,
        version = version + 1
    WHERE merchant = :merchant
    RETURNING merchant, card_provider, bank_debit_provider, version
""",
    PaymentRouting,
)


async def get(tx: Connection, merchant: MerchantId, *, lock: bool = False) -> PaymentRouting:
    """A merchant's choice, or none where none was made; locked if asked for."""
    standard = PaymentRouting(merchant)
    if not lock:
        return await _GET.one_or_none(tx, merchant=merchant) or standard
    # There must be a row to lock.
    await _ENSURE.run(
        tx,
        merchant=merchant,
        card_provider=standard.card_provider,
        bank_debit_provider=standard.bank_debit_provider,
        version=standard.version,
    )
    return await _GET_LOCKED.one(tx, merchant=merchant)


async def change(tx: Connection, wanted: PaymentRouting) -> PaymentRouting:
    """Store what a caller's change made of a choice that is locked."""
    return await _CHANGE.one(
        tx,
        merchant=wanted.merchant,
        card_provider=wanted.card_provider,
        bank_debit_provider=wanted.bank_debit_provider,
    )
