"""Tax rates by their RPCs: dated as prices are, and never rewritten."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from recurring.catalog.v1 import catalog_pb2 as pb

from services.runtime.rpc.conversions import to_timestamp
from tests.suite import Client, Suite, new_id, refused

DAY = timedelta(days=1)
TAXES_MAX = 8


@pytest.fixture
def shop(suite: Suite) -> Client:
    """A merchant of the test's own."""
    return suite.client()


@pytest.fixture
async def tomorrow(suite: Suite) -> datetime:
    return await suite.sandbox.now() + DAY


async def add(
    shop: Client,
    rate_id: str,
    effective_time: datetime | None = None,
    **fields: Any,  # noqa: ANN401
) -> pb.TaxRate:
    """A rate of German VAT unless the fields say otherwise."""
    usual: dict[str, Any] = {"region_code": "DE", "tax": "vat", "title": "VAT", "rate_ppm": 190_000}
    rate = pb.TaxRate(**usual | fields)
    if effective_time is not None:
        rate.effective_time.CopyFrom(to_timestamp(effective_time))
    request = pb.CreateTaxRateRequest(
        parent=shop.name, tax_rate_id=rate_id, tax_rate=rate, request_id=new_id()
    )
    made: pb.TaxRate = await shop.catalog.CreateTaxRate(request)
    return made


async def withdraw(shop: Client, rate_id: str) -> pb.TaxRate:
    request = pb.WithdrawTaxRateRequest(name=f"{shop.name}/taxRates/{rate_id}", request_id=new_id())
    withdrawn: pb.TaxRate = await shop.catalog.WithdrawTaxRate(request)
    return withdrawn


async def change_settings(shop: Client, **fields: Any) -> pb.CatalogSettings:  # noqa: ANN401
    settings = pb.CatalogSettings(name=f"{shop.name}/catalogSettings", **fields)
    request = pb.UpdateCatalogSettingsRequest(catalog_settings=settings, request_id=new_id())
    changed: pb.CatalogSettings = await shop.catalog.UpdateCatalogSettings(request)
    return changed


async def test_a_rate_is_shown_as_it_was_made(shop: Client, tomorrow: datetime) -> None:
    made = await add(
        shop, "food", tomorrow, tax_category="food", compound=True, rate_ppm=0,
        tax_id_treatment=pb.TaxRate.EXEMPT,
    )  # fmt: skip
    assert made == await shop.catalog.GetTaxRate(pb.GetTaxRateRequest(name=made.name))
    assert (made.name, made.tax_category, made.rate_ppm) == (
        f"{shop.name}/taxRates/food", "food", 0,
    )  # fmt: skip
    assert made.tax_id_treatment == pb.TaxRate.EXEMPT
    plain = await add(shop, "plain")
    assert (plain.tax_category, plain.tax_id_treatment) == ("standard", pb.TaxRate.CHARGED)


async def test_rates_are_listed_page_by_page_and_by_region(shop: Client) -> None:
    await add(shop, "b")
    await add(shop, "a", region_code="AT")
    await add(shop, "c", tax="eco")

    async def listed(**fields: Any) -> tuple[list[str], str]:  # noqa: ANN401
        request = pb.ListTaxRatesRequest(parent=shop.name, **fields)
        answer = await shop.catalog.ListTaxRates(request)
        ids = [rate.name.rpartition("/")[2] for rate in answer.tax_rates]
        return ids, answer.next_page_token

    first, token = await listed(page_size=2)
    assert (first, (await listed(page_size=2, page_token=token))[0]) == (["a", "b"], ["c"])
    assert await listed(region_code="DE") == (["b", "c"], "")


async def test_two_rates_at_once_are_refused_and_the_present_one_is_named(
    shop: Client, tomorrow: datetime
) -> None:
    await add(shop, "first", tomorrow)
    refusal = await refused(add(shop, "second", tomorrow, rate_ppm=70_000))
    assert (refusal.code, refusal.reason) == ("ALREADY_EXISTS", "TAX_RATE_ALREADY_EXISTS")
    assert f"{shop.name}/taxRates/first" in refusal.message
    refusal = await refused(add(shop, "first", tomorrow + DAY))
    assert refusal.reason == "TAX_RATE_ALREADY_EXISTS"
    for other in ({"tax": "eco"}, {"region_code": "AT"}, {"tax_category": "food"}):
        await add(shop, "-".join(other.values()).lower(), tomorrow, **other)


@pytest.mark.parametrize("rate_ppm", [-1, 1_000_001])
async def test_a_rate_below_0_or_above_100_percent_is_refused(shop: Client, rate_ppm: int) -> None:
    refusal = await refused(add(shop, "vat", rate_ppm=rate_ppm))
    assert refusal.fields == {"tax_rate.rate_ppm": "FIELD_INVALID"}


async def test_a_rate_of_the_past_is_refused(shop: Client, tomorrow: datetime) -> None:
    refusal = await refused(add(shop, "vat", tomorrow - 2 * DAY))
    assert refusal.fields == {"tax_rate.effective_time": "FIELD_INVALID"}


async def test_a_scheduled_rate_can_be_withdrawn_until_it_takes_effect(
    shop: Client, suite: Suite, tomorrow: datetime
) -> None:
    made = await add(shop, "mistyped", tomorrow)
    withdrawn = await withdraw(shop, "mistyped")
    assert withdrawn.HasField("withdraw_time")
    assert withdrawn.etag != made.etag
    assert await withdraw(shop, "mistyped") == withdrawn

    await add(shop, "right", tomorrow)
    await suite.advance(DAY)
    assert (await refused(withdraw(shop, "right"))).reason == "TAX_RATE_IN_EFFECT"


async def test_a_region_has_so_many_taxes_and_no_more(shop: Client) -> None:
    for number in range(TAXES_MAX):
        await add(shop, f"t{number}", tax=f"tax-{number}")
    assert (await refused(add(shop, "more", tax="more"))).reason == "TAX_RATES_TOO_MANY"
    await add(shop, "food", tax="tax-0", tax_category="food")


async def test_settings_are_what_was_set_and_the_defaults_before(shop: Client) -> None:
    request = pb.GetCatalogSettingsRequest(name=f"{shop.name}/catalogSettings")
    before = await shop.catalog.GetCatalogSettings(request)
    kind = pb.CatalogSettings
    assert (before.tax_behavior, before.tax_rounding, before.half_rounding) == (
        kind.INCLUSIVE, kind.LINE, kind.UP,
    )  # fmt: skip
    changed = await change_settings(
        shop, tax_behavior=kind.EXCLUSIVE, tax_rounding=kind.DOCUMENT, half_rounding=kind.EVEN,
        region_code="DE",
    )  # fmt: skip
    assert changed == await shop.catalog.GetCatalogSettings(request)
    assert (changed.tax_behavior, changed.region_code) == (kind.EXCLUSIVE, "DE")
    refusal = await refused(change_settings(shop, region_code="Germany"))
    assert refusal.fields == {"catalog_settings.region_code": "FIELD_INVALID"}


async def imported(shop: Client, *rows: pb.NewTaxRate, dry_run: bool = False) -> tuple[int, int]:
    """How many rates an import adds, and how many it finds as they are."""
    request = pb.ImportTaxRatesRequest(
        parent=shop.name, rows=rows, dry_run=dry_run, request_id=new_id()
    )
    done = await shop.catalog.ImportTaxRates(request)
    return done.imported_count, done.unchanged_count


def row(rate_id: str, effective_time: datetime, **fields: Any) -> pb.NewTaxRate:  # noqa: ANN401
    usual: dict[str, Any] = {"region_code": "DE", "tax": "vat", "title": "VAT", "rate_ppm": 190_000}
    rate = pb.TaxRate(effective_time=to_timestamp(effective_time), **usual | fields)
    return pb.NewTaxRate(tax_rate_id=rate_id, tax_rate=rate)


async def test_rates_are_tried_then_imported_and_importing_them_again_changes_nothing(
    shop: Client, suite: Suite, tomorrow: datetime
) -> None:
    rows = [row("a", tomorrow), row("b", tomorrow, tax_category="food", rate_ppm=70_000)]
    assert await imported(shop, *rows, dry_run=True) == (2, 0)
    assert await imported(shop, *rows) == (2, 0)
    await suite.advance(2 * DAY)
    later = row("c", tomorrow + 9 * DAY)
    assert await imported(shop, *rows, later) == (1, 2)


async def test_an_import_names_each_row_that_is_wrong_and_stores_none(
    shop: Client, tomorrow: datetime
) -> None:
    await add(shop, "first", tomorrow)
    rows = [
        row("good", tomorrow, region_code="AT"),
        row("same-instant", tomorrow),
        row("first", tomorrow, rate_ppm=1),
        row("past", tomorrow - 3 * DAY, tax="eco"),
        row("good", tomorrow, tax="other"),
    ]
    for dry_run in (True, False):
        refusal = await refused(imported(shop, *rows, dry_run=dry_run))
        assert refusal.fields == {
            "rows[1].tax_rate_id": "TAX_RATE_ALREADY_EXISTS",
            "rows[2].tax_rate_id": "TAX_RATE_ALREADY_EXISTS",
            "rows[3].tax_rate.effective_time": "FIELD_INVALID",
            "rows[4].tax_rate_id": "TAX_RATE_ALREADY_EXISTS",
        }
    taxes = [row(f"t{number}", tomorrow, tax=f"tax-{number}") for number in range(TAXES_MAX)]
    refusal = await refused(imported(shop, *taxes))
    assert refusal.fields == {"rows[7].tax_rate.region_code": "TAX_RATES_TOO_MANY"}
    assert await imported(shop, *rows[:1]) == (1, 0)
