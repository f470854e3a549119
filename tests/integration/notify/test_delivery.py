"""Notices on their way: once each, through outages, and what is published of them."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from recurring.notify.v1 import events_pb2, notify_pb2

from services.notify.clients.gateway import Message
from services.notify.domain.notices import Attempt, Channel, Verdict
from services.runtime.auth.call_context import act_for_all
from services.runtime.db import leases
from services.runtime.db.leases import BucketLeases
from services.runtime.rpc.conversions import from_timestamp
from tests.integration.notify.suite import (
    ANN,
    DUE,
    INVALID_PHONE,
    LEAD,
    LOST_ANSWER_PHONE,
    PHONE,
    UNAVAILABLE_TWICE_PHONE,
    UNDELIVERABLE_PHONE,
    Notify,
    order_confirmed,
    order_skipped,
    order_upcoming,
)

Delivery = notify_pb2.Notice.Delivery


async def test_a_customer_reads_what_will_be_charged_and_when(notify: Notify) -> None:
    await notify.contact()
    await notify.bind()
    await notify.receive(order_upcoming())
    await notify.deliver()

    assert (await notify.inbox())[-1] == (
        "Hi Ann! Your order Coffee comes to 12.50 EUR. We will charge you on "
        "Sat 31 Jan 2026, 09:00 or later. Skip or change it in your account before then."
    )


async def test_a_notice_is_put_into_words_when_it_is_sent_and_keeps_them(notify: Notify) -> None:
    await notify.contact()
    await notify.bind()
    await notify.receive(order_skipped())
    await notify.rename("Anna")
    await notify.outage("sms", on=True)
    await notify.deliver()
    await notify.rename("Annabel")
    await notify.outage("sms", on=False)
    notify.clock.move(timedelta(seconds=10))
    await notify.deliver()

    assert (await notify.inbox())[-1].startswith("Hi Anna! ")
    [delivery] = (await notify.notices())[-1].deliveries
    assert delivery.text == (await notify.inbox())[-1]
    assert delivery.locale == "en"


async def test_what_is_erased_while_it_is_sent_is_not_kept(notify: Notify) -> None:
    await notify.contact()
    await notify.bind()
    await notify.receive(order_skipped())
    gateway = Erasing(notify)
    notify.deliveries = notify.sender({Channel.SMS: gateway})
    await notify.step()

    assert gateway.sent
    assert {d.text for notice in await notify.notices() for d in notice.deliveries} == {""}


class Erasing:
    """Delivers, while the customer is erased."""

    def __init__(self, notify: Notify) -> None:
        self._notify = notify
        self.sent: list[Message] = []

    async def send(self, message: Message) -> Attempt:
        self.sent.append(message)
        await self._notify.call("EraseCustomer", notify_pb2.EraseCustomerRequest(name=ANN))
        return Attempt(Verdict.DELIVERED)


async def test_what_can_wait_goes_out_in_the_morning_and_what_cannot_at_once(
    notify: Notify,
) -> None:
    # Midnight there; the notice before the charge has to be out by now.
    await notify.contact(time_zone="America/Los_Angeles")
    await notify.bind()
    await notify.receive(order_skipped(cycle=2))
    await notify.receive(order_upcoming())
    await notify.deliver()
    [waiting] = (await notify.notices())[-2].deliveries
    texts = await notify.inbox()
    notify.clock.move(timedelta(hours=8))
    await notify.deliver()

    assert (waiting.state, waiting.failure_code) == (Delivery.PENDING, "QUIET_HOURS")
    assert "comes to 12.50 EUR" in texts[-1]
    assert "is left out" in (await notify.inbox())[-1]
    [sent] = (await notify.notices())[-2].deliveries
    assert (sent.state, sent.failure_code) == (Delivery.DELIVERED, "")


async def test_one_event_that_comes_twice_is_one_sms(notify: Notify) -> None:
    await notify.contact()
    await notify.bind()
    for _ in range(2):
        await notify.receive(order_skipped())
        await notify.deliver()

    assert len(await notify.inbox()) == 2  # The code and the notice.
    assert len(await notify.notices()) == 2


async def test_a_set_of_events_is_an_sms_for_each_customer(notify: Notify) -> None:
    phones = {f"merchants/acme/customers/c{n}": f"+49170000000{n}" for n in range(3)}
    for customer, phone in phones.items():
        await notify.contact(customer)
        await notify.bind(phone, customer)
    await notify.receive(*(order_skipped(customer) for customer in phones))
    await notify.deliver()

    assert [len(await notify.inbox(phone)) for phone in phones.values()] == [2, 2, 2]


async def test_a_lost_answer_leaves_one_sms_on_the_phone(notify: Notify) -> None:
    await notify.contact()
    await notify.bind_unreachable(LOST_ANSWER_PHONE)
    await notify.receive(order_skipped())
    await notify.deliver()
    notify.clock.move(timedelta(seconds=10))
    await notify.deliver()

    assert len(await notify.inbox(LOST_ANSWER_PHONE)) == 1
    [delivery] = (await notify.notices())[-1].deliveries
    assert (delivery.state, delivery.attempt_count) == (Delivery.DELIVERED, 2)


async def test_a_gateway_that_is_unavailable_twice_is_tried_a_third_time(notify: Notify) -> None:
    await notify.contact()
    await notify.bind_unreachable(UNAVAILABLE_TWICE_PHONE)
    await notify.receive(order_skipped())
    waits = []
    for _ in range(3):
        await notify.deliver()
        if notify.wake_at is not None:
            waits.append(notify.wake_at - notify.clock.now())
            notify.clock.move_to(notify.wake_at)

    assert waits == [timedelta(seconds=10), timedelta(minutes=1)]
    assert len(await notify.inbox(UNAVAILABLE_TWICE_PHONE)) == 1


async def test_an_outage_delays_notices_and_loses_none(notify: Notify) -> None:
    await notify.contact()
    await notify.bind()
    await notify.outage("sms", on=True)
    await notify.receive(order_upcoming())
    await notify.deliver()
    [pending] = (await notify.notices())[-1].deliveries
    await notify.outage("sms", on=False)
    notify.clock.move(timedelta(hours=6))
    await notify.deliver()
    [delivered] = (await notify.notices())[-1].deliveries

    assert (pending.state, pending.failure_code) == (Delivery.PENDING, "service_unavailable")
    assert (delivered.state, delivered.failure_code) == (Delivery.DELIVERED, "")
    assert len(await notify.inbox()) == 2


async def test_a_gateway_that_cannot_be_reached_at_all_is_tried_again(notify: Notify) -> None:
    await notify.contact()
    await notify.bind()
    await notify.sandbox.stop()
    await notify.receive(order_skipped())
    await notify.deliver()
    await notify.sandbox.start()
    notify.clock.move(timedelta(seconds=10))
    await notify.deliver()

    assert len(await notify.inbox()) == 2


async def test_a_notice_that_never_gets_through_fails_after_a_day(notify: Notify) -> None:
    await notify.contact()
    await notify.bind()
    await notify.outage("sms", on=True)
    await notify.receive(order_upcoming())
    posted = notify.clock.now()
    await notify.deliver()
    while notify.wake_at is not None:
        notify.clock.move_to(notify.wake_at)
        await notify.deliver()

    [failed] = await notify.published(events_pb2.ChargeNoticeFailed)
    assert failed.failure_code == "service_unavailable"
    assert timedelta(hours=23) <= notify.clock.now() - posted <= timedelta(hours=24)


@pytest.mark.parametrize(
    ("phone", "failure_code"),
    [(INVALID_PHONE, "invalid_number"), (UNDELIVERABLE_PHONE, "undelivered")],
)
async def test_a_phone_that_cannot_receive_fails_at_once(
    notify: Notify, phone: str, failure_code: str
) -> None:
    await notify.contact()
    await notify.bind_unreachable(phone)
    await notify.receive(order_upcoming())
    await notify.deliver()

    [failed] = await notify.published(events_pb2.ChargeNoticeFailed)
    assert (failed.order, failed.failure_code) == (
        order_upcoming().ref.order,
        failure_code,
    )


@pytest.mark.parametrize("has_contact", [True, False])
async def test_a_customer_without_phone_and_mail_is_published_as_unreachable(
    notify: Notify, *, has_contact: bool
) -> None:
    if has_contact:
        await notify.contact()
    await notify.receive(order_upcoming())
    await notify.deliver()

    [failed] = await notify.published(events_pb2.ChargeNoticeFailed)
    assert (failed.customer, failed.failure_code) == (ANN, "NO_CHANNEL")
    [delivery] = (await notify.notices())[0].deliveries
    assert (delivery.state, delivery.failure_code) == (Delivery.FAILED, "NO_CHANNEL")


async def test_a_notice_in_time_promises_what_the_event_says(notify: Notify) -> None:
    await notify.contact()
    await notify.bind()
    await notify.receive(order_upcoming())
    await notify.deliver()

    [delivered] = await notify.published(events_pb2.ChargeNoticeDelivered)
    assert delivered.charge_promise.amount.units == 12
    assert from_timestamp(delivered.charge_promise.charge_not_before_time) == DUE


async def test_a_late_notice_defers_the_charge_by_its_full_lead(notify: Notify) -> None:
    await notify.contact()
    await notify.bind()
    await notify.outage("sms", on=True)
    await notify.receive(order_upcoming())
    await notify.deliver()
    await notify.outage("sms", on=False)
    notify.clock.move(timedelta(hours=5))
    await notify.deliver()

    [delivered] = await notify.published(events_pb2.ChargeNoticeDelivered)
    promised = from_timestamp(delivered.charge_promise.charge_not_before_time)
    assert promised == notify.clock.now() + LEAD > DUE


async def test_a_notice_follows_the_customer_to_a_new_phone(notify: Notify) -> None:
    await notify.contact()
    await notify.bind()
    await notify.outage("sms", on=True)
    await notify.receive(order_skipped())
    await notify.deliver()
    await notify.outage("sms", on=False)
    await notify.rebind("+491709999999")
    notify.clock.move(timedelta(seconds=10))
    await notify.deliver()

    assert len(await notify.inbox(PHONE)) == 3  # Two codes, and that the phone was changed.
    assert "Coffee" in (await notify.inbox("+491709999999"))[-1]


async def test_a_receipt_is_copied_by_mail_with_the_lines_of_the_order(notify: Notify) -> None:
    await notify.contact(email="ann@example.com")
    await notify.bind()
    await notify.receive(order_confirmed())
    await notify.deliver()

    [mail] = await notify.mailbox("ann@example.com")
    assert (mail["from"], mail["subject"]) == ("orders@acme.example", "Receipt: Coffee")
    assert "2 x Espresso: 12.50 EUR" in mail["text"]
    assert (
        len(await notify.published(events_pb2.NoticeDelivered)) == 2
    )  # The code's and this one's.


async def test_an_outage_of_the_mail_server_leaves_one_mail_in_the_end(notify: Notify) -> None:
    await notify.contact(email="ann@example.com")
    await notify.bind()
    await notify.outage("mail", on=True)
    await notify.receive(order_confirmed())
    await notify.deliver()
    await notify.outage("mail", on=False)
    notify.clock.move(timedelta(seconds=10))
    await notify.deliver()

    [mail] = await notify.mailbox("ann@example.com")
    assert mail["deliveries"] == 1


async def test_without_a_phone_the_mail_decides_whether_a_notice_was_delivered(
    notify: Notify,
) -> None:
    await notify.contact(email="ann@example.com")
    await notify.receive(order_skipped())
    await notify.deliver()

    [delivered] = await notify.published(events_pb2.NoticeDelivered)
    assert delivered.kind == notify_pb2.ORDER_SKIPPED
    assert len(await notify.mailbox("ann@example.com")) == 1


async def test_muted_receipts_do_not_reach_the_phone_and_other_notices_do(notify: Notify) -> None:
    await notify.contact(preferences=notify_pb2.Contact.Preferences(sms_receipts_muted=True))
    await notify.bind()
    await notify.receive(order_confirmed())
    await notify.receive(order_skipped())
    await notify.deliver()

    assert [text[:30] for text in (await notify.inbox())[1:]] == ["Hi Ann! Your order Coffee of S"]
    assert await notify.published(events_pb2.NoticeFailed) == []


async def test_muted_mail_brings_none(notify: Notify) -> None:
    muted = notify_pb2.Contact.Preferences(email_muted=True)
    await notify.contact(email="ann@example.com", preferences=muted)
    await notify.bind()
    await notify.receive(order_confirmed())
    await notify.deliver()

    assert await notify.mailbox("ann@example.com") == []


async def test_what_a_process_died_over_is_sent_by_the_next_when_its_lease_ends(
    notify: Notify,
) -> None:
    await notify.contact()
    await notify.bind()
    await notify.receive(order_skipped())
    act_for_all("test")
    async with notify.database.begin() as tx:
        await tx.execute(
            """
                WITH dead AS (
                    INSERT INTO lease_holders (holder, name, expire_time)
                    VALUES (gen_random_uuid(), 'dead', now() + interval '1 minute')
                    RETURNING holder
                )
                INSERT INTO bucket_leases (bucket, holder) SELECT bucket, holder FROM buckets, dead
            """
        )
    buckets = BucketLeases(notify.database, leases.OUTSIDE, "next")
    await buckets.renew()
    waiting = await notify.step(buckets)
    async with notify.database.begin() as tx:
        await tx.execute("UPDATE lease_holders SET expire_time = now() - interval '1 s'")
    await buckets.renew()
    await notify.start_sandbox()
    await notify.step(buckets)

    # So that a simulated clock does not run past it.
    assert (waiting.worked, waiting.elsewhere) == (0, True)
    assert len(await notify.inbox()) == 2


class Hanging:
    """Takes messages and says nothing."""

    async def send(self, message: Message) -> Attempt:  # noqa: ARG002
        return await asyncio.Future()


async def test_what_a_step_had_in_hand_is_sent_at_once_when_it_is_cut_off(notify: Notify) -> None:
    await notify.contact()
    await notify.bind()
    await notify.receive(order_skipped())
    usual = notify.deliveries
    notify.deliveries = notify.sender({Channel.SMS: Hanging()})
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await notify.step()
    notify.deliveries = usual
    await notify.deliver()

    assert len(await notify.inbox()) == 2


async def test_a_batch_is_more_than_fits_on_the_wire_at_once(notify: Notify) -> None:
    await notify.contact()
    await notify.bind()
    await notify.receive(*(order_skipped(cycle=cycle) for cycle in range(1, 81)))
    step = await notify.step()

    assert step.worked == 80
    assert len(await notify.published(events_pb2.NoticeDelivered)) == 81


async def test_two_processes_share_the_work_and_send_nothing_twice(notify: Notify) -> None:
    customers = [f"merchants/acme/customers/{number}" for number in range(20)]
    for number, customer in enumerate(customers):
        await notify.contact(customer)
        await notify.bind(f"+4917000000{number:02}", customer)
    await notify.receive(*(order_skipped(customer) for customer in customers))
    act_for_all("test")
    processes = [BucketLeases(notify.database, leases.OUTSIDE, name) for name in "ab"]
    for _ in range(3):
        for process in processes:
            await process.renew()
    steps = await asyncio.gather(*(notify.step(process) for process in processes))
    answer = await notify.sandbox.ask("GET", "/record/requests?part=sms&limit=100")

    assert sum(step.worked for step in steps) == len(customers)
    assert all(step.worked for step in steps)
    # Each was sent a code before.
    assert len(answer.body["data"]) == 2 * len(customers)


async def test_one_notice_that_cannot_be_sent_does_not_hold_up_the_others(notify: Notify) -> None:
    bob = "merchants/acme/customers/bob"
    await notify.contact()
    await notify.bind_unreachable(INVALID_PHONE)
    await notify.contact(bob)
    await notify.bind("+491700000002", bob)
    await notify.receive(order_skipped(), order_skipped(bob))
    await notify.deliver()

    assert len(await notify.inbox("+491700000002")) == 2


async def test_no_log_line_holds_a_phone_number_an_address_or_a_code(
    notify: Notify, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    await notify.contact(email="ann@example.com")
    await notify.bind()
    for part in ("sms", "mail"):
        await notify.outage(part, on=True)
    await notify.receive(order_confirmed())
    await notify.deliver()
    await notify.sandbox.stop()
    notify.clock.move(timedelta(hours=1))
    await notify.deliver()

    for secret in (PHONE, PHONE[1:], "ann@example.com", "is your code"):
        assert secret not in caplog.text


async def test_an_outage_of_a_gateway_is_one_log_line_and_its_end_another(
    notify: Notify, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    await notify.contact()
    await notify.bind()
    await notify.receive(order_skipped())
    await notify.outage("sms", on=True)
    for _ in range(5):
        await notify.deliver()
        notify.clock.move(timedelta(hours=1))
    await notify.outage("sms", on=False)
    await notify.deliver()

    assert [message for message in caplog.messages if message.startswith("messages are")] == [
        "messages are not taken: service_unavailable",
        "messages are taken again",
    ]


class Held:
    """Takes a message, and answers once it is let go."""

    def __init__(self) -> None:
        self.asked, self.let_go = asyncio.Event(), asyncio.Event()

    async def send(self, _message: Message) -> Attempt:
        self.asked.set()
        await self.let_go.wait()
        return Attempt(Verdict.DELIVERED)


async def test_a_gateway_that_is_slow_delays_its_own_channel_alone(notify: Notify) -> None:
    await notify.contact(email="ann@example.com")
    await notify.bind()
    await notify.receive(order_confirmed())
    slow, quick = Held(), Held()
    quick.let_go.set()
    notify.deliveries = notify.sender({Channel.SMS: slow, Channel.EMAIL: quick})
    sms = asyncio.create_task(notify.step(queue=Channel.SMS))
    await slow.asked.wait()
    await notify.step(queue=Channel.EMAIL)

    by_channel = {it.channel: it for it in (await notify.notices())[-1].deliveries}
    assert by_channel[notify_pb2.EMAIL].state == Delivery.DELIVERED
    assert by_channel[notify_pb2.SMS].state == Delivery.PENDING
    slow.let_go.set()
    await sms


async def test_what_no_gateway_took_by_day_does_not_wake_its_reader(notify: Notify) -> None:
    # Half past eight in the evening there.
    notify.clock.move_to(datetime(2026, 1, 28, 4, 30, tzinfo=UTC))
    await notify.contact(time_zone="America/Los_Angeles")
    await notify.bind()
    await notify.outage("sms", on=True)
    await notify.receive(order_skipped(cycle=2))
    await notify.receive(order_upcoming())
    await notify.deliver()
    notify.clock.move(timedelta(hours=1))
    await notify.outage("sms", on=False)
    await notify.deliver()

    texts = await notify.inbox()
    # The notice before the charge has to be out.
    assert "comes to 12.50 EUR" in texts[-1]
    assert not any("is left out" in text for text in texts)
    [waiting] = (await notify.notices())[-2].deliveries
    assert (waiting.state, waiting.failure_code) == (Delivery.PENDING, "QUIET_HOURS")
    notify.clock.move_to(datetime(2026, 1, 28, 16, tzinfo=UTC))
    await notify.deliver()
    assert "is left out" in (await notify.inbox())[-1]


async def test_a_receipt_that_waits_for_the_morning_is_not_sent_to_who_has_muted_them(
    notify: Notify,
) -> None:
    # Midnight there.
    await notify.contact(time_zone="America/Los_Angeles")
    await notify.bind()
    await notify.receive(order_confirmed())
    await notify.contact(preferences=notify_pb2.Contact.Preferences(sms_receipts_muted=True))
    notify.clock.move(timedelta(hours=8))
    await notify.deliver()

    assert not any("You paid" in text for text in await notify.inbox())
    [receipt] = (await notify.notices())[-1].deliveries
    assert (receipt.state, receipt.failure_code) == (Delivery.FAILED, "NO_CHANNEL")
