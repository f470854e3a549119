"""What a price version changes for a subscriber, and from which cycle on."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from services.catalog.domain.increase_notices import NO_RULES, MerchantRules
from services.catalog.domain.price_changes import ChangedAmount, PriceChange, quote_change
from services.catalog.domain.prices import Price
from services.catalog.domain.pricing import AdjustmentKind, Cart, Line, quote
from services.catalog.domain.products import (
    STANDARD_CATEGORY,
    Fault,
    Item,
    MerchantId,
    PriceId,
    Product,
    ProductId,
    ProductKey,
    ProductState,
    StandingOrderId,
)
from services.catalog.domain.protections import Cap, Lock, Protection
from services.catalog.domain.rule_pack_data import RULE_PACKS
from services.catalog.domain.rule_packs import (
    MerchantRulePack,
    PriceIncreaseNotice,
    RulePackId,
    RulePackKey,
    binding,
)
from services.catalog.domain.tax import (
    CatalogSettings,
    TaxBehavior,
    TaxIdTreatment,
    TaxRate,
    TaxRateId,
    TaxTable,
)

START = datetime(2026, 1, 1, tzinfo=UTC)
LAST_DAY = 200
TEA = ProductKey(MerchantId("acme"), ProductId("tea"))
WEEKLY = StandingOrderId("weekly")


def day(number: int) -> datetime:
    return START + timedelta(days=number)


def price(amount_minor: int, effective: int, announced: int) -> Price:
    name = PriceId(f"p{effective}")
    return Price(*TEA, name, amount_minor, "EUR", day(effective), day(announced))


def effect(
    prices: Sequence[Price],
    changed: Price,
    cycle: int,
    terms: Lock | Cap | None = None,
    notice_days: int = 30,
    notified: int = 0,
    rules: MerchantRules = NO_RULES,
    region: str = "DE",
    taxes: TaxTable | None = None,
) -> ChangedAmount | list[Fault]:
    """What a price changes in a cycle of a standing order that is due each day from the first on."""
    product = Product(
        *TEA, "Tea", notice_days, False, 0, ProductState.ACTIVE, START  # noqa: FBT003 - a row
    )  # fmt: skip
    protection = Protection(TEA.merchant, WEEKLY, TEA.product, prices[0].price, START, terms)
    protection = replace(protection, rules=rules)
    cart = Cart(WEEKLY, cycle, (Item(TEA, 1),), day(cycle), region_code=region)
    change = PriceChange(cart, changed.key, day(notified))
    return quote_change(
        change, {TEA: product}, {TEA: prices}, {protection.key: protection}, table=taxes
    )


def changed_amount(*given: object, **more: object) -> ChangedAmount:
    result = effect(*given, **more)  # type: ignore[arg-type]
    assert isinstance(result, ChangedAmount)
    return result


def differs(amount: ChangedAmount) -> bool:
    return amount.amount_minor != amount.previous_minor


terms = st.none() | st.one_of(
    st.builds(Lock, st.integers(1, LAST_DAY), st.none()),
    st.builds(Lock, st.none(), st.integers(0, LAST_DAY).map(day)),
    st.builds(Lock, st.integers(1, LAST_DAY), st.integers(0, LAST_DAY).map(day)),
    st.builds(Cap, st.integers(0, 20_000)),
)


@given(
    rise=st.integers(-9, 9), effective=st.integers(1, 60), notified=st.integers(0, 60), terms=terms,
    notice_days=st.integers(0, 60),
)  # fmt: skip
def test_the_ends_of_what_holds_lead_to_the_first_cycle_that_differs(
    rise: int, effective: int, notified: int, terms: Lock | Cap | None, notice_days: int
) -> None:
    prices = [price(10, 0, 0), price(10 + rise, effective, 0)]
    changed = prices[1]
    given_ = {"terms": terms, "notice_days": notice_days, "notified": notified}
    every = range(effective, LAST_DAY + 60)
    expected = next(
        (c for c in every if differs(changed_amount(prices, changed, c, **given_))), None
    )
    found: int | None = effective
    while found is not None:
        amount = changed_amount(prices, changed, found, **given_)
        if differs(amount):
            break
        held = amount.held
        after = max(found, held.through_cycle)
        is_held = held.through_cycle or held.until_time
        found = next(
            (c for c in every if c > after and day(c) >= (held.until_time or START)), None
        ) if is_held else None  # fmt: skip
    assert found == expected


def test_a_rise_is_held_until_its_notice_is_over() -> None:
    prices = [price(10, 0, 0), price(12, 5, 0)]
    amount = changed_amount(prices, prices[1], 7, notified=3)
    assert (amount.amount_minor, amount.previous_minor) == (10, 10)
    assert amount.held[:2] == (0, day(33))


def test_under_a_lock_a_rise_after_a_drop_is_held_by_its_notice_and_not_by_the_lock() -> None:
    prices = [price(12, 0, 0), price(10, 3, 3), price(15, 5, 4)]
    lock = {"terms": Lock(100, None), "notified": 4}
    held = changed_amount(prices, prices[2], 7, **lock)
    assert (held.amount_minor, held.previous_minor, held.held[:2]) == (10, 10, (0, day(34)))
    risen = changed_amount(prices, prices[2], 34, **lock)
    assert (risen.amount_minor, risen.previous_minor) == (12, 10)


EU = RulePackId("eu-consumers")
ALL_PACKS = MerchantRules([MerchantRulePack(TEA.merchant, pack) for pack in RULE_PACKS.values()])


@given(
    notice_days=st.integers(0, 60), region=st.sampled_from(["", "DE", "US-CA", "US-NY", "IN"]),
    on=st.dates(START.date()),
)  # fmt: skip
def test_no_notice_is_shorter_than_the_products_or_than_a_rule_that_binds(
    notice_days: int, region: str, on: date
) -> None:
    product = Product(
        *TEA, "Tea", notice_days, False, 0, ProductState.ACTIVE, START  # noqa: FBT003 - a row
    )  # fmt: skip
    packs = [MerchantRulePack(TEA.merchant, pack) for pack in RULE_PACKS.values()]
    asked = [
        bound.rule.requirement.min_days
        for bound in binding(packs, region, None, on)
        if isinstance(bound.rule.requirement, PriceIncreaseNotice)
    ]
    notice = ALL_PACKS.increase_notice(product, region, on)
    assert notice.min_days == max([notice_days, *asked])
    assert (notice.rule_pack is None) == (notice.min_days == notice_days)


def test_a_rise_waits_for_the_rule_of_the_place_that_it_goes_to() -> None:
    prices = [price(10, 0, 0), price(12, 5, 0)]
    rise = {"notice_days": 3, "rules": ALL_PACKS}
    assert changed_amount(prices, prices[1], 20, **rise, region="").amount_minor == 12
    held = changed_amount(prices, prices[1], 20, **rise, region="DE")
    assert (held.amount_minor, held.held.until_time) == (10, day(30))
    assert held.notice.rule_pack == RulePackKey(TEA.merchant, EU)


def test_who_was_never_told_of_a_rise_keeps_the_price() -> None:
    product = Product(
        *TEA, "Tea", 30, False, 0, ProductState.ACTIVE, START  # noqa: FBT003 - a row
    )  # fmt: skip
    prices = [price(10, 0, 0), price(12, 5, 0)]
    protection = Protection(TEA.merchant, WEEKLY, TEA.product, prices[0].price, START, None)
    cart = Cart(WEEKLY, 99, (Item(TEA, 1),), day(LAST_DAY))
    [line] = quote(cart, {TEA: product}, {TEA: prices}, {protection.key: protection})
    assert isinstance(line, Line)
    assert line.amount_minor == 10
    [adjustment] = line.adjustments
    assert adjustment.kind is AdjustmentKind.INCREASE_NOT_YET_NOTIFIED


def test_without_a_price_before_there_is_nothing_to_compare_with() -> None:
    first = price(10, 0, 0)
    assert isinstance(effect([first], first, 1), list)


def test_a_customer_hears_of_a_change_with_the_taxes_that_are_added() -> None:
    vat = TaxRate(
        TEA.merchant, TaxRateId("vat"), "DE", STANDARD_CATEGORY, "vat", "VAT", 190_000,
        compound=False, tax_id_treatment=TaxIdTreatment.CHARGED, effective_time=START,
        create_time=START,
    )  # fmt: skip
    taxes = TaxTable(CatalogSettings(TEA.merchant, TaxBehavior.EXCLUSIVE), [vat])
    prices = [price(1000, 0, 0), price(2000, 40, 0)]
    changed = changed_amount(prices, prices[1], 50, taxes=taxes)
    assert (changed.previous_minor, changed.amount_minor) == (1190, 2380)
