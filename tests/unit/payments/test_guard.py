"""The guard: no charge above, before, or without what was announced and agreed to."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.payments.domain.charges import Charge
from services.payments.domain.consent import BillingMode, Mandate, Notice, RefusalReason
from services.payments.domain.declines import MethodUse
from services.payments.domain.guard import guard
from tests.unit.payments.strategies import (
    CHARGE,
    MANDATE,
    NOTICE,
    NOW,
    REQUEST,
    charges,
    mandates,
    notices,
)

Reason = RefusalReason
HOUR = timedelta(hours=1)


def test_what_was_notified_and_agreed_to_is_allowed() -> None:
    assert guard(CHARGE, NOTICE, MANDATE, 0, NOW) == ()


@given(charges, notices, mandates, st.integers(0, 4000))
def test_an_allowed_charge_breaks_no_promise(
    charge: Charge, notice: Notice | None, mandate: Mandate | None, period_minor: int
) -> None:
    if guard(charge, notice, mandate, period_minor, NOW):
        return
    assert notice is not None
    assert mandate is not None
    assert charge.currency == notice.currency == mandate.currency
    assert charge.amount_minor <= min(notice.amount_minor, mandate.charge_ceiling_minor)
    assert notice.charge_not_before_time <= NOW
    assert notice.billing_mode is BillingMode.AUTOMATIC
    assert mandate.revoke_time is None
    assert mandate.valid_from_time <= NOW
    assert mandate.valid_until_time is None or mandate.valid_until_time > NOW
    ceiling = mandate.period_ceiling_minor
    assert ceiling is None or period_minor + charge.amount_minor <= ceiling


def test_a_charge_without_asking_is_refused_where_the_notice_said_they_would_be_asked() -> None:
    asking = replace(NOTICE, billing_mode=BillingMode.PAY_ON_NOTICE)
    assert guard(CHARGE, asking, MANDATE, 0, NOW) == (Reason.BILLING_MODE_NOT_ANNOUNCED,)


def test_a_customer_may_confirm_what_was_to_be_charged_by_itself() -> None:
    assert guard(REQUEST, NOTICE, None, 0, NOW) == ()


@given(charges, notices, mandates, st.integers(0, 4000))
def test_reasons_of_the_notice_and_of_the_mandate_are_all_given(
    charge: Charge, notice: Notice | None, mandate: Mandate | None, period_minor: int
) -> None:
    together = set(guard(charge, notice, mandate, period_minor, NOW))
    fitting_notice = replace(NOTICE, amount_minor=charge.amount_minor, currency=charge.currency)
    by_mandate = set(guard(charge, fitting_notice, mandate, period_minor, NOW))
    fitting_mandate = replace(
        MANDATE, charge_ceiling_minor=charge.amount_minor, currency=charge.currency
    )
    by_notice = set(guard(charge, notice, fitting_mandate, 0, NOW))
    assert together == by_mandate | by_notice


@pytest.mark.parametrize(
    ("notice", "mandate", "period_minor", "reason"),
    [
        (None, MANDATE, 0, Reason.NOTICE_NOT_DELIVERED),
        (replace(NOTICE, amount_minor=999), MANDATE, 0, Reason.ABOVE_NOTIFIED_AMOUNT),
        (replace(NOTICE, charge_not_before_time=NOW + HOUR), MANDATE, 0,
         Reason.EARLIER_THAN_NOTIFIED),
        (replace(NOTICE, currency="USD"), MANDATE, 0, Reason.CURRENCY_MISMATCH),
        (NOTICE, None, 0, Reason.MANDATE_NOT_FOUND),
        (NOTICE, replace(MANDATE, revoke_time=NOW), 0, Reason.MANDATE_REVOKED),
        (NOTICE, replace(MANDATE, valid_from_time=NOW + HOUR), 0, Reason.MANDATE_NOT_YET_VALID),
        (NOTICE, replace(MANDATE, valid_until_time=NOW), 0, Reason.MANDATE_EXPIRED),
        (NOTICE, replace(MANDATE, charge_ceiling_minor=999), 0, Reason.ABOVE_CHARGE_CEILING),
        (NOTICE, replace(MANDATE, period_ceiling_minor=1500), 501, Reason.ABOVE_PERIOD_CEILING),
        (NOTICE, replace(MANDATE, currency="USD"), 0, Reason.CURRENCY_MISMATCH),
        (NOTICE, replace(MANDATE, is_pending=True), 0, Reason.MANDATE_PENDING),
        (NOTICE, replace(MANDATE, pause_time=NOW), 0, Reason.MANDATE_PAUSED),
        (NOTICE, replace(MANDATE, lapse_time=NOW), 0, Reason.MANDATE_LAPSED),
        (NOTICE, replace(MANDATE, is_disputed=True), 0, Reason.MANDATE_DISPUTED),
        (NOTICE, replace(MANDATE, standing_orders=("tea",)), 0, Reason.MANDATE_OUT_OF_SCOPE),
        (NOTICE, replace(MANDATE, lead_seconds=3 * 24 * 60 * 60 + 1), 0, Reason.NOTICE_TOO_RECENT),
    ],
)  # fmt: skip
def test_each_rule_alone_forbids(
    notice: Notice | None, mandate: Mandate | None, period_minor: int, reason: Reason
) -> None:
    assert guard(CHARGE, notice, mandate, period_minor, NOW) == (reason,)


def test_a_mandate_covers_the_standing_orders_that_it_names() -> None:
    scoped = replace(MANDATE, standing_orders=("coffee", "tea"))
    assert guard(CHARGE, NOTICE, scoped, 0, NOW) == ()


@pytest.mark.parametrize("charge", [CHARGE, REQUEST])
@pytest.mark.parametrize(
    ("use", "reason"),
    [
        (MethodUse(missing=True), Reason.PAYMENT_METHOD_MISSING),
        (MethodUse(blocked=True), Reason.PAYMENT_METHOD_BLOCKED),
        (MethodUse(exhausted_until=NOW + HOUR), Reason.PAYMENT_METHOD_EXHAUSTED),
        (MethodUse(brand="bacs"), Reason.CURRENCY_NOT_CHARGEABLE),
    ],
)
def test_a_payment_method_that_cannot_be_charged_forbids(
    charge: Charge, use: MethodUse, reason: Reason
) -> None:
    assert guard(charge, NOTICE, MANDATE, 0, NOW, use) == (reason,)
    assert guard(charge._replace(credit_minor=1000), NOTICE, MANDATE, 0, NOW, use) == ()


def test_a_bank_debit_moves_no_less_than_its_scheme_does() -> None:
    debit = MethodUse(brand="sepa_core")
    assert guard(CHARGE._replace(credit_minor=900), NOTICE, MANDATE, 0, NOW, debit) == ()
    less = CHARGE._replace(credit_minor=901)
    assert guard(less, NOTICE, MANDATE, 0, NOW, debit) == (Reason.AMOUNT_NOT_CHARGEABLE,)


def test_credit_that_pays_a_part_lets_no_charge_be_above_its_notice() -> None:
    partly = CHARGE._replace(credit_minor=500)
    cheaper = replace(NOTICE, amount_minor=999)
    assert guard(partly, cheaper, MANDATE, 0, NOW) == (Reason.ABOVE_NOTIFIED_AMOUNT,)


@pytest.mark.parametrize("charge", [CHARGE, REQUEST])
def test_what_credit_leaves_can_be_charged_though_the_whole_could_not(charge: Charge) -> None:
    changed = charge._replace(amount_minor=5_124, currency="KWD", credit_minor=4)
    notice = replace(NOTICE, amount_minor=5_124, currency="KWD")
    mandate = replace(MANDATE, charge_ceiling_minor=5_124, currency="KWD")
    assert guard(changed, notice, mandate, 0, NOW) == ()


@pytest.mark.parametrize("charge", [CHARGE, REQUEST])
@pytest.mark.parametrize(
    ("amount_minor", "currency", "reason"),
    [
        (49, "EUR", Reason.AMOUNT_NOT_CHARGEABLE),
        (5_124, "KWD", Reason.AMOUNT_NOT_CHARGEABLE),
        (1_050, "MGA", Reason.AMOUNT_NOT_CHARGEABLE),
        (1_000, "GHS", Reason.CURRENCY_NOT_CHARGEABLE),
    ],
)
def test_what_the_provider_cannot_charge_is_never_sent(
    charge: Charge, amount_minor: int, currency: str, reason: Reason
) -> None:
    changed = charge._replace(amount_minor=amount_minor, currency=currency)
    notice = replace(NOTICE, amount_minor=amount_minor, currency=currency)
    mandate = replace(MANDATE, charge_ceiling_minor=amount_minor, currency=currency)
    assert guard(changed, notice, mandate, 0, NOW) == (reason,)


def test_a_month_can_be_spent_to_the_last_cent() -> None:
    assert guard(CHARGE, NOTICE, replace(MANDATE, period_ceiling_minor=1500), 500, NOW) == ()


def test_a_customers_own_yes_needs_neither_mandate_nor_notice() -> None:
    assert guard(REQUEST, None, None, 0, NOW) == ()


@pytest.mark.parametrize(
    ("promised", "reason"),
    [
        ({"amount_minor": 999}, Reason.ABOVE_NOTIFIED_AMOUNT),
        ({"currency": "USD"}, Reason.CURRENCY_MISMATCH),
        ({"charge_not_before_time": NOW + HOUR}, Reason.EARLIER_THAN_NOTIFIED),
    ],
)
def test_what_a_notice_promised_binds_a_confirmed_request_too(
    promised: dict[str, Any], reason: Reason
) -> None:
    assert guard(REQUEST, replace(NOTICE, **promised), None, 0, NOW) == (reason,)
