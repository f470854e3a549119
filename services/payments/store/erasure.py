"""What is known of a customer: whether it is still needed, and how it is erased."""

from datetime import datetime
from typing import NamedTuple

from services.payments.domain.keys import ChargeKey, CustomerKey
from services.payments.store import keys
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query


class _ChargeIdRow(NamedTuple):
    charge: str


class _NameRow(NamedTuple):
    name: str


# Waits for whoever begins an attempt, and lets nobody begin another.
_REVOKE_MANDATES = Command("""
    UPDATE mandates SET revoke_time = :now, version = version + 1
    WHERE customer = :customer AND merchant = :merchant AND revoke_time IS NULL
""")

_OPEN_CHARGES = Query(
    """
    SELECT charge FROM charges
    WHERE customer = :customer AND merchant = :merchant
      AND (state IN ('SCHEDULED', 'REQUESTED', 'IN_FLIGHT') OR EXISTS (
        SELECT FROM refunds
        WHERE refunds.customer = charges.customer AND refunds.merchant = charges.merchant
          AND refunds.charge = charges.charge AND refunds.state = 'PENDING'))
    ORDER BY charge LIMIT :limit
""",
    _ChargeIdRow,
)

_ERASE = (
    Command("""
        UPDATE payment_methods SET provider_token = '', brand = '', last4 = ''
        WHERE customer = :customer AND merchant = :merchant AND provider_token <> ''
    """),
    Command("""
        UPDATE charges SET title = ''
        WHERE customer = :customer AND merchant = :merchant AND title <> ''
    """),
    Command("""
        UPDATE refunds SET note = ''
        WHERE customer = :customer AND merchant = :merchant AND note <> ''
    """),
)

_ERASE_EVIDENCE = Command("""
    UPDATE mandates SET evidence = '', version = version + 1
    WHERE customer = :customer AND merchant = :merchant AND evidence <> ''
      AND NOT EXISTS (
        SELECT FROM attempts
        WHERE attempts.customer = mandates.customer AND attempts.merchant = mandates.merchant
          AND attempts.mandate = mandates.mandate AND attempts.state = 'SUCCEEDED'
          AND attempts.start_time > :disputable_since)
""")

_LAST_WITH_EVIDENCE = Query(
    """
    SELECT max(attempts.start_time) AS time FROM attempts
    JOIN mandates USING (customer, merchant, mandate)
    WHERE customer = :customer AND merchant = :merchant AND attempts.state = 'SUCCEEDED'
      AND mandates.evidence <> ''
""",
    keys.TimeRow,
)

_RESOURCES = Query(
    """
    SELECT 'paymentMethods/' || payment_method AS name FROM payment_methods
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
""",
    _NameRow,
)


async def revoke_mandates(tx: Connection, owner: CustomerKey, now: datetime) -> None:
    """End every consent of a customer."""
    await _REVOKE_MANDATES.run(tx, **keys.owner(owner), now=now)


async def open_charges(tx: Connection, owner: CustomerKey, limit: int) -> list[ChargeKey]:
    """The first of a customer's charges that are not over, or have a refund that is not."""
    rows = await _OPEN_CHARGES.all(tx, **keys.owner(owner), limit=limit)
    return [ChargeKey(owner, row.charge) for row in rows]


async def erase(tx: Connection, owner: CustomerKey, disputable_since: datetime) -> None:
    """Erase what is not needed any more: all but the ledger, and the evidence of later charges."""
    for statement in _ERASE:
        await statement.run(tx, **keys.owner(owner))
    evidence = {**keys.owner(owner), "disputable_since": disputable_since}
    await _ERASE_EVIDENCE.run(tx, **evidence)


async def last_with_evidence(tx: Connection, owner: CustomerKey) -> datetime | None:
    """When a customer was last charged under a mandate whose evidence is there."""
    return (await _LAST_WITH_EVIDENCE.one(tx, **keys.owner(owner))).time


async def resources(tx: Connection, owner: CustomerKey) -> list[str]:
    """The names of all that belongs to a customer."""
    rows = await _RESOURCES.all(tx, **keys.owner(owner))
    return [f"{owner.name}/{row.name}" for row in rows]
