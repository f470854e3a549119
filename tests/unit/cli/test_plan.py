from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from recurring.scheduler.v1.scheduler_pb2 import Order

from cli.demo import plan
from cli.demo.plan import Plan

# A year of beginnings, at a time of day at which the date differs between UTC and Berlin too.
BEGINNINGS = [datetime(2026, 1, 1, 23, 30, tzinfo=UTC) + timedelta(days=day) for day in range(366)]


def berlin(moment: datetime) -> datetime:
    return moment.astimezone(ZoneInfo(plan.ZONE))


def test_the_month_end_comes_back_after_february() -> None:
    dues = Plan(datetime(2026, 1, 10, tzinfo=UTC)).ada_dues()
    assert [berlin(due).date() for due in dues] == [
        date(2026, 1, 31),
        date(2026, 2, 28),
        date(2026, 3, 31),
        date(2026, 4, 30),
        date(2026, 5, 31),
        date(2026, 6, 30),
    ]


def test_everything_is_due_at_nine_in_the_morning_in_berlin() -> None:
    dues = [
        cycle.due_time
        for beginning in BEGINNINGS
        for cycles in Plan(beginning).expected().values()
        for cycle in cycles
    ]
    assert {berlin(due).time() for due in dues} == {plan.DUE_LOCAL_TIME}


def test_whenever_the_story_begins_ada_pays_the_lower_and_the_higher_price() -> None:
    # The lower one with what her code takes off, the higher one in full.
    wanted = {2 * plan.COFFEE_AFTER_DROP_MINOR * 9 // 10, 2 * plan.COFFEE_AFTER_RISE_MINOR}
    assert [
        beginning
        for beginning in BEGINNINGS
        if not wanted <= {cycle.amount_minor for cycle in Plan(beginning).expected()["Ada"]}
    ] == []


def test_whenever_the_story_begins_a_cycle_falls_due_before_the_rise_reaches_subscribers() -> None:
    def is_shown(dates: Plan) -> bool:
        reaches = dates.noon(plan.PRICE_RISE_ANNOUNCE_DAY + plan.INCREASE_NOTICE_DAYS)
        # While her code takes something off.
        dues = dates.ada_dues()[: plan.PROMOTION_CYCLES]
        return any(dates.noon(plan.PRICE_RISE_DAY) < due < reaches for due in dues)

    assert [beginning for beginning in BEGINNINGS if not is_shown(Plan(beginning))] == []


@pytest.mark.parametrize(
    ("first_name", "wanted"),
    [
        ("Ada", {Order.PAID}),
        ("Ben", {Order.PAID, Order.LAPSED, Order.SKIPPED, Order.CANCELLED}),
        ("Cleo", {Order.PAID, Order.SKIPPED}),
        ("Dan", {Order.PAID, Order.SKIPPED}),
    ],
)
def test_whenever_the_story_begins_each_has_all_that_they_are_to_show(
    first_name: str, wanted: set[int]
) -> None:
    assert [
        beginning
        for beginning in BEGINNINGS
        if wanted != {cycle.state for cycle in Plan(beginning).expected()[first_name]}
    ] == []


def test_whenever_the_story_begins_the_last_charge_can_be_tried_again_before_its_end() -> None:
    retry = timedelta(days=1)

    def last_due(dates: Plan) -> datetime:
        return max(cycle.due_time for cycles in dates.expected().values() for cycle in cycles)

    dates = [Plan(beginning) for beginning in BEGINNINGS]
    assert [
        cycle_dates.start
        for cycle_dates in dates
        if last_due(cycle_dates) + retry >= cycle_dates.end
    ] == []
