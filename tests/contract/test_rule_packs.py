"""Rule packs by their RPCs: what is asked of charges, and what a merchant adds to it."""

from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.type import date_pb2
from recurring.catalog.v1 import catalog_pb2 as pb

from services.runtime.rpc.conversions import to_money
from tests.suite import Client, Suite, new_id, refused

BUILT_IN = [
    "eu-consumers", "in-rbi-e-mandate", "mastercard", "own", "sepa-core", "us-ca-automatic-renewal",
    "visa",
]  # fmt: skip


@pytest.fixture
def shop(suite: Suite) -> Client:
    """A merchant of the test's own."""
    return suite.client()


def name(shop: Client, pack: str) -> str:
    return f"{shop.name}/rulePacks/{pack}"


async def get(shop: Client, pack: str) -> pb.RulePack:
    found: pb.RulePack = await shop.catalog.GetRulePack(
        pb.GetRulePackRequest(name=name(shop, pack))
    )
    return found


async def change(shop: Client, pack: pb.RulePack) -> pb.RulePack:
    request = pb.UpdateRulePackRequest(rule_pack=pack, request_id=new_id())
    changed: pb.RulePack = await shop.catalog.UpdateRulePack(request)
    return changed


async def why(shop: Client, pack: pb.RulePack) -> str:
    """Why a change is refused: its one field, and the rule."""
    refusal = await refused(change(shop, pack))
    assert list(refusal.fields.values()) == ["FIELD_INVALID"]
    return refusal.message


async def binds(
    shop: Client,
    **fields: Any,  # noqa: ANN401 - of the request
) -> dict[str, tuple[str, pb.Rule]]:
    """By kind, whose rule binds."""
    request = pb.GetBindingRulesRequest(parent=shop.name, **fields)
    answer = await shop.catalog.GetBindingRules(request)
    return {
        str(binding.rule.WhichOneof("kind")): (
            binding.rule_pack.rpartition("/")[2], binding.rule
        )
        for binding in answer.rules
    }  # fmt: skip


async def test_rule_packs_are_listed_page_by_page_with_their_sources(shop: Client) -> None:
    listed: list[pb.RulePack] = []
    token = ""
    while not listed or token:
        request = pb.ListRulePacksRequest(parent=shop.name, page_size=3, page_token=token)
        page = await shop.catalog.ListRulePacks(request)
        listed += page.rule_packs
        token = page.next_page_token
    assert [pack.name.rpartition("/")[2] for pack in listed] == BUILT_IN
    assert all(rule.source for pack in listed for rule in pack.rules)
    assert await get(shop, "sepa-core") == listed[BUILT_IN.index("sepa-core")]


async def test_a_pack_that_there_is_not_is_not_found(shop: Client) -> None:
    for call in (get(shop, "moon"), change(shop, pb.RulePack(name=name(shop, "moon")))):
        assert (await refused(call)).reason == "RULE_PACK_NOT_FOUND"


async def test_the_rules_of_a_charge_are_those_of_its_region_scheme_and_day(shop: Client) -> None:
    found = await binds(shop, region_code="DE", payment_scheme=pb.SEPA_DIRECT_DEBIT)
    assert found["price_increase_notice"][0] == "eu-consumers"
    pack, rule = found["debit_notice_lead"]
    assert (pack, rule.debit_notice_lead) == ("sepa-core", Duration(seconds=14 * 86_400))

    day = date_pb2.Date(year=2022, month=6, day=15)
    _, rule = (await binds(shop, region_code="IN", local_date=day))["confirmation_above"]
    assert rule.confirmation_above == to_money(500_000, "INR")


async def test_a_day_that_there_is_not_is_refused_by_its_field(shop: Client) -> None:
    day = date_pb2.Date(year=2026, month=2, day=30)
    refusal = await refused(binds(shop, local_date=day))
    assert refusal.message == "local_date: must be a full date that exists"


async def test_a_merchants_own_rules_bind_where_they_are_stricter(shop: Client) -> None:
    own = pb.RulePack(name=name(shop, "own"))
    own.rules.add(id="increase", price_increase_notice=pb.NoticePeriod(min_days=60))
    own.rules.add(id="lead", debit_notice_lead=Duration(seconds=3600))
    changed = await change(shop, own)

    assert list(changed.rules) == list(own.rules)
    assert await get(shop, "own") == changed
    found = await binds(shop, region_code="IN")
    assert found["price_increase_notice"][0] == "own"
    assert found["debit_notice_lead"][0] == "in-rbi-e-mandate"


async def test_each_kind_of_rule_is_kept_as_it_was_given(shop: Client) -> None:
    own = pb.RulePack(name=name(shop, "own"))
    content = pb.NoticeContent(elements=[pb.NoticeContent.AMOUNT, pb.NoticeContent.DATE])
    kinds = {
        "debit_notice_lead": Duration(seconds=90), "debit_notice_content": content,
        "confirmation_above": to_money(100_00, "EUR"), "receipt_content": content,
        "mandate_terms": pb.MandateTerms(maximum=True), "mandate_lapse_months": 12,
        "refund_right_days": 14, "retry_limit": pb.RetryLimit(attempt_count=3, window_hours=72),
        "price_increase_notice": pb.NoticePeriod(min_days=1, max_days=2),
        "offer_end_notice": pb.NoticePeriod(min_days=3), "reminder_months": 6,
    }  # fmt: skip
    for kind, value in sorted(kinds.items()):
        own.rules.add(
            id=kind.replace("_", "-"), source="Terms, 4", **{kind: value},
            start_date=date_pb2.Date(year=2026, month=1, day=1),
            end_date=date_pb2.Date(year=2027, month=1, day=1),
        )  # fmt: skip
    assert set(kinds) == {field.name for field in pb.Rule.DESCRIPTOR.oneofs_by_name["kind"].fields}
    assert list((await change(shop, own)).rules) == list(own.rules)
    assert list((await get(shop, "own")).rules) == list(own.rules)


async def test_a_pack_applies_where_the_merchant_adds_it(shop: Client) -> None:
    assert await binds(shop, region_code="CH") == {}
    pack = await get(shop, "eu-consumers")
    pack.extra_regions[:] = ["CH", "GB"]
    changed = await change(shop, pack)

    assert list(changed.extra_regions) == ["CH", "GB"]
    assert (await binds(shop, region_code="CH"))["price_increase_notice"][0] == "eu-consumers"


async def test_another_merchants_additions_change_nothing_here(suite: Suite, shop: Client) -> None:
    other = suite.client()
    await change(other, pb.RulePack(name=name(other, "eu-consumers"), extra_regions=["CH"]))
    assert await binds(shop, region_code="CH") == {}


async def test_the_rules_of_a_law_cannot_be_changed(shop: Client) -> None:
    pack = await get(shop, "in-rbi-e-mandate")
    pack.rules[0].confirmation_above.units = 1_000_000
    assert await why(shop, pack) == (
        "rule_pack.rules: must be left out, since only those of the merchant's own pack can be changed"
    )


async def test_a_pack_that_applies_everywhere_takes_no_region(shop: Client) -> None:
    pack = pb.RulePack(name=name(shop, "visa"), extra_regions=["DE"])
    rule = "must be empty, since the pack applies everywhere"
    assert await why(shop, pack) == f"rule_pack.extra_regions: {rule}"


def of(shop: Client, *rules: pb.Rule) -> pb.RulePack:
    return pb.RulePack(name=name(shop, "own"), rules=rules)


@pytest.mark.parametrize(
    ("rules", "field", "rule"),
    [
        (
            [pb.Rule(id="a", reminder_months=1), pb.Rule(id="a", reminder_months=2)],
            "rule_pack.rules",
            "must have one version of a on each day",
        ),
        (
            [
                pb.Rule(
                    id="a",
                    reminder_months=1,
                    start_date=date_pb2.Date(year=2026, month=2, day=2),
                    end_date=date_pb2.Date(year=2026, month=2, day=2),
                )
            ],
            "rule_pack.rules[0].end_date",
            "must be after start_date",
        ),
        (
            [pb.Rule(id="a", debit_notice_lead=Duration(seconds=1, nanos=1))],
            "rule_pack.rules[0].debit_notice_lead",
            "must be whole seconds",
        ),
        (
            [pb.Rule(id="a", confirmation_above=to_money(1, "EUR")), pb.Rule(id="b")],
            "rule_pack.rules[1].kind",
            "exactly one field is required in oneof",
        ),
        (
            [pb.Rule(id="a", price_increase_notice=pb.NoticePeriod(min_days=9, max_days=8))],
            "rule_pack.rules[0].price_increase_notice",
            "max_days must not be less than min_days",
        ),
    ],
)
async def test_a_rule_that_makes_no_sense_is_refused_by_its_field(
    shop: Client, rules: list[pb.Rule], field: str, rule: str
) -> None:
    assert await why(shop, of(shop, *rules)) == f"{field}: {rule}"


async def test_a_change_of_an_outdated_pack_is_refused(shop: Client) -> None:
    before = await get(shop, "own")
    await change(shop, of(shop, pb.Rule(id="a", reminder_months=1)))
    assert (await refused(change(shop, before))).reason == "ETAG_MISMATCH"
