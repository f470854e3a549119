"""When a declined charge is tried again, by the policy of its merchant."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.payments.domain.charges import Charge, settle
from services.payments.domain.consent import RefusalReason
from services.payments.domain.decisions import decide
from services.payments.domain.declines import MethodUse
from services.payments.domain.dunning import (
    PUBLISHED_DAYS,
    STANDARD,
    DunningPolicy,
    RetrySchedule,
)
from services.payments.domain.keys import PaymentMethodId
from services.payments.domain.outcomes import Declined
from services.payments.domain.transitions import ChargeState
from tests.unit.payments.strategies import CHARGE, MANDATE, NOTICE, NOW, VISA

DAY = timedelta(days=1)
SOFT = Declined("insufficient_funds", hard=False)
LOST = Declined("lost_card", hard=True)
REVOKED = Declined("revocation_of_authorization", hard=True)
SPARE = PaymentMethodId("spare")
PATIENT = replace(STANDARD, awaits_new_method=True)
BERLIN = "Europe/Berlin"

zones = st.sampled_from([BERLIN, "Asia/Kathmandu", "America/St_Johns", "Pacific/Apia", "UTC"])
policies = st.builds(
    DunningPolicy,
    st.just(STANDARD.merchant),
    st.just(RetrySchedule.CUSTOM),
    st.lists(st.integers(1, 60), max_size=10).map(tuple),
    st.none() | st.integers(0, 23),
    st.sets(st.integers(1, 7), max_size=7).map(sorted).map(tuple),
)
moments = st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis adds the zone


def in_flight(charge: Charge = CHARGE) -> Charge:
    return charge._replace(
        state=ChargeState.IN_FLIGHT, attempt_count=1, next_attempt_time=None, payment_method=VISA
    )


@given(policies, zones, moments)
def test_a_retry_keeps_to_the_hour_the_weekdays_and_the_delay(
    policy: DunningPolicy, zone: str, now: datetime
) -> None:
    for step, days in enumerate(policy.retry_days):
        moment = policy.retry_time(step, zone, now)
        assert moment is not None
        assert timedelta(days=days - 1) <= moment - now <= timedelta(days=days + 7, hours=2)
        assert moment > now
        local = moment.astimezone(ZoneInfo(zone))
        assert not policy.weekdays or local.isoweekday() in policy.weekdays
    assert policy.retry_time(len(policy.retry_days), zone, now) is None


def test_a_retry_comes_at_the_hour_of_the_customer_on_both_sides_of_a_clock_change() -> None:
    at_nine = replace(STANDARD, retry_hour=9, weekdays=(1, 2, 3, 4, 5))
    saturday = datetime(2026, 3, 27, 20, 30, tzinfo=UTC)
    assert at_nine.retry_time(0, BERLIN, saturday) == datetime(2026, 3, 30, 7, tzinfo=UTC)
    winter = datetime(2026, 1, 13, 20, 30, tzinfo=UTC)
    assert at_nine.retry_time(0, BERLIN, winter) == datetime(2026, 1, 14, 8, tzinfo=UTC)


@pytest.mark.parametrize("schedule", sorted(PUBLISHED_DAYS))
def test_a_published_schedule_is_followed_to_its_end(schedule: RetrySchedule) -> None:
    days = PUBLISHED_DAYS[schedule]
    policy = replace(STANDARD, schedule=schedule, retry_days=days)
    charge, now, waited = CHARGE, NOW, []
    while (charge := settle(in_flight(charge), SOFT, now, policy)).next_attempt_time is not None:
        waited.append((charge.next_attempt_time - now).days)
        now = charge.next_attempt_time
    assert tuple(waited) == days
    assert charge.state is ChargeState.ABANDONED


def test_a_policy_without_retries_ends_with_the_first_decline() -> None:
    none = replace(STANDARD, schedule=RetrySchedule.CUSTOM, retry_days=())
    assert settle(in_flight(), SOFT, NOW, none).state is ChargeState.ABANDONED


@pytest.mark.parametrize("outcome", [SOFT, LOST])
def test_a_fallback_is_tried_at_once_and_takes_no_retry(outcome: Declined) -> None:
    charge = settle(in_flight(), outcome, NOW, STANDARD, SPARE)
    assert (charge.next_attempt_time, charge.fallback_method, charge.retry_count) == (NOW, SPARE, 0)


def test_a_policy_without_fallbacks_tries_none() -> None:
    own = replace(STANDARD, uses_fallbacks=False)
    assert settle(in_flight(), LOST, NOW, own, SPARE).state is ChargeState.ABANDONED


@pytest.mark.parametrize("policy", [STANDARD, PATIENT])
def test_nothing_follows_when_the_permission_was_ended(policy: DunningPolicy) -> None:
    assert settle(in_flight(), REVOKED, NOW, policy, SPARE).state is ChargeState.ABANDONED


def test_a_charge_waits_for_another_method_and_makes_no_attempt_with_the_dead_one() -> None:
    charge = settle(in_flight(), LOST, NOW, PATIENT)
    assert charge.next_attempt_time == NOW + DAY
    dead = MethodUse(blocked=True)
    later = decide(charge, NOTICE, MANDATE, 0, NOW + DAY, dead, policy=PATIENT)
    assert (later.next_attempt_time, later.attempt_count) == (NOW + 4 * DAY, 1)
    mended = replace(MANDATE, payment_method=SPARE)
    begun = decide(later, NOTICE, mended, 0, NOW + 4 * DAY, policy=PATIENT)
    assert (begun.state, begun.payment_method) == (ChargeState.IN_FLIGHT, SPARE)


def test_a_card_whose_issuer_wants_its_holder_is_not_tried_again_without_them() -> None:
    asked = Declined("authentication_required", hard=True)
    charge = settle(in_flight(), asked, NOW, PATIENT)
    later = decide(charge, NOTICE, MANDATE, 0, NOW + DAY, policy=PATIENT)
    assert (later.state, later.attempt_count) == (ChargeState.SCHEDULED, 1)


def test_a_charge_that_waits_for_another_method_ends_with_the_last_retry() -> None:
    charge = settle(in_flight(), LOST, NOW, PATIENT)
    while charge.next_attempt_time is not None:
        now = charge.next_attempt_time
        charge = decide(charge, NOTICE, MANDATE, 0, now, MethodUse(blocked=True), policy=PATIENT)
    assert (charge.state, charge.attempt_count) == (ChargeState.ABANDONED, 1)


def test_a_patient_policy_does_not_outlive_the_mandate() -> None:
    charge = settle(in_flight(), LOST, NOW, PATIENT)
    revoked = replace(MANDATE, revoke_time=NOW)
    dead = MethodUse(blocked=True)
    refused = decide(charge, NOTICE, revoked, 0, NOW + DAY, dead, policy=PATIENT)
    assert refused.refusal_reasons == (
        RefusalReason.MANDATE_REVOKED,
        RefusalReason.PAYMENT_METHOD_BLOCKED,
    )
