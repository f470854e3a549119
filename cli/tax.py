"""Tax rates, and how the merchant's prices and taxes are meant."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from recurring.catalog.v1 import catalog_pb2 as pb

from cli.command import command, group, one_of
from cli.connect import Session, all_pages, new_request_id
from cli.names import TAX_RATE, last_id
from cli.output import Columns
from cli.tax_files import read_rates
from cli.values import format_rate, format_timestamp, parse_moment, parse_rate, to_timestamp

tax = group("Manage dated tax rates, and whether prices include them.")

RateArgument = Annotated[str, typer.Argument(metavar="RATE", help="Id or resource name.")]
RegionOption = Annotated[str, typer.Option(help='A country or its part: "DE", "CA-QC".')]


RATE_COLUMNS: Columns[pb.TaxRate] = {
    "rate": lambda it: last_id(it.name),
    "region": lambda it: it.region_code,
    "tax": lambda it: it.tax,
    "category": lambda it: it.tax_category,
    "title": lambda it: it.title,
    "percent": lambda it: format_rate(it.rate_ppm),
    "compound": lambda it: "on the other taxes, too" if it.compound else "",
    "with a tax id": lambda it: pb.TaxRate.TaxIdTreatment.Name(it.tax_id_treatment),
    "from": lambda it: format_timestamp(it.effective_time),
    "created": lambda it: format_timestamp(it.create_time),
    "withdrawn": lambda it: format_timestamp(it.withdraw_time),
}
IMPORT_COLUMNS: Columns[pb.ImportTaxRatesResponse] = {
    "imported": lambda it: str(it.imported_count),
    "unchanged": lambda it: str(it.unchanged_count),
}
SETTINGS_COLUMNS: Columns[pb.CatalogSettings] = {
    "taxes in prices": lambda it: pb.CatalogSettings.TaxBehavior.Name(it.tax_behavior),
    "rounded": lambda it: pb.CatalogSettings.TaxRounding.Name(it.tax_rounding),
    "half goes": lambda it: pb.CatalogSettings.HalfRounding.Name(it.half_rounding),
    "merchant's region": lambda it: it.region_code,
    "taxes by": lambda it: pb.CatalogSettings.TaxSource.Name(it.tax_source),
}


@command(tax, "add")
async def add_tax_rate(
    session: Session,
    region: Annotated[str, typer.Argument(metavar="REGION", help='Such as "DE" or "CA-QC".')],
    kind: Annotated[str, typer.Argument(metavar="TAX", help='Which tax there, such as "vat".')],
    rate: Annotated[
        int, typer.Argument(metavar="PERCENT", parser=parse_rate, help='Such as "19" or "8.875".')
    ],
    title: Annotated[
        str, typer.Option(help="What customers read. Default: the tax in capitals.")
    ] = "",
    category: Annotated[str, typer.Option(help="For which products. Default: standard.")] = "",
    compound: Annotated[
        bool, typer.Option(help="Whether it is due on the other taxes, too.")
    ] = False,
    with_tax_id: Annotated[
        pb.TaxRate.TaxIdTreatment.ValueType,
        one_of(pb.TaxRate.TaxIdTreatment, "Where the customer has a tax id. Default: charged."),
    ] = pb.TaxRate.TAX_ID_TREATMENT_UNSPECIFIED,
    effective: Annotated[
        datetime | None,
        typer.Option(
            "--from", parser=parse_moment, metavar="TIME", help="When it takes over. Default: now."
        ),
    ] = None,
    rate_id: Annotated[
        str, typer.Option("--id", help="The id of the new rate. Default: generated.")
    ] = "",
) -> None:
    """Add a tax rate from a time on. Earlier rates stay; a tax ends with a rate of 0."""
    request_id = new_request_id()
    made = pb.TaxRate(
        region_code=region,
        tax=kind,
        tax_category=category,
        title=title or kind.upper(),
        rate_ppm=rate,
        compound=compound,
        tax_id_treatment=with_tax_id,
        effective_time=to_timestamp(effective),
    )
    request = pb.CreateTaxRateRequest(
        parent=session.parent,
        tax_rate_id=rate_id or f"t-{request_id[:8]}",
        tax_rate=made,
        request_id=request_id,
    )
    session.output.one(await session.catalog.CreateTaxRate(request), RATE_COLUMNS)


@command(tax, "import")
async def import_tax_rates(
    session: Session,
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="A .csv, .jsonl or .ndjson file; see docs/tax.md."),
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Validate the file, and store nothing.")
    ] = False,
) -> None:
    """Import tax rates, all or none. Importing a file again changes nothing."""
    rates = [rate for _, rate in read_rates(file)]
    request = pb.ImportTaxRatesRequest(
        parent=session.parent, rows=rates, dry_run=dry_run, request_id=new_request_id()
    )
    session.output.one(await session.catalog.ImportTaxRates(request), IMPORT_COLUMNS)


@command(tax, "list")
async def list_tax_rates(session: Session, region: RegionOption = "") -> None:
    """List the tax rates, those that were withdrawn among them."""
    request = pb.ListTaxRatesRequest(parent=session.parent, region_code=region)
    listed = await all_pages(session.catalog.ListTaxRates, request, "tax_rates")
    session.output.many(listed, RATE_COLUMNS, "no tax rates")


@command(tax, "get")
async def get_tax_rate(session: Session, rate: RateArgument) -> None:
    """Show a tax rate."""
    request = pb.GetTaxRateRequest(name=session.name(TAX_RATE, rate))
    session.output.one(await session.catalog.GetTaxRate(request), RATE_COLUMNS)


@command(tax, "withdraw")
async def withdraw_tax_rate(session: Session, rate: RateArgument) -> None:
    """Withdraw a tax rate that has not taken effect yet."""
    request = pb.WithdrawTaxRateRequest(
        name=session.name(TAX_RATE, rate), request_id=new_request_id()
    )
    session.output.one(await session.catalog.WithdrawTaxRate(request), RATE_COLUMNS)


@command(tax, "settings")
async def get_tax_settings(session: Session) -> None:
    """Show whether prices include taxes, and how taxes are rounded."""
    session.output.one(await _settings(session), SETTINGS_COLUMNS)


@command(tax, "set")
async def set_tax_settings(
    session: Session,
    prices: Annotated[
        pb.CatalogSettings.TaxBehavior.ValueType,
        one_of(pb.CatalogSettings.TaxBehavior, "Whether prices have the taxes in them."),
    ] = pb.CatalogSettings.TAX_BEHAVIOR_UNSPECIFIED,
    rounding: Annotated[
        pb.CatalogSettings.TaxRounding.ValueType,
        one_of(pb.CatalogSettings.TaxRounding, "What is rounded: each line, or the whole order."),
    ] = pb.CatalogSettings.TAX_ROUNDING_UNSPECIFIED,
    half: Annotated[
        pb.CatalogSettings.HalfRounding.ValueType,
        one_of(pb.CatalogSettings.HalfRounding, "Where half a minor unit goes."),
    ] = pb.CatalogSettings.HALF_ROUNDING_UNSPECIFIED,
    region: Annotated[
        str | None, typer.Option(help='Where the merchant is, such as "DE"; "" is not known.')
    ] = None,
    source: Annotated[
        pb.CatalogSettings.TaxSource.ValueType,
        one_of(pb.CatalogSettings.TaxSource, "Who works taxes out: own rates, or the tax service."),
    ] = pb.CatalogSettings.TAX_SOURCE_UNSPECIFIED,
) -> None:
    """Set whether prices include taxes, how and by whom they are worked out, and where you are."""
    changed = await _settings(session)
    changed.tax_behavior = prices or changed.tax_behavior
    changed.tax_rounding = rounding or changed.tax_rounding
    changed.half_rounding = half or changed.half_rounding
    changed.tax_source = source or changed.tax_source
    changed.region_code = changed.region_code if region is None else region
    request = pb.UpdateCatalogSettingsRequest(catalog_settings=changed, request_id=new_request_id())
    session.output.one(await session.catalog.UpdateCatalogSettings(request), SETTINGS_COLUMNS)


async def _settings(session: Session) -> pb.CatalogSettings:
    request = pb.GetCatalogSettingsRequest(name=f"{session.parent}/catalogSettings")
    found: pb.CatalogSettings = await session.catalog.GetCatalogSettings(request)
    return found
