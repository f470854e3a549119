"""Rows of tax rates."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from services.catalog.domain.increase_notices import MerchantRules
from services.catalog.domain.pricing import Cart
from services.catalog.domain.products import MerchantId
from services.catalog.domain.rule_pack_data import RULE_PACKS
from services.catalog.domain.tax import (
    CatalogSettings,
    HalfRounding,
    TaxBehavior,
    TaxIdTreatment,
    TaxRate,
    TaxRateId,
    TaxRateKey,
    TaxRounding,
    TaxSource,
    TaxTable,
)
from services.catalog.store import rule_packs
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query


class RegionUse(NamedTuple):
    """What of a region's limits is used, with a tax that is about to be added."""

    rate_count: int
    tax_count: int


class RegionTaxes(NamedTuple):
    """How many rates a region has, and of which taxes."""

    region_code: str
    rate_count: int
    taxes: list[str]


class MerchantTerms(NamedTuple):
    """What is added to the prices of a merchant, and what is asked of its charges."""

    settings: CatalogSettings
    # None: the merchant has no rate that may be on the lines, or a tax service works them out.
    table: TaxTable | None
    rules: MerchantRules


class _RowOfMerchant(NamedTuple):
    merchant: MerchantId
    # A rate; None in the merchant's first row, which has what was added to rule packs.
    tax_rate: TaxRateId | None
    region_code: str | None
    tax_category: str | None
    tax: str | None
    title: str | None
    rate_ppm: int | None
    compound: bool | None
    tax_id_treatment: TaxIdTreatment | None
    effective_time: datetime | None
    create_time: datetime | None
    withdraw_time: datetime | None
    added_rules: str | None
    # None: the merchant has set nothing.
    tax_behavior: str | None
    tax_rounding: str | None
    half_rounding: str | None
    own_region_code: str | None
    tax_source: str | None


_INSERT = Command("""
    INSERT INTO tax_rates (merchant, tax_rate, region_code, tax_category, tax, title, rate_ppm,
                           compound, tax_id_treatment, effective_time, create_time)
    SELECT * FROM unnest(
        CAST(:merchant AS text[]), CAST(:tax_rate AS text[]), CAST(:region_code AS text[]),
        CAST(:tax_category AS text[]), CAST(:tax AS text[]), CAST(:title AS text[]),
        CAST(:rate_ppm AS integer[]), CAST(:compound AS boolean[]),
        CAST(:tax_id_treatment AS text[]), CAST(:effective_time AS timestamptz[]),
        CAST(:create_time AS timestamptz[]))
    ON CONFLICT DO NOTHING
""")

_TAX_RATE = Query(
    """
    SELECT merchant, tax_rate, region_code, tax_category, tax, title, rate_ppm, compound,
           tax_id_treatment, effective_time, create_time, withdraw_time
    FROM tax_rates WHERE merchant = :merchant AND tax_rate = :tax_rate
    """,
    TaxRate,
)

_TAX_RATE_LOCKED = Query(
    """
    SELECT merchant, tax_rate, region_code, tax_category, tax, title, rate_ppm, compound,
           tax_id_treatment, effective_time, create_time, withdraw_time
    FROM tax_rates WHERE merchant = :merchant AND tax_rate = :tax_rate FOR UPDATE
    """,
    TaxRate,
)

_AT_INSTANT = Query(
    """
    SELECT merchant, tax_rate, region_code, tax_category, tax, title, rate_ppm, compound,
           tax_id_treatment, effective_time, create_time, withdraw_time
    FROM tax_rates
    WHERE merchant = :merchant AND region_code = :region_code AND tax_category = :tax_category
      AND tax = :tax AND effective_time = :effective_time AND withdraw_time IS NULL
    """,
    TaxRate,
)

_OF_MERCHANT = Query(
    """
    SELECT merchant, tax_rate, region_code, tax_category, tax, title, rate_ppm, compound,
           tax_id_treatment, effective_time, create_time, withdraw_time
    FROM tax_rates
    WHERE merchant = :merchant AND tax_rate > :after
      AND (:region_code = '' OR region_code = :region_code)
    ORDER BY tax_rate LIMIT :limit
    """,
    TaxRate,
)

# Rates of one region are added one after the other, so that none is one too many.
_LOCK_REGION = Command("""
    SELECT FROM pg_advisory_xact_lock(
        hashtextextended('tax_rates/' || :merchant || '/' || :region_code, 0))
""")

_LOCK_REGIONS = Command("""
    SELECT FROM unnest(CAST(:regions AS text[])) AS wanted (region_code)
    CROSS JOIN LATERAL pg_advisory_xact_lock(
        hashtextextended('tax_rates/' || :merchant || '/' || region_code, 0))
""")

_TAXES_OF_REGIONS = Query(
    """
    SELECT region_code, count(*) AS rate_count, array_agg(DISTINCT tax) AS taxes
    FROM tax_rates WHERE merchant = :merchant AND region_code = ANY (CAST(:regions AS text[]))
    GROUP BY region_code
    """,
    RegionTaxes,
)

_IN_THE_WAY = Query(
    """
    SELECT DISTINCT found.merchant, found.tax_rate, found.region_code, found.tax_category, found.tax,
           found.title, found.rate_ppm, found.compound, found.tax_id_treatment, found.effective_time,
           found.create_time, found.withdraw_time
    FROM unnest(CAST(:merchant AS text[]), CAST(:tax_rate AS text[]), CAST(:region_code AS text[]),
                CAST(:tax_category AS text[]), CAST(:tax AS text[]),
                CAST(:effective_time AS timestamptz[]))
      AS wanted (merchant, tax_rate, region_code, tax_category, tax, effective_time)
    -- Each by the index of its key.
    CROSS JOIN LATERAL (
        (SELECT * FROM tax_rates
         WHERE merchant = wanted.merchant AND tax_rate = wanted.tax_rate OFFSET 0)
        UNION ALL
        (SELECT * FROM tax_rates
         WHERE merchant = wanted.merchant AND region_code = wanted.region_code
           AND tax = wanted.tax AND tax_category = wanted.tax_category
           AND effective_time = wanted.effective_time AND withdraw_time IS NULL OFFSET 0)) AS found
    """,
    TaxRate,
)

_REGION_USE = Query(
    """
    SELECT count(*) AS rate_count,
           count(DISTINCT tax) FILTER (WHERE tax <> :tax) + 1 AS tax_count
    FROM tax_rates WHERE merchant = :merchant AND region_code = :region_code
    """,
    RegionUse,
)

_WITHDRAW = Query(
    """
    UPDATE tax_rates SET withdraw_time = :now WHERE merchant = :merchant AND tax_rate = :tax_rate
    RETURNING merchant, tax_rate, region_code, tax_category, tax, title, rate_ppm, compound,
              tax_id_treatment, effective_time, create_time, withdraw_time
    """,
    TaxRate,
)

# What may be on lines: the versions of some regions, and of where the merchant is. Before them, what
# the merchant has added to rule packs.
_TERMS = Query(
    """
    SELECT merchant, tax_rate, found.region_code, tax_category, tax, title, rate_ppm, compound,
           tax_id_treatment, effective_time, create_time, withdraw_time, added_rules,
           tax_behavior, tax_rounding, half_rounding, settings.region_code AS own_region_code,
           tax_source
    FROM unnest(CAST(:merchants AS text[])) AS wanted (merchant)
    LEFT JOIN catalog_settings AS settings USING (merchant)
    CROSS JOIN LATERAL (
        SELECT CAST(NULL AS text) AS tax_rate, CAST(NULL AS text) AS region_code,
               CAST(NULL AS text) AS tax_category, CAST(NULL AS text) AS tax,
               CAST(NULL AS text) AS title, CAST(NULL AS integer) AS rate_ppm,
               CAST(NULL AS boolean) AS compound, CAST(NULL AS text) AS tax_id_treatment,
               CAST(NULL AS timestamptz) AS effective_time,
               CAST(NULL AS timestamptz) AS create_time,
               CAST(NULL AS timestamptz) AS withdraw_time,
               jsonb_agg(jsonb_build_array(rule_pack, extra_regions, rules::text, version)
                         ORDER BY rule_pack)::text AS added_rules
        FROM rule_packs
        WHERE rule_packs.merchant = wanted.merchant
          AND rule_pack = ANY (CAST(:rule_packs AS text[]))
        UNION ALL
        -- OFFSET has the rates of each merchant's regions looked up, not all of them joined.
        (SELECT tax_rate, region_code, tax_category, tax, title, rate_ppm, compound,
                tax_id_treatment, effective_time, create_time, withdraw_time, NULL
         FROM tax_rates
         WHERE tax_rates.merchant = wanted.merchant AND tax_rates.region_code = ANY (
               CAST(:regions AS text[]) || settings.region_code
               || split_part(settings.region_code, '-', 1))
           AND withdraw_time IS NULL AND effective_time <= :until
         OFFSET 0)) AS found
    """,
    _RowOfMerchant,
)


async def use_of_region(tx: Connection, rate: TaxRate) -> RegionUse:
    """What is used of a rate's region, which nobody else adds to until the transaction ends."""
    region = {"merchant": rate.merchant, "region_code": rate.region_code}
    await _LOCK_REGION.run(tx, **region)
    return await _REGION_USE.one(tx, **region, tax=rate.tax)


async def uses_of_regions(
    tx: Connection, merchant: MerchantId, regions: Sequence[str], *, lock: bool
) -> dict[str, RegionTaxes]:
    """By region, its rates and taxes; with `lock`, nobody adds to them until the transaction ends."""
    if lock:
        # In one order, so that no two of them wait for each other.
        await _LOCK_REGIONS.run(tx, merchant=merchant, regions=sorted(regions))
    rows = await _TAXES_OF_REGIONS.all(tx, merchant=merchant, regions=list(regions))
    return {row.region_code: row for row in rows}


async def insert(tx: Connection, rates: Sequence[TaxRate]) -> int:
    """Add rates; returns how many there were whose id and instant were free."""
    return await _INSERT.run_for(tx, rates)


async def in_the_way(tx: Connection, rates: Sequence[TaxRate]) -> list[TaxRate]:
    """The stored rates that have the id of one of the rates, or its instant."""
    return await _IN_THE_WAY.all_for(tx, rates)


async def tax_rate(tx: Connection, key: TaxRateKey, *, lock: bool = False) -> TaxRate | None:
    """A rate, locked until the transaction ends if `lock` is set."""
    return await (_TAX_RATE_LOCKED if lock else _TAX_RATE).one_or_none(tx, **key._asdict())


async def at_instant(tx: Connection, rate: TaxRate) -> TaxRate | None:
    """The rate that takes effect in place of another one."""
    return await _AT_INSTANT.one_or_none(
        tx,
        merchant=rate.merchant,
        region_code=rate.region_code,
        tax_category=rate.tax_category,
        tax=rate.tax,
        effective_time=rate.effective_time,
    )


async def of_merchant(
    tx: Connection, merchant: MerchantId, region_code: str, after: str, limit: int
) -> list[TaxRate]:
    """A merchant's rates by id, after an id; those of a region, unless it is empty."""
    return await _OF_MERCHANT.all(
        tx, merchant=merchant, region_code=region_code, after=after, limit=limit
    )


async def withdraw(tx: Connection, key: TaxRateKey, now: datetime) -> TaxRate:
    """Take an existing rate back."""
    return await _WITHDRAW.one(tx, **key._asdict(), now=now)


async def terms(tx: Connection, carts: Sequence[Cart]) -> dict[MerchantId, MerchantTerms]:
    """By merchant, the rates that may be on the lines of carts, and the rules for their charges."""
    regions = {cart.region_code for cart in carts}
    rows = await _TERMS.all(
        tx,
        merchants=list({cart.items[0].key.merchant for cart in carts}),
        regions=list(regions | {region.partition("-")[0] for region in regions}),
        until=max(cart.price_time for cart in carts),
        rule_packs=list(RULE_PACKS),
    )
    of_merchants: dict[MerchantId, list[_RowOfMerchant]] = defaultdict(list)
    for row in rows:
        of_merchants[row.merchant].append(row)
    return {merchant: _terms(merchant, found) for merchant, found in of_merchants.items()}


def _terms(merchant: MerchantId, rows: Sequence[_RowOfMerchant]) -> MerchantTerms:
    settings = _settings(rows[0])
    added = next((row.added_rules for row in rows if row.added_rules), "[]")
    rates = [TaxRate(*row[:12]) for row in rows if row.tax_rate is not None]  # type: ignore[arg-type]
    return MerchantTerms(
        settings,
        TaxTable(settings, rates) if rates and settings.tax_source is TaxSource.OWN_RATES else None,
        rule_packs.merchant_rules(merchant, added),
    )


def _settings(row: _RowOfMerchant) -> CatalogSettings:
    if row.tax_behavior is None:
        return CatalogSettings(row.merchant)
    return CatalogSettings(
        row.merchant,
        TaxBehavior(row.tax_behavior),
        TaxRounding(row.tax_rounding or TaxRounding.LINE),
        HalfRounding(row.half_rounding or HalfRounding.UP),
        row.own_region_code or "",
        tax_source=TaxSource(row.tax_source or TaxSource.OWN_RATES),
    )
