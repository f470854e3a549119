"""How much of a charge credit pays, and that no credit is used twice."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from services.payments.domain.charges import Charge
from services.payments.domain.consent import Mandate, Notice, RefusalReason
from services.payments.domain.credit import credit_share
from services.payments.domain.decisions import Evidence, decide, decide_all
from services.payments.domain.declines import MethodUse
from services.payments.domain.keys import ChargeId
from services.payments.domain.provider_amounts import (
    PROVIDER_CURRENCIES,
    UnsupportedAmountError,
    check_charge,
)
from services.payments.domain.transitions import ChargeState
from tests.unit.payments.strategies import CHARGE, MANDATE, NOTICE, NOW, charges, mandates, notices

AMOUNTS = st.integers(1, 10**9)


def chargeable(amount_minor: int, currency: str) -> bool:
    try:
        check_charge(amount_minor, currency)
    except UnsupportedAmountError:
        return False
    return True


@given(AMOUNTS, st.integers(0, 10**9), st.sampled_from(sorted(PROVIDER_CURRENCIES)))
def test_credit_pays_all_it_can_and_leaves_nothing_that_cannot_be_charged(
    amount_minor: int, available_minor: int, currency: str
) -> None:
    share = credit_share(amount_minor, available_minor, currency)
    assert 0 <= share <= min(amount_minor, available_minor)
    rest = amount_minor - share
    if share and rest:
        assert chargeable(rest, currency) or not chargeable(amount_minor, currency)
    if available_minor >= amount_minor:
        assert share == amount_minor


def test_all_but_a_rest_below_the_minimum_is_paid_by_credit() -> None:
    # The least that is charged in EUR is 0.50.
    assert credit_share(1000, 960, "EUR") == 950
    assert credit_share(1000, 940, "EUR") == 940
    assert credit_share(1000, 1000, "EUR") == 1000
    assert credit_share(30, 20, "EUR") == 0


def test_credit_leaves_no_less_than_the_scheme_of_a_bank_debit_moves() -> None:
    # The least that SEPA debits here is 1.00 EUR.
    debit = MethodUse(brand="sepa_core")
    begun = decide(CHARGE, NOTICE, MANDATE, 0, NOW, debit, credit_minor=940)
    assert (begun.state, begun.credit_minor) == (ChargeState.IN_FLIGHT, 900)
    card = decide(CHARGE, NOTICE, MANDATE, 0, NOW, MethodUse(brand="visa"), credit_minor=940)
    assert (card.state, card.credit_minor) == (ChargeState.IN_FLIGHT, 940)


def test_credit_alone_pays_what_is_too_little_to_be_charged() -> None:
    little = CHARGE._replace(amount_minor=30)
    paid = decide(little, replace(NOTICE, amount_minor=30), MANDATE, 0, NOW, credit_minor=30)
    assert (paid.state, paid.credit_minor) == (ChargeState.SUCCEEDED, 30)


@given(charges, notices, mandates, st.integers(0, 2000))
def test_a_decision_reserves_what_is_there_and_only_if_money_is_to_move(
    charge: Charge, notice: Notice | None, mandate: Mandate | None, available_minor: int
) -> None:
    decided = decide(charge, notice, mandate, 0, NOW, credit_minor=available_minor)
    assert 0 <= decided.credit_minor <= available_minor
    if decided.state not in {ChargeState.IN_FLIGHT, ChargeState.SUCCEEDED}:
        assert decided.credit_minor == 0
    paid_by_credit = decided.credit_minor == decided.amount_minor
    assert (decided.state is ChargeState.SUCCEEDED) == paid_by_credit


def test_charges_of_one_customer_use_credit_once() -> None:
    due = [CHARGE._replace(charge=ChargeId(f"coffee-{n}")) for n in range(3)]
    evidence = Evidence(
        {charge.key: NOTICE for charge in due},
        {MANDATE.key: MANDATE},
        {},
        {},
        credit_minor={CHARGE.credit_key: 1600},
    )
    decided = [decision.charge for decision in decide_all(due, evidence, NOW)]
    assert [charge.credit_minor for charge in decided] == [1000, 600, 0]
    assert [charge.state for charge in decided] == [
        ChargeState.SUCCEEDED, ChargeState.IN_FLIGHT, ChargeState.IN_FLIGHT,
    ]  # fmt: skip


def test_a_blocked_card_is_no_hindrance_where_credit_is_enough() -> None:
    blocked = MethodUse(blocked=True)
    assert decide(CHARGE, NOTICE, MANDATE, 0, NOW, blocked, credit_minor=1000).credit_minor == 1000
    refused = decide(CHARGE, NOTICE, MANDATE, 0, NOW, blocked, credit_minor=999)
    assert refused.refusal_reasons == (RefusalReason.PAYMENT_METHOD_BLOCKED,)


def test_credit_lifts_no_promise() -> None:
    unannounced = decide(CHARGE, None, MANDATE, 0, NOW, credit_minor=1000)
    assert (unannounced.state, unannounced.credit_minor) == (ChargeState.SCHEDULED, 0)
    revoked = replace(MANDATE, revoke_time=NOW)
    refused = decide(CHARGE, NOTICE, revoked, 0, NOW, credit_minor=1000)
    assert refused.refusal_reasons == (RefusalReason.MANDATE_REVOKED,)
