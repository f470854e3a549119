"""Notices that operators have sent once more."""

import uuid
from datetime import timedelta
from typing import Any

import pytest
from recurring.notify.v1 import events_pb2, notify_pb2

from services.notify.domain.resending import RESEND_PAUSE, RESENDS_DAY_MAX
from services.runtime.errors import Problem
from tests.integration.notify.suite import (
    ANN,
    PHONE,
    UNDELIVERABLE_PHONE,
    Notify,
    order_confirmed,
    order_skipped,
    order_upcoming,
)

Delivery = notify_pb2.Notice.Delivery
OTHER_PHONE = "+491701234568"


async def resend(notify: Notify, notice: notify_pb2.Notice, **fields: Any) -> notify_pb2.Notice:  # noqa: ANN401
    request = notify_pb2.ResendNoticeRequest(name=notice.name, **fields)
    copy: notify_pb2.Notice = await notify.call("ResendNotice", request)
    return copy


async def reason(notify: Notify, notice: notify_pb2.Notice, **fields: Any) -> str:  # noqa: ANN401
    """Why a notice is not sent once more."""
    with pytest.raises(Problem) as refused:
        await resend(notify, notice, **fields)
    return refused.value.reason


async def delivered_notice(notify: Notify) -> notify_pb2.Notice:
    """A notice that Ann got, long enough ago to be sent once more."""
    await notify.contact()
    await notify.bind()
    await notify.receive(order_skipped())
    await notify.deliver()
    notify.clock.move(RESEND_PAUSE)
    return (await notify.notices())[-1]


async def failed_notice(notify: Notify) -> notify_pb2.Notice:
    """A notice that did not arrive, and a phone that takes messages since."""
    await notify.contact()
    await notify.bind_unreachable(UNDELIVERABLE_PHONE)
    await notify.receive(order_skipped())
    await notify.deliver()
    await notify.replace_phone(OTHER_PHONE)
    return (await notify.notices())[-1]


async def test_a_copy_of_what_arrived_has_the_words_of_then(notify: Notify) -> None:
    notice = await delivered_notice(notify)
    await notify.contact(locale="de")
    copy = await resend(notify, notice)
    await notify.deliver()

    assert copy.original_notice == notice.name
    assert (await notify.inbox())[1:] == [notice.deliveries[0].text] * 2
    assert (await notify.notices())[-1].deliveries[0].state == Delivery.DELIVERED


async def test_what_failed_goes_to_the_phone_of_now(notify: Notify) -> None:
    notice = await failed_notice(notify)
    assert notice.deliveries[0].state == Delivery.FAILED
    await resend(notify, notice)
    await notify.deliver()

    assert await notify.inbox(OTHER_PHONE) == [notice.deliveries[0].text]
    states = [each.deliveries[0].state for each in (await notify.notices())[-2:]]
    assert states == [Delivery.FAILED, Delivery.DELIVERED]


async def test_a_copy_goes_by_the_other_channel_if_asked(notify: Notify) -> None:
    notice = await delivered_notice(notify)
    await notify.contact(email="ann@example.com")
    await resend(notify, notice, channel=notify_pb2.EMAIL)
    await notify.deliver()

    [mail] = await notify.mailbox("ann@example.com")
    assert "Coffee" in mail["text"]


async def test_the_same_request_makes_one_copy(notify: Notify) -> None:
    notice, request_id = await delivered_notice(notify), str(uuid.uuid4())
    first = await resend(notify, notice, request_id=request_id)
    again = await resend(notify, notice, request_id=request_id)

    assert again.name == first.name
    assert len([it for it in await notify.notices() if it.original_notice]) == 1


async def test_no_charge_depends_on_a_copy(notify: Notify) -> None:
    await notify.contact()
    await notify.bind()
    await notify.receive(order_upcoming())
    await notify.deliver()
    notify.clock.move(RESEND_PAUSE)
    await resend(notify, (await notify.notices())[-1])
    await notify.deliver()

    assert len(await notify.published(events_pb2.ChargeNoticeDelivered)) == 1
    kinds = [it.kind for it in await notify.published(events_pb2.NoticeDelivered)]
    assert kinds == [notify_pb2.PHONE_CODE, notify_pb2.ORDER_UPCOMING]


async def test_a_copy_waits_for_the_morning(notify: Notify) -> None:
    notice = await delivered_notice(notify)
    # There it is three in the morning.
    await notify.contact(time_zone="America/New_York")
    copy = await resend(notify, notice)

    assert copy.deliveries[0].failure_code == "QUIET_HOURS"
    assert await reason(notify, notice) == "NOTICE_UNDER_WAY"


async def test_a_copy_of_what_becomes_untrue_is_not_sent(notify: Notify) -> None:
    await notify.contact(time_zone="America/New_York")
    await notify.bind()
    await notify.receive(order_upcoming())
    await notify.deliver()
    notify.clock.move(RESEND_PAUSE)
    await notify.outage("sms", on=True)
    notice = (await notify.notices())[-1]
    await resend(notify, notice)
    await notify.receive(order_confirmed())
    await notify.outage("sms", on=False)
    await notify.deliver()

    copies = [it for it in await notify.notices() if it.original_notice]
    assert [it.deliveries[0].state for it in copies] == [Delivery.VOIDED]
    assert await reason(notify, notice) == "NOTICE_UNTRUE"


async def test_a_code_is_not_sent_once_more(notify: Notify) -> None:
    await delivered_notice(notify)
    [code] = [it for it in await notify.notices() if it.kind == notify_pb2.PHONE_CODE]

    assert await reason(notify, code) == "NOTICE_NOT_RESENDABLE"


async def test_nothing_of_a_customer_who_was_erased_is_sent(notify: Notify) -> None:
    notice = await delivered_notice(notify)
    await notify.call("EraseCustomer", notify_pb2.EraseCustomerRequest(name=ANN))
    assert await reason(notify, notice) == "CONTACT_NOT_FOUND"
    await notify.contact()
    await notify.replace_phone(PHONE)

    assert await reason(notify, notice) == "NOTICE_NOT_RESENDABLE"


async def test_what_the_customer_cannot_get_is_not_sent(notify: Notify) -> None:
    notice = await delivered_notice(notify)

    assert await reason(notify, notice, channel=notify_pb2.EMAIL) == "CHANNEL_UNAVAILABLE"


async def test_a_notice_is_not_sent_twice_in_a_row(notify: Notify) -> None:
    notice = await delivered_notice(notify)
    await resend(notify, notice)
    await notify.deliver()
    notify.clock.move(RESEND_PAUSE - timedelta(seconds=1))
    assert await reason(notify, notice) == "RESENDS_TOO_MANY"
    notify.clock.move(timedelta(seconds=1))

    assert (await resend(notify, notice)).original_notice == notice.name


async def test_a_copy_of_a_copy_counts_as_one_of_the_first(notify: Notify) -> None:
    first = notice = await delivered_notice(notify)
    for _ in range(RESENDS_DAY_MAX):
        notice = await resend(notify, notice)
        await notify.deliver()
        notify.clock.move(RESEND_PAUSE)
    assert await reason(notify, notice) == "RESENDS_TOO_MANY"
    notify.clock.move(timedelta(days=1))

    assert (await resend(notify, notice)).original_notice == first.name
