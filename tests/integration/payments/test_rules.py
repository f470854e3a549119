"""The guard holds charges against the rules of rule packs that came with them."""

import pytest
from google.protobuf.duration_pb2 import Duration
from recurring.catalog.v1 import catalog_pb2
from recurring.payments.v1 import payments_pb2

from services.payments.domain.keys import (
    ChargeId,
    ChargeKey,
    CustomerId,
    MandateId,
    MandateKey,
    MerchantId,
)
from services.payments.store import mandates as mandate_store
from tests.integration.payments.suite import (
    DAY,
    MANDATE,
    Payments,
    State,
    charge_name,
    event_of,
    order,
)

SEPA = "merchants/acme/rulePacks/sepa-core"
SOURCE = "EPC016-06, SEPA Direct Debit Core Scheme Rulebook"


def sepa(**rule: object) -> catalog_pb2.ChargeRules:
    """One rule for SEPA debits, and none for others."""
    bound = catalog_pb2.BindingRule(
        rule_pack=SEPA,
        rule=catalog_pb2.Rule(id="rule", source=SOURCE, **rule),  # type: ignore[arg-type]
    )
    return catalog_pb2.ChargeRules(
        schemes=[
            catalog_pb2.SchemeRules(),
            catalog_pb2.SchemeRules(payment_scheme=catalog_pb2.SEPA_DIRECT_DEBIT, rules=[bound]),
        ]
    )


TWO_DAYS = Duration(seconds=2 * 24 * 3600)


async def test_a_charge_that_comes_without_rules_is_refused(payments: Payments) -> None:
    await payments.consent()
    await payments.announce()
    await payments.fall_due(payments.due(rules=None))
    await payments.work()
    charge = await payments.charge()
    assert charge.state == State.REFUSED
    assert list(charge.refusal_reasons) == [payments_pb2.RULES_UNKNOWN]


async def test_a_debit_waits_for_the_lead_of_its_scheme_and_a_card_does_not(
    payments: Payments,
) -> None:
    await payments.consent("pm_sandbox_sepaDebit")
    await payments.announce()
    await payments.fall_due(payments.due(rules=sepa(debit_notice_lead=TWO_DAYS)))
    await payments.work()
    waiting = await payments.charge()
    assert waiting.state == State.SCHEDULED
    [rule] = waiting.applied_rules
    assert (rule.rule_pack, rule.rule, rule.source) == (SEPA, "rule", SOURCE)
    assert rule.refusal_reason == payments_pb2.NOTICE_TOO_RECENT
    await payments.pass_time(2 * DAY)
    charged = await payments.charge()
    assert charged.state == State.SUCCEEDED
    assert [rule.refusal_reason for rule in charged.applied_rules] == [0]


async def test_another_schemes_rule_is_none_of_a_cards(payments: Payments) -> None:
    await payments.consent()
    await payments.announce()
    await payments.fall_due(payments.due(rules=sepa(debit_notice_lead=TWO_DAYS)))
    await payments.work()
    charge = await payments.charge()
    assert (charge.state, list(charge.applied_rules)) == (State.SUCCEEDED, [])


async def test_a_mandate_lapses_so_long_after_its_last_debit(payments: Payments) -> None:
    await payments.consent("pm_sandbox_sepaDebit")
    rules = sepa(mandate_lapse_months=1)
    await payments.pass_time(20 * DAY)
    for number, later in ((1, 25 * DAY), (2, 40 * DAY), (3, DAY)):
        await payments.announce(payments.notice(order(number)))
        await payments.fall_due(payments.due(order(number), rules=rules))
        await payments.work()
        await payments.pass_time(later)
    # 20 days after consent; 25 days after the first; 40 days after the second.
    states = [(await payments.charge(charge_name(number))).state for number in (1, 2, 3)]
    assert states == [State.SUCCEEDED, State.SUCCEEDED, State.REFUSED]
    refused = event_of(await payments.events(), "PaymentRefused")
    assert list(refused.reasons) == [payments_pb2.MANDATE_LAPSED]
    [rule] = refused.applied_rules
    assert (rule.source, rule.refusal_reason) == (SOURCE, payments_pb2.MANDATE_LAPSED)
    lapsed = await payments.call(payments_pb2.GetMandateRequest(name=MANDATE))
    assert lapsed.state == payments_pb2.Mandate.LAPSED


@pytest.mark.parametrize(("merchant", "is_counted"), [("acme", False), ("globex", True)])
async def test_a_charge_counts_beside_one_of_another_merchant_with_its_id(
    payments: Payments, merchant: MerchantId, *, is_counted: bool
) -> None:
    await payments.consent()
    await payments.announce()
    await payments.fall_due()
    await payments.work()
    left_out = ChargeKey(merchant, CustomerId("ann"), ChargeId("coffee-1"))
    mandate = MandateKey(MerchantId("acme"), CustomerId("ann"), MandateId("coffee"))
    async with payments.database.read() as connection:
        times = await mandate_store.last_charge_times(connection, [mandate], but_for=[left_out])
    assert (mandate in times) == is_counted
