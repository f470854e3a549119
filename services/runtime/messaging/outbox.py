"""The outbox: events are stored with the change that they report, and kept for replay.

A row is a batch. Rows are in the order of transactions; nothing changes a row.
"""

from collections.abc import Sequence
from datetime import datetime

from services.runtime.db.pool import Connection, Database
from services.runtime.db.statements import Command, Query, scalar
from services.runtime.messaging.batches import Batch, in_batches
from services.runtime.messaging.events import OutboxEvent
from services.runtime.observability import tracing
from services.runtime.workers.loop import Step

PURGE_BATCH_ROWS = 5000
# The outbox is emptied by the week: rows outlive the retention by a week, and the inbox outlives them.
INBOX_EXTRA_DAYS = 8

# Arrays of arrays must be rectangular, so those of a batch are lines of a text.
_PUT = Command("""
    INSERT INTO outbox (
        batch_id, type, event_count, tenants, event_ids, partition_keys, occur_time, data)
    SELECT batch_id, type, event_count, string_to_array(tenants, chr(10)),
           CAST(string_to_array(event_ids, chr(10)) AS uuid[]),
           string_to_array(partition_keys, chr(10)), occur_time, data
    FROM unnest(
        CAST(:batch_id AS uuid[]), CAST(:type AS text[]), CAST(:event_count AS int[]),
        CAST(:tenants AS text[]), CAST(:event_ids AS text[]), CAST(:partition_keys AS text[]),
        CAST(:occur_time AS timestamptz[]), CAST(:data AS bytea[]))
      AS batch (batch_id, type, event_count, tenants, event_ids, partition_keys, occur_time, data)
""")

# The cursor goes back to before the first of these rows, never forward.
_REWIND = Command("""
    UPDATE outbox_cursor AS cursor
    SET transaction_id = first.transaction_id, position = first.position - 1,
        version = cursor.version + 1, lease_end_time = now()
    FROM (SELECT transaction_id, position FROM outbox
          WHERE store_time >= :since AND position >= :position
          ORDER BY transaction_id, position LIMIT 1) AS first
    WHERE (first.transaction_id, first.position) <= (cursor.transaction_id, cursor.position)
""")

_UNPUBLISHED: Query[int] = Query(
    """
    SELECT CAST(coalesce(sum(event_count), 0) AS bigint) FROM outbox, outbox_cursor AS cursor
    WHERE (outbox.transaction_id, outbox.position) > (cursor.transaction_id, cursor.position)
    """,
    scalar,
)

_TRUNCATE: Query[int] = Query("SELECT truncate_outbox(:days)", scalar)

_DELETE_INBOX = Command("""
    DELETE FROM inbox WHERE batch_id IN (
        SELECT batch_id FROM inbox
        WHERE handle_time < now() - make_interval(days => :days) LIMIT :limit)
""")
_DELETE_REQUESTS = Command("""
    DELETE FROM requests WHERE (tenant, request_id) IN (
        SELECT tenant, request_id FROM requests
        WHERE create_time < now() - make_interval(days => :days) LIMIT :limit)
""")


async def put(tx: Connection, events: Sequence[OutboxEvent]) -> None:
    """Store events in the transaction of their change.

    Raises ValueError if one is larger than BATCH_MAX_BYTES.
    """
    batches: Sequence[Batch] = []
    if events:
        # Where nobody has begun a trace, one begins here: each event is of one.
        trace = tracing.current_traceparent() or tracing.new_traceparent("publish", alone=True)
        batches = in_batches(events, trace)
    await _PUT.run_for(
        tx,
        batches,
        event_count=[len(batch.event_ids) for batch in batches],
        tenants=["\n".join(batch.tenants) for batch in batches],
        event_ids=["\n".join(map(str, batch.event_ids)) for batch in batches],
        partition_keys=["\n".join(batch.partition_keys) for batch in batches],
    )


async def rewind(tx: Connection, since: datetime, position: int = 0) -> None:
    """Have what was stored since a time published again, from a position on.

    Consumers find batches that they have handled in their inbox.
    """
    await _REWIND.run(tx, since=since, position=position)


async def replay(database: Database, since: datetime, position: int = 0) -> int:
    """As `rewind`; returns the number of events that are now to be published."""
    async with database.begin() as tx:
        await rewind(tx, since, position)
        return await _UNPUBLISHED.one(tx)


async def purge(database: Database, retention_days: int) -> Step:
    """Delete what was published, handled or answered before the retention."""
    async with database.begin(wake_workers=False) as tx:
        weeks = await _TRUNCATE.one(tx, days=retention_days)
        rows = await _DELETE_INBOX.run(
            tx, days=retention_days + INBOX_EXTRA_DAYS, limit=PURGE_BATCH_ROWS
        )
        rows += await _DELETE_REQUESTS.run(tx, days=retention_days, limit=PURGE_BATCH_ROWS)
    return Step(worked=weeks + rows)
