"""Two SMS gateways: what the first does not take goes by the second, and nothing goes by both."""

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from recurring.notify.v1 import notify_pb2

from services.notify.clients.sms import SmsGateway
from services.notify.domain.circuit import FAILURES_MAX
from services.notify.domain.notices import Channel
from services.notify.workers import Deliveries
from tests.integration.notify.suite import (
    LOST_ANSWER_PHONE,
    PHONE,
    Notify,
    order_skipped,
)
from tests.integration.sandbox.process import SMS_API_KEY, Sandbox

Delivery = notify_pb2.Notice.Delivery
BOB = "merchants/acme/customers/bob"
BOBS_PHONE = "+491701234999"
# Nobody listens there.
AWAY = "http://127.0.0.1:9/sms"


@pytest.fixture
async def second(tmp_path: Path) -> AsyncIterator[Sandbox]:
    """Another outside world, with phones of its own."""
    async with aiohttp.ClientSession() as http:
        process = Sandbox(tmp_path / "second.sqlite3", http)
        await process.start()
        yield process
        await process.close()


async def bound(notify: Notify, phone: str = PHONE) -> None:
    """Ann has a phone, and is about to be notified that an order is skipped."""
    await notify.contact()
    await notify.bind()
    await notify.replace_phone(phone)
    await notify.receive(order_skipped(), event_key="skipped")


def send_by_two(notify: Notify, second: Sandbox, url: str = "", key: str = SMS_API_KEY) -> None:
    """Send by the first gateway, as it is reached, or by the second."""
    notify.deliveries = Deliveries(
        notify.database,
        notify.clock,
        {Channel.SMS: SmsGateway(url or f"{notify.sandbox.url}/sms", key, "Recurring")},
        notify.documents,
        sms_fallback=SmsGateway(f"{second.url}/sms", SMS_API_KEY, "Recurring", name="second"),
    )


async def texts(sandbox: Sandbox, phone: str = PHONE) -> list[str]:
    answer = await sandbox.ask("GET", "/sms/v1/messages", query={"to": phone})
    return [message["body"] for message in answer.body["data"]]


async def test_what_the_first_refuses_for_reasons_of_its_own_goes_by_the_second_at_once(
    notify: Notify, second: Sandbox
) -> None:
    await bound(notify)
    send_by_two(notify, second, key="another")
    await notify.deliver()

    [delivery] = (await notify.notices())[-1].deliveries
    assert (delivery.state, delivery.attempt_count) == (Delivery.DELIVERED, 2)
    assert await texts(second) == [delivery.text]
    assert delivery.text not in await texts(notify.sandbox)


async def test_what_the_first_takes_does_not_go_by_the_second(
    notify: Notify, second: Sandbox
) -> None:
    await bound(notify)
    send_by_two(notify, second)
    await notify.deliver()

    [delivery] = (await notify.notices())[-1].deliveries
    assert delivery.state == Delivery.DELIVERED
    assert await texts(second) == []


async def test_what_the_first_may_have_waits_for_it(notify: Notify, second: Sandbox) -> None:
    await bound(notify, LOST_ANSWER_PHONE)
    send_by_two(notify, second)
    await notify.deliver()
    assert notify.wake_at is not None
    notify.clock.move_to(notify.wake_at)
    await notify.deliver()

    [delivery] = (await notify.notices())[-1].deliveries
    assert delivery.state == Delivery.DELIVERED
    assert await texts(notify.sandbox, LOST_ANSWER_PHONE) == [delivery.text]
    assert await texts(second, LOST_ANSWER_PHONE) == []


async def test_what_is_new_while_the_first_is_away_goes_by_the_second(
    notify: Notify, second: Sandbox
) -> None:
    await bound(notify)
    send_by_two(notify, second, AWAY)
    for _ in range(FAILURES_MAX):
        await requeue(notify)
        await notify.deliver()
    assert await texts(second) == []
    await notify.contact(BOB)
    await notify.replace_phone(BOBS_PHONE, BOB)
    await notify.receive(order_skipped(BOB), event_key="new")
    await notify.deliver()

    [waiting] = (await notify.notices())[-1].deliveries
    [new] = (await notify.notices(BOB))[-1].deliveries
    assert (waiting.state, new.state) == (Delivery.PENDING, Delivery.DELIVERED)
    assert await texts(second, BOBS_PHONE) == [new.text]
    assert await texts(second) == []


async def requeue(notify: Notify) -> None:
    """What waits is due now, so that one message fails as often as many do."""
    async with notify.database.begin() as tx:
        now = notify.clock.now()
        await tx.execute(
            "UPDATE deliveries SET next_attempt_time = $1 WHERE state = 'PENDING'", now
        )
