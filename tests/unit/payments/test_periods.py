"""Months and days whose charges count together, by the dates of a customer's zone."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.payments.domain.periods import days_around, days_until, month_of
from services.runtime.time_zones import zone

ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/Havana",
    "America/Sao_Paulo",
    "Pacific/Apia",
    "Asia/Kolkata",
]
zones = st.sampled_from(ZONES)
moments = st.datetimes(datetime(1990, 1, 1), datetime(9999, 12, 30), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis adds the zone
days = st.integers(1, 366)


@given(moments, zones)
def test_an_instant_is_in_the_month_that_its_local_date_says(moment: datetime, where: str) -> None:
    period = month_of(moment, where)
    assert period.has(moment)
    assert period.first.astimezone(zone(where)).day == 1
    before, last = period.first - timedelta.resolution, period.following - timedelta.resolution
    month = moment.astimezone(zone(where)).month
    assert before.astimezone(zone(where)).month != month
    assert last.astimezone(zone(where)).month == month


@given(moments, moments, days, zones)
def test_days_count_together_that_are_less_than_so_many_apart(
    earlier: datetime, later: datetime, count: int, where: str
) -> None:
    dates = [moment.astimezone(zone(where)).date() for moment in (earlier, later)]
    apart = (dates[1] - dates[0]).days
    assert days_until(later, count, where).has(earlier) is (0 <= apart < count)
    assert days_around(later, count, where).has(earlier) is (abs(apart) < count)


def test_what_is_charged_at_the_same_hour_every_so_many_days_never_meets_itself() -> None:
    charged = datetime(2026, 3, 1, 8, 0, 5, tzinfo=UTC)
    assert not days_until(charged + timedelta(days=30, seconds=-5), 30, "Europe/Berlin").has(
        charged
    )


@pytest.mark.parametrize("where", ["UTC", "America/New_York", "Asia/Tokyo"])
def test_the_last_month_of_all_has_an_end(where: str) -> None:
    end = month_of(datetime(9999, 12, 20, tzinfo=UTC), where).following
    assert end >= datetime(9999, 12, 31, 15, tzinfo=UTC)
