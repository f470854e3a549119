"""What is known of a customer: whether it is still needed, and how it is erased."""

from datetime import datetime

from sqlalchemy import text

from services.payments.domain.keys import ChargeKey, CustomerKey
from services.payments.store import keys
from services.runtime.db.pool import Connection

# Waits for whoever begins an attempt, and lets nobody begin another.
_REVOKE_MANDATES = text("""
    UPDATE mandates SET revoke_time = :now, version = version + 1
    WHERE customer = :customer AND merchant = :merchant AND revoke_time IS NULL
""")

_OPEN_CHARGES = text("""
    SELECT charge FROM charges
    WHERE customer = :customer AND merchant = :merchant
      AND (state IN ('SCHEDULED', 'REQUESTED', 'IN_FLIGHT') OR EXISTS (
        SELECT FROM refunds
        WHERE refunds.customer = charges.customer AND refunds.merchant = charges.merchant
          AND refunds.charge = charges.charge AND refunds.state = 'PENDING'))
    ORDER BY charge LIMIT :limit
""")

_ERASE = (
    text("""
        UPDATE payment_methods SET provider_token = '', brand = '', last4 = ''
        WHERE customer = :customer AND merchant = :merchant AND provider_token <> ''
    """),
    text("""
        UPDATE charges SET title = ''
        WHERE customer = :customer AND merchant = :merchant AND title <> ''
    """),
    text("""
        UPDATE refunds SET note = ''
        WHERE customer = :customer AND merchant = :merchant AND note <> ''
    """),
)

_ERASE_EVIDENCE = text("""
    UPDATE mandates SET evidence = '', version = version + 1
    WHERE customer = :customer AND merchant = :merchant AND evidence <> ''
      AND NOT EXISTS (
        SELECT FROM attempts
        WHERE attempts.customer = mandates.customer AND attempts.merchant = mandates.merchant
          AND attempts.mandate = mandates.mandate AND attempts.state = 'SUCCEEDED'
          AND attempts.start_time > :disputable_since)
""")

_LAST_WITH_EVIDENCE = text("""
    SELECT max(attempts.start_time) FROM attempts
    JOIN mandates USING (customer, merchant, mandate)
    WHERE customer = :customer AND merchant = :merchant AND attempts.state = 'SUCCEEDED'
      AND mandates.evidence <> ''
""")

_RESOURCES = text("""
    SELECT 'paymentMethods/' || payment_method FROM payment_methods
    WHERE customer = :customer AND merchant = :merchant
    UNION ALL
    SELECT 'mandates/' || mandate FROM mandates
    WHERE customer = :customer AND merchant = :merchant
    UNION ALL
    SELECT 'charges/' || charge FROM charges
    WHERE customer = :customer AND merchant = :merchant
    UNION ALL
    SELECT 'charges/' || charge || '/refunds/' || refund FROM refunds
    WHERE customer = :customer AND merchant = :merchant
""")


async def revoke_mandates(tx: Connection, owner: CustomerKey, now: datetime) -> None:
    """End every consent of a customer."""
    await tx.execute(_REVOKE_MANDATES, {**keys.owner(owner), "now": now})


async def open_charges(tx: Connection, owner: CustomerKey, limit: int) -> list[ChargeKey]:
    """The first of a customer's charges that are not over, or have a refund that is not."""
    found = await tx.execute(_OPEN_CHARGES, {**keys.owner(owner), "limit": limit})
    return [ChargeKey(owner, charge) for charge in found.scalars()]


async def erase(tx: Connection, owner: CustomerKey, disputable_since: datetime) -> None:
    """Erase what is not needed any more: all but the books, and the evidence of later charges."""
    for statement in _ERASE:
        await tx.execute(statement, keys.owner(owner))
    evidence = {**keys.owner(owner), "disputable_since": disputable_since}
    await tx.execute(_ERASE_EVIDENCE, evidence)


async def last_with_evidence(tx: Connection, owner: CustomerKey) -> datetime | None:
    """When a customer was last charged under a mandate whose evidence is there."""
    found = await tx.execute(_LAST_WITH_EVIDENCE, keys.owner(owner))
    return found.scalar_one()  # type: ignore[no-any-return]


async def resources(tx: Connection, owner: CustomerKey) -> list[str]:
    """The names of all that belongs to a customer."""
    found = await tx.execute(_RESOURCES, keys.owner(owner))
    return [f"{owner.name}/{one}" for one in found.scalars()]
