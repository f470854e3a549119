"""Previews of notices: what would go, when and why, and then it does."""

from datetime import UTC, datetime

import pytest
from recurring.notify.v1 import notify_pb2

from services.runtime.errors import Problem
from services.runtime.rpc.conversions import to_timestamp
from tests.integration.notify.suite import (
    ANN,
    DUE,
    LEAD,
    Notify,
    order_confirmed,
    order_skipped,
    order_upcoming,
)

Plan = notify_pb2.ChannelPlan
MAIL = "ann@example.com"
NIGHT_ZONE = "America/New_York"  # Where it is three in the morning.
MESSAGES = {
    notify_pb2.RECEIPT: order_confirmed,
    notify_pb2.ORDER_SKIPPED: order_skipped,
    notify_pb2.ORDER_UPCOMING: order_upcoming,
}


def preview_request(
    kind: notify_pb2.NoticeKind.ValueType, make_time: datetime | None = None
) -> notify_pb2.PreviewNoticesRequest:
    request = notify_pb2.PreviewNoticesRequest(parent=ANN, kind=kind)
    if make_time is not None:
        request.make_time.CopyFrom(to_timestamp(make_time))
    if kind == notify_pb2.ORDER_UPCOMING:
        request.charge_not_before_time.CopyFrom(to_timestamp(DUE))
        request.notice_lead.FromTimedelta(LEAD)
    return request


async def preview(
    notify: Notify, kind: notify_pb2.NoticeKind.ValueType, make_time: datetime | None = None
) -> notify_pb2.PreviewNoticesResponse:
    answer: notify_pb2.PreviewNoticesResponse = await notify.call(
        "PreviewNotices", preview_request(kind, make_time)
    )
    return answer


async def planned(notify: Notify) -> dict[str, tuple[bool, datetime]]:
    """The channels of the notice of an order: whether it is the main one, and when it goes."""
    async with notify.database.read() as connection:
        rows = await connection.fetch("""
            SELECT channel, main, next_attempt_time FROM deliveries
            JOIN notices USING (customer, merchant, notice)
            WHERE subject_resource LIKE '%/orders/%'
        """)
        return {row["channel"]: (row["main"], row["next_attempt_time"]) for row in rows}


@pytest.mark.parametrize("kind", MESSAGES, ids=notify_pb2.NoticeKind.Name)
@pytest.mark.parametrize(
    ("settings", "time_zone"),
    [
        (notify_pb2.NotifySettings(), NIGHT_ZONE),
        (notify_pb2.NotifySettings(time_zone=NIGHT_ZONE), ""),
        (notify_pb2.NotifySettings(time_zone=NIGHT_ZONE), "Europe/Berlin"),
        (notify_pb2.NotifySettings(proved_email_only=True), ""),
    ],
    ids=["night", "night by the settings", "day by the contact", "an address that is not proved"],
)
async def test_a_notice_goes_as_its_preview_says(
    notify: Notify,
    kind: notify_pb2.NoticeKind.ValueType,
    settings: notify_pb2.NotifySettings,
    time_zone: str,
) -> None:
    settings.name = "merchants/acme/notifySettings"
    await notify.call(
        "UpdateNotifySettings", notify_pb2.UpdateNotifySettingsRequest(notify_settings=settings)
    )
    await notify.contact(email=MAIL, time_zone=time_zone)
    await notify.bind()
    previewed = await preview(notify, kind, notify.clock.now())
    await notify.receive(MESSAGES[kind]())

    starts = {
        notify_pb2.Channel.Name(plan.channel): (
            plan.use == Plan.MAIN, plan.send_time.ToDatetime(UTC),
        )
        for plan in previewed.channel_plans
        if plan.use in {Plan.MAIN, Plan.COPY}
    }  # fmt: skip
    assert starts == await planned(notify)


async def test_a_preview_counts_what_waits_to_be_tried_again(notify: Notify) -> None:
    await notify.contact()
    await notify.bind()
    await notify.outage("sms", on=True)
    await notify.receive(order_skipped())
    await notify.deliver()
    sms = (await preview(notify, notify_pb2.ORDER_SKIPPED)).channel_plans[0]

    assert (sms.channel, sms.reason) == (notify_pb2.SMS, Plan.QUEUED)
    assert sms.send_time.ToDatetime(UTC) > notify.clock.now()


async def test_a_preview_stores_nothing(notify: Notify) -> None:
    await notify.contact(email=MAIL)
    await preview(notify, notify_pb2.RECEIPT)

    assert await notify.notices() == []


async def test_an_announcement_is_previewed_when_the_scheduler_makes_it(notify: Notify) -> None:
    await notify.contact(time_zone="Europe/Berlin")
    await notify.bind()
    request = preview_request(notify_pb2.ORDER_UPCOMING)
    # Its last moment is at two in the morning.
    request.charge_not_before_time.CopyFrom(to_timestamp(datetime(2026, 2, 4, 1, tzinfo=UTC)))
    request.schedule_time_zone = "Europe/Berlin"
    answer: notify_pb2.PreviewNoticesResponse = await notify.call("PreviewNotices", request)

    evening = datetime(2026, 1, 31, 19, 45, tzinfo=UTC)
    assert answer.make_time.ToDatetime(UTC) == evening
    sms = answer.channel_plans[0]
    assert (sms.send_time.ToDatetime(UTC), sms.reason) == (evening, Plan.AT_ONCE)


async def test_nobody_reaches_a_customer_without_a_contact(notify: Notify) -> None:
    answer = await preview(notify, notify_pb2.RECEIPT)

    assert answer.failure_code == "NO_CHANNEL"
    assert {plan.reason for plan in answer.channel_plans} == {Plan.NO_ADDRESS}


async def test_the_deadline_of_a_notice_before_a_charge_is_its_lead_before_it(
    notify: Notify,
) -> None:
    answer = await preview(notify, notify_pb2.ORDER_UPCOMING)

    assert answer.deadline_time.ToDatetime(UTC) == DUE - LEAD


@pytest.mark.parametrize(
    ("kind", "given", "fields"),
    [
        (notify_pb2.ORDER_UPCOMING, [], {"charge_not_before_time", "notice_lead"}),
        (notify_pb2.PAYMENT_REQUEST, [], {"expire_time"}),
        (notify_pb2.RECEIPT, ["charge_not_before_time"], {"charge_not_before_time"}),
        (notify_pb2.RECEIPT, ["expire_time"], {"expire_time"}),
        (notify_pb2.PHONE_CODE, [], {"kind"}),
    ],
)
async def test_a_preview_has_the_times_that_its_kind_needs(
    notify: Notify,
    kind: notify_pb2.NoticeKind.ValueType,
    given: list[str],
    fields: set[str],
) -> None:
    request = notify_pb2.PreviewNoticesRequest(parent=ANN, kind=kind)
    for field in given:
        getattr(request, field).CopyFrom(to_timestamp(DUE))
    with pytest.raises(Problem) as refused:
        await notify.call("PreviewNotices", request)

    assert {violation.field for violation in refused.value.violations} == fields
