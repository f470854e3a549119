"""Rows of merchants' settings."""

from services.catalog.domain.products import MerchantId
from services.catalog.domain.tax import CatalogSettings
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query

_GET = Query(
    """
    SELECT merchant, tax_behavior, tax_rounding, half_rounding, region_code, version,
           tax_source
    FROM catalog_settings WHERE merchant = :merchant
    """,
    CatalogSettings,
)

# There must be a row to lock.
_ENSURE = Command("""
    INSERT INTO catalog_settings (merchant, tax_behavior, tax_rounding, half_rounding, region_code,
                                  version, tax_source)
    SELECT * FROM unnest(
        CAST(:merchant AS text[]), CAST(:tax_behavior AS text[]), CAST(:tax_rounding AS text[]),
        CAST(:half_rounding AS text[]), CAST(:region_code AS text[]), CAST(:version AS int[]),
        CAST(:tax_source AS text[]))
    ON CONFLICT (merchant) DO NOTHING
""")

_GET_LOCKED = Query(
    """
    SELECT merchant, tax_behavior, tax_rounding, half_rounding, region_code, version,
           tax_source
    FROM catalog_settings WHERE merchant = :merchant FOR UPDATE
    """,
    CatalogSettings,
)

_CHANGE = Query(
    """
    UPDATE catalog_settings
    SET tax_behavior = :tax_behavior, tax_rounding = :tax_rounding, half_rounding = :half_rounding,
        region_code = :region_code, tax_source = :tax_source, version = version + 1
    WHERE merchant = :merchant
    RETURNING merchant, tax_behavior, tax_rounding, half_rounding, region_code, version,
           tax_source
    """,
    CatalogSettings,
)


async def get(tx: Connection, merchant: MerchantId, *, lock: bool = False) -> CatalogSettings:
    """A merchant's settings, or those that hold where none were stored; locked if asked for."""
    default = CatalogSettings(merchant)
    if lock:
        await _ENSURE.run_for(tx, [default])
    return await (_GET_LOCKED if lock else _GET).one_or_none(tx, merchant=merchant) or default


async def change(tx: Connection, settings: CatalogSettings) -> CatalogSettings:
    """Store what a caller's change made of settings that are locked."""
    return await _CHANGE.one(
        tx,
        merchant=settings.merchant,
        tax_behavior=settings.tax_behavior,
        tax_rounding=settings.tax_rounding,
        half_rounding=settings.half_rounding,
        region_code=settings.region_code,
        tax_source=settings.tax_source,
    )
