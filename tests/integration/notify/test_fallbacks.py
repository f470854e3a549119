"""A notice that its channel does not bring goes through another one, once that is needed."""

from datetime import timedelta
from typing import Any

import pytest
from recurring.notify.v1 import events_pb2, notify_pb2

from services.notify.clients.gateway import Message
from services.notify.domain.notices import Attempt, Channel, Verdict
from tests.integration.notify.suite import UNDELIVERABLE_PHONE, Notify, order_skipped

Delivery = notify_pb2.Notice.Delivery
SILENT = "+15005550008"
MAIL = "ann@example.com"
HOUR = timedelta(hours=1)


async def test_a_notice_goes_by_mail_once_the_phone_does_not_take_it(notify: Notify) -> None:
    await notify.contact(email=MAIL)
    await notify.bind_unreachable(UNDELIVERABLE_PHONE)
    before = len(await notify.mailbox(MAIL))
    await notify.receive(order_skipped())
    planned = [delivery.channel for delivery in (await notify.notices())[-1].deliveries]
    await notify.deliver()

    assert planned == [notify_pb2.SMS]
    states = {d.channel: d.state for d in (await notify.notices())[-1].deliveries}
    assert states == {notify_pb2.SMS: Delivery.FAILED, notify_pb2.EMAIL: Delivery.DELIVERED}
    assert len(await notify.mailbox(MAIL)) == before + 1
    skipped = [
        event
        for event in await notify.published(events_pb2.NoticeDelivered)
        if event.kind == notify_pb2.ORDER_SKIPPED
    ]
    assert len(skipped) == 1
    assert await notify.published(events_pb2.NoticeFailed) == []


async def test_a_notice_goes_by_mail_once_nobody_says_that_it_arrived(notify: Notify) -> None:
    await notify.contact(email=MAIL)
    await notify.bind_unreachable(SILENT)
    await notify.receive(order_skipped())
    await notify.deliver()
    waiting = len((await notify.notices())[-1].deliveries)
    notify.clock.move(timedelta(hours=25))
    await notify.poll()
    await notify.deliver()

    assert waiting == 1
    states = {d.channel: d.state for d in (await notify.notices())[-1].deliveries}
    assert states == {notify_pb2.SMS: Delivery.EXPIRED, notify_pb2.EMAIL: Delivery.DELIVERED}


@pytest.mark.parametrize(
    ("settings", "contact"),
    [
        (notify_pb2.NotifySettings(proved_email_only=True), {"email": MAIL}),
        (notify_pb2.NotifySettings(), {"email": MAIL, "preferences": {"email_muted": True}}),
        (notify_pb2.NotifySettings(), {}),
    ],
    ids=["an address that is not proved", "mail that is muted", "no address"],
)
async def test_what_would_bring_nothing_does_not_stand_in(
    notify: Notify, settings: notify_pb2.NotifySettings, contact: dict[str, Any]
) -> None:
    settings.name = "merchants/acme/notifySettings"
    request = notify_pb2.UpdateNotifySettingsRequest(notify_settings=settings)
    await notify.call("UpdateNotifySettings", request)
    await notify.contact(**contact)
    await notify.bind_unreachable(UNDELIVERABLE_PHONE)
    await notify.receive(order_skipped())
    await notify.deliver()

    assert [d.channel for d in (await notify.notices())[-1].deliveries] == [notify_pb2.SMS]
    assert len(await notify.published(events_pb2.NoticeFailed)) == 1


class _RefusingMail:
    """A mail server that knows no mailbox."""

    async def send(self, _message: Message) -> Attempt:
        return Attempt(Verdict.PERMANENT, "550")


async def test_a_phone_that_is_not_proved_any_more_does_not_stand_in(notify: Notify) -> None:
    await notify.contact(email=MAIL)
    await notify.bind()
    async with notify.database.begin() as tx:
        await tx.execute(
            "UPDATE contacts SET phone_lapse_time = $1, phone_lapse_reason = 'NUMBER_UNASSIGNED'",
            notify.clock.now(),
        )
    notify.deliveries = notify.sender({Channel.EMAIL: _RefusingMail()})
    await notify.receive(order_skipped())
    await notify.deliver()

    skipped = (await notify.notices())[-1]
    assert [d.channel for d in skipped.deliveries] == [notify_pb2.EMAIL]
    assert len(await notify.published(events_pb2.NoticeFailed)) == 1


async def test_a_phone_that_stands_in_is_left_alone_in_the_night(notify: Notify) -> None:
    # It is three in the morning there.
    await notify.contact(email=MAIL, time_zone="America/New_York")
    await notify.bind()
    await _rest(notify, HOUR)
    await notify.receive(order_skipped())
    notify.clock.move(HOUR)
    notify.deliveries = notify.sender({Channel.EMAIL: _RefusingMail()})
    await notify.deliver()

    skipped = (await notify.notices())[-1]
    states = {d.channel: (d.state, d.failure_code) for d in skipped.deliveries}
    assert states[notify_pb2.EMAIL] == (Delivery.FAILED, "550")
    assert states[notify_pb2.SMS] == (Delivery.PENDING, "QUIET_HOURS")


async def _rest(notify: Notify, pause: timedelta) -> None:
    """The phone did not take the last messages, and is left alone for now."""
    async with notify.database.begin() as tx:
        await tx.execute("UPDATE contacts SET sms_retry_time = $1", notify.clock.now() + pause)


async def test_a_notice_that_no_channel_brings_fails_once(notify: Notify) -> None:
    await notify.contact()
    await notify.bind_unreachable(UNDELIVERABLE_PHONE)
    await notify.receive(order_skipped())
    await notify.deliver()

    assert len((await notify.notices())[-1].deliveries) == 1
    assert len(await notify.published(events_pb2.NoticeFailed)) == 1
