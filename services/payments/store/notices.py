"""The notices that are kept as evidence."""

from collections.abc import Iterable, Sequence

from services.payments.domain.consent import Notice
from services.payments.domain.keys import ChargeKey
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query

_INSERT = Command("""
    INSERT INTO notices (merchant, customer, charge, notice, amount_minor, currency,
                         charge_not_before_time, deliver_time, billing_mode)
    SELECT * FROM unnest(
        CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:charge AS text[]),
        CAST(:notice AS text[]), CAST(:amount_minor AS bigint[]), CAST(:currency AS text[]),
        CAST(:charge_not_before_time AS timestamptz[]), CAST(:deliver_time AS timestamptz[]),
        CAST(:billing_mode AS text[]))
    ON CONFLICT (customer, merchant, charge, notice) DO NOTHING
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


async def insert(tx: Connection, notices: Sequence[Notice]) -> None:
    """Keep what delivered notices promised; what is kept already stays."""
    await _INSERT.run_for(tx, notices)


async def latest(tx: Connection, keys: Iterable[ChargeKey]) -> dict[ChargeKey, Notice]:
    """The last notice delivered about each charge that had any."""
    return {notice.charge_key: notice for notice in await _LATEST.all_for(tx, set(keys))}
