"""Dates that are far away: refused by field and rule, or sound to compute with."""

from datetime import date, timedelta

import pytest
from recurring.scheduler.v1 import scheduler_pb2 as pb

from services.runtime.rpc.conversions import to_date, to_timestamp
from tests.contract.scheduler.shop import Shop, daily, day_of, schedule
from tests.suite import refused

DAY = timedelta(days=1)
FAR = [date(1, 1, 1), date(1969, 12, 31), date(2101, 1, 1), date(9999, 12, 31)]


@pytest.mark.parametrize("day", FAR)
async def test_a_cycle_is_not_moved_beyond_the_calendar(shop: Shop, day: date) -> None:
    made = await shop.create(daily(await shop.today() + 5 * DAY, cycle_count=1))
    refusal = await refused(shop.change(made.name, 1, local_date=to_date(day)))
    assert (refusal.code, refusal.fields) == (
        "INVALID_ARGUMENT",
        {"change.local_date": "OUT_OF_RANGE"},
    )


async def test_the_last_cycle_moved_to_the_last_day_of_the_calendar_can_be_looked_at(
    shop: Shop,
) -> None:
    made = await shop.create(daily(await shop.today() + 5 * DAY, cycle_count=1))
    await shop.change(made.name, 1, local_date=to_date(date(2100, 12, 31)))
    [cycle] = await shop.preview(made.name)
    assert day_of(cycle.local_date) == date(2100, 12, 31)
    await shop.scheduler.ForecastDemand(pb.ForecastDemandRequest(parent=shop.name))


@pytest.mark.parametrize("day", FAR)
async def test_an_anchor_beyond_the_calendar_is_refused(shop: Shop, day: date) -> None:
    made = await shop.create(daily(await shop.today() + 5 * DAY))
    await shop.pause(made.name)
    refusal = await refused(shop.resume(made.name, anchor_date=to_date(day)))
    assert (refusal.code, [*refusal.fields]) == ("INVALID_ARGUMENT", ["anchor_date"])


async def test_an_anchor_after_the_end_of_the_schedule_is_refused(shop: Shop) -> None:
    ending = await shop.today() + 9 * DAY
    made = await shop.create(daily(await shop.today() + 5 * DAY, end_date=to_date(ending)))
    await shop.pause(made.name)
    refusal = await refused(shop.resume(made.name, anchor_date=to_date(ending + DAY)))
    assert refusal.fields == {"anchor_date": "END_BEFORE_START"}
    going_on = await shop.resume(made.name, anchor_date=to_date(ending))
    assert going_on.state == pb.StandingOrder.ACTIVE
    assert await shop.dates(made.name) == [ending]


async def test_an_anchor_from_which_no_date_is_left_is_refused(shop: Shop) -> None:
    start = await shop.today() + 5 * DAY
    weekly = pb.Schedule.Weekly(every_weeks=1, weekdays=[start.isoweekday()])
    made = await shop.create(schedule(start, weekly=weekly, end_date=to_date(start + 8 * DAY)))
    await shop.pause(made.name)
    refusal = await refused(shop.resume(made.name, anchor_date=to_date(start + 8 * DAY)))
    assert refusal.fields == {"anchor_date": "NEVER_FIRES"}


@pytest.mark.parametrize("field", ["start_date", "end_date"])
@pytest.mark.parametrize("day", FAR)
async def test_a_forecast_beyond_the_calendar_is_refused(shop: Shop, field: str, day: date) -> None:
    request = pb.ForecastDemandRequest(parent=shop.name, **{field: to_date(day)})
    refusal = await refused(shop.scheduler.ForecastDemand(request))
    assert (refusal.code, [*refusal.fields]) == ("INVALID_ARGUMENT", [field])


async def test_a_pause_until_a_time_beyond_the_calendar_is_refused(shop: Shop) -> None:
    made = await shop.create(daily(await shop.today() + 5 * DAY))
    far = to_timestamp(await shop.now())
    far.seconds = 253_402_300_799
    refusal = await refused(shop.pause(made.name, until_time=far))
    assert refusal.fields == {"until_time": "FIELD_INVALID"}
