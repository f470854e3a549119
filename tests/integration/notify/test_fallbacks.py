"""A notice that its channel does not bring goes through another one, once that is needed."""

from datetime import timedelta

from recurring.notify.v1 import events_pb2, notify_pb2

from tests.integration.notify.suite import UNDELIVERABLE_PHONE, Notify, order_skipped

Delivery = notify_pb2.Notice.Delivery
SILENT = "+15005550008"
MAIL = "ann@example.com"


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


async def test_a_notice_that_no_channel_brings_fails_once(notify: Notify) -> None:
    await notify.contact()
    await notify.bind_unreachable(UNDELIVERABLE_PHONE)
    await notify.receive(order_skipped())
    await notify.deliver()

    assert len((await notify.notices())[-1].deliveries) == 1
    assert len(await notify.published(events_pb2.NoticeFailed)) == 1
