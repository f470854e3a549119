"""What is refused before anything is stored: the field, the reason, and a way to mend it."""

from dataclasses import replace
from datetime import UTC, date, time

import pytest

from services.scheduler.domain.schedule import (
    LAST_DATE,
    BlackoutRule,
    BusinessDayRule,
    BusinessDays,
    Daily,
    DateRange,
    EndAfter,
    EndOn,
    Monthly,
    NthWeekday,
    Schedule,
    Weekday,
    Weekly,
    Yearly,
)
from services.scheduler.domain.validation import violations

TODAY = date(2025, 1, 31)
SOUND = Schedule(TODAY, time(9), "Europe/Berlin", Monthly())
MONDAY = Weekday.MONDAY


def faults(schedule: Schedule) -> list[tuple[str, str]]:
    return [(violation.field, str(violation.reason)) for violation in violations(schedule, TODAY)]


def test_a_sound_schedule_has_no_violation() -> None:
    assert faults(SOUND) == []


RECURRENCES = [
    (Daily(0), "daily.every_days", "OUT_OF_RANGE"),
    (Daily(-1), "daily.every_days", "OUT_OF_RANGE"),
    (Daily(3651), "daily.every_days", "OUT_OF_RANGE"),
    (Weekly(0), "weekly.every_weeks", "OUT_OF_RANGE"),
    (Weekly(521), "weekly.every_weeks", "OUT_OF_RANGE"),
    (Weekly(1, (MONDAY,) * 8), "weekly.weekdays", "TOO_MANY"),
    (Monthly(0), "monthly.every_months", "OUT_OF_RANGE"),
    (Monthly(121), "monthly.every_months", "OUT_OF_RANGE"),
    (Monthly(1, (32,)), "monthly.month_days[0]", "NO_SUCH_DATE"),
    (Monthly(1, (1, 0)), "monthly.month_days[1]", "NO_SUCH_DATE"),
    (Monthly(1, (-29,)), "monthly.month_days[0]", "NO_SUCH_DATE"),
    (Monthly(1, (1,) * 32), "monthly.month_days", "TOO_MANY"),
    (Monthly(1, (), (NthWeekday(0, MONDAY),)), "monthly.nth_weekdays[0].nth", "NO_SUCH_DATE"),
    (Monthly(1, (), (NthWeekday(6, MONDAY),)), "monthly.nth_weekdays[0].nth", "NO_SUCH_DATE"),
    (Monthly(1, (), (NthWeekday(-6, MONDAY),)), "monthly.nth_weekdays[0].nth", "NO_SUCH_DATE"),
    (Monthly(1, (), (NthWeekday(1, MONDAY),) * 71), "monthly.nth_weekdays", "TOO_MANY"),
    (Monthly(1, (1,), (NthWeekday(1, MONDAY),)), "monthly.nth_weekdays", "AMBIGUOUS"),
    (Yearly(0), "yearly.every_years", "OUT_OF_RANGE"),
    (Yearly(11), "yearly.every_years", "OUT_OF_RANGE"),
    (Yearly(1, 13, 1), "yearly.month", "OUT_OF_RANGE"),
    (Yearly(1, 2, 30), "yearly.month_day", "NO_SUCH_DATE"),
    (Yearly(1, 4, 31), "yearly.month_day", "NO_SUCH_DATE"),
    (Yearly(1, 4), "yearly.month_day", "NO_SUCH_DATE"),  # the start date's 31st
    (Yearly(1, 1, -1), "yearly.month_day", "NO_SUCH_DATE"),
]


@pytest.mark.parametrize(("recurrence", "field", "reason"), RECURRENCES)
def test_an_impossible_recurrence_is_refused(
    recurrence: Daily | Weekly | Monthly | Yearly, field: str, reason: str
) -> None:
    assert faults(replace(SOUND, recurrence=recurrence)) == [(field, reason)]


def test_a_number_that_is_no_weekday_is_refused() -> None:
    recurrence = Weekly(1, (MONDAY, 0))  # type: ignore[arg-type]
    assert faults(replace(SOUND, recurrence=recurrence)) == [("weekly.weekdays[1]", "OUT_OF_RANGE")]


def test_a_past_start_date_is_refused() -> None:
    assert faults(replace(SOUND, start_date=date(2025, 1, 30))) == [
        ("start_date", "START_DATE_PAST")
    ]


def test_a_schedule_that_began_elsewhere_may_have_a_past_start() -> None:
    assert violations(replace(SOUND, start_date=date(2005, 1, 30)), today=None) == ()


@pytest.mark.parametrize("day", [date(1969, 12, 31), date(2101, 1, 1), date.min, date.max])
def test_a_start_outside_the_calendar_is_refused(day: date) -> None:
    violated = violations(replace(SOUND, start_date=day), today=None)
    assert [(violation.field, violation.reason) for violation in violated] == [
        ("start_date", "OUT_OF_RANGE")
    ]


@pytest.mark.parametrize("local_time", [time(9, 0, 30), time(9, 0, 0, 1), time(9, tzinfo=UTC)])
def test_a_time_that_is_not_to_the_minute_is_refused(local_time: time) -> None:
    assert faults(replace(SOUND, local_time=local_time)) == [("local_time", "NOT_A_WHOLE_MINUTE")]


def test_an_unknown_zone_is_refused() -> None:
    assert faults(replace(SOUND, time_zone="Mars/Base")) == [("time_zone", "TIME_ZONE_UNKNOWN")]


def test_an_end_before_the_start_is_refused() -> None:
    assert faults(replace(SOUND, end=EndOn(date(2025, 1, 30)))) == [
        ("end_date", "END_BEFORE_START")
    ]


def test_an_end_outside_the_calendar_is_refused() -> None:
    assert faults(replace(SOUND, end=EndOn(date(2101, 1, 1)))) == [("end_date", "OUT_OF_RANGE")]


@pytest.mark.parametrize("count", [0, -1, 100_001])
def test_an_impossible_count_is_refused(count: int) -> None:
    assert faults(replace(SOUND, end=EndAfter(count))) == [("cycle_count", "OUT_OF_RANGE")]


def test_a_count_that_the_calendar_cannot_reach_is_refused() -> None:
    assert faults(replace(SOUND, end=EndAfter(913))) == [("cycle_count", "OUT_OF_RANGE")]


def test_a_count_that_the_calendar_just_reaches_is_sound() -> None:
    assert faults(replace(SOUND, end=EndAfter(912))) == []


def test_a_rule_without_a_date_before_its_end_never_fires() -> None:
    schedule = replace(SOUND, recurrence=Monthly(1, (20,)), end=EndOn(date(2025, 2, 19)))
    assert faults(schedule) == [("recurrence", "NEVER_FIRES")]


def test_a_rule_whose_weekday_never_comes_never_fires() -> None:
    # February has a fifth Monday only in leap years that begin the month with one.
    recurrence = Monthly(120, (), (NthWeekday(5, MONDAY),))
    schedule = replace(SOUND, start_date=date(2025, 2, 1), recurrence=recurrence)
    assert faults(schedule) == [("recurrence", "NEVER_FIRES")]


@pytest.mark.parametrize("rule", BlackoutRule)
def test_blackouts_that_leave_no_cycle_are_refused(rule: BlackoutRule) -> None:
    everything = (DateRange(TODAY, date(2060, 1, 1)), DateRange(date(2059, 1, 1), LAST_DATE))
    schedule = replace(SOUND, recurrence=Daily(), blackouts=everything, blackout_rule=rule)
    assert faults(schedule) == [("blackouts", "NEVER_FIRES")]


def test_a_blackout_that_leaves_the_very_last_cycle_is_sound() -> None:
    blackouts = (DateRange(TODAY, date(2100, 12, 30)),)
    assert faults(replace(SOUND, recurrence=Daily(), blackouts=blackouts)) == []


def test_a_blackout_that_the_last_cycle_can_leave_is_sound() -> None:
    schedule = replace(
        SOUND,
        end=EndAfter(2),
        blackouts=(DateRange(TODAY, date(2025, 6, 1)),),
        blackout_rule=BlackoutRule.MOVE_TO_NEXT_ALLOWED,
    )
    assert faults(schedule) == []


def test_a_blackout_that_ends_before_it_starts_is_refused() -> None:
    backwards = DateRange(date(2025, 5, 2), date(2025, 5, 1))
    assert faults(replace(SOUND, blackouts=(backwards,))) == [
        ("blackouts[0].end_date", "END_BEFORE_START")
    ]


def test_too_many_blackouts_are_refused() -> None:
    blackouts = (DateRange(date(2025, 5, 1), date(2025, 5, 2)),) * 101
    assert faults(replace(SOUND, blackouts=blackouts)) == [("blackouts", "TOO_MANY")]


@pytest.mark.parametrize(
    ("country", "subdivision", "field"),
    [
        ("XX", "", "business_days.country"),
        ("de", "", "business_days.country"),
        ("DE", "XX", "business_days.subdivision"),
        ("", "BY", "business_days.country"),
    ],
)
def test_an_unknown_holiday_calendar_is_refused(country: str, subdivision: str, field: str) -> None:
    business_days = BusinessDays(BusinessDayRule.NEXT, country, subdivision)
    assert faults(replace(SOUND, business_days=business_days)) == [
        (field, "HOLIDAY_CALENDAR_UNKNOWN")
    ]


def test_every_fault_is_reported_at_once() -> None:
    schedule = replace(SOUND, time_zone="Mars/Base", recurrence=Monthly(0, (32,)), end=EndAfter(0))
    assert [field for field, _ in faults(schedule)] == [
        "time_zone",
        "monthly.every_months",
        "monthly.month_days[0]",
        "cycle_count",
    ]


def test_a_message_says_how_to_mend_it() -> None:
    (violation,) = violations(replace(SOUND, recurrence=Monthly(1, (32,))), TODAY)
    assert violation.message == "32 is neither 1 to 31 nor -1 to -28"
