"""Which notice each event of the other services becomes, and what it says."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.message import Message
from google.type import date_pb2
from recurring.payments.v1 import events_pb2 as payments
from recurring.payments.v1 import payments_pb2
from recurring.scheduler.v1 import events_pb2 as scheduler
from recurring.scheduler.v1 import scheduler_pb2

from services.notify.application.notices import Draft
from services.notify.consumers import READERS, order_skipped, order_upcoming
from services.notify.domain.notices import BillingMode, Channel, Promise
from services.notify.domain.templates.kinds import DocumentIssued, Receipt
from services.notify.domain.templates.rendering import rendered_as_shipped
from services.runtime.rpc.conversions import to_money, to_timestamp

DUE = datetime(2026, 1, 31, 8, 0, tzinfo=UTC)
NEXT = datetime(2026, 2, 28, 8, 0, tzinfo=UTC)
CUSTOMER = "merchants/acme/customers/ann"
STANDING_ORDER = "merchants/acme/standingOrders/coffee"
ORDER = f"{STANDING_ORDER}/orders/1"
REF = scheduler.OrderRef(
    order=ORDER,
    customer=CUSTOMER,
    title="Coffee",
    billing_mode=scheduler_pb2.AUTOMATIC,
    time_zone="Europe/Berlin",
    due_time=to_timestamp(DUE),
)
CHARGE = payments.ChargeRef(
    charge=f"{CUSTOMER}/charges/1",
    order=ORDER,
    customer=CUSTOMER,
    amount=to_money(1250, "EUR"),
    title="Coffee",
    time_zone="Europe/Berlin",
)


def read(message: Message) -> Draft | None:
    readers = {kind: reader for pairs in READERS.values() for kind, reader in pairs}
    return readers[type(message)](message)


def draft(message: Message) -> Draft:
    event = read(message)
    assert event is not None
    return event


def sms(message: Message) -> str:
    return text_of(draft(message))


def text_of(made: Draft) -> str:
    assert made.facts is not None
    return rendered_as_shipped(made.facts, Channel.SMS, "", "Ann").text


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (
            scheduler.OrderConfirmed(
                ref=REF, amount=to_money(1250, "EUR"), pay_time=to_timestamp(DUE),
                next_due_time=to_timestamp(NEXT),
            ),
            ("Hi Ann! You paid 12.50 EUR for Coffee on Sat 31 Jan 2026, 09:00. Thank you. The next "
            "one is due on Sat 28 Feb 2026, 09:00; change, skip or cancel it in your account."),
        ),
        (
            scheduler.OrderSkipped(ref=REF, reason=scheduler_pb2.OUT_OF_STOCK),
            ("Hi Ann! Your order Coffee of Sat 31 Jan 2026, 09:00 is left out: a product is out of "
            "stock. Nothing is charged for it."),
        ),
        (
            scheduler.ItemDiscontinued(
                standing_order=STANDING_ORDER, customer=CUSTOMER, title="Coffee",
                product_title="Beans", substitute_title="Decaf",
            ),
            ("Hi Ann! Beans in your standing order Coffee is not sold any more. From now on you get "
            "Decaf instead, as you agreed. We will tell you its price first."),
        ),
        (
            scheduler.OrderHeld(ref=REF, reasons=[scheduler_pb2.MANDATE_NOT_COVERING]),
            ("Hi Ann! Your order Coffee of Sat 31 Jan 2026, 09:00 is on hold: your consent to be "
            "charged does not cover it. Please put it right in your account. Nothing is charged "
            "meanwhile."),
        ),
        (
            scheduler.OrderLapsed(ref=REF, reasons=[scheduler_pb2.PAYMENT_DECLINED]),
            ("Hi Ann! Your order Coffee of Sat 31 Jan 2026, 09:00 has ended without payment: the "
            "payment was declined. Nothing was charged for it."),
        ),
        (
            scheduler.OrderCancelled(ref=REF, reason=scheduler_pb2.STANDING_ORDER_CANCELLED),
            ("Hi Ann! Your order Coffee of Sat 31 Jan 2026, 09:00 is cancelled, since its standing "
            "order is cancelled. Nothing is charged for it."),
        ),
        (
            scheduler.OrderCancelled(ref=REF, reason=scheduler_pb2.PAUSED),
            ("Hi Ann! Your order Coffee of Sat 31 Jan 2026, 09:00 is cancelled, since its standing "
            "order is paused. Nothing is charged for it."),
        ),
        (
            scheduler.StandingOrderChanged(
                standing_order=STANDING_ORDER, customer=CUSTOMER, title="Coffee",
                change=scheduler.StandingOrderChanged.CREATED, time_zone="Europe/Berlin",
                next_due_time=to_timestamp(DUE),
            ),
            ("Hi Ann! Your standing order Coffee is set up. The next order is due on Sat 31 Jan "
            "2026, 09:00. We will tell you before each one. Pause or cancel it in your account."),
        ),
        (
            scheduler.StandingOrderChanged(
                standing_order=STANDING_ORDER, customer=CUSTOMER, title="Coffee",
                change=scheduler.StandingOrderChanged.CANCELLED, time_zone="Europe/Berlin",
            ),
            "Hi Ann! Your standing order Coffee is cancelled. There will be no further orders.",
        ),
        (
            scheduler.StandingOrderChanged(
                standing_order=STANDING_ORDER, customer=CUSTOMER, title="Coffee",
                change=scheduler.StandingOrderChanged.PAUSED, time_zone="Europe/Berlin",
            ),
            ("Hi Ann! Your standing order Coffee is paused. Nothing new is ordered until you resume "
            "it in your account."),
        ),
        (
            scheduler.StandingOrderChanged(
                standing_order=STANDING_ORDER, customer=CUSTOMER, title="Coffee",
                change=scheduler.StandingOrderChanged.PAUSED, time_zone="Europe/Berlin",
                resume_time=to_timestamp(DUE),
            ),
            ("Hi Ann! Your standing order Coffee is paused. Nothing new is ordered until Sat 31 Jan "
            "2026, 09:00, unless you resume it before."),
        ),
        (
            payments.PaymentRequested(ref=CHARGE, expire_time=to_timestamp(DUE)),
            ("Hi Ann! Please confirm your payment of 12.50 EUR for Coffee in your account by Sat 31 "
            "Jan 2026, 09:00. If you do not, this order ends and nothing is charged."),
        ),
        (
            payments.PaymentDeclined(ref=CHARGE, attempt=1, decline_code="lost_card"),
            ("Hi Ann! Your payment of 12.50 EUR for Coffee was declined. Please look at your payment "
            "method in your account."),
        ),
        (
            payments.PaymentMethodBlocked(ref=CHARGE, brand="visa", last4="9987"),
            ("Hi Ann! Your card visa ending 9987 was declined for good, so we will not try it again. "
            "No order that uses it can be paid. Please add another one in your account for your "
            "standing orders, or ask your bank."),
        ),
        (
            payments.PaymentRequested(
                ref=CHARGE, expire_time=to_timestamp(DUE), link_uri="https://pay.test/t"
            ),
            ("Hi Ann! Please confirm your payment of 12.50 EUR for Coffee by Sat 31 Jan 2026, 09:00: "
            "https://pay.test/t Otherwise nothing is charged."),
        ),
        (
            payments.PaymentRequestReminder(ref=CHARGE, expire_time=to_timestamp(DUE)),
            ("Hi Ann! Reminder: confirm your payment of 12.50 EUR for Coffee in your account by Sat 31 "
            "Jan 2026, 09:00. If you do not, this order ends and nothing is charged."),
        ),
        (
            payments.PaymentActionRequired(
                ref=CHARGE,
                attempt=1,
                action_uri="https://bank.test/1",
                expire_time=to_timestamp(DUE),
            ),
            ("Your bank wants you to confirm 12.50 EUR for Coffee by Sat 31 Jan 2026, 09:00: "
            "https://bank.test/1"),
        ),
        (
            payments.PaymentMethodExpiring(
                customer=CUSTOMER, payment_method=f"{CUSTOMER}/paymentMethods/visa", brand="visa",
                last4="4242", expire_date=date_pb2.Date(year=2026, month=3),
            ),
            ("Hi Ann! Your card visa ending 4242 is valid until the end of Mar 2026. Please replace it "
            "in your account before then. Your standing orders go on with the new one."),
        ),
        (
            payments.RefundSucceeded(ref=CHARGE, refund_amount=to_money(1250, "EUR")),
            ("Hi Ann! We refunded your payment of 12.50 EUR for Coffee. It can take a few days "
            "until your account shows it."),
        ),
        (
            payments.DisputeOpened(
                ref=CHARGE, dispute_amount=to_money(1250, "EUR"), mandate_paused=True,
                state=payments_pb2.Dispute.NEEDS_RESPONSE,
            ),
            ("Hi Ann! Your bank tells us that you dispute your payment of 12.50 EUR for Coffee. Until "
            "that is over, we charge nothing more under your consent. If it is a mistake, please tell "
            "your bank."),
        ),
        (
            payments.DisputeOpened(
                ref=CHARGE, dispute_amount=to_money(1000, "EUR"), inquiry=True,
                state=payments_pb2.Dispute.INQUIRY_NEEDS_RESPONSE,
            ),
            ("Hi Ann! Your bank asks us about 10.00 EUR of your payment of 12.50 EUR for Coffee. Your "
            "orders go on meanwhile. If it is a mistake, please tell your bank."),
        ),
        (
            payments.DisputeClosed(
                ref=CHARGE, dispute_amount=to_money(1250, "EUR"), mandate_paused=True,
                state=payments_pb2.Dispute.LOST,
            ),
            ("Hi Ann! Your bank gave back your payment of 12.50 EUR for Coffee. We charge nothing more "
            "under your consent until you allow it again."),
        ),
        (
            payments.DisputeClosed(
                ref=CHARGE, dispute_amount=to_money(1250, "EUR"), late_failure=True,
                state=payments_pb2.Dispute.LOST,
            ),
            ("Hi Ann! Your bank sent your payment of 12.50 EUR for Coffee back to you: it is not paid. "
            "Please contact us. Your orders go on."),
        ),
        (
            payments.DisputeClosed(
                ref=CHARGE, dispute_amount=to_money(1250, "EUR"), state=payments_pb2.Dispute.WON
            ),
            ("Hi Ann! You disputed your payment of 12.50 EUR for Coffee. That is over, and the payment "
            "stands. Your orders go on."),
        ),
    ],
)  # fmt: skip
def test_an_event_is_described_in_plain_words(message: Message, text: str) -> None:
    assert sms(message) == text


@pytest.mark.parametrize(
    "message",
    [
        scheduler.OrderHeld(ref=REF, reasons=[scheduler_pb2.PAYMENT_METHOD_BLOCKED]),
        scheduler.OrderLapsed(
            ref=REF, reasons=[scheduler_pb2.PAYMENT_DECLINED], payment_method_blocked=True
        ),
        payments.PaymentDeclined(ref=CHARGE, attempt=1, payment_method_blocked=True),
    ],
)
def test_what_a_blocked_card_does_to_an_order_is_not_said_again(message: Message) -> None:
    assert read(message) is None


@pytest.mark.parametrize(
    "message",
    [
        payments.DisputeOpened(ref=CHARGE, state=payments_pb2.Dispute.LOST),
        payments.DisputeClosed(ref=CHARGE, state=payments_pb2.Dispute.INQUIRY_CLOSED),
    ],
)
def test_a_dispute_is_told_of_once_it_stands_and_once_it_is_decided(message: Message) -> None:
    assert read(message) is None


def test_a_notice_is_about_the_order_that_the_event_is_about() -> None:
    notice = draft(scheduler.OrderCancelled(ref=REF))

    assert (notice.customer, notice.subject_resource) == (CUSTOMER, ORDER)


def test_a_notice_before_a_charge_carries_its_promise() -> None:
    upcoming = scheduler.OrderUpcoming(
        ref=REF, amount=to_money(1250, "EUR"), charge_not_before_time=to_timestamp(DUE)
    )
    lead = timedelta(hours=72)
    upcoming.notice_lead.FromTimedelta(lead)

    automatic = BillingMode.AUTOMATIC
    assert order_upcoming(upcoming).promise == Promise(1250, "EUR", DUE, lead, automatic)


def test_a_notice_keeps_that_the_customer_is_asked_to_confirm() -> None:
    upcoming = scheduler.OrderUpcoming(ref=REF, amount=to_money(1250, "EUR"))
    upcoming.ref.billing_mode = scheduler_pb2.PAY_ON_NOTICE

    promise = order_upcoming(upcoming).promise
    assert promise is not None
    assert promise.billing_mode is BillingMode.PAY_ON_NOTICE


def test_a_reason_of_a_newer_scheduler_refers_to_the_account() -> None:
    skipped = scheduler.OrderSkipped(ref=REF)
    skipped.MergeFromString(b"\x10\xe7\x07")  # reason: 999

    assert "your account says why" in text_of(order_skipped(skipped))


@pytest.mark.parametrize(
    ("attached", "said"), [(True, "attached as a PDF file"), (False, "too large for an e-mail")]
)
def test_an_e_mail_with_a_document_says_where_the_file_is(*, attached: bool, said: str) -> None:
    made = draft(
        payments.DocumentIssued(
            ref=CHARGE,
            document="merchants/acme/documents/cn-2026-000001",
            type=payments_pb2.Document.CREDIT_NOTE,
            number="CN-2026-000001",
            document_amount=to_money(1250, "EUR"),
            email_to_customer=True,
        )
    )
    assert isinstance(made.facts, DocumentIssued)
    facts = replace(made.facts, attached=attached)
    shown = rendered_as_shipped(facts, Channel.EMAIL, "", "Ann")
    assert shown.subject == "Credit note CN-2026-000001"
    assert "Credit note CN-2026-000001 for Coffee: 12.50 EUR." in shown.text
    assert said in shown.text


def test_taxes_of_a_tax_service_are_each_said_by_themselves() -> None:
    def tax(title: str, rate_ppm: int, minor: int) -> scheduler_pb2.OrderLineTax:
        return scheduler_pb2.OrderLineTax(
            title=title, rate_ppm=rate_ppm, treatment="CHARGED", amount=to_money(minor, "USD")
        )

    lines = [
        scheduler_pb2.OrderLine(
            title=title,
            quantity=1,
            gross_amount=to_money(1080, "USD"),
            taxes=[tax("State", 60_000, 60), tax("City", 20_000, 20)],
        )
        for title in ("Beans", "Filters")
    ]
    receipt = draft(
        scheduler.OrderConfirmed(
            ref=REF, amount=to_money(2160, "USD"), pay_time=to_timestamp(DUE), lines=lines
        )
    )
    assert isinstance(receipt.facts, Receipt)
    assert [(it.title, it.rate_ppm, it.amount.amount_minor) for it in receipt.facts.taxes] == [
        ("State", 60_000, 120),
        ("City", 20_000, 40),
    ]
