"""What customers see: the dates of schedules as they would write them down themselves."""

from datetime import date, time

from services.scheduler.domain.calendar import (
    CycleDate,
    MoveReason,
    SkipReason,
    cycle,
    cycle_count,
    first_index_on_or_after,
    nominal_date,
)
from services.scheduler.domain.schedule import (
    EVERY_DAY,
    BlackoutRule,
    BusinessDayRule,
    BusinessDays,
    Daily,
    DateRange,
    End,
    EndAfter,
    EndOn,
    Monthly,
    NthWeekday,
    Recurrence,
    Schedule,
    Weekday,
    Weekly,
    Yearly,
)
from tests.unit.scheduler.strategies import cycles

MOVE = BlackoutRule.MOVE_TO_NEXT_ALLOWED
NEXT = BusinessDays(BusinessDayRule.NEXT)
PREVIOUS = BusinessDays(BusinessDayRule.PREVIOUS)


def starting(
    day: str,
    recurrence: Recurrence,
    *,
    end: End | None = None,
    blackouts: tuple[tuple[str, str], ...] = (),
    blackout_rule: BlackoutRule = BlackoutRule.SKIP,
    business_days: BusinessDays = EVERY_DAY,
) -> Schedule:
    ranges = tuple(
        DateRange(date.fromisoformat(first), date.fromisoformat(last)) for first, last in blackouts
    )
    return Schedule(
        date.fromisoformat(day),
        time(9),
        "Europe/Berlin",
        recurrence,
        end,
        ranges,
        blackout_rule,
        business_days,
    )


def dates(schedule: Schedule, limit: int) -> list[str]:
    """The local dates, or why there is none."""
    return [_shown(cycle) for cycle in cycles(schedule, 0, limit)]


def _shown(cycle_date: CycleDate) -> str:
    return str(cycle_date.local_date) if cycle_date.local_date else str(cycle_date.skip_reason)


def test_a_month_end_is_kept_through_short_months() -> None:
    assert dates(starting("2025-01-31", Monthly()), 5) == [
        "2025-01-31",
        "2025-02-28",
        "2025-03-31",
        "2025-04-30",
        "2025-05-31",
    ]


def test_a_leap_february_has_its_29th() -> None:
    assert dates(starting("2024-01-30", Monthly()), 2) == ["2024-01-30", "2024-02-29"]


def test_the_century_2100_is_no_leap_year() -> None:
    schedule = starting("2096-02-29", Yearly())
    assert dates(schedule, 9) == [
        "2096-02-29",
        "2097-02-28",
        "2098-02-28",
        "2099-02-28",
        "2100-02-28",
    ]


def test_a_leap_day_comes_back_in_every_leap_year() -> None:
    schedule = starting("2024-02-29", Yearly(every_years=2))
    assert dates(schedule, 3) == ["2024-02-29", "2026-02-28", "2028-02-29"]


def test_month_days_that_meet_in_a_short_month_are_one_cycle() -> None:
    schedule = starting("2025-01-30", Monthly(month_days=(30, 31)))
    assert dates(schedule, 5) == [
        "2025-01-30",
        "2025-01-31",
        "2025-02-28",
        "2025-03-30",
        "2025-03-31",
    ]


def test_the_last_day_and_the_31st_are_one_cycle() -> None:
    schedule = starting("2025-01-01", Monthly(month_days=(-1, 31)))
    assert dates(schedule, 3) == ["2025-01-31", "2025-02-28", "2025-03-31"]


def test_month_days_count_from_the_end() -> None:
    schedule = starting("2025-01-01", Monthly(month_days=(-3, 15)))
    assert dates(schedule, 4) == ["2025-01-15", "2025-01-29", "2025-02-15", "2025-02-26"]


def test_the_first_cycle_is_the_first_date_of_the_rule() -> None:
    schedule = starting("2025-01-20", Monthly(month_days=(15,)))
    assert dates(schedule, 2) == ["2025-02-15", "2025-03-15"]


def test_the_start_date_chooses_which_months_count() -> None:
    schedule = starting("2025-01-20", Monthly(every_months=3, month_days=(15,)))
    assert dates(schedule, 2) == ["2025-04-15", "2025-07-15"]


def test_the_start_date_chooses_which_weeks_count() -> None:
    # 1 January 2025 is a Wednesday: that week's Monday is past, and the next week is not a turn.
    schedule = starting("2025-01-01", Weekly(2, (Weekday.MONDAY, Weekday.FRIDAY)))
    assert dates(schedule, 4) == ["2025-01-03", "2025-01-13", "2025-01-17", "2025-01-27"]


def test_a_week_begins_on_monday() -> None:
    schedule = starting("2025-01-05", Weekly(2, (Weekday.SUNDAY, Weekday.MONDAY)))
    assert dates(schedule, 3) == ["2025-01-05", "2025-01-13", "2025-01-19"]


def test_a_weekly_order_without_weekdays_keeps_its_own() -> None:
    assert dates(starting("2025-01-01", Weekly()), 2) == ["2025-01-01", "2025-01-08"]


def test_every_ten_days_does_not_care_for_months() -> None:
    schedule = starting("2025-02-20", Daily(10))
    assert dates(schedule, 3) == ["2025-02-20", "2025-03-02", "2025-03-12"]


def test_the_second_tuesday_and_the_last_friday() -> None:
    places = (NthWeekday(-1, Weekday.FRIDAY), NthWeekday(2, Weekday.TUESDAY))
    schedule = starting("2025-01-01", Monthly(nth_weekdays=places))
    assert dates(schedule, 4) == ["2025-01-14", "2025-01-31", "2025-02-11", "2025-02-28"]


def test_a_fifth_weekday_waits_for_a_month_that_has_one() -> None:
    schedule = starting("2025-01-01", Monthly(nth_weekdays=(NthWeekday(5, Weekday.MONDAY),)))
    assert dates(schedule, 3) == ["2025-03-31", "2025-06-30", "2025-09-29"]


def test_a_fourth_that_is_also_the_last_is_one_cycle() -> None:
    places = (NthWeekday(4, Weekday.FRIDAY), NthWeekday(-1, Weekday.FRIDAY))
    schedule = starting("2025-01-01", Monthly(nth_weekdays=places))
    assert dates(schedule, 3) == ["2025-01-24", "2025-01-31", "2025-02-28"]


def test_a_year_can_name_its_own_day() -> None:
    schedule = starting("2025-03-01", Yearly(month=2, month_day=29))
    assert dates(schedule, 3) == ["2026-02-28", "2027-02-28", "2028-02-29"]


def test_a_count_is_the_number_of_cycles() -> None:
    schedule = starting("2025-01-31", Monthly(), end=EndAfter(3))
    assert dates(schedule, 10) == ["2025-01-31", "2025-02-28", "2025-03-31"]


def test_the_end_date_is_the_last_possible_one() -> None:
    schedule = starting("2025-01-31", Monthly(), end=EndOn(date(2025, 3, 31)))
    assert dates(schedule, 10) == ["2025-01-31", "2025-02-28", "2025-03-31"]


def test_a_schedule_without_an_end_goes_on_to_the_end_of_2100() -> None:
    schedule = starting("2025-01-31", Monthly())
    assert nominal_date(schedule, cycle_count(schedule) - 1) == date(2100, 12, 31)


def test_after_the_end_there_is_no_cycle() -> None:
    assert cycle(starting("2025-01-31", Monthly(), end=EndAfter(3)), 3) is None


def test_a_date_after_the_end_has_no_cycle() -> None:
    schedule = starting("2025-01-31", Monthly(), end=EndAfter(3))
    assert first_index_on_or_after(schedule, date(2025, 4, 1)) is None


def test_a_date_before_the_start_leads_to_the_first_cycle() -> None:
    assert first_index_on_or_after(starting("2025-01-31", Monthly()), date(1950, 1, 1)) == 0


def test_a_blackout_skips_a_cycle_that_still_counts() -> None:
    schedule = starting(
        "2025-01-31", Monthly(), end=EndAfter(3), blackouts=(("2025-02-20", "2025-03-05"),)
    )
    assert dates(schedule, 10) == ["2025-01-31", "BLACKOUT", "2025-03-31"]


def test_a_blackout_includes_its_first_and_last_day() -> None:
    schedule = starting("2025-01-01", Daily(), blackouts=(("2025-01-02", "2025-01-03"),))
    assert dates(schedule, 4) == ["2025-01-01", "BLACKOUT", "BLACKOUT", "2025-01-04"]


def test_a_blackout_can_move_a_cycle_to_the_day_after() -> None:
    schedule = starting(
        "2025-01-15", Monthly(), blackouts=(("2025-02-10", "2025-02-20"),), blackout_rule=MOVE
    )
    assert dates(schedule, 3) == ["2025-01-15", "2025-02-21", "2025-03-15"]


def test_blackouts_that_touch_or_overlap_are_left_together() -> None:
    schedule = starting(
        "2025-01-15",
        Monthly(),
        blackouts=(
            ("2025-02-19", "2025-02-25"),
            ("2025-02-10", "2025-02-20"),
            ("2025-02-26", "2025-02-26"),
        ),
        blackout_rule=MOVE,
    )
    assert dates(schedule, 2) == ["2025-01-15", "2025-02-27"]


def test_a_cycle_never_moves_onto_the_next_one() -> None:
    schedule = starting(
        "2025-01-01", Daily(), blackouts=(("2025-01-02", "2025-01-03"),), blackout_rule=MOVE
    )
    assert dates(schedule, 4) == [
        "2025-01-01",
        "MEETS_NEXT_CYCLE",
        "MEETS_NEXT_CYCLE",
        "2025-01-04",
    ]


def test_of_several_cycles_in_a_blackout_only_the_last_moves() -> None:
    schedule = starting(
        "2025-01-15", Monthly(), blackouts=(("2025-01-01", "2025-03-10"),), blackout_rule=MOVE
    )
    assert dates(schedule, 3) == ["MEETS_NEXT_CYCLE", "2025-03-11", "2025-03-15"]


def test_a_weekend_moves_on_to_monday() -> None:
    schedule = starting("2025-01-31", Monthly(month_days=(1,)), business_days=NEXT)
    assert dates(schedule, 3) == ["2025-02-03", "2025-03-03", "2025-04-01"]


def test_a_weekend_moves_back_to_friday() -> None:
    schedule = starting("2025-01-31", Monthly(month_days=(1,)), business_days=PREVIOUS)
    assert dates(schedule, 3) == ["2025-01-31", "2025-02-28", "2025-04-01"]


def test_the_holidays_are_those_of_the_region() -> None:
    # Epiphany, 6 January, is a holiday in Bavaria and not in Berlin.
    bavaria = BusinessDays(BusinessDayRule.NEXT, "DE", "BY")
    berlin = BusinessDays(BusinessDayRule.NEXT, "DE", "BE")
    shown = [
        dates(starting("2025-01-06", Monthly(), business_days=business_days_), 1)
        for business_days_ in (bavaria, berlin)
    ]
    assert shown == [["2025-01-07"], ["2025-01-06"]]


def test_the_weekend_is_that_of_the_country() -> None:
    # Friday and Saturday in Bangladesh.
    schedule = starting(
        "2025-01-03",
        Weekly(weekdays=(Weekday.FRIDAY,)),
        business_days=BusinessDays(BusinessDayRule.NEXT, "BD"),
    )
    assert dates(schedule, 2) == ["2025-01-05", "2025-01-12"]


def test_nothing_moves_to_before_the_start_date() -> None:
    schedule = starting("2025-02-01", Monthly(), business_days=PREVIOUS)
    assert dates(schedule, 2) == ["2025-02-03", "2025-02-28"]


def test_nothing_moves_to_after_the_end_date() -> None:
    schedule = starting("2025-01-01", Monthly(), end=EndOn(date(2025, 2, 2)), business_days=NEXT)
    assert dates(schedule, 5) == ["2025-01-01", "AFTER_END"]


def test_a_cycle_that_moves_back_gives_way_to_the_one_before() -> None:
    schedule = starting("2025-01-03", Daily(), business_days=PREVIOUS)
    assert dates(schedule, 4) == [
        "2025-01-03",
        "MEETS_PREVIOUS_CYCLE",
        "MEETS_PREVIOUS_CYCLE",
        "2025-01-06",
    ]


def test_a_cycle_that_moves_back_gives_way_to_one_that_moved_on() -> None:
    # The 10th moves out of the blackout to Friday the 14th; the 15th, a Saturday, would too.
    schedule = starting(
        "2025-02-10",
        Monthly(month_days=(10, 15)),
        blackouts=(("2025-02-09", "2025-02-13"),),
        blackout_rule=MOVE,
        business_days=PREVIOUS,
    )
    assert dates(schedule, 3) == ["2025-02-14", "MEETS_PREVIOUS_CYCLE", "2025-03-10"]


def test_a_business_day_in_a_blackout_is_no_way_out() -> None:
    schedule = starting(
        "2025-02-01",
        Monthly(),
        blackouts=(("2025-02-03", "2025-02-03"),),
        business_days=NEXT,
    )
    assert dates(schedule, 2) == ["BLACKOUT", "2025-03-03"]


def test_the_day_after_a_blackout_must_be_a_business_day() -> None:
    schedule = starting(
        "2025-02-20",
        Monthly(),
        blackouts=(("2025-02-20", "2025-02-21"),),
        blackout_rule=MOVE,
        business_days=PREVIOUS,
    )
    assert dates(schedule, 1) == ["2025-02-24"]


def test_a_moved_cycle_says_why() -> None:
    moved = cycle(starting("2025-02-01", Monthly(), business_days=NEXT), 0)
    assert moved is not None
    assert moved.move_reason is MoveReason.NOT_A_BUSINESS_DAY


def test_a_cycle_in_its_place_has_no_reason() -> None:
    plain = cycle(starting("2025-02-03", Monthly(), business_days=NEXT), 0)
    assert plain is not None
    assert (plain.move_reason, plain.skip_reason) == (None, None)


def test_a_skipped_cycle_says_why_it_would_have_moved_and_why_it_could_not() -> None:
    skipped = cycle(starting("2025-02-01", Daily(), business_days=NEXT), 0)
    assert skipped is not None
    assert (skipped.move_reason, skipped.skip_reason) == (
        MoveReason.NOT_A_BUSINESS_DAY,
        SkipReason.MEETS_NEXT_CYCLE,
    )


def test_a_skipped_cycle_is_passed_over_when_it_would_have_been_due() -> None:
    schedule = starting("2025-02-01", Monthly(), blackouts=(("2025-02-01", "2025-02-01"),))
    skipped = cycle(schedule, 0)
    assert skipped is not None
    assert skipped.due_at.isoformat() == "2025-02-01T08:00:00+00:00"
