"""Documents: issued for what was paid and given back."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from services.payments import publishers
from services.payments.domain.buyers import Buyer, YearKey
from services.payments.domain.charges import Charge
from services.payments.domain.document_contents import payment_content, refund_content
from services.payments.domain.documents import (
    Content,
    Document,
    DocumentCause,
    DocumentSettings,
    NumberedDraft,
    OwedDocument,
    Seller,
    drafts,
    number_drafts,
)
from services.payments.domain.keys import (
    ChargeKey,
    CustomerKey,
    DocumentKey,
    MerchantId,
    PaymentMethodKey,
    RefundKey,
)
from services.payments.domain.ledger import credit_note_parts
from services.payments.domain.payment_methods import PaymentMethod
from services.payments.domain.refunds import load_refund_lines
from services.payments.domain.transfers import Transfer
from services.payments.names import DOCUMENT_SETTINGS
from services.payments.store import billing_details as billing_store
from services.payments.store import charges as charge_store
from services.payments.store import document_keys
from services.payments.store import document_settings as settings_store
from services.payments.store import documents as store
from services.payments.store import ledger as ledger_store
from services.payments.store import payment_methods as payment_method_store
from services.payments.store.document_keys import BuyerCipher
from services.payments.store.documents import StoredDocument
from services.runtime.db.pool import Connection
from services.runtime.errors import not_found
from services.runtime.messaging import outbox
from services.runtime.messaging.events import OutboxEvent
from services.runtime.mutations import Applied
from services.runtime.rpc.conversions import check_etag


class _Facts:
    """What documents are made of, read for all of a batch at once."""

    def __init__(
        self,
        charges: Mapping[ChargeKey, Charge],
        methods: Mapping[PaymentMethodKey, PaymentMethod],
        booked: Mapping[str, Sequence[Transfer]],
        refunded_lines: Mapping[RefundKey, str],
        buyers: Mapping[CustomerKey, Buyer],
        ciphers: Mapping[YearKey, BuyerCipher],
    ) -> None:
        self._charges = charges
        self._methods = methods
        self._booked = booked
        self._refunded_lines = refunded_lines
        self._buyers = buyers
        self._ciphers = ciphers

    def with_buyer(self, document: Document) -> Document:
        """A document with who buys, encrypted: so that it can be erased, and the document is kept."""
        buyer = self._buyers.get(CustomerKey(document.merchant, document.customer))
        if buyer is None:
            return document
        encrypted = self._ciphers[document.year_key].encrypt_buyer(document.key, buyer)
        return replace(document, encrypted_buyer=encrypted)

    def charge(self, owed: OwedDocument) -> Charge:
        """The charge that a document is about."""
        return self._charges[owed.charge_key]

    def method(self, owed: OwedDocument) -> PaymentMethod | None:
        """What paid for it, if credit did not."""
        return self._methods.get(_method_key(self.charge(owed)))

    def content(self, owed: OwedDocument) -> Content:
        """What a document is over."""
        charge = self.charge(owed)
        if owed.cause is DocumentCause.PAYMENT:
            return payment_content(charge)
        to_credit = owed.cause is DocumentCause.REFUND_TO_CREDIT
        parts = credit_note_parts(self._booked[owed.refund_key.name], to_credit=to_credit)
        lines = load_refund_lines(self._refunded_lines[owed.refund_key])
        return refund_content(charge, parts, lines, to_credit=to_credit)


async def issue(tx: Connection, charges: Sequence[ChargeKey], now: datetime) -> None:
    """Issue all documents that charges are owed.

    Numbers are taken, and documents stored, with what was owed: all of it is committed or nothing is.
    Whoever numbers for a merchant holds its settings, so that a lost lease makes no gap.
    """
    settings = await settings_store.locked(tx, [charge.merchant for charge in charges])
    taken = await store.take(tx, charges)
    issued = await store.issued(tx, [fact.charge_key for fact in taken])
    unnumbered = list(drafts(taken, settings, issued, now))
    last_numbers = await store.take_numbers(tx, [draft.series for draft in unnumbered])
    numbered = list(number_drafts(unnumbered, last_numbers, issued))
    facts = await _read_facts(tx, [draft.owed for draft in numbered], now)
    documents = [facts.with_buyer(_document(draft, settings, facts, now)) for draft in numbered]
    await store.insert(tx, numbered, documents)
    events = [
        _issued_event(draft, document, settings, facts, now)
        for draft, document in zip(numbered, documents, strict=True)
    ]
    await outbox.put(tx, events)


def _issued_event(
    draft: NumberedDraft,
    document: Document,
    settings: Mapping[MerchantId, DocumentSettings],
    facts: _Facts,
    now: datetime,
) -> OutboxEvent:
    email = settings[document.merchant].email_documents
    charge = facts.charge(draft.owed)
    return publishers.document_issued(document, charge, now, email_to_customer=email)


async def _read_facts(tx: Connection, owed: Sequence[OwedDocument], now: datetime) -> _Facts:
    charges = await charge_store.by_key(tx, [fact.charge_key for fact in owed])
    methods = [_method_key(charge) for charge in charges.values() if charge.payment_method]
    refunds = sorted({fact.refund_key for fact in owed if fact.refund})
    booked: dict[str, list[Transfer]] = {}
    for transfer in await ledger_store.of_refunds(tx, refunds):
        booked.setdefault(transfer.source, []).append(transfer)
    details = await billing_store.by_customer(
        tx, [CustomerKey(fact.merchant, fact.customer) for fact in owed]
    )
    years = [YearKey(*customer, now.astimezone(UTC).year) for customer in details]
    return _Facts(
        charges,
        await payment_method_store.by_key(tx, methods),
        booked,
        await store.refunded_lines(tx, refunds),
        {key: each.buyer for key, each in details.items() if each.buyer is not None},
        await document_keys.ensured(tx, years),
    )


def _method_key(charge: Charge) -> PaymentMethodKey:
    return PaymentMethodKey(charge.merchant, charge.customer, charge.payment_method)


def _document(
    draft: NumberedDraft,
    settings: Mapping[MerchantId, DocumentSettings],
    facts: _Facts,
    now: datetime,
) -> Document:
    owed, style = draft.owed, settings[draft.owed.merchant]
    charge, method, content = facts.charge(owed), facts.method(owed), facts.content(owed)
    by_method = method is not None and content.credit_minor < content.amount_minor
    return Document(
        merchant=owed.merchant,
        document=draft.document,
        type=draft.type,
        number=draft.printed_number,
        issue_date=now.astimezone(ZoneInfo(style.time_zone)).date(),
        issue_time=now,
        fact_time=owed.fact_time,
        time_zone=style.time_zone,
        language_code=style.language_code,
        customer=owed.customer,
        charge=owed.charge,
        refund=owed.refund,
        order_name=charge.order_name,
        mandate=charge.mandate,
        notice=charge.notice,
        corrected=draft.corrected,
        title=charge.title,
        region_code=charge.region_code,
        currency=charge.currency,
        content=content,
        brand=method.brand if method and by_method else "",
        last4=method.last4 if method and by_method else "",
        seller=Seller(
            style.seller_name,
            tuple(style.seller_address),
            style.seller_tax_id,
            style.logo_sha256,
        ),
        footer=style.footer,
    )


async def existing(connection: Connection, key: DocumentKey) -> StoredDocument:
    """A document. Raises NOT_FOUND DOCUMENT_NOT_FOUND."""
    stored = await store.by_key(connection, key)
    if stored is None:
        raise not_found("DOCUMENT_NOT_FOUND", key.name)
    return stored


async def change_settings(
    tx: Connection, wanted: DocumentSettings, logo: bytes, present_etag: str
) -> Applied[tuple[DocumentSettings, bytes]]:
    """Change a merchant's settings as a whole. Raises ABORTED ETAG_MISMATCH."""
    present = await settings_store.get_locked(tx, wanted.merchant)
    check_etag(present_etag, present.version, DOCUMENT_SETTINGS.format(wanted.merchant))
    before = present, await settings_store.logo(tx, wanted.merchant, present.logo_sha256)
    if logo:
        await settings_store.keep_logo(tx, wanted.merchant, logo)
    changed = await settings_store.change(tx, replace(wanted, version=present.version))
    return Applied((changed, logo), before)


async def settings(connection: Connection, merchant: MerchantId) -> tuple[DocumentSettings, bytes]:
    """A merchant's settings, and its logo."""
    found = await settings_store.get(connection, merchant)
    return found, await settings_store.logo(connection, merchant, found.logo_sha256)
