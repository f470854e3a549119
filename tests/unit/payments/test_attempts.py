"""Attempts that wait for their customer: so long, and for nobody who does not want them any more."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from services.payments.domain.attempts import (
    Attempt,
    ask_customer,
    is_over,
    present_attempt,
    settle_attempt,
)
from services.payments.domain.charges import Charge
from services.payments.domain.keys import MandateId, MandateKey
from services.payments.domain.outcomes import Declined, Succeeded
from services.payments.domain.transitions import ChargeState
from tests.unit.payments.strategies import ANN, CHARGE, MANDATE_KEY, NOW, REQUEST, VISA

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
TEA = MandateKey(*ANN, MandateId("tea")).name


def in_flight(charge: Charge = CHARGE) -> Charge:
    return charge._replace(state=ChargeState.IN_FLIGHT, attempt_count=1, payment_method=VISA)


def asked(
    charge: Charge = CHARGE,
    attempt: Attempt | None = None,
    at: datetime = NOW,
    *,
    wanted: bool = True,
) -> Attempt:
    attempt = attempt or present_attempt(in_flight(charge), NOW)
    return ask_customer(in_flight(charge), attempt, wanted=wanted, now=at)


def test_a_customer_has_a_day_to_confirm_and_the_bank_is_asked_every_hour() -> None:
    waiting = asked()
    assert (waiting.action_expire_time, waiting.next_lookup_time) == (NOW + DAY, NOW + HOUR)
    assert not is_over(waiting, NOW + DAY - timedelta(microseconds=1))
    assert is_over(waiting, NOW + DAY)


def test_nobody_can_confirm_after_their_request_has_ended() -> None:
    ends = NOW + 30 * HOUR
    request = REQUEST._replace(expire_time=ends)
    assert asked(request).action_expire_time == NOW + DAY
    assert asked(request, at=NOW + 20 * HOUR).action_expire_time == ends
    late = asked(request, at=ends - timedelta(minutes=1))
    assert (late.action_expire_time, late.next_lookup_time) == (ends, ends)


def test_a_bank_that_goes_on_waiting_gives_no_more_time() -> None:
    again = asked(attempt=asked(), at=NOW + 20 * HOUR)
    assert again.action_expire_time == NOW + DAY


@pytest.mark.parametrize(
    ("is_withdrawn", "is_wanted"), [(True, True), (False, False), (True, False)]
)
@pytest.mark.parametrize("is_asked_before", [True, False])
def test_what_is_not_wanted_any_more_is_given_up_at_once(
    *, is_withdrawn: bool, is_wanted: bool, is_asked_before: bool
) -> None:
    charge = CHARGE._replace(withdrawn=is_withdrawn)
    waiting = asked(charge, asked() if is_asked_before else None, NOW + HOUR, wanted=is_wanted)
    assert (waiting.action_expire_time, waiting.next_lookup_time) == (NOW + HOUR, NOW + HOUR)
    assert is_over(waiting, NOW + HOUR)


def test_an_attempt_that_nobody_has_to_confirm_is_never_over() -> None:
    assert not is_over(present_attempt(in_flight(), NOW), NOW + 100 * DAY)


def test_an_attempt_is_for_what_credit_does_not_pay() -> None:
    assert present_attempt(in_flight(CHARGE._replace(credit_minor=400)), NOW).amount_minor == 600


def test_a_payment_keeps_the_mandate_that_it_was_made_under() -> None:
    attempt = present_attempt(in_flight(), NOW)
    changed = in_flight()._replace(mandate=TEA)
    assert settle_attempt(changed, attempt, Succeeded("pi"), NOW).mandate == MANDATE_KEY.name
    soft = Declined("insufficient_funds", hard=False)
    assert settle_attempt(changed, attempt, soft, NOW).mandate == TEA
    confirmed = replace(attempt, mandate=MandateId(""))
    assert settle_attempt(changed, confirmed, Succeeded("pi"), NOW).mandate == TEA
