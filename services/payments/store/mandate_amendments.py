"""Amendments of mandates: added, and never changed but for the evidence that is erased."""

from services.payments.domain.amendments import Amendment
from services.payments.domain.keys import MandateKey
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query

# The former terms held since the amendment before, or since the mandate was made.
_INSERT = Command("""
    INSERT INTO mandate_amendments (
        merchant, customer, mandate, version, from_version, amend_time, evidence,
        charge_ceiling_minor, period_ceiling_minor, period_days, time_zone, valid_until_time,
        standing_orders, lead_seconds)
    SELECT merchant, customer, mandate, version,
           coalesce((
               SELECT max(earlier.version) FROM mandate_amendments AS earlier
               WHERE earlier.customer = new.customer AND earlier.merchant = new.merchant
                 AND earlier.mandate = new.mandate), 1),
           amend_time, evidence, charge_ceiling_minor, period_ceiling_minor, period_days, time_zone,
           valid_until_time, string_to_array(standing_orders, ','), lead_seconds
    FROM unnest(
        CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:mandate AS text[]),
        CAST(:version AS integer[]), CAST(:amend_time AS timestamptz[]), CAST(:evidence AS bytea[]),
        CAST(:charge_ceiling_minor AS bigint[]), CAST(:period_ceiling_minor AS bigint[]),
        CAST(:period_days AS integer[]), CAST(:time_zone AS text[]),
        CAST(:valid_until_time AS timestamptz[]), CAST(:standing_orders AS text[]),
        CAST(:lead_seconds AS integer[]))
      AS new (merchant, customer, mandate, version, amend_time, evidence, charge_ceiling_minor,
              period_ceiling_minor, period_days, time_zone, valid_until_time, standing_orders,
              lead_seconds)
""")

_OF_MANDATE = Query(
    """
    SELECT merchant, customer, mandate, version, amend_time, evidence, charge_ceiling_minor,
           period_ceiling_minor, period_days, time_zone, valid_until_time, standing_orders, lead_seconds
    FROM mandate_amendments
    WHERE customer = :customer AND merchant = :merchant AND mandate = :mandate
    ORDER BY version DESC LIMIT :limit
""",
    Amendment,
)


async def insert(tx: Connection, amendment: Amendment) -> None:
    """Add an amendment."""
    scope = [",".join(amendment.standing_orders)]
    await _INSERT.run_for(tx, [amendment], standing_orders=scope)


async def of_mandate(tx: Connection, key: MandateKey, limit: int) -> list[Amendment]:
    """The last amendments of a mandate, the newest first."""
    return await _OF_MANDATE.all(tx, **key._asdict(), limit=limit)
