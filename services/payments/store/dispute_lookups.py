"""Which disputes are looked up at the provider, and when: named by webhooks, listed, or left open."""

from collections.abc import Collection, Sequence
from datetime import datetime

from services.payments.domain.disputes import DisputeLookup
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query, scalar

_HINT = Command("""
    INSERT INTO dispute_lookups AS known (provider, provider_dispute, next_lookup_time, create_time)
    SELECT DISTINCT provider, provider_dispute, CAST(:now AS timestamptz), CAST(:now AS timestamptz)
    FROM unnest(CAST(:provider AS text[]), CAST(:provider_dispute AS text[]))
      AS hint (provider, provider_dispute)
    ON CONFLICT (provider_dispute, provider) DO UPDATE SET next_lookup_time = :now
        WHERE coalesce(known.next_lookup_time, 'infinity') > :now
""")

# One that is known already is looked up when its time comes.
_ADD = Command("""
    INSERT INTO dispute_lookups (provider, provider_dispute, next_lookup_time, create_time)
    SELECT DISTINCT provider, provider_dispute, CAST(:now AS timestamptz), CAST(:now AS timestamptz)
    FROM unnest(CAST(:provider AS text[]), CAST(:provider_dispute AS text[]))
      AS listed (provider, provider_dispute)
    ON CONFLICT (provider_dispute, provider) DO NOTHING
""")

_DUE = Query(
    """
    SELECT provider, provider_dispute, try_count, finding
    FROM (
        SELECT due.* FROM unnest(CAST(:buckets AS smallint[])) AS leased (bucket)
        CROSS JOIN LATERAL (
            SELECT * FROM dispute_lookups
            WHERE provider = :provider AND bucket = leased.bucket AND next_lookup_time <= :now
              AND provider_dispute <> ALL(CAST(:left_out AS text[]))
            ORDER BY next_lookup_time LIMIT :limit) AS due
        LIMIT :limit) AS due
""",
    DisputeLookup,
)

_FINISH = Command("""
    UPDATE dispute_lookups SET next_lookup_time = done.next_lookup_time, try_count = done.try_count,
                               finding = done.finding
    FROM unnest(CAST(:provider AS text[]), CAST(:provider_dispute AS text[]),
                CAST(:next_lookup_time AS timestamptz[]), CAST(:try_count AS integer[]),
                CAST(:finding AS text[]))
      AS done (provider, provider_dispute, next_lookup_time, try_count, finding)
    WHERE dispute_lookups.provider = done.provider
      AND dispute_lookups.provider_dispute = done.provider_dispute
""")

_LISTED_THROUGH: Query[datetime] = Query(
    "SELECT listed_through_time FROM dispute_lists WHERE provider = :provider", scalar
)

_LIST_THROUGH = Command("""
    INSERT INTO dispute_lists AS known (provider, listed_through_time) VALUES (:provider, :through_time)
    ON CONFLICT (provider) DO UPDATE
        SET listed_through_time = greatest(known.listed_through_time, excluded.listed_through_time)
""")

_FINDINGS = Query(
    """
    SELECT provider, provider_dispute, try_count, finding FROM dispute_lookups
    WHERE finding <> '' ORDER BY create_time DESC LIMIT :limit
""",
    DisputeLookup,
)


async def hint(tx: Connection, lookups: Collection[DisputeLookup], now: datetime) -> None:
    """Have disputes looked up now, whether or not they are known."""
    await _HINT.run_for(tx, lookups, now=now)


async def add(tx: Connection, lookups: Collection[DisputeLookup], now: datetime) -> None:
    """Have disputes looked up now that were not known."""
    await _ADD.run_for(tx, lookups, now=now)


async def due(
    tx: Connection,
    provider: str,
    buckets: Sequence[int],
    now: datetime,
    limit: int,
    left_out: Sequence[tuple[str, str]],
) -> list[DisputeLookup]:
    """A batch of a provider's disputes that are to be looked up now, but for some."""
    ids = [dispute for of_provider, dispute in left_out if of_provider == provider]
    return await _DUE.all(
        tx, provider=provider, buckets=buckets, now=now, limit=limit, left_out=ids
    )


async def finish(
    tx: Connection, lookups: Sequence[DisputeLookup], next_lookup_times: Sequence[datetime | None]
) -> None:
    """Write what became of look-ups, and when each is made again; None: no more."""
    await _FINISH.run_for(tx, lookups, next_lookup_time=next_lookup_times)


async def listed_through(tx: Connection, provider: str) -> datetime | None:
    """Until when all disputes of a provider have been listed."""
    return await _LISTED_THROUGH.one_or_none(tx, provider=provider)


async def list_through(tx: Connection, provider: str, through_time: datetime) -> None:
    """Note until when all disputes of a provider have been listed."""
    await _LIST_THROUGH.run(tx, provider=provider, through_time=through_time)


async def findings(tx: Connection, limit: int) -> list[DisputeLookup]:
    """Disputes that people have to look at, the newest first."""
    return await _FINDINGS.all(tx, limit=limit)
