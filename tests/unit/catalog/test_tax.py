"""Which taxes are on a line, what they come to, and where the odd cent goes."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.catalog.domain.products import STANDARD_CATEGORY, MerchantId
from services.catalog.domain.tax import (
    PARTS_PER_MILLION,
    AppliedRate,
    CatalogSettings,
    Destination,
    HalfRounding,
    TaxBehavior,
    Taxed,
    TaxIdTreatment,
    TaxRate,
    TaxRateId,
    TaxRounding,
    TaxTable,
    rounded,
    taxed,
)

START = datetime(2026, 1, 1, tzinfo=UTC)
ACME = MerchantId("acme")
EXCLUSIVE = CatalogSettings(ACME, TaxBehavior.EXCLUSIVE)
INCLUSIVE = CatalogSettings(ACME, TaxBehavior.INCLUSIVE)
PERCENT = PARTS_PER_MILLION // 100
CHARGED = TaxIdTreatment.CHARGED


def applied(
    percent: int, tax: str = "vat", treatment: TaxIdTreatment = CHARGED, *, compound: bool = False
) -> AppliedRate:
    return AppliedRate(TaxRateId(tax), tax, percent * PERCENT, compound, treatment)


def version(
    region: str,
    percent: int,
    day: int = 0,
    tax: str = "vat",
    **fields: Any,  # noqa: ANN401
) -> TaxRate:
    """A version of a tax, from a day on, of the standard category unless it says otherwise."""
    category = fields.pop("tax_category", STANDARD_CATEGORY)
    instant = START + timedelta(days=day)
    made = TaxRate(
        ACME, TaxRateId(f"{region}-{tax}-{category}-{day}"), region, category, tax, tax.upper(),
        rate_ppm=percent * PERCENT, compound=False, tax_id_treatment=CHARGED,
        effective_time=instant, create_time=START,
    )  # fmt: skip
    return replace(made, **fields)


def percents(
    table: TaxTable, region: str, category: str = "", day: int = 0, tax_id: str = ""
) -> list[int]:
    at = START + timedelta(days=day)
    found = table.applying(Destination(region, tax_id), category, at)
    return [rate.rate_ppm // PERCENT for rate in found]


def one(amount_minor: int, settings: CatalogSettings, *rates: AppliedRate) -> Taxed:
    (line,) = taxed([amount_minor], [rates], settings)
    return line


def amounts(line: Taxed) -> list[int]:
    return [line.net_minor, *(tax.amount_minor for tax in line.taxes), line.gross_minor]


# --- which apply ----------------------------------------------------------------------------------


def test_the_rate_of_the_instant_is_the_newest_in_force() -> None:
    table = TaxTable(EXCLUSIVE, [version("DE", 16, 180), version("DE", 19), version("DE", 21, 360)])
    assert [percents(table, "DE", day=day) for day in (0, 179, 180, 400)] == [
        [19], [19], [16], [21],
    ]  # fmt: skip


def test_where_no_rate_is_known_there_is_no_tax() -> None:
    table = TaxTable(EXCLUSIVE, [version("DE", 19, 10)])
    assert percents(table, "DE", day=9) == percents(table, "FR", day=10) == []
    assert percents(table, "", day=10) == []


def test_an_order_without_an_address_goes_where_the_merchant_is() -> None:
    table = TaxTable(replace(EXCLUSIVE, region_code="DE"), [version("DE", 19)])
    assert percents(table, "") == [19]


def test_a_category_without_a_rate_of_its_own_has_the_standard_one() -> None:
    table = TaxTable(EXCLUSIVE, [version("DE", 19), version("DE", 7, tax_category="food")])
    assert [percents(table, "DE", category) for category in ("food", "books", "")] == [
        [7], [19], [19],
    ]  # fmt: skip


def test_a_part_of_a_country_replaces_its_taxes_and_adds_others() -> None:
    table = TaxTable(
        EXCLUSIVE,
        [
            version("ES", 21), version("ES", 10, tax_category="food"), version("ES-CN", 0),
            version("ES-CN", 7, tax="igic"),
        ],
    )  # fmt: skip
    assert percents(table, "ES-MD", "food") == [10]
    assert percents(table, "ES-CN", "food") == [7, 0]


@pytest.mark.parametrize(
    ("own", "tax_id", "treatment"),
    [
        ("DE", "", CHARGED),
        ("DE", "DE123456789", CHARGED),
        ("DE", "ATU12345678", TaxIdTreatment.REVERSE_CHARGE),
        ("GR", "EL123456789", CHARGED),
        ("", "ATU12345678", CHARGED),
    ],
)
def test_only_businesses_of_other_countries_owe_the_tax_themselves(
    own: str, tax_id: str, treatment: TaxIdTreatment
) -> None:
    rates = [version("AT", 20, tax_id_treatment=TaxIdTreatment.REVERSE_CHARGE)]
    table = TaxTable(replace(EXCLUSIVE, region_code=own), rates)
    (rate,) = table.applying(Destination("AT", tax_id), "", START)
    assert rate.treatment is treatment


# --- what they come to ----------------------------------------------------------------------------


def test_a_tax_is_added_or_taken_out() -> None:
    assert amounts(one(1000, EXCLUSIVE, applied(19))) == [1000, 190, 1190]
    assert amounts(one(1190, INCLUSIVE, applied(19))) == [1000, 190, 1190]


def test_several_taxes_are_each_due_on_the_net_amount_and_a_compound_one_on_all() -> None:
    gst, qst = applied(5, "gst"), applied(10, "qst")
    assert amounts(one(10_000, EXCLUSIVE, gst, qst)) == [10_000, 500, 1000, 11_500]
    qst = applied(10, "qst", compound=True)
    assert amounts(one(10_000, EXCLUSIVE, gst, qst)) == [10_000, 500, 1050, 11_550]
    assert amounts(one(11_550, INCLUSIVE, gst, qst)) == [10_000, 500, 1050, 11_550]


@pytest.mark.parametrize("treatment", [TaxIdTreatment.REVERSE_CHARGE, TaxIdTreatment.EXEMPT])
def test_what_is_not_charged_is_shown_and_not_paid(treatment: TaxIdTreatment) -> None:
    rate = applied(20, treatment=treatment)
    assert amounts(one(1000, EXCLUSIVE, rate)) == [1000, 0, 1000]
    assert amounts(one(1200, INCLUSIVE, rate)) == [1000, 0, 1000]


def test_half_a_cent_goes_up_or_to_the_even_one() -> None:
    assert [rounded(n, 2, HalfRounding.UP) for n in (1, 3, 5)] == [1, 2, 3]
    assert [rounded(n, 2, HalfRounding.EVEN) for n in (1, 3, 5)] == [0, 2, 2]


def test_a_document_is_rounded_once_and_its_lines_come_to_the_sum() -> None:
    rates = [(applied(10),)] * 3
    by_line = taxed([4, 4, 4], rates, EXCLUSIVE)
    by_document = taxed([4, 4, 4], rates, replace(EXCLUSIVE, tax_rounding=TaxRounding.DOCUMENT))
    assert [line.tax_minor for line in by_line] == [0, 0, 0]
    assert [line.tax_minor for line in by_document] == [1, 0, 0]


# --- what always holds ----------------------------------------------------------------------------

money = st.integers(0, 10**12)
settings_of = st.builds(
    CatalogSettings,
    st.just(ACME),
    st.sampled_from(TaxBehavior),
    st.sampled_from(TaxRounding),
    st.sampled_from(HalfRounding),
)
rate_lists = st.lists(
    st.tuples(st.integers(0, PARTS_PER_MILLION), st.booleans(), st.sampled_from(TaxIdTreatment)),
    max_size=4,
).map(
    lambda drawn: tuple(
        AppliedRate(
            TaxRateId(f"t{place}-{ppm}-{compound}-{treatment}"), "", ppm, compound, treatment
        )
        for place, (ppm, compound, treatment) in enumerate(sorted(drawn, key=lambda it: it[1]))
    )
)
documents = st.lists(st.tuples(money, rate_lists), min_size=1, max_size=6)
Document = Sequence[tuple[int, tuple[AppliedRate, ...]]]


def lines_of(document: Document, settings: CatalogSettings) -> list[Taxed]:
    return taxed([amount for amount, _ in document], [rates for _, rates in document], settings)


def all_charged(document: Document) -> Document:
    return [
        (amount, tuple(rate._replace(treatment=CHARGED) for rate in rates))
        for amount, rates in document
    ]


@given(documents, settings_of)
def test_a_price_is_the_net_amount_or_the_gross_one(
    document: Document, settings: CatalogSettings
) -> None:
    for (amount, _), line in zip(document, lines_of(all_charged(document), settings), strict=True):
        inclusive = settings.tax_behavior is TaxBehavior.INCLUSIVE
        assert amount == (line.gross_minor if inclusive else line.net_minor)


@given(money, st.integers(0, PARTS_PER_MILLION), st.sampled_from(HalfRounding))
def test_inclusive_and_exclusive_prices_agree(
    net_minor: int, rate_ppm: int, half: HalfRounding
) -> None:
    rate = applied(0)._replace(rate_ppm=rate_ppm)
    added = one(net_minor, replace(EXCLUSIVE, half_rounding=half), rate)
    taken_out = one(added.gross_minor, replace(INCLUSIVE, half_rounding=half), rate)
    assert taken_out == added


@given(documents, settings_of)
def test_no_tax_is_off_by_a_minor_unit(document: Document, settings: CatalogSettings) -> None:
    settings = replace(settings, tax_behavior=TaxBehavior.EXCLUSIVE)
    for (amount, rates), line in zip(document, lines_of(document, settings), strict=True):
        base = Fraction(amount)
        for rate, tax in zip(rates, line.taxes, strict=True):
            if rate.treatment is not CHARGED:
                assert tax.amount_minor == 0
                continue
            exact = (base if rate.compound else amount) * Fraction(rate.rate_ppm, PARTS_PER_MILLION)
            base += exact
            assert abs(tax.amount_minor - exact) < 1


@given(documents, settings_of)
def test_the_lines_of_a_document_come_to_its_rounded_sum(
    document: Document, settings: CatalogSettings
) -> None:
    settings = replace(
        settings, tax_behavior=TaxBehavior.EXCLUSIVE, tax_rounding=TaxRounding.DOCUMENT
    )
    shown: dict[AppliedRate, int] = {}
    exact: dict[AppliedRate, Fraction] = {}
    for (amount, rates), line in zip(document, lines_of(document, settings), strict=True):
        base = Fraction(amount)
        for rate, tax in zip(rates, line.taxes, strict=True):
            shown[rate] = shown.get(rate, 0) + tax.amount_minor
            if rate.treatment is CHARGED:
                part = (base if rate.compound else amount) * Fraction(
                    rate.rate_ppm, PARTS_PER_MILLION
                )
                base += part
                exact[rate] = exact.get(rate, Fraction()) + part
    for rate, total in exact.items():
        assert shown[rate] == rounded(total.numerator, total.denominator, settings.half_rounding)


@given(documents, settings_of)
def test_nobody_pays_more_with_a_tax_id(document: Document, settings: CatalogSettings) -> None:
    settings = replace(settings, tax_rounding=TaxRounding.LINE)
    with_id = lines_of(document, settings)
    without = lines_of(all_charged(document), settings)
    for (_, rates), line, other in zip(document, with_id, without, strict=True):
        assert line.net_minor == other.net_minor
        # A tax that is due on fewer others may be rounded up where it was rounded down.
        assert line.gross_minor <= other.gross_minor + len(rates)
