from datetime import UTC, datetime
from typing import Any

import pytest

from cli.prove.calendar import due_times, is_plain

UNTIL = datetime(2027, 1, 1, tzinfo=UTC)


def schedule(recurrence: dict[str, Any], **others: Any) -> dict[str, Any]:  # noqa: ANN401 - any part
    return {
        "start_date": "2026-01-31",
        "local_time": "09:00",
        "time_zone": "UTC",
        "recurrence": recurrence,
        "end": None,
        **others,
    }


def dates(described: dict[str, Any], until: datetime = UNTIL) -> list[str]:
    return [due.date().isoformat() for due in due_times(described, until)]


def test_month_ends_do_not_drift() -> None:
    monthly = schedule({"monthly": {"every_months": 1, "month_days": [31]}})
    assert dates(monthly)[:4] == ["2026-01-31", "2026-02-28", "2026-03-31", "2026-04-30"]


def test_the_start_gives_the_day_where_none_is_named() -> None:
    every_quarter = schedule({"monthly": {"every_months": 3, "month_days": []}})
    assert dates(every_quarter) == ["2026-01-31", "2026-04-30", "2026-07-31", "2026-10-31"]


def test_days_may_be_counted_from_the_end_of_the_month() -> None:
    monthly = schedule({"monthly": {"every_months": 1, "month_days": [-1, 1]}})
    assert dates(monthly)[:4] == ["2026-01-31", "2026-02-01", "2026-02-28", "2026-03-01"]


def test_weeks_that_count_are_those_of_the_start() -> None:
    # 31 January 2026 is a Saturday: the Monday of its week is past.
    fortnightly = schedule({"weekly": {"every_weeks": 2, "weekdays": [1, 6]}})
    assert dates(fortnightly)[:4] == ["2026-01-31", "2026-02-09", "2026-02-14", "2026-02-23"]


def test_days_are_counted_from_the_start() -> None:
    assert dates(schedule({"daily": {"every_days": 100}})) == [
        "2026-01-31",
        "2026-05-11",
        "2026-08-19",
        "2026-11-27",
    ]


def test_a_leap_day_is_the_last_of_february_in_other_years() -> None:
    yearly = schedule({"yearly": {"every_years": 1}}, start_date="2024-02-29")
    assert dates(yearly) == ["2024-02-29", "2025-02-28", "2026-02-28"]


def test_a_clock_change_moves_the_instant_and_not_the_local_time() -> None:
    monthly = schedule(
        {"monthly": {"every_months": 1, "month_days": [1]}}, time_zone="Europe/Berlin"
    )
    assert [due.hour for due in due_times(monthly, UNTIL)][1:3] == [8, 7]


def test_a_schedule_ends_after_its_cycles() -> None:
    assert dates(schedule({"daily": {"every_days": 1}}, end={"cycle_count": 2})) == [
        "2026-01-31",
        "2026-02-01",
    ]


def test_a_schedule_ends_on_its_end_date() -> None:
    daily = schedule({"daily": {"every_days": 1}}, end={"end_date": "2026-02-01"})
    assert dates(daily) == ["2026-01-31", "2026-02-01"]


def test_nothing_is_due_before_its_time_has_come() -> None:
    daily = schedule({"daily": {"every_days": 1}})
    assert dates(daily, datetime(2026, 2, 1, 8, 59, tzinfo=UTC)) == ["2026-01-31"]


def test_a_recurrence_that_is_not_known_stops_the_proof() -> None:
    with pytest.raises(ValueError, match="lunar"):
        due_times(schedule({"lunar": {}}), UNTIL)


def test_the_second_sunday_and_the_last_friday_are_places_in_a_month() -> None:
    places = schedule(
        {"monthly": {"every_months": 1, "month_days": [], "nth_weekdays": [[2, 7], [-1, 5]]}}
    )
    assert dates(places)[:4] == ["2026-02-08", "2026-02-27", "2026-03-08", "2026-03-27"]


def test_a_fifth_weekday_waits_for_a_month_that_has_one() -> None:
    places = schedule({"monthly": {"every_months": 1, "month_days": [], "nth_weekdays": [[5, 1]]}})
    assert dates(places)[:3] == ["2026-03-30", "2026-06-29", "2026-08-31"]


def test_a_year_can_name_its_own_day() -> None:
    yearly = schedule({"yearly": {"every_years": 1, "month": 1, "month_day": 15}})
    assert dates(yearly, datetime(2029, 1, 1, tzinfo=UTC)) == ["2027-01-15", "2028-01-15"]


@pytest.mark.parametrize(
    ("more", "plain"),
    [
        ({}, True),
        ({"blackouts": [["2026-03-01", "2026-04-15"]], "blackout_rule": "SKIP"}, True),
        (
            {"blackouts": [["2026-03-01", "2026-04-15"]], "blackout_rule": "MOVE_TO_NEXT_ALLOWED"},
            False,
        ),
        ({"business_days": {"rule": "NEXT"}}, False),
    ],
)
def test_cycles_that_may_move_are_left_to_the_scheduler(more: dict[str, Any], plain: bool) -> None:  # noqa: FBT001
    assert is_plain(schedule({"daily": {"every_days": 30}}, **more)) is plain
