"""What a policy would have brought, as far as history says so."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from services.payments.domain.dunning import STANDARD, DunningPolicy
from services.payments.domain.dunning_replay import DeclinedCharge, RetryOutcome, replay, retries_of

NOW = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
DECLINED, RECOVERED, UNKNOWN = RetryOutcome
DAYS_1_3_5 = STANDARD


def charge(*days: int, paid: bool = False, code: str = "insufficient_funds") -> DeclinedCharge:
    """Tried on these days after the first decline too, the last time with success if it was paid."""
    times = [NOW + timedelta(days=day) for day in (0, *days)]
    succeeded = [False] * len(times)
    succeeded[-1] = paid
    return DeclinedCharge(1000, "EUR", "Europe/Berlin", code, times, succeeded)


def outcomes(declined: DeclinedCharge, policy: DunningPolicy) -> list[RetryOutcome]:
    return [outcome for _, outcome in retries_of(declined, policy)]


def test_the_policy_of_history_brings_what_history_brought() -> None:
    assert outcomes(charge(1, 4, paid=True), DAYS_1_3_5) == [DECLINED, RECOVERED]
    assert outcomes(charge(1, 4, 9), DAYS_1_3_5) == [DECLINED, DECLINED, DECLINED]


def test_a_later_retry_finds_the_money_that_came_and_an_earlier_one_does_not() -> None:
    weekly = replace(STANDARD, retry_days=(7, 7, 7))
    assert outcomes(charge(1, 4, paid=True), weekly) == [RECOVERED]
    daily = replace(STANDARD, retry_days=(1, 1))
    assert outcomes(charge(1, 4, paid=True), daily) == [DECLINED, DECLINED]


def test_what_was_never_tried_so_late_is_not_known() -> None:
    kill_bill = replace(STANDARD, retry_days=(8, 8, 8))
    assert outcomes(charge(1, 4, 9), kill_bill) == [DECLINED, UNKNOWN]


def test_a_card_that_is_gone_is_tried_again_only_by_a_policy_that_waits() -> None:
    lost = charge(1, paid=True, code="lost_card")
    assert outcomes(lost, STANDARD) == []
    assert outcomes(lost, replace(STANDARD, awaits_new_method=True)) == [RECOVERED]
    ended = charge(1, paid=True, code="revocation_of_authorization")
    assert outcomes(ended, replace(STANDARD, awaits_new_method=True)) == []


def test_the_next_method_at_once_counts_only_for_a_policy_that_uses_it() -> None:
    at_once = charge(0, paid=True, code="lost_card")
    assert list(retries_of(at_once, STANDARD)) == [(0, RECOVERED)]
    assert outcomes(at_once, replace(STANDARD, uses_fallbacks=False)) == []


@given(
    st.lists(
        st.builds(
            lambda days, paid: charge(*sorted(days), paid=paid and bool(days)),
            st.sets(st.integers(1, 40), max_size=5),
            st.booleans(),
        ),
        max_size=20,
    ),
    st.lists(st.integers(1, 20), max_size=5).map(tuple),
)
def test_no_replay_recovers_what_was_never_paid(
    charges: list[DeclinedCharge], days: tuple[int, ...]
) -> None:
    result = replay(charges, replace(STANDARD, retry_days=days))
    assert result.recovered.charge_count <= result.recovered_in_fact.charge_count
    known = result.recovered.charge_count + result.unknown.charge_count
    assert known <= result.declined.charge_count == len(charges)
