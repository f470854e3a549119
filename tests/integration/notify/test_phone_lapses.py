"""A phone that may be another's by now has to be proved again."""

from datetime import timedelta

import pytest
from recurring.notify.v1 import events_pb2, notify_pb2

from tests.integration.notify.suite import (
    ANN,
    INVALID_PHONE,
    PHONE,
    Notify,
    order_skipped,
    order_upcoming,
)

DAY = timedelta(days=1)
OTHER = "+491709999999"


async def reason(notify: Notify) -> notify_pb2.UnbindReason.ValueType:
    """Why her phone is not proved any more."""
    request = notify_pb2.BatchCheckContactsRequest(customers=[ANN])
    [checked] = (await notify.call("BatchCheckContacts", request, merchant="*")).results
    contact = await notify.call("GetContact", notify_pb2.GetContactRequest(name=f"{ANN}/contact"))
    found: notify_pb2.UnbindReason.ValueType = checked.phone_lapse_reason
    assert checked.phone_bound == (found == notify_pb2.UNBIND_REASON_UNSPECIFIED)
    assert contact.phone_lapse_reason == found
    assert contact.HasField("phone_lapse_time") != checked.phone_bound
    return found


async def after(notify: Notify, days: int) -> notify_pb2.UnbindReason.ValueType:
    notify.clock.move(days * DAY)
    await notify.lapse_silent_phones()
    return await reason(notify)


@pytest.fixture
async def ann(notify: Notify) -> Notify:
    await notify.contact(email="ann@example.com")
    await notify.bind()
    return notify


async def test_a_phone_is_proved_until_it_has_been_silent_for_long(ann: Notify) -> None:
    assert not await after(ann, 399)
    assert await after(ann, 1) == notify_pb2.PHONE_SILENT
    [unbound] = await ann.published(events_pb2.ContactUnbound)
    assert (unbound.customer, unbound.reason) == (ANN, notify_pb2.PHONE_SILENT)


async def test_a_message_that_arrives_puts_it_off(ann: Notify) -> None:
    assert not await after(ann, 300)
    await ann.receive(order_skipped())
    await ann.deliver()
    assert not await after(ann, 399)
    assert await after(ann, 1) == notify_pb2.PHONE_SILENT


async def test_a_merchant_says_how_long_that_is(notify: Notify) -> None:
    settings = notify_pb2.NotifySettings(name="merchants/acme/notifySettings", phone_proof_days=30)
    request = notify_pb2.UpdateNotifySettingsRequest(notify_settings=settings)
    await notify.call("UpdateNotifySettings", request)
    await notify.contact()
    await notify.bind()
    assert not await after(notify, 29)
    assert await after(notify, 1) == notify_pb2.PHONE_SILENT


async def test_a_number_that_nobody_has_is_not_proved_any_more(notify: Notify) -> None:
    await notify.contact()
    await notify.bind_unreachable(INVALID_PHONE)
    await notify.receive(order_skipped(), event_key="a")
    await notify.deliver()
    assert await reason(notify) == notify_pb2.NUMBER_UNASSIGNED
    await notify.receive(order_upcoming(), event_key="b")
    [failed] = await notify.published(events_pb2.ChargeNoticeFailed)
    assert failed.failure_code == "NO_CHANNEL"


async def test_what_waits_for_a_phone_that_lapses_is_not_sent_to_it(ann: Notify) -> None:
    known = len(await ann.inbox())
    await ann.outage("sms", on=True)
    ann.clock.move(399 * DAY + timedelta(hours=12))
    await ann.receive(order_skipped())
    await ann.deliver()
    ann.clock.move(timedelta(hours=12))
    await ann.lapse_silent_phones()
    await ann.outage("sms", on=False)
    await ann.deliver()
    assert len(await ann.inbox()) == known


async def test_the_customer_is_notified_by_mail_alone(ann: Notify) -> None:
    known = len(await ann.inbox())
    await after(ann, 400)
    await ann.deliver()
    [mail] = await ann.mailbox("ann@example.com")
    assert mail["subject"] == "Please confirm your phone"
    assert "+49********67" in mail["text"]
    assert len(await ann.inbox()) == known


@pytest.mark.parametrize("phone", [PHONE, OTHER])
async def test_a_phone_is_bound_at_once_when_the_one_before_has_lapsed(
    ann: Notify, phone: str
) -> None:
    await after(ann, 400)
    contact = await ann.bind(phone)
    assert (contact.masked_phone[-2:], contact.pending_masked_phone) == (phone[-2:], "")
    assert not await after(ann, 399)
    await ann.deliver()
    assert not any("now go to" in text for text in await ann.inbox())


async def test_nobody_is_left_to_object_once_the_bound_phone_has_lapsed(ann: Notify) -> None:
    ann.clock.move(399 * DAY)
    assert (await ann.bind(OTHER)).pending_masked_phone
    await after(ann, 1)
    await ann.change_phones()
    contact = await ann.call("GetContact", notify_pb2.GetContactRequest(name=f"{ANN}/contact"))
    assert contact.masked_phone.endswith("99")
