"""What gateways say later of messages that they took, by themselves or when they are asked."""

import base64
import hmac
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256

import aiohttp
import pytest
from recurring.notify.v1 import events_pb2, notify_pb2

from deploy.embedded.ports import HOST, free_ports
from services.notify.api.callbacks import (
    HTTP_LIMITS,
    RECEIPTS_PATH,
    CallbackReceiver,
    signed_receipts,
)
from services.notify.application.receipt_inbox import ReceiptInbox
from services.notify.clients.gateway import Message
from services.notify.domain.notices import Attempt, Channel, NoticeId, Verdict
from services.notify.domain.receipts import Receipt, ReceiptStatus
from services.notify.names import DELIVERY
from services.runtime.http_server import HttpServer
from tests.integration.notify.suite import (
    LEAD,
    Notify,
    order_skipped,
    order_upcoming,
)
from tests.integration.sandbox.process import advance

Delivery = notify_pb2.Notice.Delivery
DELIVERED_LATER = "+15005550006"
UNDELIVERED_LATER = "+15005550007"
SILENT = "+15005550008"
EXPIRED = "+15005550009"
SECRET = b"whsec_test"


async def test_a_message_that_a_gateway_took_is_no_evidence_until_it_arrived(
    notify: Notify,
) -> None:
    # No service is to keep its clock from moving.
    notify.sandbox.environment["SANDBOX_EXPECTED_SERVICES"] = ","
    await _announce(notify, DELIVERED_LATER)
    [accepted] = (await notify.notices())[-1].deliveries
    announced = len(await notify.published(events_pb2.ChargeNoticeDelivered))
    notify.clock.move(timedelta(minutes=1))
    await advance(notify.sandbox, 60)
    await notify.poll()

    assert (accepted.state, announced) == (Delivery.ACCEPTED, 0)
    assert accepted.gateway_message.startswith("sms_")
    [delivered] = (await notify.notices())[-1].deliveries
    assert delivered.state == Delivery.DELIVERED
    [event] = await notify.published(events_pb2.ChargeNoticeDelivered)
    promised = event.charge_promise.charge_not_before_time.ToDatetime(notify.clock.now().tzinfo)
    assert promised == notify.clock.now() + LEAD


@pytest.mark.parametrize(("is_free", "announced"), [(True, 1), (False, 0)])
async def test_what_a_gateway_took_is_evidence_where_the_merchant_and_rule_packs_let_it(
    notify: Notify, *, is_free: bool, announced: int
) -> None:
    settings = notify_pb2.NotifySettings(
        name="merchants/acme/notifySettings",
        charge_notice_evidence=notify_pb2.NotifySettings.EVIDENCE_ACCEPTED,
    )
    request = notify_pb2.UpdateNotifySettingsRequest(notify_settings=settings)
    await notify.call("UpdateNotifySettings", request)
    await notify.contact()
    await notify.bind()
    await notify.replace_phone(SILENT)
    message = order_upcoming()
    message.evidence_is_free = is_free
    await notify.receive(message)
    await notify.deliver()

    [accepted] = (await notify.notices())[-1].deliveries
    assert accepted.state == Delivery.ACCEPTED
    assert len(await notify.published(events_pb2.ChargeNoticeDelivered)) == announced


async def test_a_message_of_which_nobody_says_anything_expires_after_a_day(notify: Notify) -> None:
    await _announce(notify, SILENT)
    posted = notify.clock.now()
    while notify.wake_at is not None:
        notify.clock.move_to(notify.wake_at)
        await notify.poll()

    [expired] = (await notify.notices())[-1].deliveries
    assert (expired.state, expired.failure_code) == (Delivery.EXPIRED, "NO_RECEIPT")
    assert notify.clock.now() == posted + timedelta(hours=24)
    [failed] = await notify.published(events_pb2.ChargeNoticeFailed)
    assert failed.failure_code == "NO_RECEIPT"


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("delivered", Delivery.DELIVERED),
        ("undelivered", Delivery.FAILED),
        ("expired", Delivery.EXPIRED),
    ],
)
async def test_a_receipt_ends_a_delivery_once_however_often_it_comes(
    notify: Notify, callbacks: str, status: str, state: int
) -> None:
    await _announce(notify, SILENT)
    answers = [await _send(notify, callbacks, status) for _ in range(2)]

    assert answers == [200, 200]
    [delivery] = (await notify.notices())[-1].deliveries
    assert delivery.state == state
    events = await notify.published(events_pb2.ChargeNoticeDelivered)
    events += await notify.published(events_pb2.ChargeNoticeFailed)
    assert len(events) == 1


async def test_a_receipt_that_contradicts_an_earlier_one_changes_nothing(
    notify: Notify, callbacks: str
) -> None:
    await _announce(notify, SILENT)
    await _send(notify, callbacks, "undelivered")
    await _send(notify, callbacks, "delivered")

    [delivery] = (await notify.notices())[-1].deliveries
    assert delivery.state == Delivery.FAILED


async def test_a_receipt_can_come_before_the_answer_to_the_request(
    notify: Notify, callbacks: str
) -> None:
    await notify.contact()
    await notify.bind()
    await notify.receive(order_skipped())
    gateway = Hasty(notify, callbacks)
    notify.deliveries = notify.sender({Channel.SMS: gateway})
    await notify.step()

    [delivery] = (await notify.notices())[-1].deliveries
    assert (delivery.state, delivery.attempt_count) == (Delivery.DELIVERED, 1)


class Hasty:
    """Says that a message arrived while it still answers that it took it."""

    def __init__(self, notify: Notify, callbacks: str) -> None:
        self._notify = notify
        self._callbacks = callbacks

    async def send(self, message: Message) -> Attempt:
        said = {"id": "sms_1", "reference": message.reference, "status": "delivered"}
        assert await _post(self._notify, self._callbacks, said) == 200
        return Attempt(Verdict.ACCEPTED, gateway_message="sms_1", gateway="generic")


@pytest.mark.parametrize("forged", ["secret", "body", "time"])
async def test_a_receipt_that_the_gateway_did_not_sign_is_refused(
    notify: Notify, callbacks: str, forged: str
) -> None:
    await _announce(notify, SILENT)
    said = await _said(notify, "delivered")
    answer = await _post(
        notify,
        callbacks,
        said,
        secret=b"another" if forged == "secret" else SECRET,
        age=timedelta(minutes=6) if forged == "time" else timedelta(),
        sent=said | {"status": "undelivered"} if forged == "body" else None,
    )

    assert answer == 400
    [delivery] = (await notify.notices())[-1].deliveries
    assert delivery.state == Delivery.ACCEPTED


async def test_a_notice_that_is_superseded_is_no_evidence_even_if_it_arrives(
    notify: Notify, callbacks: str
) -> None:
    await _announce(notify, SILENT)
    await notify.receive(order_skipped(), occur_time=notify.clock.now() + timedelta(seconds=1))
    said = await _said(notify, "delivered", index=-2)
    await _post(notify, callbacks, said)

    assert await notify.published(events_pb2.ChargeNoticeDelivered) == []
    [delivery] = (await notify.notices())[-2].deliveries
    assert delivery.state == Delivery.DELIVERED


async def test_a_receipt_of_no_message_of_ours_is_unmatched(notify: Notify) -> None:
    await _announce(notify, SILENT)
    inbox = ReceiptInbox(notify.database, notify.clock)
    [accepted] = (await notify.notices())[-1].deliveries
    key = DELIVERY.key(f"{(await notify.notices())[-1].name}/deliveries/sms")
    ours = Receipt(ReceiptStatus.DELIVERED, accepted.gateway_message)
    said = [
        (key._replace(notice=NoticeId("unknown")), ours),
        (key, replace(ours, gateway_message="sms_of_another")),
        (key, ours),
        (key, ours),
    ]

    assert [await inbox.apply(*it) for it in said] == [
        "UNMATCHED",
        "UNMATCHED",
        "STORED",
        "REPEATED",
    ]


@pytest.fixture
async def callbacks(notify: Notify) -> AsyncIterator[str]:
    """Where the service takes what gateways send."""
    [port] = free_ports(1)
    inbox = ReceiptInbox(notify.database, notify.clock)
    take = signed_receipts(inbox, [SECRET], notify.clock)
    server = HttpServer(CallbackReceiver({RECEIPTS_PATH: take}).answer, HTTP_LIMITS)
    await server.start(f"{HOST}:{port}")
    yield f"http://{HOST}:{port}{RECEIPTS_PATH}"
    await server.stop(1.0)


async def _announce(notify: Notify, phone: str) -> None:
    await notify.contact()
    await notify.bind_unreachable(phone)
    await notify.receive(order_upcoming())
    await notify.deliver()
    await notify.poll()


async def _send(notify: Notify, url: str, status: str) -> int:
    return await _post(notify, url, await _said(notify, status))


async def _said(notify: Notify, status: str, index: int = -1) -> dict[str, str]:
    notice = (await notify.notices())[index]
    return {
        "id": notice.deliveries[0].gateway_message,
        "reference": f"{notice.name}/deliveries/sms",
        "status": status,
    }


async def _post(
    notify: Notify,
    url: str,
    said: dict[str, str],
    *,
    secret: bytes = SECRET,
    age: timedelta = timedelta(),
    sent: dict[str, str] | None = None,
) -> int:
    timestamp = str(int((notify.clock.now() - age).timestamp()))
    signed = f"1.{timestamp}.{json.dumps(said)}".encode()
    digest = base64.b64encode(hmac.new(secret, signed, sha256).digest()).decode()
    headers = {
        "webhook-id": "1",
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{digest}",
    }
    body = json.dumps(sent or said)
    async with (
        aiohttp.ClientSession() as http,
        http.post(url, data=body, headers=headers) as answer,
    ):
        return answer.status
