"""Documents, from the payment to the file, as a platform sees them."""

import hashlib
import random
import struct
import zlib
from datetime import timedelta
from typing import Any

import pytest
from recurring.notify.v1 import notify_pb2
from recurring.payments.v1 import events_pb2, payments_pb2

from services.runtime.rpc.conversions import to_money
from tests.contract.customer import NOTICE_LEAD, TEA_CENTS, Customer, new_customer
from tests.contract.every_call import Call, platform_calls
from tests.suite import Suite, new_id, refused

DUE = NOTICE_LEAD + timedelta(days=3)
MAILED_MAX_BYTES = 512 * 1024
Document = payments_pb2.Document


@pytest.fixture
async def ann(suite: Suite) -> Customer:
    """Ann, who has a standing order in a shop that issues invoices."""
    ann = await new_customer(suite)
    await twice(ann, calls_of(ann)["UpdateDocumentSettings"])
    request = await ann.ask()
    request.standing_order_id = "weekly"
    await ann.shop.scheduler.CreateStandingOrder(request)
    return ann


def calls_of(ann: Customer) -> dict[str, Call]:
    return {call.method: call for call in platform_calls(ann.shop.merchant)}


async def twice(ann: Customer, call: Call) -> Any:  # noqa: ANN401
    """What a mutation answers, and answers again."""
    call.request.request_id = new_id()
    made = await call.make(ann.shop)
    assert await call.make(ann.shop) == made
    return made


async def test_an_invoice_is_issued_for_a_payment_and_a_credit_note_for_a_refund(
    ann: Customer,
) -> None:
    calls = calls_of(ann)
    async with ann.suite.subscribe_events() as subscription:
        await ann.suite.advance(DUE)
        issued = await subscription.next(events_pb2.DocumentIssued, ann.shop.merchant)
    invoice = await calls["GetDocument"].make(ann.shop, name=issued.message.document)
    assert (invoice.type, invoice.amount) == (Document.INVOICE, to_money(2 * TEA_CENTS, "EUR"))
    assert invoice.charge == issued.message.ref.charge
    [line] = invoice.lines
    assert (line.product_id, line.quantity) == ("tea", 2)
    await calls["CreateRefund"].make(ann.shop, request_id=new_id())
    await ann.suite.sandbox.settle()
    first = await calls["ListDocuments"].make(ann.shop, page_size=1)
    second = await calls["ListDocuments"].make(
        ann.shop, page_size=1, page_token=first.next_page_token
    )
    [note], [listed] = first.documents, second.documents
    assert listed == invoice
    assert (note.type, note.corrected_document) == (Document.CREDIT_NOTE, invoice.name)
    file = await calls["DownloadDocument"].make(ann.shop, name=note.name)
    assert file == await calls["DownloadDocument"].make(ann.shop, name=note.name)
    assert hashlib.sha256(file.content).hexdigest() == file.sha256
    assert note.number in file.content.decode()
    own, other = (
        ann.suite.customer_client(ann.shop.merchant, customer) for customer in ("ann", "bob")
    )
    assert await calls["DownloadDocument"].make(own, name=note.name) == file
    for method in ("GetDocument", "DownloadDocument"):
        refusal = await refused(calls[method].make(other, name=note.name))
        assert (refusal.code, refusal.reason) == ("NOT_FOUND", "DOCUMENT_NOT_FOUND")
    await calls["CancelStandingOrder"].make(ann.shop, request_id=new_id())


async def test_settings_are_got_as_they_were_set_and_name_what_is_wrong(ann: Customer) -> None:
    calls = calls_of(ann)
    found = await calls["GetDocumentSettings"].make(ann.shop)
    assert (found.seller.display_name, found.invoice_prefix) == ("Tea & Co", "INV-")
    change = calls["UpdateDocumentSettings"]
    change.request.document_settings.time_zone = "Mars/Olympus"
    change.request.document_settings.seller.logo = b"GIF89a"
    refusal = await refused(change.make(ann.shop, request_id=new_id()))
    assert set(refusal.fields) == {
        "document_settings.time_zone",
        "document_settings.seller.logo",
    }
    await calls["CancelStandingOrder"].make(ann.shop, request_id=new_id())


async def test_documents_come_by_e_mail_in_the_customers_language_unless_e_mail_is_muted(
    ann: Customer,
) -> None:
    calls, address = calls_of(ann), f"{new_id()}@customers.example"
    change = calls["UpdateDocumentSettings"]
    change.request.document_settings.email_documents = True
    await change.make(ann.shop, request_id=new_id())
    contact = notify_pb2.Contact(name=f"{ann.name}/contact", email=address, locale="de-AT")
    await ann.shop.notify.UpdateContact(
        notify_pb2.UpdateContactRequest(contact=contact, request_id=new_id())
    )
    await ann.suite.advance(DUE)
    [mail] = [mail for mail in await ann.suite.sandbox.mailbox(address) if mail["attachments"]]
    [invoice] = (await calls["ListDocuments"].make(ann.shop)).documents
    request = payments_pb2.DownloadDocumentRequest(
        name=invoice.name, format=payments_pb2.DownloadDocumentRequest.PDF, language_code="de"
    )
    file = await ann.shop.payments.DownloadDocument(request)
    assert mail["subject"] == f"Rechnung {invoice.number}"
    assert "im Anhang" in mail["text"]
    assert mail["attachments"] == [{
        "file_name": f"{invoice.number}.pdf", "media_type": "application/pdf",
        "bytes": len(file.content), "sha256": file.sha256,
    }]  # fmt: skip
    muted = notify_pb2.Contact.Preferences(email_muted=True)
    contact = notify_pb2.Contact(name=f"{ann.name}/contact", preferences=muted)
    await ann.shop.notify.UpdateContact(
        notify_pb2.UpdateContactRequest(contact=contact, request_id=new_id())
    )
    await calls["CreateRefund"].make(ann.shop, request_id=new_id())
    await ann.suite.sandbox.settle()
    assert len((await calls["ListDocuments"].make(ann.shop)).documents) == 2
    mails = await ann.suite.sandbox.mailbox(address)
    assert [it["subject"] for it in mails if it["attachments"]] == [mail["subject"]]
    await calls["CancelStandingOrder"].make(ann.shop, request_id=new_id())


def large_logo() -> bytes:
    """A picture whose rows come again: small by itself, and large in a PDF file."""
    side_pixels, rows = 2000, 100
    lines = [b"\0" + random.Random(row).randbytes(side_pixels // 8) for row in range(rows)]  # noqa: S311
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", side_pixels, side_pixels, 1, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"".join(lines) * (side_pixels // rows), 9)),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )


async def test_who_gets_a_document_that_is_too_large_for_an_e_mail_hears_where_it_is(
    ann: Customer,
) -> None:
    calls, address = calls_of(ann), f"{new_id()}@customers.example"
    change = calls["UpdateDocumentSettings"]
    change.request.document_settings.email_documents = True
    change.request.document_settings.seller.logo = large_logo()
    await change.make(ann.shop, request_id=new_id())
    contact = notify_pb2.Contact(name=f"{ann.name}/contact", email=address)
    await ann.shop.notify.UpdateContact(
        notify_pb2.UpdateContactRequest(contact=contact, request_id=new_id())
    )
    await ann.suite.advance(DUE)
    [invoice] = (await calls["ListDocuments"].make(ann.shop)).documents
    mails = await ann.suite.sandbox.mailbox(address)
    [mail] = [mail for mail in mails if mail["subject"] == f"Invoice {invoice.number}"]
    assert mail["attachments"] == []
    assert "too large for an e-mail: you find it in your account" in mail["text"]
    request = payments_pb2.DownloadDocumentRequest(
        name=invoice.name, format=payments_pb2.DownloadDocumentRequest.PDF
    )
    file = await ann.shop.payments.DownloadDocument(request)
    assert len(file.content) > MAILED_MAX_BYTES
    await calls["CancelStandingOrder"].make(ann.shop, request_id=new_id())


async def test_several_files_come_with_one_call_and_each_says_what_is_in_its_way(
    ann: Customer,
) -> None:
    calls = calls_of(ann)
    await ann.suite.advance(DUE)
    [invoice] = (await calls["ListDocuments"].make(ann.shop)).documents
    wanted = payments_pb2.BatchDownloadDocumentsRequest.Download
    request = payments_pb2.BatchDownloadDocumentsRequest(
        downloads=[
            wanted(name=f"{ann.shop.name}/documents/none"),
            wanted(name=invoice.name),
            wanted(name=invoice.name, language_code="ar"),
        ]
    )
    notify = ann.suite.suite_client("notify")
    none, own, arabic = (await notify.payments.BatchDownloadDocuments(request)).results
    assert none.problem == payments_pb2.BatchDownloadDocumentsResponse.Result.DOCUMENT_NOT_FOUND
    assert own.content[:5] == arabic.content[:5] == b"%PDF-"
    assert own.content != arabic.content
    assert own.file_name == arabic.file_name == f"{invoice.number}.pdf"
    await calls["CancelStandingOrder"].make(ann.shop, request_id=new_id())


async def test_documents_name_the_buyer_of_then_and_a_stale_change_is_refused(
    ann: Customer,
) -> None:
    calls = calls_of(ann)
    assert not (await calls["GetBillingDetails"].make(ann.shop)).display_name
    made = await twice(ann, calls["UpdateBillingDetails"])
    assert await calls["GetBillingDetails"].make(ann.shop) == made
    await ann.suite.advance(DUE)
    change = calls["UpdateBillingDetails"]
    change.request.billing_details.display_name = "Ann Smith"
    await change.make(ann.shop, request_id=new_id())
    [invoice] = (await calls["ListDocuments"].make(ann.shop)).documents
    assert invoice.buyer.display_name == made.display_name == "Ann Miller"
    assert list(invoice.buyer.address_lines) == ["1 High Street", "York"]
    change.request.billing_details.etag = made.etag
    refusal = await refused(change.make(ann.shop, request_id=new_id()))
    assert refusal.reason == "ETAG_MISMATCH"
    await calls["CancelStandingOrder"].make(ann.shop, request_id=new_id())
