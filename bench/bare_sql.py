"""Bare SQL: the least that PostgreSQL has to do for a cycle, in sets, and nothing else.

Claim due rows, insert an order and an outbox row for each, and move the due rows on, in one
transaction a batch. There is no pricing, no other service and no object for a row.
"""

import json
import time
import uuid
from datetime import UTC, datetime

import asyncpg

from bench.measure import Run, check

BATCH_ROWS = 500
# About as large as an order's lines and an event in the suite.
LINES = json.dumps([{"product": "product-1", "title": "Coffee", "quantity": 2, "pad": "x" * 200}])
EVENT = b"e" * 300

TABLES = """
    DROP TABLE IF EXISTS due, orders, outbox;
    CREATE TABLE due (
        standing_order  text        PRIMARY KEY,
        cycle           integer     NOT NULL,
        prepare_time    timestamptz NOT NULL
    );
    CREATE INDEX due_first ON due (prepare_time);
    CREATE TABLE orders (
        standing_order  text        NOT NULL,
        cycle           integer     NOT NULL,
        lines           jsonb       NOT NULL,
        create_time     timestamptz NOT NULL,
        PRIMARY KEY (standing_order, cycle)
    );
    CREATE TABLE outbox (
        partition_key   text        NOT NULL,
        event_id        uuid        NOT NULL,
        position        bigint      GENERATED ALWAYS AS IDENTITY,
        data            bytea       NOT NULL,
        publish_time    timestamptz,
        PRIMARY KEY (partition_key, event_id)
    );
    CREATE INDEX outbox_unpublished ON outbox (position) WHERE publish_time IS NULL;
"""

FILL = """
    INSERT INTO due SELECT 'so-' || n, 1, $2::timestamptz - make_interval(secs => n)
    FROM generate_series(1, $1) AS n
"""

CLAIM = """
    SELECT standing_order, cycle FROM due WHERE prepare_time <= $1
    ORDER BY prepare_time LIMIT $2 FOR UPDATE SKIP LOCKED
"""

INSERT_ORDERS = """
    INSERT INTO orders (standing_order, cycle, lines, create_time)
    SELECT given.standing_order, given.cycle, CAST(given.lines AS jsonb), $4
    FROM unnest($1::text[], $2::int[], $3::text[]) AS given (standing_order, cycle, lines)
    ON CONFLICT DO NOTHING
"""

INSERT_EVENTS = """
    INSERT INTO outbox (partition_key, event_id, data)
    SELECT * FROM unnest($1::text[], $2::uuid[], $3::bytea[]) ON CONFLICT DO NOTHING
"""

MOVE_ON = """
    UPDATE due SET cycle = cycle + 1, prepare_time = prepare_time + interval '1 month'
    WHERE standing_order = ANY($1::text[])
"""


async def measure(url: str, count: int) -> Run:
    """Claim and insert for so many rows."""
    connection = await asyncpg.connect(url)
    try:
        now = datetime.now(UTC)
        await connection.execute(TABLES)
        await connection.execute(FILL, count, now)
        await connection.execute("ANALYZE due")
        started = time.perf_counter()
        done = 0
        while batch := await _batch(connection, now):
            done += batch
        seconds = time.perf_counter() - started
        check("orders by bare SQL", count, await connection.fetchval("SELECT count(*) FROM orders"))
    finally:
        await connection.close()
    return Run(done, seconds)


async def _batch(connection: "asyncpg.Connection[asyncpg.Record]", now: datetime) -> int:
    async with connection.transaction():
        due = await connection.fetch(CLAIM, now, BATCH_ROWS)
        if due:
            names = [row["standing_order"] for row in due]
            cycles = [row["cycle"] for row in due]
            await connection.execute(INSERT_ORDERS, names, cycles, [LINES] * len(due), now)
            ids = [uuid.uuid4() for _ in due]
            await connection.execute(INSERT_EVENTS, names, ids, [EVENT] * len(due))
            await connection.execute(MOVE_ON, names)
    return len(due)
