"""Notices that a shop has sent once more, and why it may not."""

from datetime import timedelta
from typing import Any

import pytest
from google.protobuf import field_mask_pb2
from recurring.notify.v1 import notify_pb2

from services.runtime.rpc.conversions import to_timestamp
from tests.contract.scheduler.shop import Shop, daily
from tests.suite import new_id, refused

# Longer than between two copies.
PAUSE = timedelta(minutes=11)
NIGHT_HOUR = 2


def request(notice: notify_pb2.Notice, **fields: Any) -> notify_pb2.ResendNoticeRequest:  # noqa: ANN401
    return notify_pb2.ResendNoticeRequest(name=notice.name, request_id=new_id(), **fields)


async def why(shop: Shop, notice: notify_pb2.Notice, **fields: Any) -> str:  # noqa: ANN401
    """Why a notice is not sent once more."""
    return (await refused(shop.client.notify.ResendNotice(request(notice, **fields)))).reason


async def notices(shop: Shop, kind: notify_pb2.NoticeKind.ValueType) -> list[notify_pb2.Notice]:
    listed = notify_pb2.ListNoticesRequest(parent=shop.customer("ada"), kind=kind)
    return list((await shop.client.notify.ListNotices(listed)).notices)


async def where_it_is_night(shop: Shop) -> str:
    """A time zone in which it is two in the morning. The sign of these names is reversed."""
    west = ((await shop.now()).hour - NIGHT_HOUR + 12) % 24 - 12
    return f"Etc/GMT{west:+}" if west else "Etc/GMT"


async def put(shop: Shop, **fields: Any) -> None:  # noqa: ANN401
    contact = notify_pb2.Contact(name=f"{shop.customer('ada')}/contact", **fields)
    update = notify_pb2.UpdateContactRequest(contact=contact, request_id=new_id())
    await shop.client.notify.UpdateContact(update)


async def test_a_notice_is_sent_once_more_in_the_words_that_it_had(shop: Shop) -> None:
    await shop.create(daily(await shop.today() + timedelta(days=9)))
    await shop.suite.sandbox.settle()
    [notice] = await notices(shop, notify_pb2.STANDING_ORDER_CHANGED)
    assert await why(shop, notice) == "RESENDS_TOO_MANY"
    await shop.suite.advance(PAUSE)
    copy = await shop.client.notify.ResendNotice(request(notice))
    await shop.suite.sandbox.settle()

    assert copy.original_notice == notice.name
    assert (await shop.texts())[-2:] == [notice.deliveries[0].text] * 2


async def test_what_is_under_way_or_untrue_is_not_sent_once_more(shop: Shop) -> None:
    made = await shop.create(daily(await shop.today() + timedelta(days=9)))
    await shop.suite.sandbox.settle()
    [created] = await notices(shop, notify_pb2.STANDING_ORDER_CHANGED)
    await shop.suite.advance(PAUSE)
    await put(shop, time_zone=await where_it_is_night(shop))
    await shop.client.notify.ResendNotice(request(created))

    assert await why(shop, created) == "NOTICE_UNDER_WAY"
    await shop.pause(made.name)
    await shop.suite.sandbox.settle()
    assert await why(shop, created) == "NOTICE_UNTRUE"


async def test_a_code_and_what_reaches_nobody_are_not_sent_once_more(shop: Shop) -> None:
    await shop.create(daily(await shop.today() + timedelta(days=9)))
    await shop.suite.sandbox.settle()
    [code, *_] = await notices(shop, notify_pb2.PHONE_CODE)
    [notice] = await notices(shop, notify_pb2.STANDING_ORDER_CHANGED)
    assert await why(shop, code) == "NOTICE_NOT_RESENDABLE"
    await put(shop, preferences=notify_pb2.Contact.Preferences(email_muted=True))
    assert await why(shop, notice, channel=notify_pb2.EMAIL) == "CHANNEL_UNAVAILABLE"
    erasure = notify_pb2.EraseCustomerRequest(name=shop.customer("ada"), request_id=new_id())
    await shop.client.notify.EraseCustomer(erasure)
    assert await why(shop, notice) == "CONTACT_NOT_FOUND"


async def redrive(shop: Shop, **fields: Any) -> notify_pb2.RedriveNoticesResponse:  # noqa: ANN401
    made: notify_pb2.RedriveNoticesResponse = await shop.client.notify.RedriveNotices(
        notify_pb2.RedriveNoticesRequest(
            parent=shop.name,
            request_id=new_id(),
            **{"start_time": to_timestamp(await shop.now() - PAUSE), **fields},
        )
    )
    return made


async def test_what_was_given_up_is_gone_through_in_pages(shop: Shop) -> None:
    names = [(await shop.create(daily(await shop.today() + timedelta(days=9)))).name for _ in "ab"]
    await shop.suite.sandbox.settle()
    without_email = notify_pb2.UpdateContactRequest(
        contact=notify_pb2.Contact(name=f"{shop.customer('ada')}/contact"),
        update_mask=field_mask_pb2.FieldMask(paths=["email"]),
        request_id=new_id(),
    )
    await shop.client.notify.UpdateContact(without_email)
    await shop.client.notify.UnbindPhone(
        notify_pb2.UnbindPhoneRequest(name=f"{shop.customer('ada')}/contact", request_id=new_id())
    )
    for name in names:
        await shop.pause(name)
    await shop.suite.sandbox.settle()
    wanted = {"failure_code": "NO_CHANNEL", "start_time": to_timestamp(await shop.now() - PAUSE)}
    first = await redrive(shop, page_size=1, **wanted)
    last = await redrive(shop, page_size=1, page_token=first.next_page_token, **wanted)

    unavailable = notify_pb2.RedriveNoticesResponse.CHANNEL_UNAVAILABLE
    assert [[skip.reason for skip in it.skips] for it in (first, last)] == [[unavailable]] * 2
    assert not last.next_page_token


@pytest.mark.parametrize(
    ("field", "days"), [("start_time", -31), ("end_time", -1)], ids=["too long ago", "no time"]
)
async def test_a_redrive_is_of_the_last_days(shop: Shop, field: str, days: int) -> None:
    moment = to_timestamp(await shop.now() + timedelta(days=days))
    assert list((await refused(redrive(shop, **{field: moment}))).fields) == [field]
