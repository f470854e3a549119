"""Every calendar goes over the wire, as fields and as a rule, and what means nothing is refused."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from google.type import dayofweek_pb2, timeofday_pb2
from recurring.scheduler.v1 import scheduler_pb2 as pb

from services.runtime.rpc.conversions import to_date
from tests.contract.scheduler.shop import Shop, schedule
from tests.suite import refused

DAY = timedelta(days=1)
START = date(2031, 1, 15)
Rule = pb.Schedule


def blackout(first: date, last: date) -> pb.Schedule.Blackout:
    return Rule.Blackout(start_date=to_date(first), end_date=to_date(last))


def nth(number: int, weekday: dayofweek_pb2.DayOfWeek) -> pb.Schedule.NthWeekday:
    return Rule.NthWeekday(nth=number, weekday=weekday)


# What is asked for, its first three dates, and the same as a rule.
CALENDARS: dict[str, tuple[dict[str, Any], list[str], str]] = {
    "every tenth day": (
        {"daily": Rule.Daily(every_days=10)},
        ["2031-01-15", "2031-01-25", "2031-02-04"],
        "DTSTART:20310115T120000Z\nRRULE:FREQ=DAILY;INTERVAL=10",
    ),
    "every second week on Monday and Friday": (
        {
            "weekly": Rule.Weekly(
                every_weeks=2, weekdays=[dayofweek_pb2.MONDAY, dayofweek_pb2.FRIDAY]
            )
        },
        ["2031-01-17", "2031-01-27", "2031-01-31"],
        "DTSTART:20310117T120000Z\nRRULE:FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,FR",
    ),
    "the last day of the month": (
        {"monthly": Rule.Monthly(every_months=1, month_days=[-1])},
        ["2031-01-31", "2031-02-28", "2031-03-31"],
        "DTSTART:20310131T120000Z\nRRULE:FREQ=MONTHLY;BYMONTHDAY=-1",
    ),
    "the 31st, or the last day where there is none": (
        {"monthly": Rule.Monthly(every_months=1, month_days=[31])},
        ["2031-01-31", "2031-02-28", "2031-03-31"],
        "DTSTART:20310131T120000Z\nRRULE:FREQ=MONTHLY;BYMONTHDAY=31;RSCALE=GREGORIAN;SKIP=BACKWARD",
    ),
    "the second Tuesday and the last Friday": (
        {
            "monthly": Rule.Monthly(
                every_months=1,
                nth_weekdays=[nth(-1, dayofweek_pb2.FRIDAY), nth(2, dayofweek_pb2.TUESDAY)],
            )
        },
        ["2031-01-31", "2031-02-11", "2031-02-28"],
        "DTSTART:20310131T120000Z\nRRULE:FREQ=MONTHLY;BYDAY=-1FR,2TU",
    ),
    "a leap day": (
        {"yearly": Rule.Yearly(every_years=1, month=2, month_day=29)},
        ["2031-02-28", "2032-02-29", "2033-02-28"],
        (
            "DTSTART:20310228T120000Z\n"
            "RRULE:FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29;RSCALE=GREGORIAN;SKIP=BACKWARD"
        ),
    ),
    "two cycles": (
        {"daily": Rule.Daily(every_days=1), "cycle_count": 2},
        ["2031-01-15", "2031-01-16"],
        "DTSTART:20310115T120000Z\nRRULE:FREQ=DAILY;COUNT=2",
    ),
    "until a date": (
        {"daily": Rule.Daily(every_days=1), "end_date": to_date(START + DAY)},
        ["2031-01-15", "2031-01-16"],
        "DTSTART:20310115T120000Z\nRRULE:FREQ=DAILY;UNTIL=20310116T120000Z",
    ),
    "around a blackout": (
        {
            "daily": Rule.Daily(every_days=1),
            "blackouts": [blackout(START + DAY, START + 2 * DAY)],
            "blackout_rule": Rule.SKIP,
        },
        ["2031-01-15", "2031-01-18", "2031-01-19"],
        "DTSTART:20310115T120000Z\nRRULE:FREQ=DAILY",
    ),
    "after a blackout": (
        {
            "daily": Rule.Daily(every_days=7),
            "blackouts": [blackout(START, START + 2 * DAY)],
            "blackout_rule": Rule.MOVE_TO_NEXT_ALLOWED,
        },
        ["2031-01-18", "2031-01-22", "2031-01-29"],
        "DTSTART:20310115T120000Z\nRRULE:FREQ=DAILY;INTERVAL=7",
    ),
    "on business days in Bavaria": (
        {
            "monthly": Rule.Monthly(every_months=1, month_days=[1]),
            "business_days": Rule.BusinessDays(
                rule=Rule.BusinessDays.NEXT, country="DE", subdivision="BY"
            ),
        },
        # 1 and 2 February and March 2031 are a weekend.
        ["2031-02-03", "2031-03-03", "2031-04-01"],
        "DTSTART:20310201T120000Z\nRRULE:FREQ=MONTHLY;BYMONTHDAY=1",
    ),
}


@pytest.mark.parametrize("name", CALENDARS)
async def test_a_calendar_comes_back_as_it_was_given_and_as_a_rule(shop: Shop, name: str) -> None:
    fields, dates, rule = CALENDARS[name]
    given = schedule(START, **fields)
    made = await shop.create(given)
    assert made.schedule.rrule == rule
    made.schedule.ClearField("rrule")
    assert made.schedule == given
    previewed = [day.isoformat() for day in await shop.dates(made.name, 6)]
    assert previewed[:3] == dates


@pytest.mark.parametrize("name", CALENDARS)
async def test_a_rule_gives_the_dates_of_its_fields(shop: Shop, name: str) -> None:
    fields, dates, rule = CALENDARS[name]
    beside = {
        k: v for k, v in fields.items() if k in {"blackouts", "blackout_rule", "business_days"}
    }
    made = await shop.create(pb.Schedule(rrule=rule, **beside))
    assert made.schedule.rrule == rule
    assert [day.isoformat() for day in await shop.dates(made.name, 6)][:3] == dates


async def test_zone_data_are_the_locked_ones(shop: Shop) -> None:
    # British Columbia keeps daylight time from 2026 on; data before 2026b say 18:00Z.
    ten = timeofday_pb2.TimeOfDay(hours=10)
    daily = Rule.Daily(every_days=1)
    made = await shop.create(
        Rule(start_date=to_date(START), local_time=ten, time_zone="America/Vancouver", daily=daily)
    )
    request = pb.PreviewCyclesRequest(name=made.name, cycle_count=1)
    [first] = (await shop.scheduler.PreviewCycles(request)).cycles
    assert first.due_time.ToDatetime(UTC) == datetime(2031, 1, 15, 17, tzinfo=UTC)


async def test_a_rule_keeps_its_zone_and_local_time(shop: Shop) -> None:
    rule = "DTSTART;TZID=Europe/Berlin:20310328T023000\nRRULE:FREQ=DAILY;COUNT=4"
    made = await shop.create(pb.Schedule(rrule=rule))
    assert made.schedule.time_zone == "Europe/Berlin"
    assert made.schedule.local_time == timeofday_pb2.TimeOfDay(hours=2, minutes=30)
    # 02:30 does not exist on 30 March 2031 and is read with the offset before: 01:30 UTC.
    due = [cycle.due_time.ToJsonString() for cycle in await shop.preview(made.name)]
    assert due == [
        "2031-03-28T01:30:00Z",
        "2031-03-29T01:30:00Z",
        "2031-03-30T01:30:00Z",
        "2031-03-31T00:30:00Z",
    ]


ENDLESS = {"daily": Rule.Daily(every_days=1)}
MEANINGLESS: dict[str, tuple[pb.Schedule, str, str]] = {
    "day 32": (
        schedule(START, monthly=Rule.Monthly(every_months=1, month_days=[32])),
        "monthly.month_days[0]",
        "NO_SUCH_DATE",
    ),
    "a sixth Monday": (
        schedule(
            START,
            monthly=Rule.Monthly(every_months=1, nth_weekdays=[nth(6, dayofweek_pb2.MONDAY)]),
        ),
        "monthly.nth_weekdays[0].nth",
        "NO_SUCH_DATE",
    ),
    "days and weekdays at once": (
        schedule(
            START,
            monthly=Rule.Monthly(
                every_months=1, month_days=[1], nth_weekdays=[nth(1, dayofweek_pb2.MONDAY)]
            ),
        ),
        "monthly.nth_weekdays",
        "AMBIGUOUS",
    ),
    "30 February": (
        schedule(START, yearly=Rule.Yearly(every_years=1, month=2, month_day=30)),
        "yearly.month_day",
        "NO_SUCH_DATE",
    ),
    "every 0 days": (schedule(START, daily=Rule.Daily()), "daily.every_days", "OUT_OF_RANGE"),
    "an end before the start": (
        schedule(START, end_date=to_date(START - DAY), **ENDLESS),
        "end_date",
        "END_BEFORE_START",
    ),
    "no cycle at all": (
        schedule(
            START,
            monthly=Rule.Monthly(every_months=1, month_days=[31]),
            end_date=to_date(START + DAY),
        ),
        "recurrence",
        "NEVER_FIRES",
    ),
    "nothing but blackouts": (
        schedule(START, cycle_count=2, blackouts=[blackout(START, START + DAY)], **ENDLESS),
        "blackouts",
        "NEVER_FIRES",
    ),
    "a blackout that ends before it begins": (
        schedule(START, blackouts=[blackout(START, START - DAY)], **ENDLESS),
        "blackouts[0].end_date",
        "END_BEFORE_START",
    ),
    "too many blackouts": (
        schedule(
            START,
            blackouts=[blackout(START + n * DAY, START + n * DAY) for n in range(101)],
            **ENDLESS,
        ),
        "blackouts",
        "TOO_MANY",
    ),
    "holidays of no country": (
        schedule(
            START,
            business_days=Rule.BusinessDays(rule=Rule.BusinessDays.NEXT, country="XX"),
            **ENDLESS,
        ),
        "business_days.country",
        "HOLIDAY_CALENDAR_UNKNOWN",
    ),
    "holidays of no part of a country": (
        schedule(
            START,
            business_days=Rule.BusinessDays(
                rule=Rule.BusinessDays.NEXT, country="DE", subdivision="ZZ"
            ),
            **ENDLESS,
        ),
        "business_days.subdivision",
        "HOLIDAY_CALENDAR_UNKNOWN",
    ),
    "a rule beside fields": (
        schedule(START, rrule="DTSTART:20310115T120000Z\nRRULE:FREQ=DAILY"),
        "rrule",
        "FIELD_INVALID",
    ),
    "no rule at all": (pb.Schedule(rrule="every day"), "rrule", "RRULE_MALFORMED"),
    "a rule by the hour": (
        pb.Schedule(rrule="DTSTART:20310115T120000Z\nRRULE:FREQ=HOURLY"),
        "rrule",
        "MORE_OFTEN_THAN_DAILY",
    ),
    "a rule by the position in a set": (
        pb.Schedule(rrule="DTSTART:20310115T120000Z\nRRULE:FREQ=MONTHLY;BYDAY=MO,TU;BYSETPOS=1"),
        "rrule",
        "RRULE_UNSUPPORTED",
    ),
    "a rule in no zone": (
        pb.Schedule(rrule="DTSTART;TZID=Mars/Base:20310115T120000\nRRULE:FREQ=DAILY"),
        "rrule",
        "TIME_ZONE_UNKNOWN",
    ),
    "a rule that began in the past": (
        pb.Schedule(rrule="DTSTART:20200115T120000Z\nRRULE:FREQ=DAILY"),
        "start_date",
        "START_DATE_PAST",
    ),
}


@pytest.mark.parametrize("name", MEANINGLESS)
async def test_what_means_nothing_is_refused_by_its_field(shop: Shop, name: str) -> None:
    given, field, reason = MEANINGLESS[name]
    refusal = await refused(shop.create(given))
    assert (refusal.code, refusal.reason) == ("INVALID_ARGUMENT", reason)
    assert refusal.fields == {f"standing_order.schedule.{field}": reason}
