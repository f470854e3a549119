"""When orders are announced: early enough for their lead, and by day wherever that can be."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notify.domain import quiet_hours
from services.notify.domain.notices import Channel, NoticeKind
from services.runtime.quiet_hours import (
    NOTICE_HEADROOM,
    QUIET_END,
    QUIET_START,
    announce_time,
)

BERLIN = "Europe/Berlin"
moments = st.datetimes(datetime(2000, 1, 1), datetime(2100, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis adds the zone
zones = st.sampled_from(sorted(zone for zone in available_timezones() if "/" in zone))


def is_night(moment: datetime, zone: str) -> bool:
    return not QUIET_END <= moment.astimezone(ZoneInfo(zone)).time() < QUIET_START


@given(due=moments, lead=st.timedeltas(timedelta(), timedelta(days=30)), zone=zones)
def test_a_notice_is_out_before_its_lead_and_by_day(
    due: datetime, lead: timedelta, zone: str
) -> None:
    last_moment = due - lead
    announced = announce_time(last_moment, zone)
    kind, channel = NoticeKind.ORDER_UPCOMING, Channel.SMS
    sent = quiet_hours.send_time(kind, channel, announced, zone, last_moment)

    assert announced <= last_moment - NOTICE_HEADROOM
    assert last_moment - announced <= timedelta(hours=36)
    assert sent <= last_moment
    if not zone.startswith("Etc/"):
        assert not is_night(sent, zone)


@given(last_moment=moments, zone=zones)
def test_a_notice_that_is_out_by_day_is_not_made_earlier(last_moment: datetime, zone: str) -> None:
    usual = last_moment - NOTICE_HEADROOM

    assert announce_time(last_moment, zone) == usual or is_night(usual, zone)


@pytest.mark.parametrize(
    ("last_moment", "announced"),
    [
        ("2027-01-31 12:00", "2027-01-31 11:45"),
        # Made in the night, it waits for the morning.
        ("2027-01-31 08:15", "2027-01-31 08:00"),
        # The morning is too late.
        ("2027-01-31 08:14", "2027-01-30 20:45"),
        ("2027-01-31 03:00", "2027-01-30 20:45"),
        ("2027-01-31 23:30", "2027-01-31 20:45"),
        ("2027-01-31 21:10", "2027-01-31 20:55"),
    ],
)
def test_what_would_be_late_in_the_morning_goes_on_the_evening_before(
    last_moment: str, announced: str
) -> None:
    local = datetime.fromisoformat(last_moment).replace(tzinfo=ZoneInfo(BERLIN))

    made = announce_time(local.astimezone(UTC), BERLIN)

    assert f"{made.astimezone(ZoneInfo(BERLIN)):%Y-%m-%d %H:%M}" == announced


def test_a_schedule_without_a_place_has_no_night() -> None:
    night = datetime(2027, 1, 31, 3, tzinfo=UTC)

    assert announce_time(night, "UTC") == night - NOTICE_HEADROOM
