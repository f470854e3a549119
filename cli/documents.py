"""Invoices, receipts and credit notes, and what is on them."""

from pathlib import Path
from typing import Annotated

import typer
from recurring.payments.v1 import payments_pb2 as pb

from cli.command import command, group, one_of
from cli.connect import Session, all_pages, new_request_id
from cli.errors import CommandError
from cli.names import CHARGE, CUSTOMER, DOCUMENT, last_id, short_name
from cli.output import Columns
from cli.values import format_date, format_money, format_timestamp

documents = group("List and download invoices, receipts and credit notes, and say what is on them.")

DocumentArgument = Annotated[
    str, typer.Argument(metavar="DOCUMENT", help="Number, id or resource name, as in lists.")
]
LOGO_MAX_BYTES = 48 * 1024

DOCUMENT_COLUMNS: Columns[pb.Document] = {
    "document": lambda it: last_id(it.name),
    "type": lambda it: pb.Document.Type.Name(it.type),
    "issued": lambda it: format_date(it.issue_date),
    "customer": lambda it: last_id(it.customer),
    "charge": lambda it: last_id(it.charge),
    "net": lambda it: format_money(it.net_amount),
    "amount": lambda it: format_money(it.amount),
}
DOCUMENT_DETAIL_COLUMNS: Columns[pb.Document] = {
    "number": lambda it: it.number,
    **DOCUMENT_COLUMNS,
    "issued at": lambda it: format_timestamp(it.issue_time),
    "happened at": lambda it: format_timestamp(it.fact_time),
    "order": lambda it: short_name(it.order),
    "refund": lambda it: last_id(it.refund),
    "corrects": lambda it: last_id(it.corrected_document),
    "seller": lambda it: ", ".join(
        filter(None, [it.seller.display_name, *it.seller.address_lines, it.seller.tax_id])
    ),
    "buyer": lambda it: ", ".join(
        filter(
            None,
            [
                it.buyer.display_name,
                *it.buyer.address_lines,
                it.buyer.region_code,
                it.buyer.tax_id,
            ],
        )
    ),
    "delivered to": lambda it: it.region_code,
    "of it credit": lambda it: format_money(it.credit_amount),
    "paid with": lambda it: f"{it.payment_method_brand} {it.payment_method_last4}".strip(),
    "mandate": lambda it: last_id(it.mandate),
    "notice": lambda it: last_id(it.notice),
    "SHA-256": lambda it: it.sha256,
}
LINE_COLUMNS: Columns[pb.Document.Line] = {
    "item": lambda it: it.title,
    "product": lambda it: it.product_id,
    "quantity": lambda it: str(it.quantity or ""),
    "net": lambda it: format_money(it.net_amount) if it.HasField("net_amount") else "",
    "amount": lambda it: format_money(it.amount),
    "list price": lambda it: format_money(it.list_amount) if it.HasField("list_amount") else "",
    "adjusted": lambda it: ", ".join(map(_adjustment, it.adjustments)),
}
TAX_COLUMNS: Columns[pb.Document.TaxTotal] = {
    "tax": lambda it: it.title,
    "per million": lambda it: str(it.rate_ppm),
    "treatment": lambda it: it.treatment,
    "on": lambda it: format_money(it.net_amount),
    "amount": lambda it: format_money(it.amount),
}
SETTINGS_COLUMNS: Columns[pb.DocumentSettings] = {
    "issued for payments": lambda it: pb.DocumentSettings.PaymentDocuments.Name(
        it.payment_documents
    ),
    "seller": lambda it: ", ".join(
        filter(None, [it.seller.display_name, *it.seller.address_lines, it.seller.tax_id])
    ),
    "logo": lambda it: f"{len(it.seller.logo)} bytes" if it.seller.logo else "",
    "invoices": lambda it: it.invoice_prefix,
    "receipts": lambda it: it.receipt_prefix,
    "credit notes": lambda it: it.credit_note_prefix,
    "language": lambda it: it.language_code,
    "time zone": lambda it: it.time_zone,
    "footer": lambda it: it.footer,
    "by e-mail": lambda it: "yes" if it.email_documents else "no",
}


def _adjustment(it: pb.Document.Adjustment) -> str:
    return f"{it.title or it.kind} {format_money(it.amount)}"


@command(documents, "list")
async def list_documents(
    session: Session,
    customer: Annotated[
        str, typer.Option(metavar="CUSTOMER", help="Only those of this customer.")
    ] = "",
    charge: Annotated[
        str, typer.Option(metavar="CHARGE", help="Only those of this charge: CUSTOMER/CHARGE.")
    ] = "",
) -> None:
    """List documents, the latest first."""
    request = pb.ListDocumentsRequest(
        parent=session.parent,
        customer=customer and session.name(CUSTOMER, customer),
        charge=charge and session.name(CHARGE, charge),
    )
    listed = await all_pages(session.payments.ListDocuments, request, "documents")
    session.output.many(listed, DOCUMENT_COLUMNS, "no documents")


@command(documents, "get")
async def get_document(session: Session, document: DocumentArgument) -> None:
    """Show what a document says."""
    name = session.name(DOCUMENT, document.lower())
    found = await session.payments.GetDocument(pb.GetDocumentRequest(name=name))
    session.output.one(found, DOCUMENT_DETAIL_COLUMNS)
    if not session.output.as_json:
        session.output.many(found.lines, LINE_COLUMNS, "no lines")
        session.output.many(found.taxes, TAX_COLUMNS, "no taxes")


@command(documents, "download")
async def download_document(
    session: Session,
    document: DocumentArgument,
    file_format: Annotated[
        pb.DownloadDocumentRequest.Format.ValueType,
        one_of(pb.DownloadDocumentRequest.Format, "What file it is to be.", "--format"),
    ] = pb.DownloadDocumentRequest.PDF,
    language: Annotated[
        str, typer.Option(metavar="CODE", help="en, de, es, fr, zh or ar. Default: its own.")
    ] = "",
    output: Annotated[
        Path | None, typer.Option(help="Where to. Default: here, by the document's number.")
    ] = None,
) -> None:
    """Save a document as a PDF or HTML file."""
    request = pb.DownloadDocumentRequest(
        name=session.name(DOCUMENT, document.lower()),
        format=file_format,
        language_code=language,
    )
    file = await session.payments.DownloadDocument(request)
    session.output.save(file.content, output or Path(file.file_name), file.sha256)


@command(documents, "settings")
async def document_settings(
    session: Session,
    issue: Annotated[
        pb.DocumentSettings.PaymentDocuments.ValueType,
        one_of(pb.DocumentSettings.PaymentDocuments, "What is issued for a payment."),
    ] = pb.DocumentSettings.PAYMENT_DOCUMENTS_UNSPECIFIED,
    seller: Annotated[str, typer.Option(help="The seller's name.")] = "",
    address: Annotated[
        list[str] | None, typer.Option(metavar="LINE", help="A line of the address; repeatable.")
    ] = None,
    tax_id: Annotated[str, typer.Option(help="The seller's tax number.")] = "",
    logo: Annotated[Path | None, typer.Option(help="A PNG picture of at most 48 KiB.")] = None,
    language: Annotated[str, typer.Option(metavar="CODE", help="en, de, es, fr, zh or ar.")] = "",
    zone: Annotated[str, typer.Option(help="IANA zone of the dates.")] = "",
    footer: Annotated[str, typer.Option(help="What is below everything else.")] = "",
    email: Annotated[
        bool | None, typer.Option(help="Whether customers get their documents by e-mail.")
    ] = None,
) -> None:
    """Show what is issued and what is on it, or change what is named."""
    name = f"{session.parent}/documentSettings"
    request = pb.GetDocumentSettingsRequest(name=name)
    settings = await session.payments.GetDocumentSettings(request)
    before = settings.SerializeToString(deterministic=True)
    settings.payment_documents = issue or settings.payment_documents
    settings.seller.display_name = seller or settings.seller.display_name
    settings.seller.tax_id = tax_id or settings.seller.tax_id
    settings.seller.address_lines[:] = address or settings.seller.address_lines
    settings.language_code = language or settings.language_code
    settings.time_zone = zone or settings.time_zone
    settings.footer = footer or settings.footer
    if email is not None:
        settings.email_documents = email
    if logo:
        settings.seller.logo = _picture(logo)
    if settings.SerializeToString(deterministic=True) != before:
        change = pb.UpdateDocumentSettingsRequest(
            document_settings=settings, request_id=new_request_id()
        )
        settings = await session.payments.UpdateDocumentSettings(change)
    session.output.one(settings, SETTINGS_COLUMNS)


def _picture(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            content = opened.read(LOGO_MAX_BYTES + 1)
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}") from error
    if len(content) > LOGO_MAX_BYTES:
        raise CommandError(f"{file}: a logo has at most {LOGO_MAX_BYTES} bytes")
    return content
