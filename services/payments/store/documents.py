"""Documents: what they are owed for, the numbers of their series, and what was issued."""

import uuid
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from services.payments.domain.charges import Charge
from services.payments.domain.documents import (
    Document,
    DocumentCause,
    IssuedDocument,
    NumberedDraft,
    OwedDocument,
    Series,
    dump_document,
    load_document,
)
from services.payments.domain.keys import (
    ChargeId,
    ChargeKey,
    CustomerId,
    CustomerKey,
    DocumentId,
    DocumentKey,
    MerchantId,
    RefundId,
    RefundKey,
)
from services.payments.domain.refunds import Refund
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query

FAILURE_MAX_CHARS = 500
_NO_REFUND = RefundId("")


class StoredDocument(NamedTuple):
    """A document as it is stored."""

    content: bytes
    content_sha256: str
    position: uuid.UUID

    @property
    def document(self) -> Document:
        """What it says."""
        return load_document(self.content)


class RefundedLines(NamedTuple):
    """Which products a refund gives back."""

    merchant: MerchantId
    customer: CustomerId
    charge: ChargeId
    refund: RefundId
    # As JSON (`refunds.load_refund_lines`).
    lines: str


class FailedDocuments(NamedTuple):
    """A charge whose documents cannot be made, and why."""

    merchant: MerchantId
    customer: CustomerId
    charge: ChargeId
    # At most `FAILURE_MAX_CHARS` of an error.
    failure: str


class WantedFile(NamedTuple):
    """Which document, as which file."""

    merchant: MerchantId
    document: DocumentId
    format: str
    # Empty: the one that it was issued in.
    language_code: str

    @property
    def key(self) -> DocumentKey:
        """Which document."""
        return DocumentKey(self.merchant, self.document)


class DocumentFile(NamedTuple):
    """A document as it is handed out."""

    merchant: MerchantId
    document: DocumentId
    format: str
    language_code: str
    # Encrypted if it names a buyer.
    content: bytes
    # Of the file, in hexadecimal digits.
    content_sha256: str

    @property
    def wanted(self) -> WantedFile:
        """Which it is."""
        return WantedFile(*self[:4])


class _KeyedDocument(NamedTuple):
    merchant: MerchantId
    document: DocumentId
    content: bytes
    content_sha256: str
    position: uuid.UUID


class _SeriesRow(NamedTuple):
    merchant: MerchantId
    prefix: str
    year: int
    last_number: int


# Only of merchants that have documents issued: whoever has not pays for no row.
_OWE = Command("""
    INSERT INTO owed_documents (merchant, customer, charge, refund, cause, fact_time, next_try_time)
    SELECT merchant, customer, charge, refund, cause, fact_time, fact_time
    FROM unnest(CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:charge AS text[]),
                CAST(:refund AS text[]), CAST(:cause AS text[]), CAST(:fact_time AS timestamptz[]))
      WITH ORDINALITY AS fact (merchant, customer, charge, refund, cause, fact_time, place)
    JOIN document_settings USING (merchant)
    WHERE payment_documents <> 'NO_DOCUMENTS' OR cause <> 'PAYMENT'
    ORDER BY place
    ON CONFLICT (customer, merchant, charge, refund, cause) DO NOTHING
""")

# All of a charge waits together: what is given back of it needs the document that it corrects.
_DUE_CHARGES = Query(
    """
    SELECT DISTINCT merchant, customer, charge FROM (
        SELECT due.* FROM unnest(CAST(:buckets AS smallint[])) AS leased (bucket)
        CROSS JOIN LATERAL (
            SELECT merchant, customer, charge FROM owed_documents
            WHERE bucket = leased.bucket AND next_try_time <= :now
            ORDER BY next_try_time LIMIT :limit) AS due
        LIMIT :limit) AS due
""",
    ChargeKey,
)

# What another process has issued meanwhile is not there any more.
_TAKE = Query(
    """
    WITH taken AS (
        DELETE FROM owed_documents
        USING unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]), CAST(:charge AS text[]))
          AS wanted (customer, merchant, charge)
        WHERE owed_documents.customer = wanted.customer AND owed_documents.merchant = wanted.merchant
          AND owed_documents.charge = wanted.charge
        RETURNING owed_documents.*
    )
    SELECT merchant, customer, charge, refund, cause, fact_time FROM taken ORDER BY fact_time, position
""",
    OwedDocument,
)

_POSTPONE = Command("""
    UPDATE owed_documents
    SET failures = failures + 1, failure = failed.failure,
        next_try_time = CAST(:now AS timestamptz)
            + least(interval '1 minute' * power(2, least(failures, 10)), interval '6 hours')
    FROM unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]), CAST(:charge AS text[]),
                CAST(:failure AS text[]))
      AS failed (customer, merchant, charge, failure)
    WHERE owed_documents.customer = failed.customer AND owed_documents.merchant = failed.merchant
      AND owed_documents.charge = failed.charge
""")

_ISSUED = Query(
    """
    SELECT merchant, customer, charge, issued.refund, issued.cause, issued.type, issued.document
    FROM unnest(CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:charge AS text[]))
      AS wanted (merchant, customer, charge)
    CROSS JOIN LATERAL (
        SELECT refund, cause, type, document FROM documents
        WHERE documents.merchant = wanted.merchant AND documents.customer = wanted.customer
          AND documents.charge = wanted.charge
        OFFSET 0) AS issued
""",
    IssuedDocument,
)

_REFUNDED_LINES = Query(
    """
    SELECT merchant, customer, charge, refund, lines::text
    FROM refunds
    JOIN unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]), CAST(:charge AS text[]),
                CAST(:refund AS text[]))
      AS wanted (customer, merchant, charge, refund) USING (customer, merchant, charge, refund)
""",
    RefundedLines,
)

# The row of a series stays locked until its documents are committed with it, so that no number is lost.
_TAKE_NUMBERS = Query(
    """
    INSERT INTO document_series (merchant, prefix, year, last_number)
    SELECT merchant, prefix, year, CAST(count(*) AS integer)
    FROM unnest(CAST(:merchant AS text[]), CAST(:prefix AS text[]), CAST(:year AS integer[]))
      AS wanted (merchant, prefix, year)
    GROUP BY merchant, prefix, year ORDER BY merchant, prefix, year
    ON CONFLICT (merchant, prefix, year) DO UPDATE
    SET last_number = document_series.last_number + excluded.last_number
    RETURNING merchant, prefix, year, last_number
""",
    _SeriesRow,
)

_INSERT = Command("""
    INSERT INTO documents (merchant, document, type, prefix, year, number, issue_time, customer, charge,
                           refund, cause, corrected, currency, net_minor, tax_minor, amount_minor,
                           content)
    SELECT * FROM unnest(
        CAST(:merchant AS text[]), CAST(:document AS text[]), CAST(:type AS text[]),
        CAST(:prefix AS text[]), CAST(:year AS integer[]), CAST(:number AS integer[]),
        CAST(:issue_time AS timestamptz[]), CAST(:customer AS text[]), CAST(:charge AS text[]),
        CAST(:refund AS text[]), CAST(:cause AS text[]), CAST(:corrected AS text[]),
        CAST(:currency AS text[]), CAST(:net_minor AS bigint[]), CAST(:tax_minor AS bigint[]),
        CAST(:amount_minor AS bigint[]), CAST(:content AS bytea[]))
""")

_BY_KEY = Query(
    """
    SELECT content, content_sha256, position FROM documents
    WHERE merchant = :merchant AND document = :document
""",
    StoredDocument,
)

_OF_MERCHANT = Query(
    """
    SELECT content, content_sha256, position FROM documents
    WHERE merchant = :merchant AND position < :before
    ORDER BY position DESC LIMIT :limit
""",
    StoredDocument,
)

_OF_CUSTOMER = Query(
    """
    SELECT content, content_sha256, position FROM documents
    WHERE merchant = :merchant AND customer = :customer AND position < :before
    ORDER BY position DESC LIMIT :limit
""",
    StoredDocument,
)

_OF_CHARGE = Query(
    """
    SELECT content, content_sha256, position FROM documents
    WHERE merchant = :merchant AND customer = :customer AND charge = :charge AND position < :before
    ORDER BY position DESC LIMIT :limit
""",
    StoredDocument,
)

_BY_KEYS = Query(
    """
    SELECT merchant, document, content, content_sha256, position
    FROM unnest(CAST(:merchant AS text[]), CAST(:document AS text[])) AS wanted (merchant, document)
    CROSS JOIN LATERAL (
        SELECT content, content_sha256, position FROM documents
        WHERE documents.merchant = wanted.merchant AND documents.document = wanted.document
        OFFSET 0) AS stored
""",
    _KeyedDocument,
)

_FILES = Query(
    """
    SELECT merchant, document, format, language_code, content, content_sha256
    FROM unnest(CAST(:merchant AS text[]), CAST(:document AS text[]), CAST(:format AS text[]),
                CAST(:language_code AS text[]))
      AS wanted (merchant, document, format, language_code)
    CROSS JOIN LATERAL (
        SELECT content, content_sha256 FROM document_files
        WHERE document_files.merchant = wanted.merchant
          AND document_files.document = wanted.document AND document_files.format = wanted.format
          AND document_files.language_code = wanted.language_code
        OFFSET 0) AS kept
""",
    DocumentFile,
)

# Of several that are rendered at the same time, the first is handed out from then on.
_KEEP_FILES = Command("""
    INSERT INTO document_files (merchant, document, format, language_code, content, content_sha256,
                                create_time)
    SELECT merchant, document, format, language_code, content, content_sha256, :create_time
    FROM unnest(CAST(:merchant AS text[]), CAST(:document AS text[]), CAST(:format AS text[]),
                CAST(:language_code AS text[]), CAST(:content AS bytea[]),
                CAST(:content_sha256 AS text[]))
      AS made (merchant, document, format, language_code, content, content_sha256)
    ORDER BY merchant, document, format, language_code
    ON CONFLICT (merchant, document, format, language_code) DO NOTHING
""")


async def owe(tx: Connection, facts: Sequence[OwedDocument]) -> None:
    """Remember what documents are to be issued for."""
    await _OWE.run_for(tx, facts)


async def owe_payments(tx: Connection, paid: Iterable[Charge], now: datetime) -> None:
    """Remember that charges were paid."""
    await owe(tx, [OwedDocument(*it.key, _NO_REFUND, DocumentCause.PAYMENT, now) for it in paid])


async def owe_refunds(
    tx: Connection, refunds: Iterable[Refund], cause: DocumentCause, now: datetime
) -> None:
    """Remember what became of refunds."""
    await owe(tx, [OwedDocument(*refund.key, cause, now) for refund in refunds])


async def due_charges(
    tx: Connection, buckets: Sequence[int], now: datetime, limit: int
) -> list[ChargeKey]:
    """A batch of the charges that documents are to be issued for, or for what is given back of them."""
    return await _DUE_CHARGES.all(tx, buckets=buckets, now=now, limit=limit)


async def take(tx: Connection, charges: Collection[ChargeKey]) -> list[OwedDocument]:
    """Take all that charges are still owed, in the order in which it happened.

    This transaction issues its documents, or nothing is taken.
    """
    return await _TAKE.all_for(tx, charges)


async def postpone(tx: Connection, failed: Collection[FailedDocuments], now: datetime) -> None:
    """Have documents that cannot be made wait, longer after each failure, and say why."""
    await _POSTPONE.run_for(tx, failed, now=now)


async def issued(tx: Connection, charges: Iterable[ChargeKey]) -> list[IssuedDocument]:
    """The documents of charges and their refunds."""
    return await _ISSUED.all_for(tx, set(charges))


async def refunded_lines(tx: Connection, refunds: Iterable[RefundKey]) -> dict[RefundKey, str]:
    """Which products refunds give back, as JSON."""
    rows = await _REFUNDED_LINES.all_for(tx, set(refunds))
    return {RefundKey(*row[:4]): row.lines for row in rows}


async def take_numbers(tx: Connection, wanted: Sequence[Series]) -> dict[Series, int]:
    """Take a number for each document of a series; returns the last number before them."""
    rows = await _TAKE_NUMBERS.all_for(tx, wanted)
    return {Series(*row[:3]): row.last_number - wanted.count(Series(*row[:3])) for row in rows}


async def insert(
    tx: Connection, numbered: Sequence[NumberedDraft], documents: Sequence[Document]
) -> None:
    """Add documents, each with its number."""
    await _INSERT.run_for(
        tx,
        documents,
        prefix=[draft.series.prefix for draft in numbered],
        year=[draft.series.year for draft in numbered],
        number=[draft.number for draft in numbered],
        cause=[draft.owed.cause for draft in numbered],
        net_minor=[document.content.net_minor for document in documents],
        tax_minor=[document.content.tax_minor for document in documents],
        amount_minor=[document.content.amount_minor for document in documents],
        content=[dump_document(document) for document in documents],
    )


async def by_key(tx: Connection, key: DocumentKey) -> StoredDocument | None:
    """A document; None if there is none of this name."""
    return await _BY_KEY.one_or_none(tx, **key._asdict())


async def listed(
    tx: Connection,
    owner: CustomerKey | ChargeKey | MerchantId,
    before: uuid.UUID,
    limit: int,
) -> list[StoredDocument]:
    """The documents of a merchant, customer or charge, the latest first, before a position."""
    page = {"before": before, "limit": limit}
    match owner:
        case ChargeKey():
            return await _OF_CHARGE.all(tx, **owner._asdict(), **page)
        case CustomerKey():
            return await _OF_CUSTOMER.all(tx, **owner._asdict(), **page)
        case _:
            return await _OF_MERCHANT.all(tx, merchant=owner, **page)


async def by_keys(
    tx: Connection, keys: Collection[DocumentKey]
) -> dict[DocumentKey, StoredDocument]:
    """Documents by their names; those that there are."""
    rows = await _BY_KEYS.all_for(tx, keys)
    return {DocumentKey(row.merchant, row.document): StoredDocument(*row[2:]) for row in rows}


async def files(tx: Connection, wanted: Collection[WantedFile]) -> dict[WantedFile, DocumentFile]:
    """Documents as they were handed out before; those that were in this format and language."""
    rows = await _FILES.all_for(tx, wanted)
    return {WantedFile(*row[:4]): row for row in rows}


async def keep_files(
    tx: Connection, rendered: Collection[DocumentFile], now: datetime
) -> dict[WantedFile, DocumentFile]:
    """Keep rendered documents; returns what is handed out: what was kept first."""
    await _KEEP_FILES.run_for(tx, rendered, create_time=now)
    return await files(tx, [file.wanted for file in rendered])
