"""When a notice goes through another channel as well."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notify.domain.fallbacks import (
    FALL_BACK_MARGIN,
    FALL_BACK_PATIENCE,
    fall_back_time,
    next_channel,
)
from services.notify.domain.notices import (
    DELIVERY_LIFETIME,
    FAILURE_GATEWAY_AWAY,
    Attempt,
    BillingMode,
    Channel,
    CustomerId,
    Delivery,
    Evidence,
    MerchantId,
    Notice,
    NoticeId,
    NoticeKind,
    Promise,
    Verdict,
    progress,
)
from services.notify.domain.transitions import DeliveryState

NOW = datetime(2026, 1, 31, 8, 0, tzinfo=UTC)
LEAD = timedelta(hours=24)
SMS = Delivery(
    channel=Channel.SMS,
    main=True,
    state=DeliveryState.PENDING,
    subject="",
    text="Hello",
    secret_text=None,
    next_attempt_time=NOW,
    give_up_time=NOW + DELIVERY_LIFETIME,
)
TEMPORARY = Attempt(Verdict.TEMPORARY, "503")
ACCEPTED = Attempt(Verdict.ACCEPTED, gateway="generic", gateway_message="sms_1")
moments = st.timedeltas(timedelta(), timedelta(days=3))


def notice(kind: NoticeKind, deadline: datetime | None = None) -> Notice:
    """A notice of which something depends on a deadline, or nothing."""
    promise = None
    if deadline is not None:
        promise = Promise(1250, "EUR", deadline + LEAD, LEAD, BillingMode.AUTOMATIC)
    return Notice(
        MerchantId("acme"),
        CustomerId("ann"),
        NoticeId("n-1"),
        kind=kind,
        subject_resource="",
        promise=promise,
        traceparent="",
        occur_time=NOW,
        create_time=NOW,
        deliveries=(SMS,),
    )


@pytest.mark.parametrize("kind", [NoticeKind.ORDER_SKIPPED, NoticeKind.ORDER_UPCOMING])
def test_what_a_phone_does_not_take_goes_by_mail(kind: NoticeKind) -> None:
    failed = progress(SMS, Attempt(Verdict.PERMANENT, "invalid_number"), NOW)

    assert next_channel(notice(kind), SMS, failed, NOW) is Channel.EMAIL


def test_what_a_mailbox_does_not_take_goes_to_the_phone() -> None:
    mail = SMS._replace(channel=Channel.EMAIL)
    failed = progress(mail, Attempt(Verdict.PERMANENT, "550"), NOW)

    assert next_channel(notice(NoticeKind.ORDER_SKIPPED), mail, failed, NOW) is Channel.SMS


def test_a_copy_that_fails_has_the_main_channel_beside_it() -> None:
    copy = SMS._replace(channel=Channel.EMAIL, main=False)
    failed = progress(copy, Attempt(Verdict.PERMANENT, "550"), NOW)

    assert next_channel(notice(NoticeKind.ORDER_UPCOMING), copy, failed, NOW) is None


@pytest.mark.parametrize(
    "kind", [NoticeKind.PHONE_CODE, NoticeKind.PHONE_CHANGED, NoticeKind.EMAIL_LINK]
)
def test_what_is_for_one_phone_goes_nowhere_else(kind: NoticeKind) -> None:
    failed = progress(SMS, Attempt(Verdict.PERMANENT, "invalid_number"), NOW)

    assert next_channel(notice(kind), SMS, failed, NOW) is None


@given(st.integers(0, 20))
def test_what_has_no_deadline_stays_on_its_channel_while_that_is_tried(count: int) -> None:
    tried = SMS._replace(attempt_count=count)
    later = progress(tried, TEMPORARY, NOW)

    assert next_channel(notice(NoticeKind.ORDER_SKIPPED), tried, later, NOW) is None


@given(deadline=moments, attempt=st.sampled_from([TEMPORARY, ACCEPTED]))
def test_what_has_a_deadline_takes_the_next_channel_before_it_is_too_late(
    deadline: timedelta, attempt: Attempt
) -> None:
    announced = notice(NoticeKind.ORDER_UPCOMING, NOW + deadline)
    delivery, now = SMS, NOW
    while True:
        made = progress(delivery, attempt, now)
        if next_channel(announced, delivery, made, now) is not None:
            break
        delivery = delivery._replace(attempt_count=made.attempt_count)
        now = made.next_attempt_time

    # In time or, where the deadline is near from the start, once the channel had its minutes.
    assert now <= max(NOW + deadline - FALL_BACK_MARGIN, NOW + FALL_BACK_PATIENCE)


@given(until=moments)
def test_the_next_channel_takes_over_earlier_and_never_later(until: timedelta) -> None:
    take_over = fall_back_time(NOW, NOW + until)

    assert take_over is not None
    assert take_over >= NOW + FALL_BACK_PATIENCE
    assert take_over <= NOW + max(until, FALL_BACK_PATIENCE)


def test_what_was_not_tried_waits_on_its_channel() -> None:
    waiting = progress(SMS, Attempt(Verdict.NOT_TRIED), NOW)
    late = notice(NoticeKind.ORDER_UPCOMING, NOW - timedelta(hours=1))

    assert next_channel(late, SMS, waiting, NOW + timedelta(hours=1)) is None


def test_what_waits_for_a_gateway_that_is_away_takes_the_next_channel_in_time() -> None:
    away = Attempt(Verdict.NOT_TRIED, FAILURE_GATEWAY_AWAY, retry_time=NOW + timedelta(seconds=30))
    early = notice(NoticeKind.ORDER_UPCOMING, NOW + timedelta(hours=2))
    late = notice(NoticeKind.ORDER_UPCOMING, NOW - timedelta(hours=1))
    soon = NOW + FALL_BACK_PATIENCE

    assert next_channel(early, SMS, progress(SMS, away, NOW), NOW) is None
    assert next_channel(late, SMS, progress(SMS, away, soon), soon) is None
    later = soon + timedelta(seconds=1)
    assert next_channel(late, SMS, progress(SMS, away, later), later) is Channel.EMAIL


def test_what_a_gateway_took_is_enough_where_that_counts() -> None:
    enough = SMS._replace(evidence=Evidence.ACCEPTED)
    taken = progress(enough, ACCEPTED, NOW)
    late = notice(NoticeKind.ORDER_UPCOMING, NOW - timedelta(hours=1))

    assert next_channel(late, enough, taken, NOW + timedelta(hours=1)) is None
