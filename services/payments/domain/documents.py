"""Documents: what an invoice, receipt, credit note or debit note says, and how it is numbered. Pure.

What a document says is stored as one text, which is never written again. Its amounts are those of the
ledger: of a credit note those that its refund was booked with.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from services.payments.domain.buyers import YearKey
from services.payments.domain.keys import (
    ChargeId,
    ChargeKey,
    CustomerId,
    DocumentId,
    DocumentKey,
    MerchantId,
    RefundId,
    RefundKey,
)

# Of the form of what is stored.
FORM = 1
NUMBER_DIGITS = 6
LANGUAGES = ("en", "de", "es", "fr", "zh", "ar")
INVOICE_PREFIX, RECEIPT_PREFIX, CREDIT_NOTE_PREFIX = "INV-", "R-", "CN-"


class DocumentType(StrEnum):
    """What a document is."""

    INVOICE = "INVOICE"
    RECEIPT = "RECEIPT"
    CREDIT_NOTE = "CREDIT_NOTE"
    DEBIT_NOTE = "DEBIT_NOTE"


class DocumentCause(StrEnum):
    """What a document is issued for."""

    PAYMENT = "PAYMENT"
    # What went back to the payment method.
    REFUND = "REFUND"
    # What of a refund became credit.
    REFUND_TO_CREDIT = "REFUND_TO_CREDIT"
    # What went back to the payment method came back.
    REFUND_FAILURE = "REFUND_FAILURE"


class PaymentDocuments(StrEnum):
    """What is issued for a payment."""

    NO_DOCUMENTS = "NO_DOCUMENTS"
    INVOICES = "INVOICES"
    RECEIPTS = "RECEIPTS"
    INVOICES_AND_RECEIPTS = "INVOICES_AND_RECEIPTS"


_OF_PAYMENTS = {
    PaymentDocuments.NO_DOCUMENTS: (),
    PaymentDocuments.INVOICES: (DocumentType.INVOICE,),
    PaymentDocuments.RECEIPTS: (DocumentType.RECEIPT,),
    PaymentDocuments.INVOICES_AND_RECEIPTS: (DocumentType.INVOICE, DocumentType.RECEIPT),
}


@dataclass(frozen=True, slots=True)
class DocumentSettings:
    """What a merchant's documents look like, and which are issued."""

    merchant: MerchantId
    seller_name: str = ""
    seller_address: tuple[str, ...] = ()
    seller_tax_id: str = ""
    # In hexadecimal digits; empty: there is none.
    logo_sha256: str = ""
    payment_documents: PaymentDocuments = PaymentDocuments.NO_DOCUMENTS
    invoice_prefix: str = INVOICE_PREFIX
    receipt_prefix: str = RECEIPT_PREFIX
    credit_note_prefix: str = CREDIT_NOTE_PREFIX
    language_code: str = LANGUAGES[0]
    time_zone: str = "UTC"
    footer: str = ""
    # Whether customers get their documents by e-mail.
    email_documents: bool = False
    version: int = 1

    def prefix(self, kind: DocumentType) -> str:
        """What the numbers of a type begin with. A debit note is an invoice for what came back."""
        return {
            DocumentType.RECEIPT: self.receipt_prefix,
            DocumentType.CREDIT_NOTE: self.credit_note_prefix,
        }.get(kind, self.invoice_prefix)


class OwedDocument(NamedTuple):
    """Something that documents are to be issued for."""

    merchant: MerchantId
    customer: CustomerId
    charge: ChargeId
    # Empty for a payment.
    refund: RefundId
    cause: DocumentCause
    # When it was paid, given back or came back.
    fact_time: datetime

    @property
    def charge_key(self) -> ChargeKey:
        """The charge that it is about."""
        return ChargeKey(self.merchant, self.customer, self.charge)

    @property
    def refund_key(self) -> RefundKey:
        """The refund that it is about, if it is about one."""
        return RefundKey(self.merchant, self.customer, self.charge, self.refund)


class IssuedDocument(NamedTuple):
    """A document that another one may correct."""

    merchant: MerchantId
    customer: CustomerId
    charge: ChargeId
    refund: RefundId
    cause: DocumentCause
    type: DocumentType
    document: DocumentId

    @property
    def charge_key(self) -> ChargeKey:
        """The charge that it is about."""
        return ChargeKey(self.merchant, self.customer, self.charge)


class Series(NamedTuple):
    """What is numbered without a gap."""

    merchant: MerchantId
    # What its numbers begin with.
    prefix: str
    year: int


class Draft(NamedTuple):
    """A document that has no number yet."""

    owed: OwedDocument
    type: DocumentType
    series: Series


class NumberedDraft(NamedTuple):
    """A document that is being issued."""

    owed: OwedDocument
    type: DocumentType
    series: Series
    # In its series.
    number: int
    # What it corrects; empty: nothing.
    corrected: DocumentId

    @property
    def printed_number(self) -> str:
        """As people read it."""
        prefix, year = self.series.prefix, self.series.year
        return f"{prefix}{year}-{self.number:0{NUMBER_DIGITS}}"

    @property
    def document(self) -> DocumentId:
        """The id, of which the number is one in capitals."""
        return DocumentId(self.printed_number.lower())


@dataclass(frozen=True, slots=True)
class Seller:
    """Who sold, as a document names them."""

    name: str
    address_lines: tuple[str, ...]
    tax_id: str
    logo_sha256: str


@dataclass(frozen=True, slots=True)
class DocumentAdjustment:
    """A step from the list price to what is paid."""

    kind: str
    amount_minor: int
    title: str


@dataclass(frozen=True, slots=True)
class DocumentLine:
    """What is paid for, or given back."""

    # Its id; empty: nobody said.
    product: str
    title: str
    quantity: int
    # None: a part of it is given back, with its taxes.
    net_minor: int | None
    amount_minor: int
    list_minor: int | None = None
    adjustments: tuple[DocumentAdjustment, ...] = ()


@dataclass(frozen=True, slots=True)
class TaxTotal:
    """A tax at one rate."""

    title: str
    rate_ppm: int
    treatment: str
    net_minor: int
    amount_minor: int


@dataclass(frozen=True, slots=True)
class Content:
    """What a document is over."""

    lines: tuple[DocumentLine, ...]
    net_minor: int
    taxes: tuple[TaxTotal, ...]
    # What is paid by credit, or given as credit.
    credit_minor: int = 0

    @property
    def tax_minor(self) -> int:
        """All taxes."""
        return sum(tax.amount_minor for tax in self.taxes)

    @property
    def amount_minor(self) -> int:
        """With taxes."""
        return self.net_minor + self.tax_minor


@dataclass(frozen=True, slots=True)
class Document:
    """All that a document says."""

    merchant: MerchantId
    document: DocumentId
    type: DocumentType
    number: str
    issue_date: date
    issue_time: datetime
    fact_time: datetime
    time_zone: str
    language_code: str
    customer: CustomerId
    charge: ChargeId
    refund: RefundId
    # The resource names of the order, the mandate and the notice; empty: there is none.
    order_name: str
    mandate: str
    notice: str
    corrected: DocumentId
    title: str
    region_code: str
    currency: str
    content: Content
    # What paid, or got its money back.
    brand: str
    last4: str
    seller: Seller
    footer: str
    # Who buys, encrypted with the customer's key of the year, in base64; empty: nobody said.
    encrypted_buyer: str = ""

    @property
    def key(self) -> DocumentKey:
        """Which it is."""
        return DocumentKey(self.merchant, self.document)

    @property
    def year_key(self) -> YearKey:
        """What its buyer and its files are encrypted with, if it has one."""
        return YearKey(self.merchant, self.customer, self.issue_time.astimezone(UTC).year)


def drafts(
    owed: Iterable[OwedDocument],
    settings: Mapping[MerchantId, DocumentSettings],
    issued: Iterable[IssuedDocument],
    now: datetime,
) -> Iterator[Draft]:
    """The documents that are issued for what is owed, in the order of their numbers.

    What is given back of a payment that got no document has nothing to correct, and gets none.
    """
    documented = {document.charge_key for document in issued}
    for fact in owed:
        of_merchant = settings.get(fact.merchant)
        if of_merchant is None:
            continue
        for kind in _types(fact, of_merchant, documented):
            year = now.astimezone(ZoneInfo(of_merchant.time_zone)).year
            yield Draft(fact, kind, Series(fact.merchant, of_merchant.prefix(kind), year))
            documented.add(fact.charge_key)


def _types(
    fact: OwedDocument, settings: DocumentSettings, documented: set[ChargeKey]
) -> Sequence[DocumentType]:
    if fact.cause is DocumentCause.PAYMENT:
        return _OF_PAYMENTS[settings.payment_documents]
    if fact.charge_key not in documented:
        return ()
    failed = fact.cause is DocumentCause.REFUND_FAILURE
    return (DocumentType.DEBIT_NOTE if failed else DocumentType.CREDIT_NOTE,)


def number_drafts(
    unnumbered: Iterable[Draft],
    last_numbers: Mapping[Series, int],
    issued: Iterable[IssuedDocument],
) -> Iterator[NumberedDraft]:
    """Number documents, each series from its last number on, and say what each of them corrects."""
    numbers = dict(last_numbers)
    known: dict[tuple[ChargeKey, str, DocumentType], DocumentId] = {
        (it.charge_key, it.refund, it.type): it.document
        for it in issued
        if it.cause is not DocumentCause.REFUND_TO_CREDIT
    }
    for draft in unnumbered:
        numbers[draft.series] = numbers.get(draft.series, 0) + 1
        numbered = NumberedDraft(*draft, numbers[draft.series], _corrected(draft, known))
        if draft.owed.cause is not DocumentCause.REFUND_TO_CREDIT:
            known[draft.owed.charge_key, draft.owed.refund, draft.type] = numbered.document
        yield numbered


def _corrected(
    draft: Draft, known: Mapping[tuple[ChargeKey, str, DocumentType], DocumentId]
) -> DocumentId:
    charge, refund = draft.owed.charge_key, draft.owed.refund
    match draft.type:
        case DocumentType.CREDIT_NOTE:
            receipt = known.get((charge, "", DocumentType.RECEIPT), DocumentId(""))
            return known.get((charge, "", DocumentType.INVOICE), receipt)
        case DocumentType.DEBIT_NOTE:
            return known.get((charge, refund, DocumentType.CREDIT_NOTE), DocumentId(""))
        case _:
            return DocumentId("")


# --- as they are stored -----------------------------------------------------------------------------


def dump_document(document: Document) -> bytes:
    """All that a document says, the same bytes for the same document."""
    stored = {"form": FORM, **asdict(document)}
    return json.dumps(
        stored, ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=_dump_time
    ).encode()


def _dump_time(value: date) -> str:
    # A datetime is a date.
    return value.isoformat()


def load_document(stored: bytes) -> Document:
    """A document from what is stored."""
    fields: dict[str, Any] = json.loads(stored)
    del fields["form"]
    content, seller = fields["content"], fields["seller"]
    return Document(
        **fields
        | {
            "type": DocumentType(fields["type"]),
            "issue_date": date.fromisoformat(fields["issue_date"]),
            "issue_time": datetime.fromisoformat(fields["issue_time"]),
            "fact_time": datetime.fromisoformat(fields["fact_time"]),
            "seller": Seller(**seller | {"address_lines": tuple(seller["address_lines"])}),
            "content": Content(
                **content
                | {
                    "lines": tuple(map(_load_line, content["lines"])),
                    "taxes": tuple(TaxTotal(**tax) for tax in content["taxes"]),
                }
            ),
        }
    )


def _load_line(line: dict[str, Any]) -> DocumentLine:
    adjustments = tuple(DocumentAdjustment(**each) for each in line["adjustments"])
    return DocumentLine(**line | {"adjustments": adjustments})
