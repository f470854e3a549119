"""What merchants' documents look like, and their logos."""

from collections.abc import Iterable
from typing import NamedTuple

from services.payments.domain.documents import DocumentSettings
from services.payments.domain.keys import MerchantId
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query


class LogoKey(NamedTuple):
    """Which of a merchant's logos."""

    merchant: MerchantId
    # In hexadecimal digits; empty: none.
    logo_sha256: str


class _LogoRow(NamedTuple):
    merchant: MerchantId
    logo_sha256: str
    content: bytes


_LOCKED = Query(
    """
    SELECT merchant, seller_name, seller_address, seller_tax_id, logo_sha256, payment_documents,
           invoice_prefix, receipt_prefix, credit_note_prefix, language_code, time_zone, footer,
           email_documents, version
    FROM document_settings
    JOIN unnest(CAST(:merchants AS text[])) AS wanted (merchant) USING (merchant)
    ORDER BY merchant FOR UPDATE OF document_settings
""",
    DocumentSettings,
)

_GET = Query(
    """
    SELECT merchant, seller_name, seller_address, seller_tax_id, logo_sha256, payment_documents,
           invoice_prefix, receipt_prefix, credit_note_prefix, language_code, time_zone, footer,
           email_documents, version
    FROM document_settings WHERE merchant = :merchant
""",
    DocumentSettings,
)

_ENSURE = Command("""
    INSERT INTO document_settings (merchant, seller_name, seller_address, seller_tax_id, logo_sha256,
                                   payment_documents, invoice_prefix, receipt_prefix,
                                   credit_note_prefix, language_code, time_zone, footer,
                                   email_documents, version)
    VALUES (:merchant, :seller_name, :seller_address, :seller_tax_id, :logo_sha256,
            :payment_documents, :invoice_prefix, :receipt_prefix, :credit_note_prefix, :language_code,
            :time_zone, :footer, :email_documents, :version)
    ON CONFLICT (merchant) DO NOTHING
""")

_CHANGE = Query(
    """
    UPDATE document_settings
    SET seller_name = :seller_name, seller_address = :seller_address, seller_tax_id = :seller_tax_id,
        logo_sha256 = :logo_sha256, payment_documents = :payment_documents,
        invoice_prefix = :invoice_prefix, receipt_prefix = :receipt_prefix,
        credit_note_prefix = :credit_note_prefix, language_code = :language_code,
        time_zone = :time_zone, footer = :footer, email_documents = :email_documents,
        version = version + 1
    WHERE merchant = :merchant
    RETURNING merchant, seller_name, seller_address, seller_tax_id, logo_sha256, payment_documents,
              invoice_prefix, receipt_prefix, credit_note_prefix, language_code, time_zone, footer,
              email_documents, version
""",
    DocumentSettings,
)

_KEEP_LOGO = Command("""
    INSERT INTO document_logos (merchant, content) VALUES (:merchant, :content)
    ON CONFLICT (merchant, logo_sha256) DO NOTHING
""")

_LOGOS = Query(
    """
    SELECT merchant, logo_sha256, content
    FROM unnest(CAST(:merchant AS text[]), CAST(:logo_sha256 AS text[]))
      AS wanted (merchant, logo_sha256)
    CROSS JOIN LATERAL (
        SELECT content FROM document_logos
        WHERE document_logos.merchant = wanted.merchant
          AND document_logos.logo_sha256 = wanted.logo_sha256
        OFFSET 0) AS kept
""",
    _LogoRow,
)


async def get(tx: Connection, merchant: MerchantId) -> DocumentSettings:
    """A merchant's settings, or what holds where none were set."""
    return await _GET.one_or_none(tx, merchant=merchant) or DocumentSettings(merchant)


async def get_locked(tx: Connection, merchant: MerchantId) -> DocumentSettings:
    """A merchant's settings, locked; there is a row to lock from then on."""
    await _ENSURE.run(tx, **_columns(DocumentSettings(merchant)))
    return (await locked(tx, [merchant]))[merchant]


async def locked(
    tx: Connection, merchants: Iterable[MerchantId]
) -> dict[MerchantId, DocumentSettings]:
    """The settings of those merchants that have set some, locked: one process numbers at a time."""
    found = await _LOCKED.all(tx, merchants=sorted(set(merchants)))
    return {settings.merchant: settings for settings in found}


async def change(tx: Connection, wanted: DocumentSettings) -> DocumentSettings:
    """Store what a caller's change made of settings that are locked."""
    return await _CHANGE.one(tx, **_columns(wanted))


async def keep_logo(tx: Connection, merchant: MerchantId, content: bytes) -> None:
    """Keep a logo, for as long as documents name it."""
    await _KEEP_LOGO.run(tx, merchant=merchant, content=content)


async def logos(tx: Connection, wanted: Iterable[LogoKey]) -> dict[LogoKey, bytes]:
    """Merchants' logos; there is none for an empty hash."""
    rows = await _LOGOS.all_for(tx, {key for key in wanted if key.logo_sha256})
    return {LogoKey(row.merchant, row.logo_sha256): row.content for row in rows}


async def logo(tx: Connection, merchant: MerchantId, logo_sha256: str) -> bytes:
    """A merchant's logo; empty if the hash is."""
    key = LogoKey(merchant, logo_sha256)
    return (await logos(tx, [key])).get(key, b"")


def _columns(settings: DocumentSettings) -> dict[str, object]:
    return {
        "merchant": settings.merchant,
        "seller_name": settings.seller_name,
        "seller_address": list(settings.seller_address),
        "seller_tax_id": settings.seller_tax_id,
        "logo_sha256": settings.logo_sha256,
        "payment_documents": settings.payment_documents,
        "invoice_prefix": settings.invoice_prefix,
        "receipt_prefix": settings.receipt_prefix,
        "credit_note_prefix": settings.credit_note_prefix,
        "language_code": settings.language_code,
        "time_zone": settings.time_zone,
        "footer": settings.footer,
        "email_documents": settings.email_documents,
        "version": settings.version,
    }
