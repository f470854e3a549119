"""What a preview says of a notice is what is made."""

import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recurring.scheduler.v1 import events_pb2

from services.notify.application.notices import Draft, notice_of_draft
from services.notify.domain.fallbacks import next_channel
from services.notify.domain.notices import (
    EMAIL_ONLY,
    BillingMode,
    Channel,
    Contact,
    CustomerId,
    CustomerKey,
    MerchantId,
    NoticeId,
    NoticeKey,
    NoticeKind,
    Progress,
    Promise,
    new_contact,
)
from services.notify.domain.planning import (
    ChannelPlan,
    Circumstances,
    Reason,
    Use,
    contact_by,
    plan_of,
    planned_sends,
    stand_in_send,
)
from services.notify.domain.quiet_hours import deadline
from services.notify.domain.settings import NotifySettings
from services.notify.domain.templates.examples import EXAMPLES
from services.notify.domain.transitions import DeliveryState
from services.runtime.messaging.events import Event

KEY = CustomerKey(MerchantId("acme"), CustomerId("ann"))
SETTINGS = NotifySettings(KEY.merchant)
TOKYO = "Asia/Tokyo"
NIGHT = datetime(2026, 1, 28, 15, 0, tzinfo=UTC)  # Midnight in Tokyo.
MORNING = datetime(2026, 1, 28, 23, 0, tzinfo=UTC)
LEAD = timedelta(hours=24)
OWN_WAY = {
    NoticeKind.PHONE_CODE, NoticeKind.PHONE_CHANGED, NoticeKind.PHONE_CHANGE_PENDING,
    NoticeKind.PHONE_LAPSED, NoticeKind.EMAIL_LINK, NoticeKind.REPLY,
}  # fmt: skip

times = st.timedeltas(timedelta(), timedelta(3)).map(lambda after: NIGHT + after)
kinds = st.sampled_from([kind for kind in NoticeKind if kind not in OWN_WAY])
promises = times.map(lambda time: Promise(1250, "EUR", time, LEAD, BillingMode.AUTOMATIC))
contacts = st.builds(
    new_contact(KEY, NIGHT)._replace,
    phone=st.sampled_from(["", "+491701234567"]),
    email=st.sampled_from(["", "ann@example.com"]),
    time_zone=st.sampled_from(["", TOKYO]),
    phone_lapse_time=st.none() | st.just(NIGHT),
    sms_retry_time=st.none() | times,
    email_bind_time=st.none() | st.just(NIGHT),
    sms_stop_time=st.none() | st.just(NIGHT),
    sms_receipts_muted=st.booleans(),
    email_muted=st.booleans(),
    summaries_muted=st.booleans(),
)


@given(
    kind=kinds,
    contact=st.none() | contacts,
    now=times,
    promise=st.none() | promises,
    expire_time=st.none() | times,
    waiting=st.dictionaries(st.sampled_from(Channel), times),
    settings=st.builds(
        NotifySettings,
        st.just(KEY.merchant),
        proved_email_only=st.booleans(),
        time_zone=st.sampled_from(["", TOKYO]),
    ),
)
def test_a_preview_says_what_is_made(
    *,
    kind: NoticeKind,
    contact: Contact | None,
    now: datetime,
    promise: Promise | None,
    expire_time: datetime | None,
    waiting: dict[Channel, datetime],
    settings: NotifySettings,
) -> None:
    until = deadline(promise, expire_time)
    plan = plan_of(kind, Circumstances(contact, waiting, until, now), settings)
    reached = contact and contact_by(contact, settings)
    facts = EXAMPLES[kind]
    draft = Draft("", "", facts, promise, expire_time=expire_time)
    event = Event(uuid.uuid4(), "acme", "x", now, "", events_pb2.OrderSkipped())
    queued = {(KEY, channel): time for channel, time in waiting.items()}
    made = notice_of_draft(
        event, draft, NoticeKey(*KEY, NoticeId("n")), facts, reached, queued, now
    )

    starts = [it for it in plan.channels if it.use in {Use.MAIN, Use.COPY}]
    pending = [it for it in made.deliveries if it.state is DeliveryState.PENDING]
    assert [(it.channel, it.use is Use.MAIN, it.send_time) for it in starts] == [
        (it.channel, it.main, it.next_attempt_time) for it in pending
    ]
    failed = [it.failure_code for it in made.deliveries if it.state is DeliveryState.FAILED]
    assert failed == ([plan.failure_code] if plan.failure_code else [])
    assert {it.channel for it in plan.channels} == set(Channel)
    for main in pending[:1]:
        ended = Progress(DeliveryState.FAILED, 1, now)
        after = next_channel(made, main, ended, now)
        assert {it.channel for it in plan.channels if it.use is Use.FALL_BACK} <= {after}


@given(kind=kinds, now=times, promise=promises)
def test_the_other_channel_takes_over_from_when_the_preview_says(
    kind: NoticeKind, now: datetime, promise: Promise
) -> None:
    until = deadline(promise, None)
    contact = REACHED._replace(email_muted=False)
    plan = plan_of(kind, Circumstances(contact, {}, until, now), SETTINGS)
    draft, facts = Draft("", "", EXAMPLES[kind], promise), EXAMPLES[kind]
    event = Event(uuid.uuid4(), "acme", "x", now, "", events_pb2.OrderSkipped())
    made = notice_of_draft(event, draft, NoticeKey(*KEY, NoticeId("n")), facts, contact, {}, now)

    for stand_in in (it for it in plan.channels if it.fall_back_time is not None):
        late = stand_in.fall_back_time
        assert late is not None
        in_time = Progress(DeliveryState.PENDING, 1, late)
        too_late = Progress(DeliveryState.PENDING, 1, late + timedelta(seconds=1))
        assert next_channel(made, made.deliveries[0], in_time, now) is None
        assert next_channel(made, made.deliveries[0], too_late, now) is stand_in.channel


@given(
    kind=kinds,
    channel=st.sampled_from(Channel),
    contact=st.none() | contacts,
    now=times,
    until=st.none() | times,
)
def test_a_channel_stands_in_where_it_brings_something_and_at_a_decent_hour(
    kind: NoticeKind,
    channel: Channel,
    contact: Contact | None,
    now: datetime,
    until: datetime | None,
) -> None:
    send = stand_in_send(kind, channel, Circumstances(contact, {}, until, now))
    only = contact and contact._replace(
        phone=contact.phone if channel is Channel.SMS else "",
        email=contact.email if channel is Channel.EMAIL else "",
    )
    alone = planned_sends(kind, Circumstances(only, {}, until, now))

    # As if it were the only one that the customer has.
    if kind not in EMAIL_ONLY:
        assert (send is not None) == bool(alone)
    if send is not None:
        assert not send.main
        assert now <= send.attempt_time
        assert until is None or send.attempt_time <= max(until, now)
        assert kind in EMAIL_ONLY or send.attempt_time == alone[0].attempt_time


REACHED = new_contact(KEY, NIGHT)._replace(
    phone="+491701234567", email="ann@example.com", time_zone=TOKYO
)
RECEIPT, UPCOMING, SKIPPED = NoticeKind.RECEIPT, NoticeKind.ORDER_UPCOMING, NoticeKind.ORDER_SKIPPED


@pytest.mark.parametrize(
    ("kind", "changed", "until", "sms", "email"),
    [
        (RECEIPT, {}, None, "MAIN QUIET_HOURS", "COPY AT_ONCE"),
        (RECEIPT, {"time_zone": ""}, None, "MAIN TIME_ZONE_UNKNOWN", "COPY AT_ONCE"),
        (RECEIPT, {"sms_receipts_muted": True}, None, "UNUSED MUTED", "MAIN AT_ONCE"),
        (RECEIPT, {"email_muted": True}, None, "MAIN QUIET_HOURS", "UNUSED MUTED"),
        (RECEIPT, {"phone_lapse_time": NIGHT}, None, "UNUSED PHONE_LAPSED", "MAIN AT_ONCE"),
        (RECEIPT, {"sms_stop_time": NIGHT}, None, "UNUSED MUTED", "MAIN AT_ONCE"),
        (UPCOMING, {"sms_stop_time": NIGHT}, MORNING, "UNUSED MUTED", "MAIN AT_ONCE"),
        (RECEIPT, {"phone": ""}, None, "UNUSED NO_ADDRESS", "MAIN AT_ONCE"),
        (RECEIPT, {"phone": "", "email_muted": True}, None, "UNUSED NO_ADDRESS", "UNUSED MUTED"),
        (UPCOMING, {}, MORNING, "MAIN QUIET_HOURS", "COPY AT_ONCE"),
        (UPCOMING, {}, NIGHT + LEAD / 4, "MAIN DEADLINE", "COPY AT_ONCE"),
        (
            UPCOMING,
            {"email_muted": True},
            MORNING,
            "MAIN QUIET_HOURS",
            "FALL_BACK MAIN_CHANNEL_LATE",
        ),
        (SKIPPED, {}, None, "MAIN QUIET_HOURS", "FALL_BACK MAIN_CHANNEL_FAILED"),
        (
            SKIPPED,
            {"sms_retry_time": MORNING},
            None,
            "UNUSED PHONE_UNREACHABLE",
            "MAIN AT_ONCE",
        ),
        (NoticeKind.PRICE_CHANGE, {}, None, "MAIN MANDATORY", "COPY AT_ONCE"),
        (NoticeKind.DOCUMENT_ISSUED, {}, None, "UNUSED NOT_BY_SMS", "MAIN AT_ONCE"),
    ],
)
def test_a_preview_says_why(
    kind: NoticeKind, changed: dict[str, object], until: datetime | None, sms: str, email: str
) -> None:
    contact = REACHED._replace(**changed)  # type: ignore[arg-type]
    plan = plan_of(kind, Circumstances(contact, {}, until, NIGHT), SETTINGS)

    shown = {it.channel: f"{it.use} {it.reason}" for it in plan.channels}
    assert shown == {Channel.SMS: sms, Channel.EMAIL: email}


def test_an_address_that_has_to_be_proved_is_not_used_before() -> None:
    circumstances = Circumstances(REACHED._replace(phone=""), {}, None, NIGHT)
    plan = plan_of(RECEIPT, circumstances, replace(SETTINGS, proved_email_only=True))

    assert plan.channels[1] == ChannelPlan(Channel.EMAIL, Use.UNUSED, Reason.EMAIL_NOT_PROVED)
    assert plan.failure_code == "NO_CHANNEL"
