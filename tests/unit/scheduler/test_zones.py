"""Local times and the instants they stand for, across the clock changes that people live with."""

from datetime import UTC, date, datetime, time, timedelta

import pytest

from services.runtime.time_zones import is_time_zone
from services.scheduler.domain.calendar import SkipReason, local_to_utc, utc_to_local_date
from services.scheduler.domain.schedule import BlackoutRule, Daily, DateRange, Schedule, Weekly
from tests.unit.scheduler.strategies import cycles

DAY = timedelta(days=1)

CLOCK_CHANGES = [
    pytest.param("2025-03-30", "02:30", "Europe/Berlin", "2025-03-30T01:30", id="gap: 03:30"),
    pytest.param("2025-03-30", "02:00", "Europe/Berlin", "2025-03-30T01:00", id="gap begins"),
    pytest.param("2025-03-30", "03:00", "Europe/Berlin", "2025-03-30T01:00", id="gap is over"),
    pytest.param("2025-10-26", "02:30", "Europe/Berlin", "2025-10-26T00:30", id="fold: the first"),
    pytest.param("2025-10-26", "03:00", "Europe/Berlin", "2025-10-26T02:00", id="fold is over"),
    pytest.param("2025-03-09", "02:30", "America/New_York", "2025-03-09T07:30", id="New York"),
    pytest.param("2018-11-04", "00:00", "America/Sao_Paulo", "2018-11-04T03:00", id="midnight gap"),
    pytest.param("2025-11-04", "00:00", "America/Sao_Paulo", "2025-11-04T03:00", id="rule dropped"),
    pytest.param("2025-07-01", "09:00", "Asia/Kathmandu", "2025-07-01T03:15", id="+05:45"),
    pytest.param("2025-07-01", "09:00", "Asia/Kolkata", "2025-07-01T03:30", id="+05:30"),
    pytest.param("2025-07-01", "09:00", "Pacific/Chatham", "2025-06-30T20:15", id="+12:45"),
    pytest.param("2025-01-01", "09:00", "Pacific/Chatham", "2024-12-31T19:15", id="+13:45"),
    pytest.param("2025-10-05", "02:15", "Australia/Lord_Howe", "2025-10-04T15:45", id="half hour"),
    pytest.param("2025-07-01", "09:00", "Asia/Tokyo", "2025-07-01T00:00", id="no clock changes"),
    pytest.param("2011-12-31", "09:00", "Pacific/Apia", "2011-12-30T19:00", id="new date line"),
    pytest.param(
        "2016-07-01", "09:00", "Europe/Istanbul", "2016-07-01T06:00", id="before a change"
    ),
    pytest.param("2017-01-01", "09:00", "Europe/Istanbul", "2017-01-01T06:00", id="after a change"),
    pytest.param("2100-07-01", "09:00", "Europe/Berlin", "2100-07-01T07:00", id="summer of 2100"),
]


@pytest.mark.parametrize(("day", "local_time", "zone", "expected"), CLOCK_CHANGES)
def test_a_local_time_is_the_instant(day: str, local_time: str, zone: str, expected: str) -> None:
    instant = local_to_utc(date.fromisoformat(day), time.fromisoformat(local_time), zone)
    assert instant == datetime.fromisoformat(expected).replace(tzinfo=UTC)


def test_the_first_of_two_is_meant_whatever_the_time_says_of_itself() -> None:
    second = time(2, 30, fold=1)
    instant = local_to_utc(date(2025, 10, 26), second, "Europe/Berlin")
    assert instant == datetime(2025, 10, 26, 0, 30, tzinfo=UTC)


def test_a_daily_order_is_due_once_a_day_through_the_gap_and_after() -> None:
    schedule = Schedule(date(2025, 3, 29), time(2, 30), "Europe/Berlin", Daily())
    due = [cycle.due_at.isoformat() for cycle in cycles(schedule, 0, 3)]
    assert due == [
        "2025-03-29T01:30:00+00:00",
        "2025-03-30T01:30:00+00:00",
        "2025-03-31T00:30:00+00:00",
    ]


def test_a_daily_order_is_due_once_a_day_through_the_fold() -> None:
    schedule = Schedule(date(2025, 10, 25), time(2, 30), "Europe/Berlin", Daily())
    due = [cycle.due_at.isoformat() for cycle in cycles(schedule, 0, 3)]
    assert due == [
        "2025-10-25T00:30:00+00:00",
        "2025-10-26T00:30:00+00:00",
        "2025-10-27T01:30:00+00:00",
    ]


# Those that moved over the date line since 1970, and the day that each left out.
DAYS_LEFT_OUT = [
    ("Pacific/Apia", date(2011, 12, 30)),
    ("Pacific/Fakaofo", date(2011, 12, 30)),
    ("Pacific/Kwajalein", date(1993, 8, 21)),
    ("Pacific/Kiritimati", date(1994, 12, 31)),
    ("Pacific/Kanton", date(1994, 12, 31)),
]


@pytest.mark.parametrize(("zone", "absent"), DAYS_LEFT_OUT)
@pytest.mark.parametrize("local_time", [time(0), time(9), time(23, 59)])
def test_a_day_that_a_zone_leaves_out_is_not_billed(
    zone: str, absent: date, local_time: time
) -> None:
    schedule = Schedule(absent - DAY, local_time, zone, Daily())
    before, left_out, after = cycles(schedule, 0, 3)
    assert (before.local_date, left_out.local_date, after.local_date) == (
        absent - DAY, None, absent + DAY,
    )  # fmt: skip
    assert left_out.skip_reason is SkipReason.NO_SUCH_DAY
    assert before.due_at < left_out.due_at < after.due_at


@pytest.mark.parametrize(("zone", "absent"), DAYS_LEFT_OUT)
def test_nothing_moves_onto_a_day_that_a_zone_leaves_out(zone: str, absent: date) -> None:
    closed = (DateRange(absent - 5 * DAY, absent - DAY),)
    move = BlackoutRule.MOVE_TO_NEXT_ALLOWED
    weekly = Schedule(absent - 3 * DAY, time(9), zone, Weekly(), None, closed, move)
    first, *_ = cycles(weekly, 0, 1)
    assert first.local_date == absent + DAY


@pytest.mark.parametrize("zone", [*dict(DAYS_LEFT_OUT), "Africa/Monrovia", "America/Sao_Paulo"])
def test_no_two_cycles_are_due_at_one_instant(zone: str) -> None:
    for first in (date(1970, 1, 1), date(1993, 1, 1), date(2011, 1, 1)):
        schedule = Schedule(first, time(0, 30), zone, Daily())
        due = [cycle.due_at for cycle in cycles(schedule, 0, 800)]
        assert due == sorted(set(due))


@pytest.mark.parametrize(
    ("zone", "today"),
    [("Pacific/Kiritimati", date(2025, 7, 2)), ("America/New_York", date(2025, 7, 1))],
)
def test_today_is_the_date_on_the_wall(zone: str, today: date) -> None:
    assert utc_to_local_date(datetime(2025, 7, 1, 12, tzinfo=UTC), zone) == today


@pytest.mark.parametrize("name", ["Europe/Berlin", "UTC", "Asia/Calcutta", "America/Indiana/Knox"])
def test_a_zone_of_the_database_is_one(name: str) -> None:
    assert is_time_zone(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Berlin",
        "europe/berlin",
        "Europe",
        "CET-1CEST",
        "localtime",
        "Factory",
        "posixrules",
        "right/Europe/Berlin",
        "../zoneinfo/Europe/Berlin",
        "/etc/localtime",
        "Europe/Berlin\0",
        "Europa/Köln",
        "x" * 10_000,
    ],
)
def test_what_is_no_zone_or_depends_on_the_machine_is_refused(name: str) -> None:
    assert not is_time_zone(name)
