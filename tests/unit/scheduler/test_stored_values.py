"""Values that are stored as JSON come back as they were."""

import json
from datetime import UTC, date, datetime

import pytest
from hypothesis import given

from services.runtime.db.pool import to_json
from services.scheduler.domain.order import Adjustment, Item, Line, line_of
from services.scheduler.domain.schedule import Schedule
from services.scheduler.domain.standing_order import CycleChange, KeptDate
from services.scheduler.store import items, schedules
from tests.unit.scheduler.strategies import adjusted


@given(adjusted())
def test_a_schedule_comes_back_as_it_was_stored(schedule: Schedule) -> None:
    assert schedules.load(schedules.dump(schedule)) == schedule


@pytest.mark.parametrize(
    "change",
    [
        CycleChange(skip=True),
        CycleChange(local_date=date(2027, 1, 31), items=(Item("tea", 2), Item("milk", 1))),
        CycleChange(ship_to=b"\x00\xff", region_code="DE"),
        CycleChange(order_now_time=datetime(2027, 1, 31, 9, 30, tzinfo=UTC)),
        CycleChange(kept_date=KeptDate(date(2027, 1, 31), date(2027, 2, 1))),
    ],
)
def test_a_change_of_a_cycle_comes_back_as_it_was_stored(change: CycleChange) -> None:
    stored = json.loads(items.dump_changes({7: change}))
    assert {cycle: items.load_change(data) for cycle, data in stored.items()} == {"7": change}


def test_a_line_comes_back_with_its_adjustments_as_it_was_stored() -> None:
    adjustments = (Adjustment("PROTECTION", -50, "spring"), Adjustment("TIER", -20))
    line = Line(
        "tea", "Tea", 2, 430, 860, "summer", 465, 930, "summer", adjustments, (("milk", "Milk"),)
    )
    assert line_of(json.loads(to_json(line._asdict()))) == line
