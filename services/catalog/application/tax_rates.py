"""Dated tax rates."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from services.catalog.domain.products import EFFECTIVE_TIME_GRACE, MerchantId
from services.catalog.domain.tax import TaxRate, TaxRateKey
from services.catalog.names import MERCHANT, TAX_RATE
from services.catalog.store import tax_rates
from services.runtime.db.pool import Connection
from services.runtime.errors import (
    Violations,
    already_exists,
    not_found,
    wrong_state,
)
from services.runtime.mutations import Applied
from services.runtime.rpc.conversions import check_etag

# Of one region, with those that were withdrawn.
RATES_MAX = 1000
# So many are on a line at most.
TAXES_MAX = 8
_TOO_MANY = f"a region has at most {RATES_MAX} rates, of at most {TAXES_MAX} taxes"


async def existing(connection: Connection, key: TaxRateKey, *, lock: bool = False) -> TaxRate:
    """A rate. Raises NOT_FOUND TAX_RATE_NOT_FOUND."""
    rate = await tax_rates.tax_rate(connection, key, lock=lock)
    if rate is None:
        raise not_found("TAX_RATE_NOT_FOUND", TAX_RATE.format(*key))
    return rate


async def add(tx: Connection, rate: TaxRate) -> Applied[TaxRate]:
    """Add a dated rate.

    Raises ALREADY_EXISTS TAX_RATE_ALREADY_EXISTS, FAILED_PRECONDITION TAX_RATES_TOO_MANY.
    """
    use = await tax_rates.use_of_region(tx, rate)
    if use.rate_count >= RATES_MAX or use.tax_count > TAXES_MAX:
        raise wrong_state("TAX_RATES_TOO_MANY", _TOO_MANY)
    if not await tax_rates.insert(tx, [rate]):
        taken = await tax_rates.tax_rate(tx, rate.key) or await tax_rates.at_instant(tx, rate)
        other = taken or rate
        name = TAX_RATE.format(*other.key)
        since = other.effective_time.isoformat(timespec="seconds").replace("+00:00", "Z")
        raise already_exists(
            "TAX_RATE_ALREADY_EXISTS",
            f"{name}, in force from {since},",
            tax_rate=name,
            effective_time=since,
        )
    return Applied(rate)


class Import(NamedTuple):
    """What becomes of rates that are imported."""

    imported: Sequence[TaxRate]
    unchanged_count: int


async def import_all(
    tx: Connection, merchant: MerchantId, rates: Sequence[TaxRate], now: datetime
) -> Applied[Import]:
    """Add rates, all or none. Raises INVALID_ARGUMENT with what is wrong with each."""
    decided = await decide_import(tx, merchant, rates, now, lock=True)
    if await tax_rates.insert(tx, decided.imported) < len(decided.imported):
        raise already_exists("TAX_RATE_ALREADY_EXISTS", "one of the rates, made meanwhile,")
    return Applied(decided, resource=MERCHANT.format(merchant))


async def decide_import(
    connection: Connection,
    merchant: MerchantId,
    rates: Sequence[TaxRate],
    now: datetime,
    *,
    lock: bool = False,
) -> Import:
    """What becomes of rates, without storing any. Raises INVALID_ARGUMENT as `import_all`."""
    regions = list({rate.region_code for rate in rates})
    uses = await tax_rates.uses_of_regions(connection, merchant, regions, lock=lock)
    counts = Counter({region: use.rate_count for region, use in uses.items()})
    taxes = {region: set(uses[region].taxes) if region in uses else set() for region in regions}
    stored = await tax_rates.in_the_way(connection, rates)
    by_id = {rate.tax_rate: rate for rate in stored}
    by_instant = {_instant(rate): rate for rate in stored if rate.withdraw_time is None}
    imported: list[TaxRate] = []
    violations = Violations()
    for index, rate in enumerate(rates):
        same = by_id.get(rate.tax_rate)
        if same is not None and replace(rate, create_time=same.create_time) == same:
            continue
        field = f"rows[{index}]"
        other = same or by_instant.get(_instant(rate))
        if other is not None:
            rule = f"{TAX_RATE.format(*other.key)} exists already"
            violations.add(f"{field}.tax_rate_id", rule, "TAX_RATE_ALREADY_EXISTS")
            continue
        violations.require(
            f"{field}.tax_rate.effective_time",
            "must not be past",
            met=rate.effective_time >= now - EFFECTIVE_TIME_GRACE,
        )
        counts[rate.region_code] += 1
        taxes[rate.region_code].add(rate.tax)
        if counts[rate.region_code] > RATES_MAX or len(taxes[rate.region_code]) > TAXES_MAX:
            violations.add(f"{field}.tax_rate.region_code", _TOO_MANY, "TAX_RATES_TOO_MANY")
        by_id[rate.tax_rate] = by_instant[_instant(rate)] = rate
        imported.append(rate)
    violations.check()
    return Import(imported, len(rates) - len(imported))


def _instant(rate: TaxRate) -> tuple[str, str, str, datetime]:
    return rate.region_code, rate.tax_category, rate.tax, rate.effective_time


async def withdraw(
    tx: Connection, key: TaxRateKey, wanted_etag: str, now: datetime
) -> Applied[TaxRate]:
    """Take back a rate that has not taken effect; one that was withdrawn stays as it is.

    Raises NOT_FOUND TAX_RATE_NOT_FOUND, FAILED_PRECONDITION TAX_RATE_IN_EFFECT, and ABORTED if the etag
    is another version's.
    """
    rate = await existing(tx, key, lock=True)
    check_etag(wanted_etag, rate.version, TAX_RATE.format(*key))
    if rate.withdraw_time is not None:
        return Applied(rate, before=rate)
    if rate.effective_time <= now:
        raise wrong_state("TAX_RATE_IN_EFFECT", "the rate has taken effect; add another one")
    return Applied(await tax_rates.withdraw(tx, key, now), before=rate)
