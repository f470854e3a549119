"""Attempts that the provider does not have: sent once more only as the charge would be made now."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from services.payments.domain.attempts import Attempt, present_attempt
from services.payments.domain.charges import Charge
from services.payments.domain.consent import Mandate, Notice
from services.payments.domain.decisions import Evidence
from services.payments.domain.idempotent_retries import counted_minor, may_resend, resend_all
from services.payments.domain.keys import ChargeId, MandateId, MandateKey, PaymentMethodId
from services.payments.domain.transitions import ChargeState
from tests.unit.payments.strategies import (
    CHARGE,
    MANDATE,
    MANDATE_KEY,
    NOTICE,
    NOW,
    REQUEST,
    VISA,
)

HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)
# An hour before the month ends.
LATE = datetime.fromisoformat("2026-01-31T23:00:00+00:00")
TEA = replace(MANDATE, mandate=MandateId("tea"))


def in_flight(charge: Charge = CHARGE) -> Charge:
    return charge._replace(state=ChargeState.IN_FLIGHT, attempt_count=1, payment_method=VISA)


def allowed(
    charge: Charge = CHARGE,
    notice: Notice = NOTICE,
    mandate: Mandate | None = MANDATE,
    period_minor: int = 0,
    at: datetime = NOW,
    **changes: Any,  # noqa: ANN401
) -> bool:
    """Whether an attempt that was made at NOW is sent again, with what is different of it."""
    made = REQUEST if mandate is None else CHARGE
    attempt = replace(present_attempt(in_flight(made), NOW), **changes)
    return may_resend(in_flight(charge), attempt, notice, mandate, period_minor, at)


def test_what_still_holds_is_sent_once_more() -> None:
    assert allowed()
    assert not allowed(resend_time=NOW)


def test_a_key_is_relied_on_for_a_day_less_what_clocks_may_differ_by() -> None:
    assert allowed(at=NOW + 23 * HOUR - SECOND)
    assert not allowed(at=NOW + 23 * HOUR)


def test_it_is_sent_under_the_same_mandate_and_method_or_not_at_all() -> None:
    assert not allowed(CHARGE._replace(mandate=TEA.key.name), mandate=TEA)
    assert not allowed(mandate=replace(MANDATE, payment_method=PaymentMethodId("other")))


def test_what_is_not_wanted_any_more_is_not_sent_again() -> None:
    assert not allowed(CHARGE._replace(withdrawn=True))
    request = REQUEST._replace(expire_time=NOW + HOUR)
    assert allowed(request, mandate=None, at=NOW + HOUR - SECOND)
    assert not allowed(request, mandate=None, at=NOW + HOUR)


@pytest.mark.parametrize(
    "what",
    [
        {"mandate": replace(MANDATE, revoke_time=NOW)},
        {"notice": replace(NOTICE, amount_minor=999)},
        {"mandate": replace(MANDATE, period_ceiling_minor=1000), "period_minor": 1},
    ],
)
def test_the_whole_guard_decides_again(what: dict[str, Any]) -> None:
    assert not allowed(**what)


def test_an_attempt_counts_in_each_period_that_it_may_be_made_in() -> None:
    attempt = present_attempt(in_flight(), LATE)
    again = replace(attempt, resend_time=LATE + 2 * HOUR)
    months = [MANDATE.period(LATE + timedelta(days=days)) for days in (0, 1, 40)]
    assert [counted_minor(attempt, month) for month in months] == [1000, 0, 0]
    assert [counted_minor(again, month) for month in months] == [1000, 1000, 0]


def resent(ceiling_minor: int, spent_minor: int, at: datetime) -> Sequence[str]:
    """Which of two attempts under a mandate, both made at LATE, are sent again."""
    charges = [in_flight(CHARGE._replace(charge=ChargeId(f"coffee-{cycle}"))) for cycle in (1, 2)]
    missing: list[tuple[Charge, Attempt]] = [
        (charge, present_attempt(charge, LATE)) for charge in charges
    ]
    notices = {charge.key: replace(NOTICE, charge=charge.charge) for charge in charges}
    mandates: dict[MandateKey, Mandate] = {
        MANDATE_KEY: replace(MANDATE, period_ceiling_minor=ceiling_minor)
    }
    evidence = Evidence(notices, mandates, {MANDATE_KEY: spent_minor}, {})
    return [permit.charge for permit in resend_all(missing, evidence, at)]


def test_attempts_of_one_batch_leave_each_other_what_they_had_taken() -> None:
    # Both count already, each by itself.
    assert resent(2000, 2000, LATE + SECOND) == ["coffee-1", "coffee-2"]
    assert resent(1999, 2000, LATE + SECOND) == []


def test_attempts_of_one_batch_share_a_period_that_began_since() -> None:
    assert resent(2000, 0, LATE + 2 * HOUR) == ["coffee-1", "coffee-2"]
    assert resent(1999, 0, LATE + 2 * HOUR) == ["coffee-1"]
