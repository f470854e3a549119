"""What merchants' documents look like, and their logos."""

from collections.abc import Iterable

from services.payments.domain.documents import DocumentSettings
from services.payments.domain.keys import MerchantId
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query, scalar

_LOCKED = Query(
    """
    SELECT merchant, seller_name, seller_address, seller_tax_id, logo_sha256, payment_documents,
           invoice_prefix, receipt_prefix, credit_note_prefix, language_code, time_zone, footer,
           version
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
           version
    FROM document_settings WHERE merchant = :merchant
""",
    DocumentSettings,
)

_ENSURE = Command("""
    INSERT INTO document_settings (merchant, seller_name, seller_address, seller_tax_id, logo_sha256,
                                   payment_documents, invoice_prefix, receipt_prefix,
                                   credit_note_prefix, language_code, time_zone, footer, version)
    VALUES (:merchant, :seller_name, :seller_address, :seller_tax_id, :logo_sha256,
            :payment_documents, :invoice_prefix, :receipt_prefix, :credit_note_prefix, :language_code,
            :time_zone, :footer, :version)
    ON CONFLICT (merchant) DO NOTHING
""")

_CHANGE = Query(
    """
    UPDATE document_settings
    SET seller_name = :seller_name, seller_address = :seller_address, seller_tax_id = :seller_tax_id,
        logo_sha256 = :logo_sha256, payment_documents = :payment_documents,
        invoice_prefix = :invoice_prefix, receipt_prefix = :receipt_prefix,
        credit_note_prefix = :credit_note_prefix, language_code = :language_code,
        time_zone = :time_zone, footer = :footer, version = version + 1
    WHERE merchant = :merchant
    RETURNING merchant, seller_name, seller_address, seller_tax_id, logo_sha256, payment_documents,
              invoice_prefix, receipt_prefix, credit_note_prefix, language_code, time_zone, footer,
              version
""",
    DocumentSettings,
)

_KEEP_LOGO = Command("""
    INSERT INTO document_logos (merchant, content) VALUES (:merchant, :content)
    ON CONFLICT (merchant, logo_sha256) DO NOTHING
""")

_LOGO: Query[bytes] = Query(
    """
    SELECT content FROM document_logos WHERE merchant = :merchant AND logo_sha256 = :logo_sha256
""",
    scalar,
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


async def logo(tx: Connection, merchant: MerchantId, logo_sha256: str) -> bytes:
    """A merchant's logo; empty if the hash is."""
    if not logo_sha256:
        return b""
    return await _LOGO.one(tx, merchant=merchant, logo_sha256=logo_sha256)


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
        "version": settings.version,
    }
