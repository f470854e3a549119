"""Tests of the state machines of charges, attempts and refunds."""

from hypothesis import given
from hypothesis import strategies as st

from services.payments.domain.charges import (
    AbandonReason,
    Charge,
    abandon,
    begin_attempt,
    confirm_request,
    settle,
)
from services.payments.domain.decisions import decide
from services.payments.domain.outcomes import Declined, NotMade, Succeeded
from services.payments.domain.transitions import (
    ATTEMPT,
    CHARGE,
    OPEN_ATTEMPTS,
    REFUND,
    AttemptEvent,
    AttemptState,
    ChargeEvent,
    ChargeState,
    MandateEvent,
    MandateState,
    RefundEvent,
    RefundState,
)
from services.payments.domain.transitions import (
    MANDATE as MANDATE_TABLE,
)
from tests.unit.payments.strategies import MANDATE, NOTICE, NOW, VISA, charges

OUTCOMES = st.one_of(
    st.just(Succeeded("pi_1")),
    st.builds(Declined, st.just("insufficient_funds"), hard=st.booleans()),
    st.just(NotMade()),
)


@given(st.lists(st.sampled_from(ChargeEvent)))
def test_a_charge_succeeds_once_and_only_by_an_attempt_or_by_credit(
    events: list[ChargeEvent],
) -> None:
    state, attempts, successes, by_credit = ChargeState.SCHEDULED, 0, 0, 0
    for event in events:
        if state in CHARGE.sources(event):
            state = CHARGE.to(state, event)
            attempts += event is ChargeEvent.ATTEMPT
            successes += event is ChargeEvent.SUCCEED
            by_credit += event is ChargeEvent.PAY_BY_CREDIT
    assert successes + by_credit == (state is ChargeState.SUCCEEDED)
    assert attempts >= successes


@given(st.lists(st.sampled_from(MandateEvent)))
def test_a_mandate_is_never_charged_again_once_it_was_revoked(events: list[MandateEvent]) -> None:
    state = MandateState.PENDING
    for event in events:
        if state in MANDATE_TABLE.sources(event):
            state = MANDATE_TABLE.to(state, event)
    assert (state is MandateState.REVOKED) == (MandateEvent.REVOKE in events)


def test_a_charge_ends_in_three_states() -> None:
    terminal = {state for state in ChargeState if CHARGE.is_terminal(state)}
    assert terminal == {ChargeState.SUCCEEDED, ChargeState.REFUSED, ChargeState.ABANDONED}


@given(st.lists(st.sampled_from(AttemptEvent), min_size=1))
def test_the_first_outcome_of_an_attempt_stays(events: list[AttemptEvent]) -> None:
    state, outcomes = AttemptState.UNKNOWN, 0
    for event in events:
        if state in ATTEMPT.sources(event):
            state = ATTEMPT.to(state, event)
            outcomes += event not in {AttemptEvent.SUBMIT, AttemptEvent.ASK}
    assert outcomes == (state not in OPEN_ATTEMPTS)


def test_an_attempt_that_the_provider_has_was_made() -> None:
    made = {AttemptState.PENDING, AttemptState.REQUIRES_ACTION}
    assert made.isdisjoint(ATTEMPT.sources(AttemptEvent.CLOSE))


@given(st.lists(st.sampled_from(RefundEvent), min_size=1))
def test_a_refund_fails_for_good_and_succeeds_until_it_comes_back(
    events: list[RefundEvent],
) -> None:
    state = RefundState.PENDING
    for event in events:
        if state in REFUND.sources(event):
            state = REFUND.to(state, event)
    failed = RefundEvent.FAIL in events
    assert state is (RefundState.FAILED if failed else RefundState.SUCCEEDED)


@given(charges, st.lists(OUTCOMES, max_size=8), st.data())
def test_a_charge_goes_from_state_to_state_as_the_table_says(
    charge: Charge, outcomes: list[Succeeded | Declined | NotMade], data: st.DataObject
) -> None:
    for outcome in outcomes:
        if charge.state is ChargeState.REQUESTED:
            charge = confirm_request(charge, VISA, NOW) or abandon(
                charge, AbandonReason.REQUEST_EXPIRED, NOW
            )
        elif charge.state is ChargeState.SCHEDULED and data.draw(st.booleans()):
            charge = decide(charge, NOTICE, MANDATE, 0, NOW)
        elif charge.state is ChargeState.SCHEDULED:
            charge = begin_attempt(charge, NOTICE, MANDATE, NOW)
        elif charge.state is ChargeState.IN_FLIGHT:
            charge = settle(charge, outcome, NOW)
        assert (charge.state is ChargeState.SCHEDULED) == (charge.next_attempt_time is not None)
        assert (charge.state is ChargeState.ABANDONED) == (charge.abandon_reason is not None)
