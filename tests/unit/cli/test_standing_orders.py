import pytest
import typer
from google.type import dayofweek_pb2
from recurring.scheduler.v1 import scheduler_pb2 as pb

from cli.standing_orders import describe_schedule, parse_item, parse_recurrence
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
    ],
)
def test_a_recurrence_is_read_as_people_say_it(every: str, on: str, schedule: pb.Schedule) -> None:
    assert parse_recurrence(every, on) == schedule


@pytest.mark.parametrize(
    ("every", "on"),
    [("fortnight", ""), ("-1 days", ""), ("week", "31"), ("month", "mon"), ("day", "mon")],
)
def test_a_recurrence_that_says_nothing_is_refused(every: str, on: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_recurrence(every, on)


def test_a_schedule_is_described_as_people_say_it() -> None:
    schedule = parse_recurrence("2 weeks", "fri")
    schedule.start_date.CopyFrom(parse_date("2026-01-02"))
    schedule.local_time.CopyFrom(parse_time_of_day("09:00"))
    schedule.time_zone = "Europe/Berlin"
    assert describe_schedule(schedule) == (
        "every 2 weeks on Fri at 09:00 Europe/Berlin from 2026-01-02"
    )


@pytest.mark.parametrize(("text", "item"), [("tea", ("tea", 1)), ("tea=12", ("tea", 12))])
def test_an_item_is_a_product_and_how_many(text: str, item: tuple[str, int]) -> None:
    assert parse_item(text) == item


@pytest.mark.parametrize("text", ["", "=2", "tea=two", "tea=-1"])
def test_what_is_no_item_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_item(text)
