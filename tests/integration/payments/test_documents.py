"""Documents of what is paid and given back, as a merchant's platform gets them."""

import asyncio
import hashlib
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from google.type import date_pb2
from recurring.payments.v1 import payments_pb2
from recurring.scheduler.v1 import events_pb2 as scheduler_events_pb2
from recurring.scheduler.v1 import scheduler_pb2

from services.payments.application import documents
from services.payments.names import CHARGE as CHARGE_KEYS
from services.runtime.auth.call_context import act_for_all
from services.runtime.rpc.conversions import to_money, to_timestamp
from tests.integration.payments.suite import (
    ANN,
    CHARGE,
    NOW,
    Payments,
    charge_name,
    event_of,
    order,
)

Document = payments_pb2.Document
Settings = payments_pb2.DocumentSettings
Download = payments_pb2.DownloadDocumentRequest
SELLER = payments_pb2.Seller(display_name="Acme <b>&</b> Co", address_lines=["1 High Street"])
# 10.00 and 19 % of it, 0.60 and nothing: 12.50 together.
LINES = (
    scheduler_events_pb2.PaymentLine(
        product="merchants/acme/products/beans",
        title="Beans",
        quantity=2,
        net_amount=to_money(1000, "EUR"),
        taxes=[
            scheduler_pb2.OrderLineTax(
                tax_rate="merchants/acme/taxRates/full",
                title="VAT",
                rate_ppm=190_000,
                treatment="CHARGED",
                amount=to_money(190, "EUR"),
            )
        ],
        list_amount=to_money(1290, "EUR"),
        adjustments=[
            scheduler_pb2.OrderLineAdjustment(
                kind="PROMOTION", amount=to_money(-100, "EUR"), promotion_title="Spring"
            )
        ],
    ),
    scheduler_events_pb2.PaymentLine(
        product="merchants/acme/products/bag",
        title="Bag",
        quantity=1,
        net_amount=to_money(60, "EUR"),
    ),
)


async def set_up(payments: Payments, wanted: int = Settings.INVOICES, **fields: object) -> None:
    request = payments_pb2.UpdateDocumentSettingsRequest(
        document_settings=Settings(
            name="merchants/acme/documentSettings",
            seller=SELLER,
            payment_documents=wanted,  # type: ignore[arg-type]
            **fields,  # type: ignore[arg-type]
        )
    )
    await payments.call(request)


async def pay(payments: Payments, *numbers: int) -> None:
    for number in numbers:
        await payments.announce(payments.notice(order(number)))
        await payments.fall_due(payments.due(order(number), lines=LINES))
    await payments.work()


async def listed(payments: Payments, **filters: str) -> list[payments_pb2.Document]:
    """The documents of acme, the earliest first."""
    request = payments_pb2.ListDocumentsRequest(parent="merchants/acme", **filters)  # type: ignore[arg-type]
    return list((await payments.call(request)).documents)[::-1]


async def test_an_invoice_says_what_was_paid_and_how_it_came_about(payments: Payments) -> None:
    await set_up(payments)
    await payments.consent()
    await pay(payments, 1)
    [invoice] = await listed(payments)
    assert (invoice.type, invoice.number) == (Document.INVOICE, "INV-2026-000001")
    assert invoice.name == "merchants/acme/documents/inv-2026-000001"
    assert (invoice.charge, invoice.customer, invoice.order) == (CHARGE, ANN, order(1))
    assert invoice.issue_date == date_pb2.Date(year=2026, month=1, day=31)
    assert invoice.seller.display_name == SELLER.display_name
    beans, bag = invoice.lines
    assert (beans.title, beans.quantity, beans.amount) == ("Beans", 2, to_money(1190, "EUR"))
    [step] = beans.adjustments
    assert (step.kind, step.title, step.amount) == ("PROMOTION", "Spring", to_money(-100, "EUR"))
    assert bag.net_amount == to_money(60, "EUR")
    [tax] = invoice.taxes
    assert (tax.title, tax.rate_ppm) == ("VAT", 190_000)
    assert (tax.net_amount, tax.amount) == (to_money(1000, "EUR"), to_money(190, "EUR"))
    assert invoice.net_amount == to_money(1060, "EUR")
    assert invoice.amount == to_money(1250, "EUR")
    assert (invoice.payment_method_brand, invoice.payment_method_last4) == ("visa", "4242")
    assert invoice.mandate.endswith("/mandates/coffee")
    assert invoice.notice.endswith("/notices/upcoming-1")
    issued = event_of(await payments.events(), "DocumentIssued")
    assert (issued.document, issued.type, issued.ref.charge) == (
        invoice.name, Document.INVOICE, CHARGE,
    )  # fmt: skip
    assert issued.document_amount == invoice.amount


async def test_without_settings_nothing_is_issued_and_what_was_paid_before_gets_none(
    payments: Payments,
) -> None:
    await payments.consent()
    await pay(payments, 1)
    await set_up(payments)
    await payments.refund("spilt", 100)
    await payments.work()
    assert await listed(payments) == []
    assert await payments.rows("SELECT FROM owed_documents") == []


async def test_credit_notes_give_back_what_the_books_do_and_name_their_invoice(
    payments: Payments,
) -> None:
    await set_up(payments, Settings.INVOICES_AND_RECEIPTS)
    await payments.consent()
    await pay(payments, 1)
    await payments.refund("spilt", 333)
    await payments.work()
    await payments.refund("rest")
    await payments.work()
    invoice, receipt, part, rest = await listed(payments, charge=CHARGE)
    assert [it.number for it in (receipt, part, rest)] == [
        "R-2026-000001", "CN-2026-000001", "CN-2026-000002",
    ]  # fmt: skip
    assert part.corrected_document == rest.corrected_document == invoice.name
    assert part.refund == f"{CHARGE}/refunds/spilt"
    assert (part.amount, rest.amount) == (to_money(333, "EUR"), to_money(917, "EUR"))
    balances = await payments.balances()
    assert balances["refunds"] == part.net_amount.units * 100 + part.net_amount.nanos // 10**7 + (
        rest.net_amount.units * 100 + rest.net_amount.nanos // 10**7
    )
    # All is given back: so is each tax.
    assert balances["tax-payable-full"] == 0


async def test_credit_that_is_given_has_a_credit_note_of_its_own(payments: Payments) -> None:
    await set_up(payments)
    await payments.consent()
    await pay(payments, 1)
    request = payments_pb2.CreateRefundRequest(parent=CHARGE, refund_id="kind")
    request.refund.to_credit = True
    request.refund.lines.add(product_id="beans")
    await payments.call(request)
    await payments.work()
    _, note = await listed(payments)
    assert (note.type, note.amount) == (Document.CREDIT_NOTE, to_money(1190, "EUR"))
    assert note.credit_amount == note.amount
    assert [(line.title, line.amount) for line in note.lines] == [("Beans", note.amount)]
    assert not note.payment_method_brand


async def test_numbers_have_no_gap_however_many_issue_at_once_and_break_off(
    payments: Payments,
) -> None:
    await set_up(payments)
    await payments.consent()
    for number in range(1, 13):
        await payments.announce(payments.notice(order(number)))
        await payments.fall_due(payments.due(order(number)))
    while (await payments.due_work.charge()).worked:
        pass
    act_for_all("payments")
    keys = [CHARGE_KEYS.key(charge_name(number)) for number in range(1, 13)]

    async def issue(first: int, *, breaks_off: bool) -> None:
        async with payments.database.begin() as tx:
            await documents.issue(tx, keys[first : first + 3], payments.clock.now())
            if breaks_off:
                await tx.execute("SELECT 1 / 0")

    for first in range(0, 12, 3):
        attempts = (issue(first, breaks_off=bool(turn % 2)) for turn in range(4))
        await asyncio.gather(*attempts, return_exceptions=True)
    numbers = await payments.rows("SELECT number FROM documents ORDER BY number")
    assert numbers == [(number,) for number in range(1, 13)]
    assert await payments.rows("SELECT last_number FROM document_series") == [(12,)]
    charges = {document.charge for document in await listed(payments)}
    assert charges == {charge_name(number) for number in range(1, 13)}


async def test_what_cannot_be_made_waits_alone_and_is_issued_once_it_can(
    payments: Payments,
) -> None:
    await set_up(payments)
    await payments.consent()
    for number in range(1, 6):
        await payments.announce(payments.notice(order(number)))
        await payments.fall_due(payments.due(order(number), lines=LINES))
    while (await payments.due_work.charge()).worked:
        pass
    [(lines,)] = await payments.rows("SELECT lines::text FROM charges WHERE charge = 'coffee-1'")

    async def store_lines(stored: str) -> None:
        async with payments.database.begin() as tx:
            await tx.execute("UPDATE charges SET lines = $1 WHERE charge = 'coffee-1'", stored)

    await store_lines("[{}]")
    await payments.work()
    numbers = {document.charge: document.number for document in await listed(payments)}
    assert numbers.keys() == {charge_name(number) for number in range(2, 6)}
    assert set(numbers.values()) == {f"INV-2026-{number:06}" for number in range(1, 5)}
    failed = "SELECT charge, failures, failure FROM owed_documents"
    assert await payments.rows(failed) == [("coffee-1", 1, "KeyError: 'product'")]
    await store_lines(lines)
    # A refund of it waits for its invoice, and has both tried.
    await payments.refund("spilt", 100)
    await payments.pass_time(timedelta(minutes=3))
    invoice, note = await listed(payments, charge=CHARGE)
    assert (invoice.number, note.corrected_document) == ("INV-2026-000005", invoice.name)
    assert await payments.rows(failed) == []


async def test_a_new_year_of_the_merchants_and_a_new_prefix_begin_with_one(
    payments: Payments,
) -> None:
    await set_up(payments, time_zone="Pacific/Auckland")
    await payments.consent()
    await pay(payments, 1)
    payments.clock.move(datetime(2026, 12, 31, 12, tzinfo=UTC) - NOW)
    await pay(payments, 2)
    await set_up(payments, invoice_prefix="A-", time_zone="Pacific/Auckland")
    await pay(payments, 3)
    numbers = [document.number for document in await listed(payments)]
    assert numbers == ["INV-2026-000001", "INV-2027-000001", "A-2027-000001"]


async def test_what_is_issued_stays_as_it_is(payments: Payments) -> None:
    await set_up(payments)
    await payments.consent()
    await pay(payments, 1)
    before = await listed(payments)
    await set_up(payments, footer="Otherwise", language_code="de")
    assert await listed(payments) == before
    with pytest.raises(asyncpg.PostgresError):
        async with payments.database.begin() as tx:
            await tx.execute("UPDATE documents SET amount_minor = 1, net_minor = 1, tax_minor = 0")


async def test_postgresql_refuses_a_credit_note_that_corrects_the_invoice_of_another_order(
    payments: Payments,
) -> None:
    await set_up(payments)
    await payments.consent()
    await pay(payments, 1, 2)
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        async with payments.database.begin() as tx:
            await tx.execute(
                """
                    INSERT INTO documents (merchant, document, type, prefix, year, number, issue_time,
                                           customer, charge, refund, cause, corrected, currency,
                                           net_minor, tax_minor, amount_minor, content)
                    SELECT merchant, 'cn', 'CREDIT_NOTE', 'CN-', year, 1, issue_time, customer,
                           refunded.charge, 'spilt', 'REFUND', other.document, currency, net_minor,
                           tax_minor, amount_minor, content
                    FROM documents AS refunded
                    JOIN (SELECT document, charge FROM documents) AS other
                      ON other.charge <> refunded.charge
                    LIMIT 1
                """
            )
    await payments.refund("spilt", 100)
    await payments.work()
    [note] = [it for it in await listed(payments, charge=CHARGE) if it.corrected_document]
    assert note.type == payments_pb2.Document.CREDIT_NOTE


async def test_a_document_is_the_same_file_for_everybody_from_the_first_time_on(
    payments: Payments,
) -> None:
    await set_up(payments)
    await payments.consent()
    await pay(payments, 1)
    [invoice] = await listed(payments)
    request = Download(name=invoice.name, format=Download.HTML)
    first, second = await asyncio.gather(payments.call(request), payments.call(request))
    assert first == second == await payments.call(request)
    assert first.sha256 == hashlib.sha256(first.content).hexdigest()
    assert (first.media_type, first.file_name) == (
        "text/html; charset=utf-8", "INV-2026-000001.html",
    )  # fmt: skip
    shown = first.content.decode()
    assert "Acme &lt;b&gt;&amp;&lt;/b&gt; Co" in shown
    assert invoice.sha256 in shown
    pdf = await payments.call(Download(name=invoice.name, format=Download.PDF, language_code="ar"))
    assert (pdf.content[:5], pdf.media_type, pdf.language_code) == (
        b"%PDF-", "application/pdf", "ar",
    )  # fmt: skip


async def test_documents_are_found_by_customer_and_charge(payments: Payments) -> None:
    await set_up(payments)
    await payments.consent()
    await pay(payments, 1, 2)
    assert len(await listed(payments, customer=ANN)) == 2
    assert [it.charge for it in await listed(payments, charge=charge_name(2))] == [charge_name(2)]
    other = "merchants/acme/customers/bob"
    assert await listed(payments, customer=other) == []
    assert await listed(payments, customer=other, charge=CHARGE) == []


BUYER = payments_pb2.DocumentBuyer(
    display_name="Ann Miller",
    address_lines=["1 High Street", "York"],
    region_code="GB",
    tax_id="GB123456789",
)


async def bill_to(payments: Payments, **fields: object) -> payments_pb2.BillingDetails:
    """Say who ann is on documents to come."""
    said = {field.name: value for field, value in BUYER.ListFields()} | fields
    details = payments_pb2.BillingDetails(name=f"{ANN}/billingDetails", **said)
    request = payments_pb2.UpdateBillingDetailsRequest(billing_details=details)
    made: payments_pb2.BillingDetails = await payments.call(request)
    return made


async def test_a_document_names_the_buyer_as_they_were_then(payments: Payments) -> None:
    await set_up(payments)
    await payments.consent()
    await pay(payments, 1)
    await bill_to(payments)
    await pay(payments, 2)
    await bill_to(payments, display_name="Ann Smith")
    nobody, then = await listed(payments)
    assert not nobody.HasField("buyer")
    assert then.buyer == BUYER
    assert await payments.call(payments_pb2.GetDocumentRequest(name=then.name)) == then
    file = await payments.call(Download(name=then.name, format=Download.HTML, language_code="de"))
    assert file == await payments.call(
        Download(name=then.name, format=Download.HTML, language_code="de")
    )
    assert file.sha256 == hashlib.sha256(file.content).hexdigest()
    shown = file.content.decode()
    for text in ("Ann Miller", "1 High Street", "Vereinigtes Königreich", "GB123456789"):
        assert text in shown
    assert "Ann Smith" not in shown


async def test_nobody_reads_in_the_tables_who_bought(payments: Payments) -> None:
    await set_up(payments)
    await payments.consent()
    await bill_to(payments)
    await pay(payments, 1)
    [invoice] = await listed(payments)
    await payments.call(Download(name=invoice.name, format=Download.HTML))
    stored = [
        content
        for table, column in (
            ("documents", "content"), ("document_files", "content"),
            ("billing_details", "details"), ("document_keys", "data_key"),
        )
        for (content,) in await payments.rows(f"SELECT {column} FROM {table}")  # noqa: S608
    ]  # fmt: skip
    assert len(stored) == 4
    assert not any(b"Miller" in content or b"GB123456789" in content for content in stored)
    [(content, sha256)] = await payments.rows("SELECT content, content_sha256 FROM documents")
    assert invoice.sha256 == sha256 == hashlib.sha256(content).hexdigest()


async def test_who_is_erased_is_named_on_documents_until_their_retention_ends(
    payments: Payments,
) -> None:
    await set_up(payments)
    await payments.consent()
    await bill_to(payments)
    await pay(payments, 1)
    [before] = await listed(payments)
    download = Download(name=before.name, format=Download.HTML)
    await payments.call(download)

    async def erase() -> payments_pb2.EraseCustomerResponse:
        erased: payments_pb2.EraseCustomerResponse = await payments.call(
            payments_pb2.EraseCustomerRequest(name=ANN)
        )
        return erased

    kept = await erase()
    assert kept.documents_until_time == to_timestamp(datetime(2037, 1, 1, tzinfo=UTC))
    details = payments_pb2.GetBillingDetailsRequest(name=f"{ANN}/billingDetails")
    assert not (await payments.call(details)).display_name
    assert await listed(payments) == [before]
    payments.clock.move(datetime(2037, 1, 1, tzinfo=UTC) - NOW)
    assert not (await erase()).HasField("documents_until_time")
    [after] = await listed(payments)
    assert not after.HasField("buyer")
    before.ClearField("buyer")
    assert after == before
    assert "Miller" not in (await payments.call(download)).content.decode()
