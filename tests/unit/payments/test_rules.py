"""What rule packs ask of charges: the guard keeps to it, and says whose rule it was."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.payments.domain.charges import Charge
from services.payments.domain.consent import Mandate, Notice, RefusalReason
from services.payments.domain.decisions import decide
from services.payments.domain.declines import MethodUse
from services.payments.domain.guard import guard
from services.payments.domain.rules import (
    AppliedRule,
    ChargeRule,
    binding,
    dump_rules,
    load_applied,
    load_rules,
    mandate_rules,
    months_after,
)
from services.payments.domain.transitions import ChargeState
from tests.unit.payments.strategies import CHARGE, MANDATE, NOTICE, NOW, REQUEST

Reason = RefusalReason
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
RBI = "merchants/acme/rulePacks/in-rbi-e-mandate"
SEPA = "merchants/acme/rulePacks/sepa-core"
LEAD = ChargeRule(RBI, "debit-notice-lead", "RBI", notice_lead_seconds=24 * 3600)
CONFIRM = ChargeRule(
    RBI, "confirmation", "RBI", confirmation_above_minor=900, confirmation_currency="EUR"
)
ENDS = ChargeRule(RBI, "mandate-terms", "RBI", mandate_ends=True)
LAPSE = ChargeRule(SEPA, "mandate-lapse", "EPC", mandate_lapse_months=36)
SEPA_USE = MethodUse(brand="sepa_debit")


def bound(*rules: ChargeRule, charge: Charge = CHARGE) -> Charge:
    """A charge that rules bind, whatever it is paid by."""
    return charge._replace(charge_rules=dump_rules([("", rules)]))


def delivered(before: timedelta) -> Notice:
    """A notice that was delivered so long ago."""
    return replace(NOTICE, deliver_time=NOW - before)


@pytest.mark.parametrize(
    ("rule", "notice", "mandate", "reason"),
    [
        (LEAD, delivered(DAY - HOUR), MANDATE, Reason.NOTICE_TOO_RECENT),
        (CONFIRM, NOTICE, MANDATE, Reason.CONFIRMATION_REQUIRED),
        (ENDS, NOTICE, MANDATE, Reason.MANDATE_WITHOUT_END),
        (
            LAPSE, NOTICE, replace(MANDATE, valid_from_time=NOW - 1096 * DAY),
            Reason.MANDATE_LAPSED,
        ),
    ],
)  # fmt: skip
def test_each_rule_alone_forbids_and_is_named_with_its_source(
    rule: ChargeRule, notice: Notice, mandate: Mandate, reason: Reason
) -> None:
    decided = decide(bound(rule), notice, mandate, 0, NOW + timedelta())
    named = [AppliedRule(rule.rule_pack, rule.rule, rule.source, reason)]
    assert guard(bound(rule), notice, mandate, 0, NOW) == (reason,)
    assert load_applied(decided.applied_rules) == named


def test_an_allowed_charge_keeps_the_rules_that_allowed_it() -> None:
    mandate = replace(MANDATE, valid_until_time=NOW + DAY)
    decided = decide(bound(LEAD, ENDS, LAPSE), NOTICE, mandate, 0, NOW)
    assert decided.state is ChargeState.IN_FLIGHT
    assert [(rule.rule, rule.reason) for rule in load_applied(decided.applied_rules)] == [
        ("debit-notice-lead", None),
        ("mandate-terms", None),
        ("mandate-lapse", None),
    ]


def test_a_charge_whose_rules_nobody_said_is_refused() -> None:
    unknown = CHARGE._replace(charge_rules=None)
    assert guard(unknown, NOTICE, MANDATE, 0, NOW) == (Reason.RULES_UNKNOWN,)


def test_what_the_customer_confirms_is_bound_by_no_rule() -> None:
    charge = bound(LEAD, CONFIRM, ENDS, LAPSE, charge=REQUEST)
    assert guard(charge, delivered(timedelta()), None, 0, NOW) == ()


def test_an_amount_in_another_currency_than_the_rules_needs_no_confirmation() -> None:
    rule = CONFIRM._replace(confirmation_currency="INR")
    assert guard(bound(rule), NOTICE, MANDATE, 0, NOW) == ()


def test_a_rule_of_one_scheme_binds_no_other() -> None:
    charge = CHARGE._replace(charge_rules=dump_rules([("", ()), ("SEPA_DIRECT_DEBIT", (LEAD,))]))
    notice = delivered(HOUR)
    assert guard(charge, notice, MANDATE, 0, NOW, MethodUse(brand="visa")) == ()
    assert guard(charge, notice, MANDATE, 0, NOW, MethodUse(brand="amex")) == ()
    assert guard(charge, notice, MANDATE, 0, NOW, SEPA_USE) == (Reason.NOTICE_TOO_RECENT,)


def test_a_mandate_that_was_used_meanwhile_has_not_lapsed() -> None:
    old = replace(MANDATE, valid_from_time=NOW - 2000 * DAY)
    assert guard(bound(LAPSE), NOTICE, old, 0, NOW, last_charge_time=NOW - 1000 * DAY) == ()


def test_a_charge_waits_for_the_longer_of_what_the_notice_and_the_rule_ask_for() -> None:
    notice = replace(delivered(HOUR), charge_not_before_time=NOW + HOUR)
    decided = decide(bound(LEAD), notice, MANDATE, 0, NOW)
    assert decided.state is ChargeState.SCHEDULED
    assert decided.next_attempt_time == NOW + 23 * HOUR


def test_rules_are_the_same_after_they_were_stored() -> None:
    rules = [("", (LEAD, CONFIRM)), ("SEPA_DIRECT_DEBIT", (LAPSE,))]
    assert list(load_rules(dump_rules(rules))) == rules


def test_only_what_is_about_mandates_is_checked_before_a_notice() -> None:
    assert mandate_rules([("", (LEAD, CONFIRM, ENDS, LAPSE))], "visa") == [ENDS, LAPSE]


def test_a_month_that_lacks_the_day_ends_with_its_last() -> None:
    assert months_after(datetime(2024, 2, 29, 8, tzinfo=UTC), 36) == datetime(
        2027, 2, 28, 8, tzinfo=UTC
    )
    assert months_after(datetime(2026, 12, 31, tzinfo=UTC), 2) == datetime(2027, 2, 28, tzinfo=UTC)


hours = st.integers(0, 500).map(lambda count: count * HOUR)
rule_sets = st.lists(
    st.builds(lambda lead: LEAD._replace(notice_lead_seconds=int(lead.total_seconds())), hours),
    max_size=3,
)


@given(
    rule_sets,
    st.lists(st.tuples(hours, st.none() | st.tuples(hours, hours)), min_size=1, max_size=12),
    st.sampled_from(["visa", "sepa_debit"]),
)
def test_no_sequence_gets_a_charge_past_the_guard_earlier_than_the_lead(
    rules: list[ChargeRule],
    steps: list[tuple[timedelta, tuple[timedelta, timedelta] | None]],
    brand: str,
) -> None:
    """Time passes, notices come (again), the charge is decided whenever it is due, in any order."""
    charge = CHARGE._replace(
        charge_rules=dump_rules([("", ()), ("SEPA_DIRECT_DEBIT", tuple(rules))])
    )
    binding_ones = binding(load_rules(charge.charge_rules or ""), brand)
    lead = max((timedelta(seconds=rule.notice_lead_seconds or 0) for rule in binding_ones),
               default=timedelta())  # fmt: skip
    now, notice = NOW, None
    for passes, arrives in steps:
        now += passes
        if arrives is not None:
            delivered_before, promised_after = arrives
            notice = replace(
                NOTICE,
                deliver_time=now - delivered_before,
                charge_not_before_time=now + promised_after,
            )
        if charge.next_attempt_time is None or charge.next_attempt_time > now:
            continue
        charge = decide(charge, notice, MANDATE, 0, now, MethodUse(brand=brand))
        if charge.state is ChargeState.IN_FLIGHT:
            assert notice is not None
            assert now >= notice.deliver_time + lead
            return
