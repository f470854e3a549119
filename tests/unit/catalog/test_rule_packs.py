"""What binds a charge: the strictest of each kind, on its day, where it applies."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.catalog.domain.products import MerchantId
from services.catalog.domain.rule_pack_data import RULE_PACKS
from services.catalog.domain.rule_packs import (
    OWN,
    ConfirmationAbove,
    DebitNoticeLead,
    MandateLapse,
    MerchantRulePack,
    OfferEndNotice,
    PaymentScheme,
    PriceIncreaseNotice,
    ReceiptContent,
    Requirement,
    RetryLimit,
    Rule,
    binding,
    overlapping,
)

TODAY = date(2026, 11, 29)
MERCHANT = MerchantId("acme")
DAY_SECONDS = 86_400


def packs(*own: Rule, extra: dict[str, tuple[str, ...]] | None = None) -> list[MerchantRulePack]:
    """All packs as they are for a merchant with rules and regions of its own."""
    return [
        MerchantRulePack(MERCHANT, pack).changed((extra or {}).get(pack.id, ()), own)
        for pack in RULE_PACKS.values()
    ]


def asked(
    of: list[MerchantRulePack],
    region: str = "",
    scheme: PaymentScheme | None = None,
    day: date = TODAY,
) -> dict[type, tuple[str, Requirement]]:
    """By kind, which pack asks for what; of kinds that add up, the last."""
    return {
        type(rule.requirement): (key.rule_pack, rule.requirement)
        for key, rule in binding(of, region, scheme, day)
    }


@pytest.mark.parametrize(
    ("day", "amount_minor"),
    [
        (date(2021, 10, 1), 500_000),
        (date(2022, 6, 15), 500_000),
        (date(2022, 6, 16), 1_500_000),
        (date(2026, 4, 21), 1_500_000),
    ],
)
def test_a_customer_in_india_confirms_what_is_above_the_limit_of_the_day(
    day: date, amount_minor: int
) -> None:
    found = asked(packs(), "IN", day=day)
    assert found[ConfirmationAbove][1] == ConfirmationAbove(amount_minor, "INR")


def test_nothing_is_asked_in_india_before_the_framework() -> None:
    assert asked(packs(), "IN", day=date(2021, 9, 30)) == {}


def test_visa_has_allowed_twenty_retries_since_may_2025() -> None:
    before, after = (
        asked(packs(), scheme=PaymentScheme.VISA, day=day)[RetryLimit]
        for day in (date(2025, 5, 18), date(2025, 5, 19))
    )
    assert before[1] == RetryLimit(15, 720)
    assert after[1] == RetryLimit(20, 720)


def test_mastercard_limits_the_retries_of_a_day_and_of_a_month() -> None:
    limits = [
        rule.requirement
        for _, rule in binding(packs(), "", PaymentScheme.MASTERCARD, TODAY)
        if isinstance(rule.requirement, RetryLimit)
    ]
    assert limits == [RetryLimit(10, 24), RetryLimit(35, 720)]


def test_a_debit_by_sepa_is_announced_two_weeks_before_and_its_mandate_lapses() -> None:
    found = asked(packs(), "DE", PaymentScheme.SEPA_DIRECT_DEBIT)
    assert found[DebitNoticeLead] == ("sepa-core", DebitNoticeLead(14 * DAY_SECONDS))
    assert found[MandateLapse] == ("sepa-core", MandateLapse(36))


def test_of_a_region_and_a_scheme_the_longer_notice_of_an_increase_binds() -> None:
    found = asked(packs(), "DE", PaymentScheme.VISA)
    assert found[PriceIncreaseNotice] == ("eu-consumers", PriceIncreaseNotice(30, 0))


def test_the_part_of_a_country_has_its_own_rules_and_the_country_not_those() -> None:
    assert asked(packs(), "US-CA")[OfferEndNotice][0] == "us-ca-automatic-renewal"
    assert asked(packs(), "US") == {}


def test_a_part_of_a_country_has_the_countrys_rules() -> None:
    assert asked(packs(), "DE-BY")[PriceIncreaseNotice][0] == "eu-consumers"


def test_a_merchant_has_a_pack_apply_elsewhere() -> None:
    of = packs(extra={"eu-consumers": ("CH",)})
    assert asked(of, "CH")[PriceIncreaseNotice][0] == "eu-consumers"
    assert asked(of, "NO") == {}


@pytest.mark.parametrize(
    ("own_days", "binds"), [(10, "eu-consumers"), (30, "eu-consumers"), (60, OWN)]
)
def test_a_rule_of_the_merchants_own_counts_where_it_is_stricter(own_days: int, binds: str) -> None:
    own = Rule("mine", PriceIncreaseNotice(own_days, 0))
    assert asked(packs(own), "DE")[PriceIncreaseNotice][0] == binds


def test_what_receipts_must_say_adds_up() -> None:
    own = Rule("mine", ReceiptContent(()))
    binds = binding(packs(own), "IN", PaymentScheme.MASTERCARD, TODAY)
    asking = {key.rule_pack for key, rule in binds if isinstance(rule.requirement, ReceiptContent)}
    assert asking == {"in-rbi-e-mandate", "mastercard", OWN}


def test_every_rule_has_a_source_and_one_version_a_day() -> None:
    for pack in RULE_PACKS.values():
        assert overlapping(pack.rules) == ""
        assert all(rule.source for rule in pack.rules)


DATES = st.none() | st.dates(date(2020, 1, 1), date(2030, 1, 1))


@given(st.lists(st.tuples(DATES, DATES), min_size=2, max_size=5))
def test_versions_overlap_exactly_when_two_are_in_force_on_one_day(
    spans: list[tuple[date | None, date | None]],
) -> None:
    spans = [(s, e) for s, e in spans if e is None or (s or date.min) < e]
    rules = [Rule("r", MandateLapse(1), "", start, end) for start, end in spans]
    days = {start or date.min for start, _ in spans}
    twice = any(sum(rule.in_force(day) for rule in rules) > 1 for day in days)
    assert (overlapping(rules) == "r") == twice


@given(st.lists(st.integers(0, 60 * DAY_SECONDS), max_size=6))
def test_the_longest_of_all_leads_binds(own_lead_seconds: list[int]) -> None:
    own = [Rule(f"r{n}", DebitNoticeLead(lead)) for n, lead in enumerate(own_lead_seconds)]
    found = asked(packs(*own), "IN")[DebitNoticeLead][1]
    assert found == DebitNoticeLead(max([DAY_SECONDS, *own_lead_seconds]))
