# ruff: noqa: RUF001 - texts in many scripts
"""Documents are over what is booked, and numbered without a gap, whatever happened."""

from collections import Counter
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.documents import sample
from services.payments.clients.rendering.page import page_of
from services.payments.domain.charges import Charge
from services.payments.domain.consent import BillingMode
from services.payments.domain.document_contents import payment_content, refund_content
from services.payments.domain.documents import (
    LANGUAGES,
    Content,
    Document,
    DocumentCause,
    DocumentSettings,
    DocumentType,
    OwedDocument,
    PaymentDocuments,
    Seller,
    drafts,
    dump_document,
    load_document,
    number_drafts,
)
from services.payments.domain.keys import ChargeId, CustomerId, DocumentId, MerchantId, RefundId
from services.payments.domain.ledger import book_refund, credit_note_parts, given_back_by
from services.payments.domain.lines import ChargeLine, LineAdjustment, LineTax, dump_lines
from services.payments.domain.refunds import Refund
from services.payments.domain.transitions import ChargeState, RefundState

NOW = datetime(2026, 12, 31, 23, 30, tzinfo=UTC)
ACME, ANN, CHARGE = MerchantId("acme"), CustomerId("ann"), ChargeId("coffee-1")

taxes = st.lists(
    st.builds(
        LineTax,
        st.sampled_from(["full", "reduced", ""]),
        st.sampled_from([190_000, 70_000]),
        st.integers(0, 5_000),
        st.sampled_from(["VAT", ""]),
        st.sampled_from(["CHARGED", "REVERSE_CHARGE"]),
    ),
    max_size=2,
).map(tuple)
lines = st.lists(
    st.builds(
        ChargeLine,
        st.sampled_from(["tea", "beans", "bag"]),
        st.integers(1, 9),
        st.integers(1, 20_000),
        taxes,
        st.sampled_from(["Tea", ""]),
        st.none() | st.integers(1, 30_000),
        st.lists(
            st.builds(
                LineAdjustment, st.sampled_from(["PROMOTION", "LATER"]), st.integers(-99, 99)
            ),
            max_size=2,
        ).map(tuple),
    ),
    min_size=1,
    max_size=4,
)


def charge_for(charge_lines: list[ChargeLine]) -> Charge:
    return Charge(
        ACME, ANN, CHARGE,
        order_name="merchants/acme/standingOrders/coffee/orders/1",
        due_time=NOW,
        billing_mode=BillingMode.AUTOMATIC,
        amount_minor=sum(line.gross_minor for line in charge_lines),
        currency="EUR",
        mandate="merchants/acme/customers/ann/mandates/coffee",
        title="Coffee",
        time_zone="UTC",
        traceparent="",
        state=ChargeState.SUCCEEDED,
        create_time=NOW,
        update_time=NOW,
        lines=dump_lines(tuple(charge_lines)),
        region_code="DE",
    )  # fmt: skip


def refund_of(charge: Charge, number: int, amount_minor: int) -> Refund:
    return Refund(
        *charge.key, RefundId(f"r{number}"), amount_minor, "EUR", b"", RefundState.SUCCEEDED, "key",
        NOW, NOW,
    )  # fmt: skip


def whole(content: Content) -> Document:
    return Document(
        ACME, DocumentId("inv-2026-000001"), DocumentType.INVOICE, "INV-2026-000001", NOW.date(), NOW,
        NOW, "UTC", "en", ANN, CHARGE, RefundId(""), "merchants/acme/standingOrders/coffee/orders/1",
        "", "", DocumentId(""), "Coffee", "DE", "EUR", content, "visa", "4242",
        Seller("Acme", ("1 High Street",), "", ""), "",
    )  # fmt: skip


@given(lines)
def test_an_invoice_is_over_its_charge_and_its_lines_and_taxes_are_too(
    charge_lines: list[ChargeLine],
) -> None:
    charge = charge_for(charge_lines)
    content = payment_content(charge)
    assert content.amount_minor == charge.amount_minor
    assert sum(line.amount_minor for line in content.lines) == charge.amount_minor
    assert content.tax_minor == sum(tax.amount_minor for it in charge_lines for tax in it.taxes)


@given(lines, st.lists(st.integers(1, 99), min_size=1, max_size=5))
def test_credit_notes_come_to_the_invoice_in_all_once_all_is_given_back(
    charge_lines: list[ChargeLine], parts: list[int]
) -> None:
    charge = charge_for(charge_lines)
    invoice = payment_content(charge)
    given_back: Counter[str] = Counter()
    left_minor = charge.amount_minor
    notes = []
    for number, part in enumerate([*parts, 100]):
        amount_minor = left_minor * part // 100
        if not amount_minor:
            continue
        booked = list(book_refund(refund_of(charge, number, amount_minor), charge, given_back, NOW))
        given_back.update(given_back_by(booked))
        left_minor -= amount_minor
        booked_parts = credit_note_parts(booked, to_credit=False)
        note = refund_content(charge, booked_parts, (), to_credit=False)
        assert note.amount_minor == amount_minor
        notes.append(note)
    assert sum(note.net_minor for note in notes) == invoice.net_minor
    assert sum(note.tax_minor for note in notes) == invoice.tax_minor


@given(lines, st.sampled_from(LANGUAGES))
def test_a_document_is_read_as_it_was_stored_and_has_words_in_every_language(
    charge_lines: list[ChargeLine], language_code: str
) -> None:
    document = whole(payment_content(charge_for(charge_lines)))
    stored = dump_document(document)
    assert load_document(stored) == document
    assert dump_document(load_document(stored)) == stored
    page = page_of(document, language_code)
    assert len(page.rows) == len(charge_lines)
    assert page.fields[0][1].strip("\u2068\u2069") == "INV-2026-000001"


facts = st.lists(
    st.tuples(
        st.sampled_from(["a-1", "a-2", "a-3"]),
        st.sampled_from(["", "r1", "r2"]),
        st.sampled_from(["acme", "bits"]),
    ),
    unique=True,
    max_size=12,
)


@given(facts, st.sampled_from(PaymentDocuments), st.sampled_from(["INV-", "CN-", "R-"]))
def test_each_series_is_numbered_from_its_last_number_on_without_a_gap(
    happened: list[tuple[str, str, str]], wanted: PaymentDocuments, prefix: str
) -> None:
    owed = [
        OwedDocument(
            MerchantId(merchant),
            ANN,
            ChargeId(charge),
            RefundId(refund),
            DocumentCause.REFUND if refund else DocumentCause.PAYMENT,
            NOW,
        )
        for charge, refund, merchant in happened
    ]
    settings = {
        MerchantId(merchant): DocumentSettings(
            MerchantId(merchant), payment_documents=wanted, invoice_prefix=prefix
        )
        for merchant in ("acme", "bits")
    }
    unnumbered = list(drafts(owed, settings, [], NOW))
    numbered = list(number_drafts(unnumbered, {}, []))
    by_series: dict[object, list[int]] = {}
    for draft in numbered:
        by_series.setdefault(draft.series, []).append(draft.number)
    assert all(found == list(range(1, len(found) + 1)) for found in by_series.values())
    assert len({(draft.owed.merchant, draft.document) for draft in numbered}) == len(numbered)
    corrections = [draft for draft in numbered if draft.type is DocumentType.CREDIT_NOTE]
    assert all(draft.corrected for draft in corrections)


@pytest.mark.parametrize(
    ("language_code", "promotion"),
    [
        ("en", "Promotion “Spring”: -€1.00"),
        ("de", "Aktion „Spring“: -1,00\xa0€"),
        ("es", "Promoción «Spring»: -1,00\xa0€"),
        ("fr", "Promotion «\u202fSpring\u202f» : -1,00\xa0€"),
        ("zh", "优惠“Spring”：-€1.00"),
        ("ar", "عرض «Spring»: \u200f\u200e-1.00\xa0€"),
    ],
)
def test_the_title_of_a_promotion_has_the_quotes_of_the_language(
    language_code: str, promotion: str
) -> None:
    details = page_of(sample(1), language_code).rows[0].details
    assert promotion in [it.translate({0x2068: None, 0x2069: None}) for it in details]
