"""E-mails with documents of payments."""

import pytest
from recurring.payments.v1 import events_pb2, payments_pb2

from services.notify.clients.email import EmailGateway, MailServer, MailTls
from services.notify.clients.gateway import Message
from services.notify.domain.attachments import Attachment
from services.notify.domain.notices import Verdict
from services.runtime.rpc.conversions import to_money
from tests.integration.notify.suite import ANN, MERCHANT, Notify, order_skipped

ADDRESS = "ann@example.com"


def document_issued(*, email_to_customer: bool = True) -> events_pb2.DocumentIssued:
    ref = events_pb2.ChargeRef(charge=f"{ANN}/charges/1", customer=ANN, title="Coffee")
    return events_pb2.DocumentIssued(
        ref=ref,
        document=f"{MERCHANT}/documents/inv-2026-000001",
        type=payments_pb2.Document.INVOICE,
        number="INV-2026-000001",
        document_amount=to_money(1250, "EUR"),
        email_to_customer=email_to_customer,
    )


async def test_while_payments_is_away_only_documents_wait(notify: Notify) -> None:
    await notify.start_sandbox()
    await notify.contact(email=ADDRESS)
    await notify.receive(document_issued())
    assert (await notify.step_with_attachments()).worked
    await notify.receive(order_skipped(), event_key="later")
    await notify.deliver()
    assert [mail["subject"] for mail in await notify.mailbox(ADDRESS)] == ["Skipped: Coffee"]
    [delivery] = [
        delivery
        for notice in await notify.notices()
        for delivery in notice.deliveries
        if notice.subject_resource.endswith("inv-2026-000001")
    ]
    assert (delivery.state, delivery.failure_code) == (delivery.PENDING, "DOCUMENT_UNAVAILABLE")


@pytest.mark.parametrize(
    ("email", "wanted"), [("", True), (ADDRESS, False)], ids=["no address", "not wanted"]
)
async def test_nothing_is_sent_without_an_address_or_if_the_merchant_does_not_want_it(
    notify: Notify, email: str, *, wanted: bool
) -> None:
    await notify.contact(email=email)
    await notify.receive(document_issued(email_to_customer=wanted))
    assert [delivery for it in await notify.notices() for delivery in it.deliveries] == []
    assert not (await notify.step_with_attachments()).worked


async def test_a_file_arrives_beside_the_text(notify: Notify) -> None:
    await notify.start_sandbox()
    gateway = EmailGateway(
        MailServer("127.0.0.1", notify.sandbox.smtp_port, MailTls.NONE), "orders@acme.example"
    )
    file = Attachment("INV-2026-000001.pdf", b"%PDF-1.7" + bytes(500 * 1024))
    message = Message("key", ADDRESS, "Invoice", "Attached.", attachment=file)
    assert (await gateway.send(message)).verdict is Verdict.DELIVERED
    await gateway.close()
    [mail] = await notify.mailbox(ADDRESS)
    assert mail["text"].strip() == "Attached."
    [attached] = mail["attachments"]
    assert attached["file_name"] == "INV-2026-000001.pdf"
    assert attached["bytes"] == len(file.content)
