"""Messages by a gateway in Twilio's shape, which knows no idempotency keys."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from recurring.notify.v1 import notify_pb2

from deploy.embedded.ports import HOST, free_ports
from sandbox.twilio import ACCOUNT
from services.notify.api.callbacks import (
    HTTP_LIMITS,
    TWILIO_STATUS_PATH,
    CallbackReceiver,
    twilio_statuses,
)
from services.notify.application.receipt_inbox import ReceiptInbox
from services.notify.clients.twilio import TwilioGateway
from services.notify.domain.notices import Channel
from services.notify.workers import Receipts
from services.runtime.http_server import HttpServer
from tests.integration.notify.suite import (
    INVALID_PHONE,
    LOST_ANSWER_PHONE,
    PHONE,
    UNDELIVERABLE_PHONE,
    Notify,
    order_skipped,
)
from tests.integration.sandbox.process import SMS_API_KEY, advance

Delivery = notify_pb2.Notice.Delivery


@pytest.fixture
async def twilio(notify: Notify) -> AsyncIterator[TwilioGateway]:
    """Notify sends by Twilio, which calls it back."""
    [port] = free_ports(1)
    url = f"http://{HOST}:{port}{TWILIO_STATUS_PATH}"
    take = twilio_statuses(ReceiptInbox(notify.database, notify.clock), [SMS_API_KEY.encode()], url)
    server = HttpServer(CallbackReceiver({TWILIO_STATUS_PATH: take}).answer, HTTP_LIMITS)
    await server.start(f"{HOST}:{port}")
    base_url = f"{notify.sandbox.url}/twilio"
    gateway = TwilioGateway(base_url, ACCOUNT, SMS_API_KEY, "+15005550100", url)
    await notify.contact()
    await notify.bind()
    notify.deliveries = notify.sender({Channel.SMS: gateway})
    notify.receipts = Receipts(notify.database, notify.clock, {gateway.name: gateway})
    # No service is to keep its clock from moving.
    notify.sandbox.environment["SANDBOX_EXPECTED_SERVICES"] = ","
    await notify.sandbox.kill_and_restart()
    yield gateway
    await gateway.close()
    await server.stop(1.0)


@pytest.mark.usefixtures("twilio")
async def test_a_message_is_delivered_once_a_status_callback_says_so(notify: Notify) -> None:
    await notify.receive(order_skipped())
    await notify.deliver()
    [accepted] = (await notify.notices())[-1].deliveries
    await advance(notify.sandbox, 60)

    assert (accepted.state, accepted.gateway_message[:2]) == (Delivery.ACCEPTED, "SM")
    [delivered] = (await notify.notices())[-1].deliveries
    assert delivered.state == Delivery.DELIVERED


@pytest.mark.usefixtures("twilio")
async def test_a_message_that_does_not_arrive_fails_with_twilios_code(notify: Notify) -> None:
    await notify.replace_phone(UNDELIVERABLE_PHONE)
    await notify.receive(order_skipped())
    await notify.deliver()
    await advance(notify.sandbox, 60)

    [failed] = (await notify.notices())[-1].deliveries
    assert (failed.state, failed.failure_code) == (Delivery.FAILED, "30003")


@pytest.mark.usefixtures("twilio")
async def test_a_number_that_is_none_fails_at_once(notify: Notify) -> None:
    await notify.replace_phone(INVALID_PHONE)
    await notify.receive(order_skipped())
    await notify.deliver()

    [failed] = (await notify.notices())[-1].deliveries
    assert (failed.state, failed.failure_code) == (Delivery.FAILED, "21211")


@pytest.mark.usefixtures("twilio")
async def test_a_message_whose_answer_was_lost_is_found_and_not_sent_again(notify: Notify) -> None:
    await notify.replace_phone(LOST_ANSWER_PHONE)
    await notify.receive(order_skipped())
    await notify.deliver()
    [lost] = (await notify.notices())[-1].deliveries
    notify.clock.move(timedelta(minutes=1))
    await notify.deliver()

    assert (lost.state, lost.failure_code) == (Delivery.PENDING, "UNREACHABLE")
    [accepted] = (await notify.notices())[-1].deliveries
    assert (accepted.state, accepted.attempt_count) == (Delivery.ACCEPTED, 2)
    await advance(notify.sandbox, 60)
    assert len(await notify.inbox(LOST_ANSWER_PHONE)) == 1


@pytest.mark.usefixtures("twilio")
async def test_an_outage_of_twilio_delays_a_message_and_does_not_double_it(notify: Notify) -> None:
    before = len(await notify.inbox(PHONE))
    await notify.outage("sms", on=True)
    await notify.receive(order_skipped())
    await notify.deliver()
    await notify.outage("sms", on=False)
    notify.clock.move(timedelta(minutes=1))
    await notify.deliver()
    await advance(notify.sandbox, 60)

    assert len(await notify.inbox(PHONE)) == before + 1


@pytest.mark.usefixtures("twilio")
async def test_a_status_callback_that_fails_does_not_come_again(notify: Notify) -> None:
    [port] = free_ports(1)
    url, nobody = f"{notify.sandbox.url}/twilio", f"http://{HOST}:{port}{TWILIO_STATUS_PATH}"
    gateway = TwilioGateway(url, ACCOUNT, SMS_API_KEY, "+15005550100", nobody)
    notify.deliveries = notify.sender({Channel.SMS: gateway})
    await notify.receive(order_skipped())
    await notify.deliver()
    await gateway.close()
    await advance(notify.sandbox, 24 * 3600)

    callbacks = (await notify.sandbox.ask("GET", "/twilio/webhooks")).body["data"]
    assert [(callback["type"], callback["tries"]) for callback in callbacks[:2]] == [
        ("sms.delivered", 1),
        ("sms.sent", 1),
    ]
