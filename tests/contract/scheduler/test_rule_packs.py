"""Orders are announced and charged as rule packs ask for, and each decision says whose rule it was."""

from datetime import timedelta
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.json_format import MessageToDict
from google.type import postal_address_pb2
from recurring.catalog.v1 import catalog_pb2
from recurring.payments.v1 import payments_pb2
from recurring.scheduler.v1 import scheduler_pb2 as pb

from services.runtime.rpc.conversions import from_timestamp, to_money, to_timestamp
from tests.contract.scheduler.shop import TEA_MINOR, Shop
from tests.suite import new_id, refused

DAY = timedelta(days=1)
HEADROOM = timedelta(minutes=15)
SEPA_DEBIT = "pm_sandbox_sepaDebit"
INDIA = postal_address_pb2.PostalAddress(region_code="IN", address_lines=["1 MG Road"])
# Above 15 000 INR.
SHAWL_MINOR = 16_000_00


def seconds(lead: timedelta) -> Duration:
    return Duration(seconds=int(lead.total_seconds()))


async def automatic(shop: Shop, after: timedelta, mandate: str, **more: Any) -> pb.StandingOrder:  # noqa: ANN401
    """A standing order of Ada with a lead of one day and one cycle."""
    when = await shop.due_in(after, cycle_count=1)
    return await shop.create(when, billing_mode=pb.AUTOMATIC, mandate=mandate, **more)


async def ask_oneself(shop: Shop, **rule: Any) -> None:  # noqa: ANN401
    """Make the merchant's own pack one rule."""
    pack = catalog_pb2.RulePack(
        name=f"{shop.name}/rulePacks/own",
        rules=[catalog_pb2.Rule(id="strict", source="Our promise", **rule)],
    )
    await shop.client.catalog.UpdateRulePack(
        catalog_pb2.UpdateRulePackRequest(rule_pack=pack, request_id=new_id())
    )


async def charge_of(shop: Shop, made: pb.StandingOrder) -> payments_pb2.Charge:
    charge_id = f"{made.name.rpartition('/')[2]}-1"
    found: payments_pb2.Charge = await shop.client.payments.GetCharge(
        payments_pb2.GetChargeRequest(name=f"{shop.customer('ada')}/charges/{charge_id}")
    )
    return found


def applied(charge: payments_pb2.Charge) -> list[tuple[str, str, str]]:
    """Each rule that bound a charge, by its pack, and what it refused the charge for."""
    reason = payments_pb2.RefusalReason
    return [
        (
            rule.rule_pack.rpartition("/")[2],
            rule.rule,
            reason.Name(rule.refusal_reason) if rule.refusal_reason else "",
        )
        for rule in charge.applied_rules
    ]


async def rules_of(shop: Shop, made: pb.StandingOrder) -> list[str]:
    """The packs whose rules the preparation of the first order names."""
    explained = await shop.scheduler.ExplainOrder(
        pb.ExplainOrderRequest(name=f"{made.name}/orders/1")
    )
    return [
        rule["rule_pack"].rpartition("/")[2]
        for decision in explained.decisions
        if decision.kind == "PREPARED"
        for rule in MessageToDict(decision.data).get("rules", ())
    ]


async def test_a_shorter_lead_than_the_schemes_is_lengthened_from_the_first_cycle_on(
    shop: Shop,
) -> None:
    mandate = await shop.add_card("ada", card=SEPA_DEBIT)
    made = await automatic(shop, 20 * DAY, mandate)
    assert made.notice_lead.ToTimedelta() == DAY
    assert made.effective_notice_lead.ToTimedelta() == 14 * DAY
    assert made.notice_rule_pack == f"{shop.name}/rulePacks/sepa-core"
    [cycle] = await shop.preview(made.name)
    due_time = from_timestamp(cycle.due_time)
    assert from_timestamp(cycle.notice_time) == due_time - 14 * DAY - HEADROOM
    await shop.suite.advance(6 * DAY)
    assert await shop.outcomes(made.name) == [(1, "UPCOMING", [])]
    await shop.suite.advance(14.2 * DAY)
    assert await shop.outcomes(made.name) == [(1, "PAID", [])]
    assert applied(await charge_of(shop, made)) == [
        ("sepa-core", "debit-notice-lead", ""),
        ("sepa-core", "mandate-lapse", ""),
    ]
    assert await rules_of(shop, made) == ["sepa-core"]


async def test_a_longer_lead_than_the_packs_stays_the_customers(shop: Shop) -> None:
    mandate = await shop.add_card("ada", card=SEPA_DEBIT)
    made = await automatic(shop, 30 * DAY, mandate, notice_lead=seconds(20 * DAY))
    assert made.effective_notice_lead == made.notice_lead
    assert made.notice_rule_pack == ""


async def test_an_order_that_is_due_sooner_than_its_scheme_allows_is_charged_later(
    shop: Shop,
) -> None:
    mandate = await shop.add_card("ada", card=SEPA_DEBIT)
    made = await automatic(shop, 5 * DAY, mandate)
    await shop.suite.advance(13.5 * DAY)
    assert await shop.outcomes(made.name) == [(1, "UPCOMING", [])]
    await shop.suite.advance(1 * DAY)
    assert await shop.outcomes(made.name) == [(1, "PAID", [])]


async def test_a_rule_that_comes_after_the_notice_delays_the_charge(shop: Shop) -> None:
    made = await automatic(shop, 2 * DAY, await shop.add_card("ada"))
    await shop.suite.advance(1.5 * DAY)
    assert await shop.outcomes(made.name) == [(1, "UPCOMING", [])]
    await ask_oneself(shop, debit_notice_lead=seconds(4 * DAY))
    await shop.suite.advance(3 * DAY)
    charge = await charge_of(shop, made)
    assert charge.state == payments_pb2.Charge.SCHEDULED
    assert applied(charge) == [("own", "strict", "NOTICE_TOO_RECENT")]
    await shop.suite.advance(1 * DAY)
    assert await shop.outcomes(made.name) == [(1, "PAID", [])]


async def test_a_rule_that_comes_after_the_notice_refuses_what_is_not_confirmed(
    shop: Shop,
) -> None:
    made = await automatic(shop, 2 * DAY, await shop.add_card("ada"))
    await shop.suite.advance(1.5 * DAY)
    await ask_oneself(shop, confirmation_above=to_money(TEA_MINOR - 1, "EUR"))
    await shop.suite.advance(1 * DAY)
    charge = await charge_of(shop, made)
    assert charge.state == payments_pb2.Charge.REFUSED
    assert list(charge.refusal_reasons) == [payments_pb2.CONFIRMATION_REQUIRED]
    [rule] = charge.applied_rules
    assert (rule.rule_pack, rule.source) == (f"{shop.name}/rulePacks/own", "Our promise")


async def test_next_time_the_customer_is_asked_and_no_mandate_needs_to_cover_it(
    shop: Shop,
) -> None:
    await ask_oneself(shop, confirmation_above=to_money(TEA_MINOR - 1, "EUR"))
    mandate = await shop.add_card("ada", ceiling_minor=TEA_MINOR - 1)
    made = await automatic(shop, 2 * DAY, mandate)
    await shop.suite.advance(2.2 * DAY)
    assert await shop.outcomes(made.name) == [(1, "AWAITING_PAYMENT", [])]
    charge = await charge_of(shop, made)
    assert charge.state == payments_pb2.Charge.REQUESTED
    assert await rules_of(shop, made) == ["own"]
    await shop.client.payments.ConfirmPaymentRequest(
        payments_pb2.ConfirmPaymentRequestRequest(
            name=charge.name,
            payment_method=f"{shop.customer('ada')}/paymentMethods/card",
            request_id=new_id(),
        )
    )
    await shop.suite.sandbox.settle()
    assert await shop.outcomes(made.name) == [(1, "PAID", [])]


async def test_a_mandate_that_will_have_lapsed_covers_nothing(shop: Shop) -> None:
    await ask_oneself(shop, mandate_lapse_months=1)
    mandate = await shop.add_card("ada")
    refusal = await refused(automatic(shop, 40 * DAY, mandate))
    assert refusal.reason == "MANDATE_NOT_COVERING"
    assert "MANDATE_LAPSED" in refusal.message
    assert (await automatic(shop, 20 * DAY, mandate)).next_cycle == 1


async def test_in_india_a_mandate_has_an_end_and_the_customer_confirms_what_is_large(
    shop: Shop,
) -> None:
    await shop.sell("shawl", SHAWL_MINOR, "INR")
    await shop.sell("chai", 500_00, "INR")
    await shop.add_card("ada")

    async def consent(mandate_id: str, **more: Any) -> str:  # noqa: ANN401
        made = await shop.client.payments.CreateMandate(
            payments_pb2.CreateMandateRequest(
                parent=shop.customer("ada"),
                mandate_id=mandate_id,
                mandate=payments_pb2.Mandate(
                    payment_method=f"{shop.customer('ada')}/paymentMethods/card",
                    charge_ceiling=to_money(20_000_00, "INR"),
                    evidence=payments_pb2.Mandate.Evidence(
                        text="Charge me.", accept_time=to_timestamp(await shop.now())
                    ),
                    **more,
                ),
                request_id=new_id(),
            )
        )
        return str(made.name)

    in_india: dict[str, Any] = {"ship_to": INDIA, "items": [shop.item("chai")]}
    refusal = await refused(automatic(shop, 3 * DAY, await consent("endless"), **in_india))
    assert refusal.reason == "MANDATE_NOT_COVERING"
    assert "MANDATE_WITHOUT_END" in refusal.message
    ending = await consent("ending", valid_until_time=to_timestamp(await shop.now() + 365 * DAY))
    hour = seconds(timedelta(hours=1))
    small = await automatic(shop, 3 * DAY, ending, notice_lead=hour, **in_india)
    assert small.effective_notice_lead.ToTimedelta() == DAY
    assert small.notice_rule_pack == f"{shop.name}/rulePacks/in-rbi-e-mandate"
    in_india["items"] = [shop.item("shawl")]
    large = await automatic(shop, 3 * DAY, ending, **in_india)
    await shop.suite.advance(3.2 * DAY)
    assert await shop.outcomes(small.name) == [(1, "PAID", [])]
    assert await shop.outcomes(large.name) == [(1, "AWAITING_PAYMENT", [])]
    assert (await charge_of(shop, large)).state == payments_pb2.Charge.REQUESTED


async def test_a_mandate_that_breaks_a_pack_is_refused_where_the_customer_is_known(
    shop: Shop,
) -> None:
    await shop.add_card("ada")
    name, card = shop.customer("ada"), f"{shop.customer('ada')}/paymentMethods/card"
    refusal = await refused(shop.consent(name, card, 1000, "endless", region_code="IN"))
    assert refusal.fields == {"mandate.valid_until_time": "MANDATE_WITHOUT_END"}
    ends = to_timestamp(await shop.now() + 365 * DAY)
    late: dict[str, Any] = {"region_code": "IN", "lead": seconds(timedelta(hours=1))}
    refusal = await refused(shop.consent(name, card, 1000, "late", valid_until_time=ends, **late))
    assert refusal.fields == {"mandate.lead": "SHORTER_THAN_RULES"}
    await shop.consent(name, card, 1000, "ending", region_code="IN", valid_until_time=ends)
    await shop.consent(name, card, 1000, "german", region_code="DE")


async def test_no_amendment_makes_a_mandate_break_a_pack_where_the_customer_is_known(
    shop: Shop,
) -> None:
    await shop.add_card("ada")
    name, card = shop.customer("ada"), f"{shop.customer('ada')}/paymentMethods/card"
    ends = to_timestamp(await shop.now() + 365 * DAY)
    await shop.consent(name, card, 1000, "ending", region_code="IN", valid_until_time=ends)

    async def amend(paths: list[str], region_code: str, **terms: Any) -> Any:  # noqa: ANN401
        return await shop.client.payments.AmendMandate(
            payments_pb2.AmendMandateRequest(
                name=f"{name}/mandates/ending",
                terms=payments_pb2.MandateTerms(**terms),
                update_mask=FieldMask(paths=paths),
                region_code=region_code,
                evidence=payments_pb2.Mandate.Evidence(
                    text="For ever.", accept_time=to_timestamp(await shop.now())
                ),
                request_id=new_id(),
            )
        )

    refusal = await refused(amend(["valid_until_time"], "IN"))
    assert refusal.fields == {"terms.valid_until_time": "MANDATE_WITHOUT_END"}
    refusal = await refused(amend(["lead"], "IN", lead=seconds(timedelta(hours=1))))
    assert refusal.fields == {"terms.lead": "SHORTER_THAN_RULES"}
    amended = await amend(["valid_until_time"], "DE")
    assert not amended.HasField("valid_until_time")


async def test_what_is_ordered_at_once_is_charged_when_its_scheme_allows(shop: Shop) -> None:
    mandate = await shop.add_card("ada", card=SEPA_DEBIT)
    made = await automatic(shop, 40 * DAY, mandate)
    await shop.order_now(made.name)
    await shop.suite.advance(13.5 * DAY)
    assert await shop.outcomes(made.name) == [(1, "UPCOMING", [])]
    await shop.suite.advance(1 * DAY)
    assert await shop.outcomes(made.name) == [(1, "PAID", [])]
