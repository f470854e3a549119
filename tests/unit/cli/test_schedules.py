import pytest
import typer
from google.type import dayofweek_pb2
from recurring.scheduler.v1 import scheduler_pb2 as pb

from cli.schedules import ScheduleOptions, describe_schedule, parse_blackout, parse_recurrence
from cli.values import parse_date, parse_time_of_day

Schedule = pb.Schedule


@pytest.mark.parametrize(
    ("every", "on", "schedule"),
    [
        ("month", "", Schedule(monthly=Schedule.Monthly(every_months=1))),
        ("month", "31", Schedule(monthly=Schedule.Monthly(every_months=1, month_days=[31]))),
        (
            "3 months",
            "1,-1",
            Schedule(monthly=Schedule.Monthly(every_months=3, month_days=[1, -1])),
        ),
        (
            "month",
            "2tue,-1Friday",
            Schedule(
                monthly=Schedule.Monthly(
                    every_months=1,
                    nth_weekdays=[
                        Schedule.NthWeekday(nth=2, weekday=dayofweek_pb2.TUESDAY),
                        Schedule.NthWeekday(nth=-1, weekday=dayofweek_pb2.FRIDAY),
                    ],
                )
            ),
        ),
        (
            "2 weeks",
            "mon,Thursday",
            Schedule(
                weekly=Schedule.Weekly(
                    every_weeks=2, weekdays=[dayofweek_pb2.MONDAY, dayofweek_pb2.THURSDAY]
                )
            ),
        ),
        ("10 days", "", Schedule(daily=Schedule.Daily(every_days=10))),
        ("year", "", Schedule(yearly=Schedule.Yearly(every_years=1))),
        (
            "2 years",
            "12-24",
            Schedule(yearly=Schedule.Yearly(every_years=2, month=12, month_day=24)),
        ),
    ],
)
def test_a_recurrence_is_read_as_people_say_it(every: str, on: str, schedule: pb.Schedule) -> None:
    assert parse_recurrence(every, on) == schedule


@pytest.mark.parametrize(
    ("every", "on"),
    [
        ("fortnight", ""),
        ("-1 days", ""),
        ("week", "31"),
        ("month", "mon"),
        ("month", "6mon"),
        ("month", "1xyz"),
        ("day", "mon"),
        ("year", "31"),
        ("year", "12-24,12-25"),
    ],
)
def test_a_recurrence_that_says_nothing_is_refused(every: str, on: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_recurrence(every, on)


def at_nine(schedule: pb.Schedule, **more: object) -> pb.Schedule:
    schedule.start_date.CopyFrom(parse_date("2026-01-02"))
    schedule.local_time.CopyFrom(parse_time_of_day("09:00"))
    schedule.time_zone = "Europe/Berlin"
    schedule.MergeFrom(Schedule(**more))  # type: ignore[arg-type] # fields of a schedule
    return schedule


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        (
            at_nine(parse_recurrence("2 weeks", "fri")),
            "every 2 weeks on Fri at 09:00 Europe/Berlin from 2026-01-02",
        ),
        (
            at_nine(parse_recurrence("month", "2tue,-1fri,-2mon,4sun"), cycle_count=3),
            (
                "every month on 2nd Tue, last Fri, 2nd last Mon, 4th Sun at 09:00 Europe/Berlin "
                "from 2026-01-02, 3 times"
            ),
        ),
        (
            at_nine(
                parse_recurrence("year", "12-24"),
                end_date=parse_date("2030-12-31"),
                blackouts=[parse_blackout("2027-12-24..2027-12-26")],
                blackout_rule=Schedule.MOVE_TO_NEXT_ALLOWED,
                business_days=Schedule.BusinessDays(
                    rule=Schedule.BusinessDays.NEXT, country="DE", subdivision="BY"
                ),
            ),
            (
                "every year on 12-24 at 09:00 Europe/Berlin from 2026-01-02, until 2030-12-31, "
                "not 2027-12-24..2027-12-26, but the day after, next business day of DE-BY"
            ),
        ),
    ],
)
def test_a_schedule_is_described_as_people_say_it(schedule: pb.Schedule, words: str) -> None:
    assert describe_schedule(schedule) == words


def test_one_day_is_a_blackout_too() -> None:
    assert parse_blackout("2026-12-24") == parse_blackout("2026-12-24..2026-12-24")


def test_what_is_not_said_of_a_schedule_stays() -> None:
    present = at_nine(parse_recurrence("2 weeks", "fri"), cycle_count=5, rrule="as it was")
    changed = ScheduleOptions(at=parse_time_of_day("10:30")).changed(present)
    expected = at_nine(parse_recurrence("2 weeks", "fri"), cycle_count=5)
    expected.local_time.CopyFrom(parse_time_of_day("10:30"))
    assert changed == expected


@pytest.mark.parametrize("time", ["10:00", "00:15", "00:00"])
def test_another_time_of_day_leaves_nothing_of_the_one_before(time: str) -> None:
    present = Schedule(local_time=parse_time_of_day("09:30"))
    changed = ScheduleOptions(at=parse_time_of_day(time)).changed(present)
    assert changed == Schedule(local_time=parse_time_of_day(time))


def test_another_recurrence_leaves_nothing_of_the_one_before() -> None:
    present = at_nine(parse_recurrence("2 weeks", "fri"))
    changed = ScheduleOptions(every="week", on="mon").changed(present)
    assert changed == at_nine(parse_recurrence("week", "mon"))


def test_a_rule_takes_the_place_of_all_that_it_says_itself() -> None:
    blackouts = [parse_blackout("2026-12-24")]
    present = at_nine(parse_recurrence("2 weeks", "fri"), cycle_count=5, blackouts=blackouts)
    changed = ScheduleOptions(rrule="DTSTART:20270101T090000Z RRULE:FREQ=DAILY").changed(present)
    assert changed == Schedule(
        rrule="DTSTART:20270101T090000Z\nRRULE:FREQ=DAILY", blackouts=blackouts
    )


def test_days_without_a_recurrence_are_refused() -> None:
    with pytest.raises(typer.BadParameter):
        ScheduleOptions(on="mon").changed(Schedule())
