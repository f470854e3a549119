"""What is known of a customer: whether it is still needed, and how it is erased."""

from datetime import datetime

from services.payments.domain.keys import ChargeKey, CustomerKey
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query, scalar

# Waits for whoever begins an attempt, and lets nobody begin another.
_REVOKE_MANDATES = Command("""
    UPDATE mandates SET revoke_time = :now, version = version + 1
    WHERE customer = :customer AND merchant = :merchant AND revoke_time IS NULL
""")

_OPEN_CHARGES = Query(
    """
    SELECT merchant, customer, charge FROM charges
    WHERE customer = :customer AND merchant = :merchant
      AND (state IN ('SCHEDULED', 'REQUESTED', 'IN_FLIGHT') OR EXISTS (
        SELECT FROM refunds
        WHERE refunds.customer = charges.customer AND refunds.merchant = charges.merchant
          AND refunds.charge = charges.charge AND refunds.state || '' = 'PENDING')
        OR EXISTS (
        SELECT FROM disputes
        WHERE disputes.customer = charges.customer AND disputes.merchant = charges.merchant
          AND disputes.charge = charges.charge AND disputes.close_time IS NULL))
    ORDER BY charge LIMIT :limit
""",
    ChargeKey,
)

_ERASE = (
    Command("""
        UPDATE payment_methods SET provider_token = '', brand = '', last4 = '', provider_customer = '',
            expiry_check_time = NULL
        WHERE customer = :customer AND merchant = :merchant AND provider_token <> ''
    """),
    Command("""
        UPDATE charges SET title = ''
        WHERE customer = :customer AND merchant = :merchant AND title <> ''
    """),
    Command("""
        DELETE FROM payment_links WHERE customer = :customer AND merchant = :merchant
    """),
    Command("""
        UPDATE refunds SET note = ''
        WHERE customer = :customer AND merchant = :merchant AND note <> ''
    """),
    Command("""
        UPDATE disputes SET evidence = ''
        WHERE customer = :customer AND merchant = :merchant AND evidence <> ''
    """),
)

_ERASE_BILLING_DETAILS = Command("""
    DELETE FROM billing_details WHERE customer = :customer AND merchant = :merchant
""")

# What a document names as its buyer nobody reads without its key.
_ERASE_DOCUMENT_KEYS = Command("""
    DELETE FROM document_keys
    WHERE customer = :customer AND merchant = :merchant AND year < :first_kept_year
""")

_ERASE_DOCUMENT_FILES = Command("""
    DELETE FROM document_files
    USING documents
    WHERE documents.merchant = :merchant AND documents.customer = :customer
      AND extract(year FROM documents.issue_time AT TIME ZONE 'UTC') < :first_kept_year
      AND document_files.merchant = documents.merchant
      AND document_files.document = documents.document
""")

_LAST_DOCUMENT_YEAR: Query[int | None] = Query(
    """
    SELECT max(year) FROM document_keys WHERE customer = :customer AND merchant = :merchant
""",
    scalar,
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

_ERASE_EVIDENCE_OF_AMENDMENTS = Command("""
    UPDATE mandate_amendments SET evidence = ''
    FROM mandates
    WHERE mandates.customer = :customer AND mandates.merchant = :merchant AND mandates.evidence = ''
      AND mandate_amendments.customer = mandates.customer
      AND mandate_amendments.merchant = mandates.merchant
      AND mandate_amendments.mandate = mandates.mandate AND mandate_amendments.evidence <> ''
""")

_LAST_WITH_EVIDENCE: Query[datetime | None] = Query(
    """
    SELECT max(attempts.start_time) FROM attempts
    JOIN mandates USING (customer, merchant, mandate)
    WHERE customer = :customer AND merchant = :merchant AND attempts.state = 'SUCCEEDED'
      AND mandates.evidence <> ''
""",
    scalar,
)

_RESOURCES: Query[str] = Query(
    """
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
    UNION ALL
    SELECT 'creditTransactions/' || credit_transaction FROM credit_transactions
    WHERE customer = :customer AND merchant = :merchant
""",
    scalar,
)


async def revoke_mandates(tx: Connection, customer: CustomerKey, now: datetime) -> None:
    """End every consent of a customer."""
    await _REVOKE_MANDATES.run(tx, **customer._asdict(), now=now)


async def open_charges(tx: Connection, customer: CustomerKey, limit: int) -> list[ChargeKey]:
    """The first of a customer's charges that are not over, or have a refund that is not."""
    return await _OPEN_CHARGES.all(tx, **customer._asdict(), limit=limit)


async def erase(tx: Connection, customer: CustomerKey, disputable_since: datetime) -> None:
    """Erase what is not needed any more: all but the ledger, and the evidence of later charges."""
    for statement in _ERASE:
        await statement.run(tx, **customer._asdict())
    await _ERASE_EVIDENCE.run(tx, **customer._asdict(), disputable_since=disputable_since)
    # That of its amendments is kept as long as that of the mandate.
    await _ERASE_EVIDENCE_OF_AMENDMENTS.run(tx, **customer._asdict())


async def erase_buyer(tx: Connection, customer: CustomerKey, first_kept_year: int) -> None:
    """Erase who a customer is on documents to come, and on those that are kept no longer."""
    await _ERASE_BILLING_DETAILS.run(tx, **customer._asdict())
    await _ERASE_DOCUMENT_FILES.run(tx, **customer._asdict(), first_kept_year=first_kept_year)
    await _ERASE_DOCUMENT_KEYS.run(tx, **customer._asdict(), first_kept_year=first_kept_year)


async def last_document_year(tx: Connection, customer: CustomerKey) -> int | None:
    """The last year with documents that still name the customer as their buyer."""
    return await _LAST_DOCUMENT_YEAR.one(tx, **customer._asdict())


async def last_with_evidence(tx: Connection, customer: CustomerKey) -> datetime | None:
    """When a customer was last charged under a mandate whose evidence is there."""
    return await _LAST_WITH_EVIDENCE.one(tx, **customer._asdict())


async def resources(tx: Connection, customer: CustomerKey) -> list[str]:
    """The names of all that belongs to a customer."""
    names = await _RESOURCES.all(tx, **customer._asdict())
    return [f"{customer.name}/{name}" for name in [*names, "billingDetails"]]
