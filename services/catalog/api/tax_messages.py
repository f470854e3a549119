"""Tax rates and settings, from requests to the domain and from the domain to messages."""

from datetime import datetime

from recurring.catalog.v1 import catalog_pb2 as pb

from services.catalog.api.requests import read_effective_time
from services.catalog.application.tax_rates import Import
from services.catalog.domain.products import STANDARD_CATEGORY, MerchantId
from services.catalog.domain.tax import (
    CatalogSettings,
    HalfRounding,
    TaxBehavior,
    TaxIdTreatment,
    TaxRate,
    TaxRateId,
    TaxRounding,
    TaxSource,
)
from services.catalog.names import MERCHANT, SETTINGS, TAX_RATE
from services.runtime.errors import Violations
from services.runtime.rpc.conversions import etag, optional_timestamp, read_timestamp, to_timestamp
from services.runtime.rpc.names import read_name


def read_new_rate(request: pb.CreateTaxRateRequest, now: datetime) -> TaxRate:
    """The rate to add."""
    violations = Violations()
    effective_time = read_effective_time(
        violations, "tax_rate.effective_time", request.tax_rate, now
    )
    violations.check()
    merchant = read_name(MERCHANT, request.parent)
    return _read_rate(merchant, request.tax_rate_id, request.tax_rate, effective_time, now)


def read_rows(request: pb.ImportTaxRatesRequest, now: datetime) -> list[TaxRate]:
    """The rates to import; those that are stored already may have taken effect."""
    violations = Violations()
    merchant = read_name(MERCHANT, request.parent)
    rates = []
    for index, row in enumerate(request.rows):
        effective_time = now
        if row.tax_rate.HasField("effective_time"):
            field = f"rows[{index}].tax_rate.effective_time"
            effective_time = read_timestamp(violations, field, row.tax_rate.effective_time)
        rates.append(_read_rate(merchant, row.tax_rate_id, row.tax_rate, effective_time, now))
    violations.check()
    return rates


def import_message(done: Import) -> pb.ImportTaxRatesResponse:
    """What became of an import."""
    return pb.ImportTaxRatesResponse(
        imported_count=len(done.imported), unchanged_count=done.unchanged_count
    )


def _read_rate(
    merchant: MerchantId, rate_id: str, message: pb.TaxRate, effective_time: datetime, now: datetime
) -> TaxRate:
    treatment = message.tax_id_treatment or pb.TaxRate.CHARGED
    return TaxRate(
        merchant=merchant,
        tax_rate=TaxRateId(rate_id),
        region_code=message.region_code,
        tax_category=message.tax_category or STANDARD_CATEGORY,
        tax=message.tax,
        title=message.title,
        rate_ppm=message.rate_ppm,
        compound=message.compound,
        tax_id_treatment=TaxIdTreatment(pb.TaxRate.TaxIdTreatment.Name(treatment)),
        effective_time=effective_time,
        create_time=now,
    )


def tax_rate_message(rate: TaxRate) -> pb.TaxRate:
    """A rate as callers see it."""
    return pb.TaxRate(
        name=TAX_RATE.format(*rate.key),
        region_code=rate.region_code,
        tax=rate.tax,
        tax_category=rate.tax_category,
        title=rate.title,
        rate_ppm=rate.rate_ppm,
        compound=rate.compound,
        tax_id_treatment=pb.TaxRate.TaxIdTreatment.Value(rate.tax_id_treatment),
        effective_time=to_timestamp(rate.effective_time),
        create_time=to_timestamp(rate.create_time),
        withdraw_time=optional_timestamp(rate.withdraw_time),
        etag=etag(rate.version),
    )


def read_settings(message: pb.CatalogSettings) -> CatalogSettings:
    """What a merchant's settings are to be; what is not given is as where nothing was set."""
    kind = pb.CatalogSettings
    return CatalogSettings(
        merchant=read_name(SETTINGS, message.name),
        tax_behavior=TaxBehavior(kind.TaxBehavior.Name(message.tax_behavior or kind.INCLUSIVE)),
        tax_rounding=TaxRounding(kind.TaxRounding.Name(message.tax_rounding or kind.LINE)),
        half_rounding=HalfRounding(kind.HalfRounding.Name(message.half_rounding or kind.UP)),
        region_code=message.region_code,
        tax_source=TaxSource(kind.TaxSource.Name(message.tax_source or kind.OWN_RATES)),
    )


def settings_message(settings: CatalogSettings) -> pb.CatalogSettings:
    """A merchant's settings as callers see them."""
    kind = pb.CatalogSettings
    return pb.CatalogSettings(
        name=SETTINGS.format(settings.merchant),
        tax_behavior=kind.TaxBehavior.Value(settings.tax_behavior),
        tax_rounding=kind.TaxRounding.Value(settings.tax_rounding),
        half_rounding=kind.HalfRounding.Value(settings.half_rounding),
        region_code=settings.region_code,
        tax_source=kind.TaxSource.Value(settings.tax_source),
        etag=etag(settings.version),
    )
