"""Mandates: where one stands, and which days count against its ceiling."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.payments.domain.consent import PauseReason
from tests.unit.payments.strategies import MANDATE, NOTICE, NOW

DAY = timedelta(days=1)
PAUSED = {"pause_time": NOW, "pause_reason": PauseReason.REQUESTED}


@pytest.mark.parametrize(
    ("facts", "state"),
    [
        ({}, "ACTIVE"),
        ({"valid_from_time": NOW + DAY}, "ACTIVE"),
        ({"is_pending": True}, "PENDING"),
        (PAUSED, "PAUSED"),
        ({"valid_until_time": NOW + DAY}, "ACTIVE"),
        ({"valid_until_time": NOW}, "EXPIRED"),
        (PAUSED | {"valid_until_time": NOW}, "EXPIRED"),
        ({"is_pending": True, "valid_until_time": NOW}, "EXPIRED"),
        ({"lapse_time": NOW}, "LAPSED"),
        (PAUSED | {"lapse_time": NOW, "valid_until_time": NOW}, "LAPSED"),
        ({"revoke_time": NOW}, "REVOKED"),
        (PAUSED | {"revoke_time": NOW, "lapse_time": NOW}, "REVOKED"),
    ],
)
def test_a_mandate_stands_where_the_last_word_left_it(facts: dict[str, Any], state: str) -> None:
    assert replace(MANDATE, **facts).state(NOW) == state


def test_a_lead_counts_from_when_the_notice_was_delivered() -> None:
    promised = replace(MANDATE, lead_seconds=3600)
    assert promised.notice_over_time(NOTICE) == NOTICE.deliver_time + timedelta(hours=1)


def test_rolling_days_reach_as_far_ahead_as_back_in_the_zone_of_the_mandate() -> None:
    rolling = replace(MANDATE, period_ceiling_minor=1, period_days=3, time_zone="Asia/Tokyo")
    period = rolling.period(datetime(2026, 1, 31, 16, tzinfo=UTC))
    assert period.first == datetime(2026, 1, 29, 15, tzinfo=UTC)
    assert period.following == datetime(2026, 2, 3, 15, tzinfo=UTC)
    assert rolling.planned_period(NOW).following == datetime(2026, 1, 31, 15, tzinfo=UTC)


def test_a_month_is_that_of_the_zone_of_the_mandate() -> None:
    monthly = replace(MANDATE, period_ceiling_minor=1, time_zone="Asia/Tokyo")
    period = monthly.period(datetime(2026, 1, 31, 16, tzinfo=UTC))
    assert period.first == datetime(2026, 1, 31, 15, tzinfo=UTC)
