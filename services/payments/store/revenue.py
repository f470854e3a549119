"""What of sales is deferred. Rows are locked in the order of their keys, after those of charges."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from services.payments.domain.keys import ChargeKey
from services.payments.domain.revenue import Deferral
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query

_INSERT = Command("""
    INSERT INTO revenue_deferrals (merchant, customer, charge, currency, start_date, end_date,
                                   deferred_minor, recognized_minor, spread_minor, spread_after_date,
                                   through_date, change_time, next_recognize_time)
    SELECT * FROM unnest(
        CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:charge AS text[]),
        CAST(:currency AS text[]), CAST(:start_date AS date[]), CAST(:end_date AS date[]),
        CAST(:deferred_minor AS bigint[]), CAST(:recognized_minor AS bigint[]),
        CAST(:spread_minor AS bigint[]), CAST(:spread_after_date AS date[]),
        CAST(:through_date AS date[]), CAST(:change_time AS timestamptz[]),
        CAST(:next_recognize_time AS timestamptz[]))
""")

_LOCKED = Query(
    """
    SELECT merchant, customer, charge, currency, start_date, end_date, deferred_minor,
           recognized_minor, spread_minor, spread_after_date, through_date, change_time
    FROM revenue_deferrals
    JOIN unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]), CAST(:charge AS text[]))
      AS wanted (customer, merchant, charge) USING (customer, merchant, charge)
    ORDER BY merchant, customer, charge FOR UPDATE OF revenue_deferrals
""",
    Deferral,
)

_DUE = Query(
    """
    SELECT due.* FROM unnest(CAST(:buckets AS smallint[])) AS leased (bucket)
    CROSS JOIN LATERAL (
        SELECT merchant, customer, charge FROM revenue_deferrals
        WHERE bucket = leased.bucket AND next_recognize_time <= :now
          AND merchant || '/' || customer || '/' || charge <> ALL(CAST(:left_out AS text[]))
        ORDER BY next_recognize_time LIMIT :limit) AS due
    LIMIT :limit
""",
    ChargeKey,
)

_SAVE = Command("""
    UPDATE revenue_deferrals SET
        deferred_minor = new.deferred_minor, recognized_minor = new.recognized_minor,
        spread_minor = new.spread_minor, spread_after_date = new.spread_after_date,
        through_date = new.through_date, change_time = new.change_time,
        next_recognize_time = new.next_recognize_time
    FROM unnest(
        CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:charge AS text[]),
        CAST(:deferred_minor AS bigint[]), CAST(:recognized_minor AS bigint[]),
        CAST(:spread_minor AS bigint[]), CAST(:spread_after_date AS date[]),
        CAST(:through_date AS date[]), CAST(:change_time AS timestamptz[]),
        CAST(:next_recognize_time AS timestamptz[]))
      AS new (merchant, customer, charge, deferred_minor, recognized_minor, spread_minor,
              spread_after_date, through_date, change_time, next_recognize_time)
    WHERE revenue_deferrals.customer = new.customer AND revenue_deferrals.merchant = new.merchant
      AND revenue_deferrals.charge = new.charge
""")


async def insert(tx: Connection, deferrals: Sequence[Deferral]) -> None:
    """Add what is deferred of charges that have just succeeded."""
    await _INSERT.run_for(tx, deferrals)


async def locked(tx: Connection, charges: Iterable[ChargeKey]) -> dict[ChargeKey, Deferral]:
    """What is deferred of those of the charges that have a deferral, locked."""
    return {it.key: it for it in await _LOCKED.all_for(tx, sorted(set(charges)))}


async def due(
    tx: Connection,
    buckets: Sequence[int],
    now: datetime,
    limit: int,
    left_out: Sequence[ChargeKey],
) -> list[ChargeKey]:
    """A batch of the charges of whose sale a day is to be recognized, but for some."""
    keys = ["/".join(key) for key in left_out]
    return await _DUE.all(tx, buckets=buckets, now=now, limit=limit, left_out=keys)


async def take_due(tx: Connection, charges: Sequence[ChargeKey], now: datetime) -> list[Deferral]:
    """The deferrals of charges of which a day is to be recognized, locked."""
    found = await locked(tx, charges)
    # Somebody may have changed one before it was locked.
    return [
        it
        for it in found.values()
        if it.next_recognize_time is not None and it.next_recognize_time <= now
    ]


async def save(tx: Connection, deferrals: Sequence[Deferral]) -> None:
    """Write what has changed of deferrals that are locked."""
    await _SAVE.run_for(tx, deferrals)
