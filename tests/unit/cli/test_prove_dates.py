"""Cycles against the calendar: an order for each date, on it, and none on a date that is used up."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from cli.prove.calendar_clauses import (
    Billed,
    BroughtForward,
    StandingOrder,
    billed_again,
    off_calendar,
)

DUE = datetime(2026, 1, 31, 9, tzinfo=UTC)
NEXT_DUE = datetime(2026, 2, 28, 9, tzinfo=UTC)
MONTHLY = {
    "start_date": "2026-01-31",
    "local_time": "09:00",
    "time_zone": "UTC",
    "recurrence": {"monthly": {"every_months": 1, "month_days": [31]}},
    "end": None,
}
TEA = StandingOrder(
    merchant="demo",
    standing_order="tea",
    state="ACTIVE",
    schedule=json.dumps(MONTHLY),
    base_cycle=1,
    first_cycle=1,
    next_cycle=2,
    last_cycle=None,
    erased=False,
    end_time=None,
    cycles=(1,),
    due_times=(DUE,),
)
NOW = DUE + timedelta(days=1)
LATER = NEXT_DUE + timedelta(days=2)


def found(standing_order: StandingOrder, now: datetime = NOW) -> list[str]:
    return [finding.what for finding in off_calendar(standing_order, now)]


def scheduled(**changed: Any) -> StandingOrder:  # noqa: ANN401 - any part of a schedule
    return replace(TEA, schedule=json.dumps({**MONTHLY, **changed}))


@pytest.mark.parametrize(
    ("standing_order", "now"),
    [
        (TEA, NOW),
        # Announced beforehand.
        (replace(TEA, cycles=(1, 2), due_times=(DUE, NEXT_DUE)), NOW),
        # Due just now: services that were away catch up.
        (TEA, NEXT_DUE + timedelta(minutes=59)),
        # Moved after it was announced.
        (replace(TEA, due_times=(None,)), NOW),
        # The rows of what a pause swallows come at its end.
        (replace(TEA, state="PAUSED"), LATER),
        (replace(TEA, state="CANCELLED", end_time=NEXT_DUE - timedelta(days=1)), LATER),
        # Nothing tells when a standing order of an erased customer ended.
        (replace(TEA, state="CANCELLED", end_time=LATER, erased=True), LATER),
        # The customer let the cycle under way be the last.
        (replace(TEA, state="COMPLETED", last_cycle=1), LATER),
        # Another system billed the first one.
        (replace(TEA, first_cycle=2, cycles=(), due_times=()), NOW),
        # Dates that may move are not walked.
        (scheduled(business_days={"rule": "NEXT"}, start_date="2026-01-30"), NOW),
        (scheduled(end={"cycle_count": 1}), LATER),
    ],
    ids=["sound", "announced", "just due", "moved", "paused", "cancelled", "erased", "last cycle",
         "taken over", "business days", "counted out"],
)  # fmt: skip
def test_an_ordinary_history_is_silent(standing_order: StandingOrder, now: datetime) -> None:
    assert found(standing_order, now) == []


@pytest.mark.parametrize(
    ("standing_order", "now", "what"),
    [
        (replace(TEA, cycles=(), due_times=()), NOW, "has no order"),
        (TEA, LATER, "cycle 2 of merchants/demo/standingOrders/tea was due"),
        (replace(TEA, state="CANCELLED", end_time=LATER), LATER, "has no order"),
        (replace(TEA, due_times=(DUE + timedelta(days=1),)), NOW, "the calendar says 2026-01-31"),
        (replace(TEA, cycles=(0, 1), due_times=(DUE, DUE)), NOW, "has no cycle 0"),
    ],
    ids=["missing", "not prepared", "missing before the end", "another date", "no such cycle"],
)
def test_a_cycle_that_is_not_as_the_calendar_has_it_is_found(
    standing_order: StandingOrder, now: datetime, what: str
) -> None:
    [finding] = found(standing_order, now)
    assert what in finding


FORWARD = BroughtForward("demo", "tea", 1, NEXT_DUE, "UTC")
FIRST = Billed("demo", "tea", 1, DUE.date(), date_chosen=False)
SECOND = Billed("demo", "tea", 2, NEXT_DUE.date(), date_chosen=False)


@pytest.mark.parametrize(
    "billed",
    [
        (FIRST,),
        (FIRST, replace(SECOND, local_date=date(2026, 3, 31))),
        # Its customer put it there.
        (FIRST, replace(SECOND, date_chosen=True)),
        (FIRST, replace(SECOND, standing_order="oats")),
    ],
)
def test_a_date_that_is_used_up_once_is_silent(billed: tuple[Billed, ...]) -> None:
    assert billed_again([FORWARD], billed) == []


def test_a_date_that_is_billed_again_is_found() -> None:
    [finding] = billed_again([FORWARD], [FIRST, SECOND])
    assert "is billed again as cycle 2" in finding.what


def test_a_cycle_that_was_moved_before_it_was_brought_forward_uses_up_no_known_date() -> None:
    assert billed_again([replace(FORWARD, due_time=None)], [FIRST, SECOND]) == []


def test_a_date_has_the_zone_of_its_schedule() -> None:
    midnight = replace(FORWARD, due_time=datetime(2026, 2, 27, 23, 30, tzinfo=UTC),
                       time_zone="Europe/Berlin")  # fmt: skip
    assert midnight.nominal_date == NEXT_DUE.date()
