"""Statements of a customer, as they are read and as files."""

from datetime import timedelta
from typing import Any

import pytest
from recurring.payments.v1 import payments_pb2

from services.runtime.errors import Problem
from services.runtime.rpc.conversions import from_money
from tests.integration.payments.suite import AMOUNT_MINOR, ANN, NOW, Payments
from tests.integration.payments.test_documents import BUYER, bill_to
from tests.owner import as_owner

Entry = payments_pb2.Statement.Entry
SUMS = (
    "opening_amount", "invoiced_amount", "paid_amount", "credited_amount", "refunded_amount",
    "closing_amount",
)  # fmt: skip


@pytest.fixture
async def customer(payments: Payments) -> Payments:
    """Ann pays for coffee in January, and gets a part of it back in February."""
    settings = payments_pb2.DocumentSettings(
        name="merchants/acme/documentSettings",
        seller=payments_pb2.Seller(display_name="Tea & Co"),
        payment_documents=payments_pb2.DocumentSettings.INVOICES,
    )
    await payments.call(payments_pb2.UpdateDocumentSettingsRequest(document_settings=settings))
    await payments.consent()
    await payments.announce()
    await payments.fall_due()
    await payments.work()
    await payments.pass_time(timedelta(days=2))
    await payments.refund("part", 250)
    await payments.work()
    return payments


async def statement(payments: Payments, period: str) -> payments_pb2.Statement:
    request = payments_pb2.GetStatementRequest(name=f"{ANN}/statements/{period}")
    read: payments_pb2.Statement = await payments.call(request)
    return read


def minors(sums: payments_pb2.Statement.Sums) -> list[int]:
    return [from_money(getattr(sums, field)).amount_minor for field in SUMS]


def entries(read: payments_pb2.Statement) -> list[tuple[Any, ...]]:
    return [
        (
            Entry.Type.Name(it.type),
            it.document_number,
            *(from_money(amount).amount_minor for amount in (it.amount, it.balance)),
        )
        for it in read.entries
    ]


async def test_a_month_has_what_was_booked_with_the_numbers_of_documents(
    customer: Payments,
) -> None:
    january = await statement(customer, "2026-01")
    assert entries(january) == [
        ("INVOICE", "INV-2026-000001", AMOUNT_MINOR, AMOUNT_MINOR),
        ("PAYMENT", "", -AMOUNT_MINOR, 0),
    ]
    assert [minors(sums) for sums in january.sums] == [[0, AMOUNT_MINOR, AMOUNT_MINOR, 0, 0, 0]]
    february = await statement(customer, "2026-02")
    assert entries(february) == [
        ("CREDIT_NOTE", "CN-2026-000001", -250, -250),
        ("REFUND", "", 250, 0),
    ]
    assert [minors(sums) for sums in february.sums] == [[0, 0, 0, 250, 250, 0]]
    assert not january.complete


async def test_a_year_has_its_months_and_what_is_due(customer: Payments) -> None:
    await customer.mandate(f"{ANN}/mandates/small", ceiling_minor=1000)
    order = "merchants/acme/standingOrders/coffee/orders/2"
    await customer.fall_due(customer.due(order))
    year = await statement(customer, "2026")
    assert [minors(sums) for sums in year.sums] == [[0, AMOUNT_MINOR, AMOUNT_MINOR, 250, 250, 0]]
    [sums] = year.sums
    assert from_money(sums.due_amount).amount_minor == AMOUNT_MINOR
    assert [(it.start_date.month, len(it.sums)) for it in year.months] == [(1, 1), (2, 1)]
    assert not year.entries


@pytest.mark.parametrize("language", ["", "ar"])
async def test_a_statement_is_a_file_with_the_same_bytes_each_time(
    customer: Payments, language: str
) -> None:
    for name, form in payments_pb2.DownloadDocumentRequest.Format.items():
        if not form:
            continue
        request = payments_pb2.DownloadStatementRequest(
            name=f"{ANN}/statements/2026-01", format=form, language_code=language
        )
        file = await customer.call(request)
        assert file == await customer.call(request)
        assert file.file_name == f"statement-ann-2026-01.{name.lower()}"
        assert file.language_code == (language or "en")
        shown = b"INV-2026-000001" in file.content
        assert shown if name == "HTML" else file.content.startswith(b"%PDF-")


async def test_a_statement_names_the_buyer_as_it_is_now(customer: Payments) -> None:
    assert not (await statement(customer, "2026-01")).HasField("buyer")
    await bill_to(customer, display_name="Ann Smith")
    assert (await statement(customer, "2026-01")).buyer.display_name == "Ann Smith"
    await bill_to(customer)
    assert (await statement(customer, "2026-01")).buyer == BUYER
    request = payments_pb2.DownloadStatementRequest(
        name=f"{ANN}/statements/2026-01",
        format=payments_pb2.DownloadDocumentRequest.HTML,
        language_code="de",
    )
    shown = (await customer.call(request)).content.decode()
    for text in ("Ann Miller", "1 High Street", "Vereinigtes Königreich", "GB123456789"):
        assert text in shown
    assert "Ann Smith" not in shown
    await customer.call(payments_pb2.EraseCustomerRequest(name=ANN))
    assert not (await statement(customer, "2026-01")).HasField("buyer")


@pytest.mark.parametrize("period", ["coffee", "2026-13", "1969", "2026-03"])
async def test_what_is_no_period_or_has_not_begun_is_refused(
    payments: Payments, period: str
) -> None:
    with pytest.raises(Problem) as refused:
        await statement(payments, period)
    assert [it.field for it in refused.value.violations] == ["name"]
    assert (await statement(payments, "2026-01")).name == f"{ANN}/statements/2026-01"


async def test_a_statement_of_too_much_is_refused(payments: Payments) -> None:
    async with as_owner(payments.database) as tx:
        await tx.execute(
            """
                INSERT INTO ledger_transfers (merchant, customer, source, kind, transaction,
                                              debit_account, credit_account, amount_minor, currency,
                                              book_time)
                SELECT 'acme', 'ann', 'charge-' || number, 'SALE', gen_random_uuid(), 'receivable',
                       'revenue', 1, 'EUR', $1
                FROM generate_series(1, 5001) AS number
            """,
            NOW,
        )
    with pytest.raises(Problem) as refused:
        await statement(payments, "2026")
    assert refused.value.reason == "STATEMENT_TOO_LONG"
