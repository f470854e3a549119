"""What of an amendment lets a customer be charged more, or with less notice."""

from datetime import timedelta
from typing import Any

import pytest

from services.payments.domain.amendments import Terms, widened_fields
from tests.unit.payments.strategies import NOW

DAY = timedelta(days=1)
TERMS = Terms(1000, 3000, 30, "Europe/Berlin", NOW, ("coffee", "tea"), 3600)


@pytest.mark.parametrize(
    ("changes", "widened"),
    [
        ({"charge_ceiling_minor": 999}, []),
        ({"charge_ceiling_minor": 1001}, ["charge_ceiling"]),
        ({"period_ceiling_minor": 2999}, []),
        ({"period_ceiling_minor": 3001}, ["period_ceiling"]),
        ({"period_ceiling_minor": None, "period_days": None}, ["period_ceiling"]),
        ({"period_days": 31}, []),
        ({"period_days": 29}, ["period_ceiling"]),
        ({"period_days": None}, ["period_ceiling"]),
        ({"time_zone": "UTC"}, ["period_ceiling"]),
        ({"valid_until_time": NOW - DAY}, []),
        ({"valid_until_time": NOW + DAY}, ["valid_until_time"]),
        ({"valid_until_time": None}, ["valid_until_time"]),
        ({"standing_orders": ("tea",)}, []),
        ({"standing_orders": ("milk", "tea")}, ["standing_orders"]),
        ({"standing_orders": ()}, ["standing_orders"]),
        ({"lead_seconds": 3601}, []),
        ({"lead_seconds": 3599}, ["lead"]),
        ({"charge_ceiling_minor": 1001, "lead_seconds": 0}, ["charge_ceiling", "lead"]),
    ],
)
def test_what_allows_more_is_widened(changes: dict[str, Any], widened: list[str]) -> None:
    assert widened_fields(TERMS, TERMS._replace(**changes)) == widened


def test_nothing_is_widened_where_there_was_no_limit_to_it() -> None:
    limited: dict[str, Any] = {"valid_until_time": None, "standing_orders": (), "lead_seconds": 0}
    before = TERMS._replace(period_ceiling_minor=None, period_days=None, **limited)
    assert widened_fields(before, TERMS) == []
