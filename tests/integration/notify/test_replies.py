"""What customers write back: stored once, understood, decided and answered."""

import base64
import hmac
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from urllib.parse import urlencode

import aiohttp
import grpc
import pytest
from recurring.notify.v1 import events_pb2, notify_pb2
from recurring.scheduler.v1 import events_pb2 as scheduler_events_pb2

from deploy.embedded.ports import HOST, free_ports
from services.notify import workers
from services.notify.api.callbacks import (
    HTTP_LIMITS,
    MESSAGES_PATH,
    TWILIO_MESSAGES_PATH,
    CallbackReceiver,
    signed_messages,
    twilio_messages,
)
from services.notify.clients import twilio
from services.notify.clients.acts import Acts
from services.notify.domain.notices import MerchantId
from services.notify.domain.replies.inbound import (
    ANSWERS_PER_HOUR_MAX,
    ONE_SENDER_NUMBER,
    SenderNumbers,
)
from services.runtime.auth.call_context import act_for_all
from services.runtime.db import due_work
from services.runtime.db.due_work import DueTimes, DueWork
from services.runtime.http_server import HttpServer
from tests.due_work import EveryBucket
from tests.integration.notify.suite import (
    ANN,
    PHONE,
    Notify,
    order_confirmed,
    order_skipped,
    order_upcoming,
)

State = notify_pb2.Notice.Delivery.State
SECRET = b"whsec_test"
# Nobody listens there.
AWAY = "127.0.0.1:9"
EMAIL = "ann@example.com"
OTHER_ANN = "merchants/other/customers/ann"
OTHER_NUMBER = "+447700900001"

Post = Callable[[dict[str, str], bytes], Awaitable[int]]


@dataclass
class Replies:
    """Notify, with an address that gateways bring messages to, and what works on them."""

    notify: Notify
    url: str
    twilio_url: str
    acts: workers.ReplyActs
    senders: SenderNumbers = ONE_SENDER_NUMBER
    count: int = 0

    async def write(
        self,
        text: str,
        *,
        phone: str = PHONE,
        to: str = "Recurring",
        identifier: str = "",
        secret: bytes = SECRET,
    ) -> int:
        """Bring a message as the generic gateway does; returns the status of the answer."""
        self.count += 1
        said = {"id": identifier or f"in_{self.count}", "from": phone, "to": to, "body": text}
        body, timestamp = json.dumps(said).encode(), str(int(self.notify.clock.now().timestamp()))
        signed = f"m.{timestamp}.".encode() + body
        signature = base64.b64encode(hmac.new(secret, signed, sha256).digest()).decode()
        headers = {
            "webhook-id": "m",
            "webhook-timestamp": timestamp,
            "webhook-signature": f"v1,{signature}",
        }
        return await _post(self.url, body, headers)

    async def read(self) -> None:
        """Read all that was written, and send what is answered."""
        act_for_all("notify")
        work = DueWork("reply", workers.Replies(self.notify.database, self.senders).work)
        await self._work(work)
        await self.notify.deliver()

    async def act(self) -> None:
        """Ask other services for what is wanted."""
        act_for_all("notify")
        await self._work(DueWork("reply-act", self.acts.work))
        await self.notify.deliver()

    async def answer(self, text: str, *, phone: str = PHONE, to: str = "Recurring") -> list[str]:
        """Write, and return what comes back."""
        before = len(await self.notify.inbox(phone))
        assert await self.write(text, phone=phone, to=to) == 200
        await self.read()
        return (await self.notify.inbox(phone))[before:]

    async def states(self) -> list[tuple[str, str, str]]:
        """What became of each message: its state, its word and its outcome."""
        async with self.notify.database.read() as connection:
            rows = await connection.fetch(
                "SELECT state, word, outcome FROM inbound_messages"
                " ORDER BY receive_time, gateway_message"
            )
        return [tuple(row) for row in rows]

    async def _work(self, work: DueWork) -> None:
        due_times, buckets = DueTimes(self.notify.database), EveryBucket(self.notify.database)
        while (await due_work.step(due_times, self.notify.clock, buckets, work)).worked:
            pass


async def _post(url: str, body: bytes, headers: dict[str, str]) -> int:
    async with (
        aiohttp.ClientSession() as http,
        http.post(url, data=body, headers=headers) as answer,
    ):
        return answer.status


@pytest.fixture
async def replies(notify: Notify) -> AsyncIterator[Replies]:
    [port] = free_ports(1)
    twilio_url = f"http://{HOST}:{port}{TWILIO_MESSAGES_PATH}"
    database, clock = notify.database, notify.clock
    callbacks = {
        MESSAGES_PATH: signed_messages(database, [SECRET], clock, "generic"),
        TWILIO_MESSAGES_PATH: twilio_messages(database, [SECRET], twilio_url, clock, "twilio"),
    }
    server = HttpServer(CallbackReceiver(callbacks).answer, HTTP_LIMITS)
    await server.start(f"{HOST}:{port}")
    async with grpc.aio.insecure_channel(AWAY) as away:
        acts = workers.ReplyActs(database, clock, Acts(away, away))
        await notify.contact()
        await notify.bind()
        yield Replies(notify, f"http://{HOST}:{port}{MESSAGES_PATH}", twilio_url, acts)
    await server.stop(1.0)


async def announce(notify: Notify, *messages: scheduler_events_pb2.OrderUpcoming) -> None:
    await notify.receive(*messages)
    await notify.deliver()


def tea() -> scheduler_events_pb2.OrderUpcoming:
    message = order_upcoming()
    message.ref.order = "merchants/acme/standingOrders/tea/orders/4"
    message.ref.title = "Tea"
    return message


async def test_a_message_that_comes_again_is_read_once(replies: Replies) -> None:
    statuses = [await replies.write("HELP", identifier="in_x") for _ in range(2)]
    await replies.read()

    assert statuses == [200, 200]
    assert await replies.states() == [("DONE", "HELP", "HELP")]


@pytest.mark.parametrize("gateway", ["generic", "twilio"])
async def test_a_message_that_the_gateway_did_not_sign_is_refused(
    replies: Replies, gateway: str
) -> None:
    if gateway == "generic":
        status = await replies.write("STOP", secret=b"whsec_forged")
    else:
        status = await _post_twilio(replies, "STOP", token=b"forged")

    assert status == 400
    assert await replies.states() == []


async def test_twilios_messages_are_read_as_well(replies: Replies) -> None:
    assert await _post_twilio(replies, "Hilfe") == 200
    await replies.read()

    assert await replies.states() == [("DONE", "HELP", "HELP")]


async def _post_twilio(replies: Replies, text: str, *, token: bytes = SECRET) -> int:
    form = {"Body": text, "From": PHONE, "MessageSid": "SM1", "To": "+447700900000"}
    signed = replies.twilio_url + "".join(name + form[name] for name in sorted(form))
    headers = {
        "content-type": "application/x-www-form-urlencoded",
        twilio.SIGNATURE_HEADER: twilio.sign(signed, token),
    }
    return await _post(replies.twilio_url, urlencode(form).encode(), headers)


async def test_after_stop_notices_go_by_email_alone(replies: Replies) -> None:
    notify = replies.notify
    await notify.contact(email=EMAIL)
    # It waits, and does not go out any more.
    await notify.receive(order_skipped())
    [answer] = await replies.answer("Stop.")
    await announce(notify, tea())

    assert answer.startswith("You get no more messages on this phone.")
    assert (await notify.inbox())[-1] == answer
    subjects = [mail["subject"] for mail in await notify.mailbox(EMAIL)]
    assert "Coming up: Tea" in subjects
    assert any("Coffee" in subject for subject in subjects)
    request = notify_pb2.GetContactRequest(name=f"{ANN}/contact")
    assert (await notify.call("GetContact", request)).HasField("sms_stop_time")


async def test_after_stop_a_charge_whose_notice_goes_nowhere_waits(replies: Replies) -> None:
    await replies.answer("STOP")
    await announce(replies.notify, order_upcoming())

    [failed] = await replies.notify.published(events_pb2.ChargeNoticeFailed)
    assert failed.failure_code == "NO_CHANNEL"


async def test_start_undoes_stop_and_neither_is_answered_twice(replies: Replies) -> None:
    await replies.answer("STOP")
    assert await replies.answer("STOP") == []
    [answer] = await replies.answer("START")
    await announce(replies.notify, order_upcoming())

    assert answer.startswith("Messages about your orders come to this phone again.")
    assert "Coffee" in (await replies.notify.inbox())[-1]


async def test_who_is_not_understood_is_helped_once_a_day(replies: Replies) -> None:
    answers = [await replies.answer("I am driving, and answer later") for _ in range(3)]
    replies.notify.clock.move(timedelta(hours=25))
    again = await replies.answer("I am driving, and answer later")

    [[first], *others] = answers
    assert first.startswith("Reply SKIP")
    assert others == [[], []]
    assert again == [first]


async def test_who_writes_too_often_is_obeyed_and_not_answered(replies: Replies) -> None:
    for _ in range(ANSWERS_PER_HOUR_MAX):
        await replies.answer("HELP")

    assert await replies.answer("STOP") == []
    request = notify_pb2.GetContactRequest(name=f"{ANN}/contact")
    assert (await replies.notify.call("GetContact", request)).HasField("sms_stop_time")


async def test_of_several_orders_the_customer_is_asked_which_and_chooses(replies: Replies) -> None:
    await announce(replies.notify, order_upcoming(), tea())
    [question] = await replies.answer("SKIP")
    await replies.answer("skip 2")

    assert question.startswith("Which one? 1: Tea (Sat 31 Jan 2026); 2: Coffee (Sat 31 Jan 2026).")
    assert await replies.states() == [("DONE", "SKIP", "WHICH"), ("ACTING", "SKIP", "")]


async def test_the_customer_is_answered_in_their_language(replies: Replies) -> None:
    await replies.notify.contact(locale="de-AT")
    [answer] = await replies.answer("Überspringen")

    assert answer == "Es steht keine Bestellung von Ihnen an."


async def test_what_no_service_does_for_a_day_is_said_to_be_not_done(replies: Replies) -> None:
    notify = replies.notify
    await announce(notify, order_upcoming())
    assert await replies.answer("SKIP") == []
    await replies.act()
    waiting = await replies.states()
    notify.clock.move(timedelta(hours=25))
    await replies.act()

    assert waiting == [("ACTING", "SKIP", "")]
    assert await replies.states() == [("DONE", "SKIP", "NOT_DONE")]
    assert (await notify.inbox())[-1].startswith("Sorry, that could not be done for Coffee.")


async def test_stop_does_not_wait_for_a_service_that_is_away(replies: Replies) -> None:
    await announce(replies.notify, order_upcoming())
    await replies.answer("SKIP")

    assert len(await replies.answer("STOP")) == 1
    assert [state for state, _, _ in await replies.states()] == ["ACTING", "DONE"]


async def outcomes_of_skips(notify: Notify) -> list[tuple[str, str]]:
    """What became of the SMS of each ORDER_SKIPPED: its state and why."""
    skips = [it for it in await notify.notices() if it.kind == notify_pb2.ORDER_SKIPPED]
    deliveries = [it.deliveries[0] for it in skips]
    return [(State.Name(it.state), it.failure_code) for it in deliveries]


async def test_a_skip_by_reply_is_said_by_the_answer_and_not_by_a_notice(replies: Replies) -> None:
    notify = replies.notify
    await announce(notify, order_upcoming())
    await replies.answer("SKIP")
    await notify.receive(order_skipped())
    await notify.deliver()

    assert await outcomes_of_skips(notify) == [("VOIDED", "ANSWERED")]


async def test_a_skip_of_another_order_than_the_reply_was_about_has_its_notice(
    replies: Replies,
) -> None:
    notify = replies.notify
    await announce(notify, tea())
    await replies.answer("SKIP")
    await notify.receive(order_skipped())
    await notify.deliver()

    assert await outcomes_of_skips(notify) == [("DELIVERED", "")]


async def test_a_skip_in_the_account_after_one_by_reply_has_its_notice(replies: Replies) -> None:
    notify = replies.notify
    await announce(notify, order_upcoming())
    await replies.answer("SKIP")
    await notify.receive(order_skipped(), event_key="by-reply")
    notify.clock.move(timedelta(hours=1))
    await notify.receive(order_skipped(), event_key="in-the-account")
    await notify.deliver()

    assert await outcomes_of_skips(notify) == [("VOIDED", "ANSWERED"), ("DELIVERED", "")]


async def test_a_customer_who_is_erased_is_forgotten_with_what_they_asked_for(
    replies: Replies,
) -> None:
    await announce(replies.notify, order_upcoming())
    await replies.answer("SKIP")
    await replies.notify.call("EraseCustomer", notify_pb2.EraseCustomerRequest(name=ANN))

    assert await replies.states() == [("DONE", "SKIP", "ERASED")]


async def test_a_phone_that_nobody_has_is_not_answered(replies: Replies) -> None:
    assert await replies.answer("STOP", phone="+491701234599") == []
    assert await replies.states() == [("DONE", "STOP", "NO_CUSTOMER")]


async def test_what_was_paid_is_tried_so_that_the_service_says_why_not(replies: Replies) -> None:
    await announce(replies.notify, order_upcoming())
    await replies.notify.receive(order_confirmed(), event_key="paid")
    await replies.answer("SKIP")

    assert await replies.states() == [("ACTING", "SKIP", "")]


async def add_foreign(notify: Notify) -> None:
    """Another merchant has a customer with the same phone."""
    wanted = notify_pb2.Contact(name=f"{OTHER_ANN}/contact", display_name="Ann")
    request = notify_pb2.UpdateContactRequest(contact=wanted, allow_missing=True)
    await notify.call("UpdateContact", request, merchant="other")
    act_for_all("notify")
    await notify.replace_phone(PHONE, OTHER_ANN)


def foreign_tea() -> scheduler_events_pb2.OrderUpcoming:
    message = tea()
    message.ref.order = message.ref.order.replace("acme", "other")
    message.ref.customer = OTHER_ANN
    return message


async def test_no_merchant_reads_what_another_ones_customer_is_asked(replies: Replies) -> None:
    await add_foreign(replies.notify)
    await announce(replies.notify, order_upcoming(), foreign_tea())
    asked = await replies.answer("SKIP")
    await replies.answer("2")

    assert len(asked) == 2
    assert not any("Coffee" in text and "Tea" in text for text in asked)
    ours = (await replies.notify.notices())[-1].deliveries[0].text
    assert "Tea" not in ours
    act_for_all("notify")
    async with replies.notify.database.read() as connection:
        rows = await connection.fetch(
            "SELECT merchant FROM inbound_messages WHERE state = 'ACTING'"
        )
    assert len(rows) == 1


async def test_stop_to_a_merchants_own_number_stops_that_merchants_messages(
    replies: Replies,
) -> None:
    await add_foreign(replies.notify)
    replies.senders = SenderNumbers({MerchantId("other"): OTHER_NUMBER})
    await replies.answer("STOP", to=OTHER_NUMBER)
    act_for_all("notify")
    async with replies.notify.database.read() as connection:
        rows = await connection.fetch(
            "SELECT merchant FROM contacts WHERE sms_stop_time IS NOT NULL"
        )

    assert [row["merchant"] for row in rows] == ["other"]


async def test_messages_of_a_merchant_come_from_its_own_number(replies: Replies) -> None:
    notify = replies.notify
    senders = SenderNumbers({MerchantId("acme"): OTHER_NUMBER})
    notify.deliveries = notify.sender(notify.gateways, senders)
    await announce(notify, order_upcoming())

    answer = await notify.sandbox.ask("GET", "/sms/v1/messages", query={"to": PHONE})
    assert answer.body["data"][-1]["from"] == OTHER_NUMBER
