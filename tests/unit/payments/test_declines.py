"""How often a payment method may be declined, and what ends its use."""

from dataclasses import replace
from datetime import timedelta

import pytest

from services.payments.domain.consent import RefusalReason
from services.payments.domain.decisions import Evidence, decide, decide_all
from services.payments.domain.declines import (
    DAY,
    MONTH,
    DeclineClass,
    MethodUse,
    classify,
    method_use,
    stops_method,
)
from services.payments.domain.keys import ChargeId, PaymentMethodKey
from services.payments.domain.outcomes import Declined
from services.payments.domain.transitions import ChargeState
from tests.unit.payments.strategies import CHARGE, MANDATE, MANDATE_KEY, NOTICE, NOW, VISA

HOUR = timedelta(hours=1)


def until(brand: str, tenth: timedelta, twentieth: timedelta, last: timedelta) -> object:
    """Until when a method is exhausted whose tenth, twentieth and 35th last declines are so old."""
    times = [NOW - age for age in (tenth, twentieth, last)]
    use = method_use(blocked=False, busy_until=None, decline_times=times, now=NOW, brand=brand)
    return use.exhausted_until


def test_a_method_is_free_again_once_its_declines_are_past_the_window() -> None:
    assert until("amex", DAY - HOUR, MONTH, MONTH) == NOW + HOUR
    assert until("amex", DAY, MONTH - HOUR, MONTH) == NOW + HOUR
    assert until("amex", DAY, MONTH, MONTH) is None


def test_each_network_has_its_own_limits() -> None:
    assert until("visa", HOUR, MONTH, MONTH) is None
    assert until("visa", DAY, MONTH - HOUR, MONTH) == NOW + HOUR
    assert until("mastercard", DAY, DAY, MONTH - HOUR) == NOW + HOUR
    assert until("mastercard", DAY - HOUR, DAY, MONTH) == NOW + HOUR
    assert until("mastercard", DAY, DAY, MONTH) is None


@pytest.mark.parametrize(
    ("code", "advice", "following"),
    [
        ("insufficient_funds", "", DeclineClass.LATER),
        ("a_code_of_next_year", "", DeclineClass.LATER),
        ("generic_decline", "", DeclineClass.LATER),
        ("lost_card", "", DeclineClass.NEW_METHOD),
        ("expired_card", "", DeclineClass.NEW_METHOD),
        ("do_not_honor", "do_not_try_again", DeclineClass.NEW_METHOD),
        ("authentication_required", "", DeclineClass.ASK_CUSTOMER),
        ("revocation_of_all_authorizations", "", DeclineClass.NEVER),
        ("stop_payment_order", "", DeclineClass.NEVER),
        ("currency_not_supported", "", DeclineClass.NEVER),
    ],
)
def test_declines_are_sorted_by_what_can_follow(
    code: str, advice: str, following: DeclineClass
) -> None:
    assert classify(code, advice) is following


def test_nothing_follows_a_request_that_made_no_sense() -> None:
    assert Declined("parameter_unknown", hard=True).following is DeclineClass.NEVER


@pytest.mark.parametrize(
    ("code", "advice", "stops"),
    [
        ("lost_card", "", True),
        ("expired_card", "", True),
        ("revocation_of_all_authorizations", "", True),
        ("do_not_honor", "", False),
        ("do_not_honor", "do_not_try_again", True),
        ("insufficient_funds", "try_again_later", False),
        # The order is at fault, not the card.
        ("currency_not_supported", "", False),
        ("authentication_required", "", False),
        ("amount_not_chargeable", "", False),
    ],
)
def test_only_a_decline_for_good_ends_the_use_of_a_method(
    code: str,
    advice: str,
    stops: bool,  # noqa: FBT001 - what is expected
) -> None:
    assert stops_method(code, advice) is stops


def test_a_blocked_method_refuses_the_charge() -> None:
    refused = decide(CHARGE, NOTICE, MANDATE, 0, NOW, MethodUse(blocked=True))
    assert refused.refusal_reasons == (RefusalReason.PAYMENT_METHOD_BLOCKED,)


def test_the_limit_of_a_day_is_waited_for_and_that_of_a_month_is_not() -> None:
    soon = decide(CHARGE, NOTICE, MANDATE, 0, NOW, MethodUse(exhausted_until=NOW + DAY))
    assert soon.next_attempt_time == NOW + DAY
    late = decide(CHARGE, NOTICE, MANDATE, 0, NOW, MethodUse(exhausted_until=NOW + 2 * DAY))
    assert late.refusal_reasons == (RefusalReason.PAYMENT_METHOD_EXHAUSTED,)


def test_of_one_method_one_charge_of_a_batch_begins_and_the_others_wait() -> None:
    batch = [CHARGE._replace(charge=ChargeId(f"coffee-{cycle}")) for cycle in (1, 2, 3)]
    notices = {charge.key: replace(NOTICE, charge=charge.charge) for charge in batch}
    uses = {PaymentMethodKey(*MANDATE_KEY[:2], VISA): MethodUse()}
    evidence = Evidence(notices, {MANDATE_KEY: MANDATE}, {}, uses)
    decided = [decision.charge for decision in decide_all(batch, evidence, NOW)]
    assert [charge.state for charge in decided] == [
        ChargeState.IN_FLIGHT,
        ChargeState.SCHEDULED,
        ChargeState.SCHEDULED,
    ]
    assert {charge.awaited_method for charge in decided[1:]} == {MANDATE.payment_method}
