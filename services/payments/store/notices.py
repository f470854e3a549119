"""The notices that are kept as evidence."""

from collections.abc import Iterable, Sequence

from services.payments.domain.consent import Notice
from services.payments.domain.keys import ChargeKey
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query

# One that was sent again, since its service lost the record of it, counts from its last delivery.
_KEEP = Command("""
    INSERT INTO notices AS known (merchant, customer, charge, notice, amount_minor, currency,
                         charge_not_before_time, deliver_time, billing_mode)
    SELECT DISTINCT ON (customer, merchant, charge, notice) *
    FROM unnest(
        CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:charge AS text[]),
        CAST(:notice AS text[]), CAST(:amount_minor AS bigint[]), CAST(:currency AS text[]),
        CAST(:charge_not_before_time AS timestamptz[]), CAST(:deliver_time AS timestamptz[]),
        CAST(:billing_mode AS text[]))
      AS delivered (merchant, customer, charge, notice, amount_minor, currency,
                    charge_not_before_time, deliver_time, billing_mode)
    ORDER BY customer, merchant, charge, notice, deliver_time DESC
    ON CONFLICT (customer, merchant, charge, notice) DO UPDATE
        SET charge_not_before_time = EXCLUDED.charge_not_before_time,
            deliver_time = EXCLUDED.deliver_time
        WHERE known.deliver_time < EXCLUDED.deliver_time
""")

# The last notice counts.
_LATEST = Query(
    """
    SELECT DISTINCT ON (customer, merchant, charge)
           merchant, customer, charge, notice, amount_minor, currency, charge_not_before_time,
           deliver_time, billing_mode
    FROM notices
    JOIN unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]), CAST(:charge AS text[]))
      AS wanted (customer, merchant, charge) USING (customer, merchant, charge)
    ORDER BY customer, merchant, charge, deliver_time DESC, notice DESC
""",
    Notice,
)


async def keep(tx: Connection, notices: Sequence[Notice]) -> None:
    """Keep what delivered notices promised; of one notice, what it promised when it came last."""
    await _KEEP.run_for(tx, notices)


async def latest(tx: Connection, keys: Iterable[ChargeKey]) -> dict[ChargeKey, Notice]:
    """The last notice delivered about each charge that had any."""
    return {notice.charge_key: notice for notice in await _LATEST.all_for(tx, set(keys))}
