"""The transitions of a charge: what each answer leads to, and that nothing leads out of an end."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.payments.domain.attempts import present_attempt
from services.payments.domain.charges import (
    ATTEMPTS_MAX_EXTENDING,
    AbandonReason,
    Charge,
    ask_customer,
    confirm_request,
    expire,
    present_mandate,
    settle,
)
from services.payments.domain.consent import Mandate, Notice, RefusalReason
from services.payments.domain.decisions import Evidence, decide, decide_all
from services.payments.domain.declines import UNUSED, MethodUse
from services.payments.domain.dunning import STANDARD, DunningPolicy
from services.payments.domain.keys import ChargeId, PaymentMethodKey
from services.payments.domain.outcomes import (
    RETRY_DELAY_FIRST,
    RETRY_DELAY_MAX,
    Declined,
    NotMade,
    Succeeded,
    retry_delay,
)
from services.payments.domain.transitions import ChargeState
from tests.unit.payments.strategies import (
    ANN,
    CHARGE,
    MANDATE,
    MANDATE_KEY,
    NOTICE,
    NOW,
    REQUEST,
    VISA,
    charges,
    mandates,
    notices,
)

SOFT = Declined("insufficient_funds", hard=False)
HARD = Declined("stolen_card", hard=True)
DAY = timedelta(days=1)
METHOD_KEY = PaymentMethodKey(*ANN, VISA)


def in_flight(charge: Charge = CHARGE, attempt_count: int = 1) -> Charge:
    return charge._replace(
        state=ChargeState.IN_FLIGHT,
        attempt_count=attempt_count,
        retry_count=attempt_count - 1,
        next_attempt_time=None,
        payment_method=VISA,
    )


@given(charges, notices, mandates)
def test_an_attempt_begins_only_where_the_guard_finds_nothing(
    charge: Charge, notice: Notice | None, mandate: Mandate | None
) -> None:
    decided = decide(charge, notice, mandate, 0, NOW)
    begun = decided.state is ChargeState.IN_FLIGHT
    assert not (begun and charge.withdrawn)
    assert decided.attempt_count == int(begun)
    assert (decided.state is ChargeState.SCHEDULED) == (decided.next_attempt_time is not None)
    if decided.state is ChargeState.SCHEDULED:
        assert decided.next_attempt_time is not None
        assert decided.next_attempt_time > NOW


def test_a_charge_without_notice_waits_and_is_refused_in_the_end() -> None:
    waiting = decide(CHARGE, None, MANDATE, 0, NOW)
    assert waiting.next_attempt_time == NOW + DAY
    refused = decide(waiting, None, MANDATE, 0, NOW + DAY)
    assert refused.state is ChargeState.REFUSED
    assert refused.refusal_reasons == (RefusalReason.NOTICE_NOT_DELIVERED,)


def test_a_charge_without_notice_that_can_never_be_made_does_not_wait() -> None:
    refused = decide(CHARGE, None, None, 0, NOW)
    assert refused.refusal_reasons == (
        RefusalReason.NOTICE_NOT_DELIVERED,
        RefusalReason.MANDATE_NOT_FOUND,
    )


def test_a_charge_waits_for_the_instant_that_the_notice_promised() -> None:
    notice = replace(NOTICE, charge_not_before_time=NOW + DAY)
    assert decide(CHARGE, notice, MANDATE, 0, NOW).next_attempt_time == NOW + DAY


def test_a_confirmed_request_does_not_wait_beyond_its_end() -> None:
    notice = replace(NOTICE, charge_not_before_time=NOW + 5 * DAY)
    waiting = decide(REQUEST, notice, None, 0, NOW)
    assert waiting.next_attempt_time == REQUEST.expire_time
    ended = decide(waiting, notice, None, 0, NOW + DAY)
    assert ended.abandon_reason is AbandonReason.NOT_MADE


@pytest.mark.parametrize("made", range(1, len(STANDARD.retry_days) + 1))
def test_a_soft_decline_is_tried_again_later(made: int) -> None:
    charge = settle(in_flight(attempt_count=made), SOFT, NOW)
    assert charge.state is ChargeState.SCHEDULED
    assert charge.next_attempt_time == NOW + STANDARD.retry_days[made - 1] * DAY


@pytest.mark.parametrize(("made", "outcome"), [(len(STANDARD.retry_days) + 1, SOFT), (1, HARD)])
def test_the_last_soft_decline_or_the_first_hard_one_ends_it(made: int, outcome: Declined) -> None:
    charge = settle(in_flight(attempt_count=made), outcome, NOW)
    assert charge.abandon_reason is AbandonReason.DECLINED
    assert charge.decline_code == outcome.code


@pytest.mark.parametrize("outcome", [SOFT, HARD])
def test_a_declined_request_goes_back_to_the_customer(outcome: Declined) -> None:
    charge = settle(in_flight(REQUEST), outcome, NOW)
    assert charge.state is ChargeState.REQUESTED
    assert charge.payment_method == ""


def test_a_withdrawn_charge_is_not_tried_again_after_a_decline() -> None:
    charge = settle(in_flight()._replace(withdrawn=True), SOFT, NOW)
    assert charge.abandon_reason is AbandonReason.WITHDRAWN


def test_a_payment_that_was_quicker_than_the_withdrawal_counts() -> None:
    charge = settle(in_flight()._replace(withdrawn=True), Succeeded("pi_1"), NOW)
    assert charge.state is ChargeState.SUCCEEDED


def test_credit_that_a_failed_attempt_reserved_is_free_again() -> None:
    for outcome in (SOFT, HARD, NotMade()):
        assert settle(in_flight()._replace(credit_minor=400), outcome, NOW).credit_minor == 0
    paid = settle(in_flight()._replace(credit_minor=400), Succeeded("pi_1"), NOW)
    assert paid.credit_minor == 400


def test_whoever_is_declined_has_a_day_to_try_another_method() -> None:
    late = NOW + DAY - timedelta(hours=1)
    asked = settle(in_flight(REQUEST), SOFT, late)
    assert (asked.state, asked.expire_time) == (ChargeState.REQUESTED, late + DAY)
    early = settle(in_flight(REQUEST._replace(expire_time=NOW + 5 * DAY)), SOFT, NOW)
    assert early.expire_time == NOW + 5 * DAY


def test_whoever_has_tried_often_enough_is_given_no_more_time() -> None:
    often = in_flight(REQUEST, attempt_count=ATTEMPTS_MAX_EXTENDING)
    assert settle(often, SOFT, NOW).expire_time == REQUEST.expire_time
    ended = settle(often, SOFT, NOW + DAY)
    assert ended.abandon_reason is AbandonReason.DECLINED


def test_what_was_not_made_is_not_made_again_once_it_is_not_wanted() -> None:
    withdrawn = settle(in_flight()._replace(withdrawn=True), NotMade(), NOW)
    assert withdrawn.abandon_reason is AbandonReason.WITHDRAWN
    expired = settle(in_flight(REQUEST), NotMade(), NOW + DAY)
    assert expired.abandon_reason is AbandonReason.NOT_MADE


def test_what_was_not_made_is_made_at_once_and_then_later_and_later() -> None:
    charge, delays = in_flight(), []
    for _ in range(3):
        lost = settle(charge, NotMade(), NOW)
        assert lost.next_attempt_time is not None
        delays.append(lost.next_attempt_time - NOW)
        charge = in_flight(lost)
    assert delays == [timedelta(), retry_delay(1), retry_delay(2)]


def test_a_charge_falls_overdue_once_and_only_while_it_is_wanted() -> None:
    late = REQUEST._replace(state=ChargeState.REQUESTED, late_payment_days=5)
    overdue = expire(late, NOW + DAY)
    assert (overdue.state, overdue.overdue_time) == (ChargeState.REQUESTED, NOW + DAY)
    assert overdue.expire_time == NOW + 6 * DAY
    ended = expire(overdue, NOW + 6 * DAY)
    assert ended.abandon_reason is AbandonReason.REQUEST_EXPIRED
    withdrawn = expire(late._replace(withdrawn=True), NOW + DAY)
    assert withdrawn.abandon_reason is AbandonReason.REQUEST_EXPIRED


@pytest.mark.parametrize("state", ChargeState)
def test_only_what_goes_on_by_itself_is_made_under_another_mandate(state: ChargeState) -> None:
    changed = "merchants/acme/customers/ann/mandates/tea"
    goes_on = state in {ChargeState.SCHEDULED, ChargeState.IN_FLIGHT}
    charge = CHARGE._replace(state=state)
    assert present_mandate(charge, changed) == (changed if goes_on else CHARGE.mandate)
    assert present_mandate(charge, "") == CHARGE.mandate
    assert present_mandate(REQUEST._replace(state=state), changed) == ""


@pytest.mark.parametrize("state", [state for state in ChargeState if state != "REQUESTED"])
def test_only_a_requested_charge_can_be_confirmed(state: ChargeState) -> None:
    assert confirm_request(REQUEST._replace(state=state), VISA, NOW) is None


def test_a_request_can_be_confirmed_until_it_expires() -> None:
    requested = REQUEST._replace(state=ChargeState.REQUESTED, next_attempt_time=None)
    assert confirm_request(requested, VISA, NOW + DAY - timedelta(seconds=1)) is not None
    assert confirm_request(requested, VISA, NOW + DAY) is None
    assert confirm_request(requested._replace(withdrawn=True), VISA, NOW) is None


def test_what_cannot_be_charged_is_not_asked_for() -> None:
    asked = ask_customer(CHARGE, NOW + DAY)
    assert (asked.state, asked.mandate) == (ChargeState.REQUESTED, "")
    little = ask_customer(CHARGE._replace(amount_minor=49), NOW + DAY)
    assert (little.state, little.billing_mode) == (ChargeState.SCHEDULED, "PAY_ON_NOTICE")


def test_charges_of_one_batch_share_the_month_of_their_mandate() -> None:
    batch = [CHARGE._replace(charge=ChargeId(f"coffee-{cycle}")) for cycle in (1, 2, 3)]
    notices = {charge.key: replace(NOTICE, charge=charge.charge) for charge in batch}
    mandate = replace(MANDATE, period_ceiling_minor=2500)
    decided = decide_all(
        batch, Evidence(notices, {MANDATE_KEY: mandate}, {MANDATE_KEY: 500}, {}), NOW
    )
    charges, verdicts = zip(*decided, strict=True)
    assert [charge.state for charge in charges] == ["IN_FLIGHT", "IN_FLIGHT", "REFUSED"]
    assert [verdict.spent_minor for verdict in verdicts if verdict] == [500, 1500, 2500]


def test_charges_of_one_batch_share_a_payment_method_one_after_the_other() -> None:
    first, second = (CHARGE._replace(charge=ChargeId(f"coffee-{cycle}")) for cycle in (1, 2))
    notices = {charge.key: replace(NOTICE, charge=charge.charge) for charge in (first, second)}
    evidence = Evidence(notices, {MANDATE_KEY: MANDATE}, {}, {METHOD_KEY: UNUSED})
    (begun, _), (waiting, verdict) = decide_all([first, second], evidence, NOW)
    assert (begun.state, waiting.state, verdict) == ("IN_FLIGHT", "SCHEDULED", None)
    assert waiting.awaited_method == VISA
    assert waiting.next_attempt_time == NOW + RETRY_DELAY_FIRST


def test_a_charge_waits_until_its_payment_method_is_free() -> None:
    busy = MethodUse(busy_until=NOW + DAY)
    waiting = decide(CHARGE, NOTICE, MANDATE, 0, NOW, busy)
    assert (waiting.awaited_method, waiting.next_attempt_time) == (VISA, NOW + DAY)


def test_what_needs_another_payment_method_waits_for_it_where_its_merchant_says_so() -> None:
    declined = CHARGE._replace(decline_code="stolen_card", payment_method=VISA, attempt_count=1)
    waits = DunningPolicy(CHARGE.merchant, awaits_new_method=True)
    states = []
    for policies in ({}, {CHARGE.merchant: waits}):
        evidence = Evidence(
            {NOTICE.charge_key: NOTICE}, {MANDATE_KEY: MANDATE}, {}, {}, policies=policies
        )
        [(decided, _)] = decide_all([declined], evidence, NOW)
        states.append(decided.state)
    assert states == ["IN_FLIGHT", "SCHEDULED"]


def test_a_verdict_says_every_reason_for_a_refusal() -> None:
    [(refused, verdict)] = decide_all([CHARGE], Evidence({}, {}, {}, {}), NOW)
    assert verdict is not None
    assert verdict.reasons == refused.refusal_reasons
    assert verdict.reasons == (
        RefusalReason.NOTICE_NOT_DELIVERED,
        RefusalReason.MANDATE_NOT_FOUND,
    )


def test_each_attempt_has_a_key_of_its_own_and_keeps_it() -> None:
    first, again, second = (present_attempt(in_flight(attempt_count=n), NOW) for n in (1, 1, 2))
    assert first.idempotency_key == again.idempotency_key
    assert first.idempotency_key != second.idempotency_key


@given(st.integers(0, 10_000))
def test_questions_without_answer_come_later_and_later_but_never_stop(times: int) -> None:
    delay = retry_delay(times)
    assert retry_delay(max(times - 1, 0)) <= delay <= RETRY_DELAY_MAX
