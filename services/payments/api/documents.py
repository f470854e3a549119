"""Documents between the wire and the domain."""

import hashlib
import struct
from collections.abc import Sequence
from functools import cache
from zoneinfo import available_timezones

from google.type import money_pb2
from recurring.payments.v1 import payments_pb2

from services.payments.application.document_files import Download
from services.payments.domain.buyers import BillingDetails, Buyer
from services.payments.domain.documents import (
    CREDIT_NOTE_PREFIX,
    INVOICE_PREFIX,
    LANGUAGES,
    RECEIPT_PREFIX,
    DocumentLine,
    DocumentSettings,
    PaymentDocuments,
    TaxTotal,
)
from services.payments.domain.keys import (
    ChargeKey,
    CustomerKey,
    DocumentKey,
    MerchantId,
    RefundKey,
)
from services.payments.names import (
    BILLING_DETAILS,
    CHARGE,
    CUSTOMER,
    DOCUMENT,
    DOCUMENT_SETTINGS,
    MERCHANT,
)
from services.payments.store.documents import StoredDocument, WantedFile
from services.runtime.errors import Problem, Violations
from services.runtime.resource_names import require_within
from services.runtime.rpc.conversions import etag, to_date, to_money, to_timestamp
from services.runtime.rpc.names import read_name

LOGO_PIXELS_MAX = 2000
_PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
HTML, PDF = "HTML", "PDF"
_MEDIA_TYPES = {HTML: "text/html; charset=utf-8", PDF: "application/pdf"}
# Seven of them, as many as a batch has, are below the most that a message has.
BATCH_FILE_MAX_BYTES = 512 * 1024
_Result = payments_pb2.BatchDownloadDocumentsResponse.Result


def read_document_settings(
    wanted: payments_pb2.DocumentSettings,
) -> tuple[DocumentSettings, bytes]:
    """What a merchant's documents are to look like, and its logo. Raises like `read_name`."""
    merchant = read_name(DOCUMENT_SETTINGS, wanted.name)
    seller = wanted.seller
    violations = Violations()
    violations.require(
        "document_settings.time_zone",
        "must be an IANA time zone, such as Europe/Berlin",
        met=not wanted.time_zone or wanted.time_zone in _zones(),
    )
    violations.require(
        "document_settings.seller.logo",
        f"must be a PNG picture of at most {LOGO_PIXELS_MAX} by {LOGO_PIXELS_MAX} pixels",
        met=not seller.logo or _is_logo(seller.logo),
    )
    violations.check()
    documents = payments_pb2.DocumentSettings.PaymentDocuments.Name(wanted.payment_documents)
    settings = DocumentSettings(
        merchant,
        seller.display_name,
        tuple(seller.address_lines),
        seller.tax_id,
        hashlib.sha256(seller.logo).hexdigest() if seller.logo else "",
        PaymentDocuments(documents),
        wanted.invoice_prefix or INVOICE_PREFIX,
        wanted.receipt_prefix or RECEIPT_PREFIX,
        wanted.credit_note_prefix or CREDIT_NOTE_PREFIX,
        wanted.language_code or LANGUAGES[0],
        wanted.time_zone or "UTC",
        wanted.footer,
        wanted.email_documents,
    )
    return settings, seller.logo


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def _is_logo(content: bytes) -> bool:
    """Whether it says that it is a PNG picture of no extraordinary size: one is unpacked to show it."""
    if not content.startswith(_PNG) or len(content) < len(_PNG) + 8:
        return False
    width, height = struct.unpack_from(">II", content, len(_PNG))
    return all(0 < side <= LOGO_PIXELS_MAX for side in (width, height))


def read_document_filter(
    request: payments_pb2.ListDocumentsRequest,
) -> MerchantId | CustomerKey | ChargeKey | None:
    """Whose documents are wanted; None for a charge of another customer. Raises like `read_name`."""
    merchant = read_name(MERCHANT, request.parent)
    violations = Violations()
    require_within(violations, "customer", request.customer, merchant)
    require_within(violations, "charge", request.charge, merchant)
    violations.check()
    customer = CUSTOMER.key(request.customer) if request.customer else None
    if not request.charge:
        return customer or merchant
    charge = CHARGE.key(request.charge)
    return charge if customer is None or customer == charge[:2] else None


def document_settings_message(
    found: tuple[DocumentSettings, bytes],
) -> payments_pb2.DocumentSettings:
    """What a merchant's documents look like."""
    settings, logo = found
    documents = payments_pb2.DocumentSettings.PaymentDocuments
    return payments_pb2.DocumentSettings(
        name=DOCUMENT_SETTINGS.format(settings.merchant),
        seller=payments_pb2.Seller(
            display_name=settings.seller_name,
            address_lines=settings.seller_address,
            tax_id=settings.seller_tax_id,
            logo=logo,
        ),
        payment_documents=documents.Value(settings.payment_documents),
        invoice_prefix=settings.invoice_prefix,
        receipt_prefix=settings.receipt_prefix,
        credit_note_prefix=settings.credit_note_prefix,
        language_code=settings.language_code,
        time_zone=settings.time_zone,
        footer=settings.footer,
        email_documents=settings.email_documents,
        etag=etag(settings.version),
    )


def read_billing_details(wanted: payments_pb2.BillingDetails) -> BillingDetails:
    """What a customer's documents are to say of who buys. Raises like `read_name`."""
    buyer = Buyer(
        wanted.display_name, tuple(wanted.address_lines), wanted.region_code, wanted.tax_id
    )
    return BillingDetails(*read_name(BILLING_DETAILS, wanted.name), buyer)


def billing_details_message(details: BillingDetails) -> payments_pb2.BillingDetails:
    """What a customer's documents say of who buys."""
    said = {} if details.buyer is None else details.buyer._asdict()
    return payments_pb2.BillingDetails(
        name=BILLING_DETAILS.format(*details.key), etag=etag(details.version), **said
    )


def optional_buyer_message(buyer: Buyer | None) -> payments_pb2.DocumentBuyer | None:
    """Who buys, where that is known."""
    return None if buyer is None else payments_pb2.DocumentBuyer(**buyer._asdict())


def document_message(stored: StoredDocument, buyer: Buyer | None) -> payments_pb2.Document:
    """What a document says."""
    document, content = stored.document, stored.document.content
    charge = ChargeKey(document.merchant, document.customer, document.charge)
    currency, corrected = document.currency, DocumentKey(document.merchant, document.corrected)
    return payments_pb2.Document(
        name=DocumentKey(document.merchant, document.document).name,
        type=payments_pb2.Document.Type.Value(document.type),
        number=document.number,
        issue_date=to_date(document.issue_date),
        issue_time=to_timestamp(document.issue_time),
        fact_time=to_timestamp(document.fact_time),
        charge=charge.name,
        refund=RefundKey(*charge, document.refund).name if document.refund else "",
        order=document.order_name,
        corrected_document=corrected.name if document.corrected else "",
        seller=payments_pb2.DocumentSeller(
            display_name=document.seller.name,
            address_lines=document.seller.address_lines,
            tax_id=document.seller.tax_id,
            logo_sha256=document.seller.logo_sha256,
        ),
        customer=CustomerKey(document.merchant, document.customer).name,
        region_code=document.region_code,
        lines=[_line_message(line, currency) for line in content.lines],
        net_amount=to_money(content.net_minor, currency),
        taxes=[_tax_message(tax, currency) for tax in content.taxes],
        amount=to_money(content.amount_minor, currency),
        credit_amount=to_money(content.credit_minor, currency),
        payment_method_brand=document.brand,
        payment_method_last4=document.last4,
        mandate=document.mandate,
        notice=document.notice,
        sha256=stored.content_sha256,
        buyer=optional_buyer_message(buyer),
    )


def _line_message(line: DocumentLine, currency: str) -> payments_pb2.Document.Line:
    return payments_pb2.Document.Line(
        product_id=line.product,
        title=line.title,
        quantity=line.quantity,
        net_amount=_optional_money(line.net_minor, currency),
        amount=to_money(line.amount_minor, currency),
        list_amount=_optional_money(line.list_minor, currency),
        adjustments=[
            payments_pb2.Document.Adjustment(
                kind=adjustment.kind,
                amount=to_money(adjustment.amount_minor, currency),
                title=adjustment.title,
            )
            for adjustment in line.adjustments
        ],
    )


def _tax_message(tax: TaxTotal, currency: str) -> payments_pb2.Document.TaxTotal:
    return payments_pb2.Document.TaxTotal(
        title=tax.title,
        rate_ppm=tax.rate_ppm,
        treatment=tax.treatment,
        net_amount=to_money(tax.net_minor, currency),
        amount=to_money(tax.amount_minor, currency),
    )


def _optional_money(amount_minor: int | None, currency: str) -> money_pb2.Money | None:
    return None if amount_minor is None else to_money(amount_minor, currency)


def read_download(request: payments_pb2.DownloadDocumentRequest) -> WantedFile:
    """The file that is wanted. Raises like `read_name`."""
    file_format = payments_pb2.DownloadDocumentRequest.Format.Name(request.format)
    key = read_name(DOCUMENT, request.name)
    return WantedFile(*key, file_format, request.language_code)


def read_downloads(request: payments_pb2.BatchDownloadDocumentsRequest) -> list[WantedFile]:
    """The files that are wanted."""
    return [
        WantedFile(*DOCUMENT.key(wanted.name), PDF, wanted.language_code)
        for wanted in request.downloads
    ]


def download_response(downloaded: Download) -> payments_pb2.DownloadDocumentResponse:
    """A document as a file."""
    return payments_pb2.DownloadDocumentResponse(
        content=downloaded.file.content,
        media_type=_MEDIA_TYPES[downloaded.file.format],
        file_name=_file_name(downloaded),
        sha256=downloaded.file.content_sha256,
        language_code=downloaded.file.language_code,
    )


def batch_download_response(
    downloaded: Sequence[Download | Problem],
) -> payments_pb2.BatchDownloadDocumentsResponse:
    """Documents as files, or what is in their way."""
    return payments_pb2.BatchDownloadDocumentsResponse(results=map(_download_result, downloaded))


def _download_result(downloaded: Download | Problem) -> _Result:
    if isinstance(downloaded, Problem):
        is_missing = downloaded.reason == "DOCUMENT_NOT_FOUND"
        return _Result(problem=_Result.DOCUMENT_NOT_FOUND if is_missing else _Result.NOT_RENDERED)
    file_name = _file_name(downloaded)
    if len(downloaded.file.content) > BATCH_FILE_MAX_BYTES:
        return _Result(file_name=file_name, problem=_Result.FILE_TOO_LARGE)
    return _Result(file_name=file_name, content=downloaded.file.content)


def _file_name(downloaded: Download) -> str:
    return f"{downloaded.document.number}.{downloaded.file.format.lower()}"
