"""At which hour notices go out."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notify.domain.notices import NEVER_MUTED, BillingMode, Channel, NoticeKind, Promise
from services.notify.domain.quiet_hours import deadline, send_time
from services.runtime.quiet_hours import QUIET_END, QUIET_START, quiet_until

TOKYO = "Asia/Tokyo"
NIGHT = datetime(2026, 1, 28, 15, 0, tzinfo=UTC)  # Midnight in Tokyo.
MORNING = datetime(2026, 1, 28, 23, 0, tzinfo=UTC)
moments = st.datetimes(datetime(2000, 1, 1), datetime(2100, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis adds the zone
zones = st.sampled_from(
    [TOKYO, "Europe/Berlin", "America/St_Johns", "Pacific/Apia", "Africa/Cairo"]
)
kinds = st.sampled_from(NoticeKind)


@given(
    kind=kinds, now=moments, zone=zones, slack=st.none() | st.timedeltas(timedelta(), timedelta(3))
)
def test_a_notice_goes_out_by_day_or_at_once_and_never_after_its_deadline(
    kind: NoticeKind, now: datetime, zone: str, slack: timedelta | None
) -> None:
    until = None if slack is None else now + slack
    sent = send_time(kind, Channel.SMS, now, zone, until)
    local = sent.astimezone(ZoneInfo(zone)).time()

    assert now <= sent <= now + timedelta(hours=24)
    assert sent == now or QUIET_END <= local < QUIET_START
    assert until is None or sent <= until
    if kind in NEVER_MUTED and until is None:
        assert sent == now


@given(now=moments, zone=zones)
def test_what_can_wait_is_never_sent_at_night(now: datetime, zone: str) -> None:
    sent = send_time(NoticeKind.ORDER_SKIPPED, Channel.SMS, now, zone, None)

    assert quiet_until(sent, zone) == sent


@pytest.mark.parametrize(
    ("kind", "channel", "zone", "until", "sent"),
    [
        (NoticeKind.RECEIPT, Channel.SMS, TOKYO, None, MORNING),
        (NoticeKind.RECEIPT, Channel.EMAIL, TOKYO, None, NIGHT),
        (NoticeKind.RECEIPT, Channel.SMS, "", None, NIGHT),
        (NoticeKind.PHONE_CODE, Channel.SMS, TOKYO, None, NIGHT),
        (NoticeKind.PRICE_CHANGE, Channel.SMS, TOKYO, None, NIGHT),
        (NoticeKind.ORDER_UPCOMING, Channel.SMS, TOKYO, MORNING, MORNING),
        (NoticeKind.ORDER_UPCOMING, Channel.SMS, TOKYO, MORNING - timedelta(seconds=1), NIGHT),
    ],
)
def test_the_deadline_wins_over_the_night(
    kind: NoticeKind, channel: Channel, zone: str, until: datetime | None, sent: datetime
) -> None:
    assert send_time(kind, channel, NIGHT, zone, until) == sent


def test_a_notice_before_a_charge_must_be_out_its_lead_before_it() -> None:
    promise = Promise(1250, "EUR", MORNING, timedelta(hours=24), BillingMode.AUTOMATIC)

    assert deadline(promise, None) == MORNING - timedelta(hours=24)
