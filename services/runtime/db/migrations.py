"""Migrates services' databases to the schema of their code, in a process that does nothing else.

`python -m services.runtime.db.migrations SERVICE...` migrates the databases that the environment names.
"""

import asyncio
import functools
import os
import sys
import time

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, pool, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from services.runtime.db import revisions

# One advisory lock a database: a second migration waits, and finds nothing left to do.
MIGRATION_LOCK_KEY = 0x7265637572
LOCK_TIMEOUT_SECONDS = 60
# Whatever a service wants of a table waits behind a migration that waits for it. So the migration
# gives up before a service does (`pool.LOCK_TIMEOUT_SECONDS`), lets it through, and tries again.
TABLE_LOCK_TIMEOUT_SECONDS = 2
TABLE_LOCK_PAUSE_SECONDS = 3.0

# The runtime's tables in every service's database, first version. Migrations are history: a change of
# these is another constant.
RUNTIME_TABLES_V1 = """
-- One row is what a transaction publishes of one type. Rows are in the order of transactions: when all
-- transactions older than a row's have ended, no row can appear before it any more.
-- A week of rows is in one of eight partitions, which is emptied before its turn comes again.
CREATE FUNCTION outbox_week(at timestamptz) RETURNS bigint LANGUAGE sql IMMUTABLE AS
    'SELECT floor(extract(epoch FROM at) / 604800)::bigint';
CREATE TABLE outbox (
    transaction_id xid8        NOT NULL DEFAULT pg_current_xact_id(),
    position       bigint      NOT NULL GENERATED ALWAYS AS IDENTITY,
    partition      smallint    NOT NULL DEFAULT outbox_week(now()) % 8,
    batch_id       uuid        NOT NULL,
    type           text        NOT NULL,
    event_count    integer     NOT NULL,
    tenants        text[]      NOT NULL,
    event_ids      uuid[]      NOT NULL,
    partition_keys text[]      NOT NULL,
    -- Of the first event.
    occur_time     timestamptz NOT NULL,
    store_time     timestamptz NOT NULL DEFAULT now(),
    data           bytea       NOT NULL
) PARTITION BY LIST (partition);
-- The indexes are the partitions' own: pg_restore --clean cannot drop what a partition inherits.
DO $$ BEGIN
    FOR number IN 0..7 LOOP
        EXECUTE format('CREATE TABLE outbox_%1$s PARTITION OF outbox FOR VALUES IN (%1$s)', number);
        EXECUTE format('CREATE INDEX ON outbox_%s (transaction_id, position)', number);
        EXECUTE format('CREATE INDEX ON outbox_%s (batch_id)', number);
        EXECUTE format('ALTER TABLE outbox_%1$s ENABLE ROW LEVEL SECURITY', number);
    END LOOP;
END $$;

-- What is published: all rows up to this one.
CREATE TABLE outbox_cursor (
    only_row       boolean     NOT NULL PRIMARY KEY DEFAULT true CHECK (only_row),
    transaction_id xid8        NOT NULL DEFAULT '0',
    position       bigint      NOT NULL DEFAULT 0,
    -- Grows with each change: whoever read another version cannot move the cursor.
    version        bigint      NOT NULL DEFAULT 0,
    -- Until then one relay publishes: that of the process of this name.
    lease_end_time timestamptz NOT NULL DEFAULT '-infinity',
    lease_name     text        NOT NULL DEFAULT '',
    -- When the newest of the streams was created that rows were published to.
    stream_create_time timestamptz
);
INSERT INTO outbox_cursor DEFAULT VALUES;

-- Empties the partitions of weeks that ended before the retention; returns how many. The service itself
-- may not. A partition is left for later that is being read, or has what is not published.
CREATE FUNCTION truncate_outbox(retention_days integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
DECLARE
    this_week bigint := outbox_week(now());
    emptied integer := 0;
    name text;
    is_due boolean;
BEGIN
    FOR week IN this_week - 7 .. this_week - 1 LOOP
        CONTINUE WHEN to_timestamp((week + 1) * 604800) > now() - make_interval(days => retention_days);
        name := 'outbox_' || week % 8;
        EXECUTE format('SELECT EXISTS (SELECT FROM %1$I) AND NOT EXISTS ('
            'SELECT FROM %1$I AS row, outbox_cursor AS cursor'
            ' WHERE (row.transaction_id, row.position) > (cursor.transaction_id, cursor.position))',
            name) INTO is_due;
        CONTINUE WHEN NOT is_due;
        BEGIN
            EXECUTE format('LOCK TABLE %I IN ACCESS EXCLUSIVE MODE NOWAIT', name);
            EXECUTE format('TRUNCATE %I', name);
            emptied := emptied + 1;
        EXCEPTION WHEN lock_not_available THEN
            NULL;
        END;
    END LOOP;
    RETURN emptied;
END $$;

CREATE TABLE inbox (
    batch_id       uuid        NOT NULL PRIMARY KEY,
    partition_keys text[]      NOT NULL,
    handle_time    timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX inbox_handled ON inbox (handle_time);

-- Events that could not be handled, of batches that were: to be tried again, or dead letters.
CREATE TABLE failed_events (
    partition_key  text        NOT NULL,
    event_id       uuid        NOT NULL,
    type           text        NOT NULL,
    -- A CloudEvent of the protobuf format.
    event          bytea       NOT NULL,
    error          text        NOT NULL,
    failure_count  integer     NOT NULL DEFAULT 1,
    create_time    timestamptz NOT NULL DEFAULT now(),
    retry_time     timestamptz NOT NULL,
    -- Since when it is not tried any more.
    dead_letter_time timestamptz,
    PRIMARY KEY (partition_key, event_id)
);
CREATE INDEX failed_events_due ON failed_events (retry_time) WHERE dead_letter_time IS NULL;
CREATE INDEX failed_events_dead ON failed_events (dead_letter_time) WHERE dead_letter_time IS NOT NULL;

CREATE TABLE requests (
    tenant         text        NOT NULL,
    request_id     uuid        NOT NULL,
    method         text        NOT NULL,
    content_hash   bytea       NOT NULL,
    response       bytea       NOT NULL,
    create_time    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, request_id)
);
CREATE INDEX requests_created ON requests (create_time);

-- The audit. Callers see the position, so it is derived from the time: a count would show each merchant
-- how much the others do.
CREATE TABLE audit_entries (
    tenant         text        NOT NULL,
    position       uuid        NOT NULL DEFAULT uuidv7(),
    subject        text        NOT NULL,
    origin         text        NOT NULL,
    method         text        NOT NULL,
    -- NULL if the method has none.
    request_id     uuid,
    resource       text        NOT NULL,
    state_before   jsonb,
    state_after    jsonb       NOT NULL,
    create_time    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, position)
);
CREATE INDEX audit_entries_of_resource ON audit_entries (tenant, resource, position);

-- Revokes privileges on tables from all roles but the owner.
CREATE FUNCTION revoke_privileges(privileges text, VARIADIC relations regclass[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    held record;
BEGIN
    FOR held IN
        SELECT DISTINCT pg_class.oid::regclass AS relation, granted.grantee::regrole AS grantee
        FROM pg_class, aclexplode(relacl) AS granted
        WHERE pg_class.oid = ANY (relations) AND granted.grantee NOT IN (0, relowner)
    LOOP
        EXECUTE format('REVOKE %s ON %s FROM %s', privileges, held.relation, held.grantee);
    END LOOP;
END $$;

-- Lets callers see only the rows of their tenant, by the column; and a caller who is one customer only
-- theirs, where a table says whose its rows are. Without the setting nothing is seen. A CASE, since the
-- planner would take an OR of conditions for one that few rows meet; and subqueries, since a statement
-- reads these once, and a function for each row.
CREATE FUNCTION enable_tenant_rls(tenant_column name, VARIADIC relations regclass[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    relation regclass;
BEGIN
    FOREACH relation IN ARRAY relations LOOP
        EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', relation);
        EXECUTE format(
            'CREATE POLICY tenant ON %s USING (%I = current_setting(''recurring.tenant'', true))',
            relation, tenant_column);
        CONTINUE WHEN NOT EXISTS (SELECT FROM pg_attribute
                                  WHERE attrelid = relation AND attname = 'customer');
        EXECUTE format(
            'CREATE POLICY customer ON %s AS RESTRICTIVE USING ('
            'CASE (SELECT current_setting(''recurring.customer'', true)) WHEN '''' THEN true'
            ' ELSE customer = (SELECT current_setting(''recurring.customer'', true)) END)', relation);
    END LOOP;
END $$;
SELECT enable_tenant_rls('tenant', 'requests', 'audit_entries');
-- A batch may be of several tenants; workers alone store and see such a one.
ALTER TABLE outbox ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON outbox
    USING (tenants = ARRAY[current_setting('recurring.tenant', true)]);

-- Keeps a row in its final state, whatever arrives late, twice or out of order.
CREATE FUNCTION refuse_regress() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a row of % is % for good', TG_TABLE_NAME, OLD.state
        USING ERRCODE = 'restrict_violation';
END $$;
CREATE FUNCTION keep_final_states(relation regclass, VARIADIC states text[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format(
        'CREATE TRIGGER %I BEFORE UPDATE OF state ON %s FOR EACH ROW'
        ' WHEN (OLD.state IN (%s) AND NEW.state <> OLD.state) EXECUTE FUNCTION refuse_regress()',
        relation || '_final', relation,
        (SELECT string_agg(quote_literal(state), ', ') FROM unnest(states) AS state));
END $$;
SELECT revoke_privileges('UPDATE, DELETE', 'audit_entries');
-- Without a policy: callers see no events of other services.
ALTER TABLE inbox ENABLE ROW LEVEL SECURITY;
ALTER TABLE failed_events ENABLE ROW LEVEL SECURITY;
ALTER TABLE outbox_cursor ENABLE ROW LEVEL SECURITY;
SELECT revoke_privileges('INSERT, UPDATE, DELETE', 'outbox_0', 'outbox_1', 'outbox_2', 'outbox_3',
    'outbox_4', 'outbox_5', 'outbox_6', 'outbox_7');
SELECT revoke_privileges('UPDATE, DELETE', 'outbox');
SELECT revoke_privileges('INSERT, DELETE', 'outbox_cursor');

-- Due work is divided into buckets by its shard key. Tables keep the bucket, computed by this function.
CREATE FUNCTION bucket_of(shard_key text) RETURNS smallint LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CAST(hashtext(shard_key) & 63 AS smallint);

CREATE VIEW buckets AS
    SELECT CAST(bucket AS smallint) AS bucket FROM generate_series(0, 63) AS bucket;

-- Which replicas there are, and which does the due work of which bucket (runtime/db/leases.py). What a
-- replica leases has the expiry of its row, and is free when that is gone.
CREATE TABLE lease_holders (
    holder         uuid        NOT NULL PRIMARY KEY,
    name           text        NOT NULL,
    expire_time    timestamptz NOT NULL
);
CREATE TABLE bucket_leases (
    bucket         smallint    NOT NULL PRIMARY KEY CHECK (bucket BETWEEN 0 AND 63),
    holder         uuid        NOT NULL REFERENCES lease_holders ON DELETE CASCADE
);
ALTER TABLE bucket_leases ENABLE ROW LEVEL SECURITY;
ALTER TABLE lease_holders ENABLE ROW LEVEL SECURITY;

-- The revisions of the code that may serve on this schema; each migration replaces them.
CREATE TABLE served_revisions (
    revision       text        NOT NULL PRIMARY KEY
);
SELECT revoke_privileges('INSERT, UPDATE, DELETE', 'served_revisions', 'alembic_version');

-- What proofs read (docs/audit-views.md): a contract, unlike the tables. A view shows the rows of every
-- merchant, since its owner, who owns the tables, is not subject to their policies. Services have no
-- access to the schema.
CREATE SCHEMA IF NOT EXISTS audit_v1;
-- 64 bits of what is compared of a row. PostgreSQL reads it as a part of the statement that names it.
CREATE FUNCTION audit_v1.row_hash(subject text, currency text, amount_minor bigint, facts text)
RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN hashtextextended(subject, hashtextextended(facts, hashtextextended(
    currency, hashint8extended(amount_minor, 0))));
CREATE VIEW audit_v1.batches_published AS
    SELECT batch_id, type, event_count, outbox.position, occur_time, store_time,
           (outbox.transaction_id, outbox.position) <= (cursor.transaction_id, cursor.position)
               AS is_published
    FROM outbox, outbox_cursor AS cursor;
CREATE VIEW audit_v1.backlog AS
    SELECT coalesce(sum(event_count), 0)::bigint AS unpublished_count,
           min(occur_time) AS oldest_unpublished_time,
           (SELECT count(*) FROM failed_events WHERE dead_letter_time IS NOT NULL)
               AS dead_letter_count
    FROM outbox, outbox_cursor AS cursor
    WHERE (outbox.transaction_id, outbox.position) > (cursor.transaction_id, cursor.position);
-- Where a snapshot of this database stands.
CREATE VIEW audit_v1.position AS
    SELECT now() AS read_time, pg_current_snapshot()::text AS snapshot,
           coalesce((SELECT position FROM outbox
                     ORDER BY transaction_id DESC, position DESC LIMIT 1), 0) AS event_position;
CREATE VIEW audit_v1.events_published AS
    SELECT batch_id, event_id, type, split_part(partition_key, '/', 2) AS merchant, partition_key,
           position, store_time, occur_time
    FROM outbox, unnest(event_ids, partition_keys) AS event (event_id, partition_key);
CREATE VIEW audit_v1.batches_received AS
    SELECT batch_id, partition_keys, handle_time FROM inbox;
CREATE VIEW audit_v1.bucket_leases AS
    SELECT bucket, expire_time FROM bucket_leases JOIN lease_holders USING (holder);
CREATE VIEW audit_v1.failed_events AS
    SELECT event_id, type, split_part(partition_key, '/', 2) AS merchant, partition_key,
           failure_count, create_time, dead_letter_time
    FROM failed_events;

-- What a service said of a day when it was settled: of each clause of a proof that compares it with
-- another service, and of each view that proofs do not read again, a count, a sum and a hash that does
-- not depend on the order of the rows. Of a day with something open it is kept that it is not settled.
CREATE TABLE proof_digests (
    clause         text        NOT NULL,
    merchant       text        NOT NULL,
    -- In UTC.
    day            date        NOT NULL,
    product        text        NOT NULL,
    currency       text        NOT NULL,
    row_count      bigint      NOT NULL,
    sum_minor      numeric     NOT NULL,
    hash           numeric     NOT NULL,
    is_settled     boolean     NOT NULL,
    digest_time    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (clause, day, merchant, product, currency)
);
-- One row: the day by the customers' clock up to which digests were made, and the first that has any.
CREATE TABLE proof_digest_progress (
    day            date        NOT NULL,
    first_day      date
);
INSERT INTO proof_digest_progress (day) VALUES ('-infinity');
ALTER TABLE proof_digests ENABLE ROW LEVEL SECURITY;
ALTER TABLE proof_digest_progress ENABLE ROW LEVEL SECURITY;
-- Only the function below makes digests: who may change a row may not change what was kept of it.
SELECT revoke_privileges('INSERT, UPDATE, DELETE', 'proof_digests', 'proof_digest_progress');

-- Makes the digests of a day. One that was made when nothing was open any more stays, unless rows were
-- added since. `audit_v1.digested` is made by each service.
CREATE FUNCTION make_proof_digests(of_day date) RETURNS void LANGUAGE plpgsql
SECURITY DEFINER SET search_path = public, pg_temp SET timezone = 'UTC' SET datestyle = 'ISO'
-- A day is a small part of the tables: rows that belong to one of it are found by their keys.
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_sort = off
-- Nobody waits for it.
SET max_parallel_workers_per_gather = 0
-- To plan it costs more than a day with few rows, and each day is read in the same way.
SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    stale_clauses text[];
    stale_merchants text[];
BEGIN
    -- What is counted or summed is materialized first: where a later step sorts groups, the planner may
    -- sort all rows instead, which are many and long.
    --
    -- Once a day is settled, only rows that may be backdated are counted, which costs a fraction of
    -- what it costs to hash them.
    IF EXISTS (SELECT FROM proof_digests WHERE day = of_day) THEN
        WITH present AS MATERIALIZED (
            SELECT clause, merchant, count(*) AS row_count FROM audit_v1.digested
            WHERE may_be_backdated AND partition_time >= of_day AND partition_time < of_day + 1
            GROUP BY clause, merchant),
        kept AS (
            SELECT clause, merchant, sum(row_count) AS row_count, bool_and(is_settled) AS is_settled
            FROM proof_digests WHERE day = of_day GROUP BY clause, merchant),
        stale AS (
            SELECT clause, merchant FROM present LEFT JOIN kept USING (clause, merchant)
            WHERE present.row_count IS DISTINCT FROM kept.row_count
            UNION ALL
            SELECT clause, merchant FROM kept WHERE NOT is_settled)
        SELECT array_agg(DISTINCT clause), array_agg(DISTINCT merchant)
        INTO stale_clauses, stale_merchants
        FROM stale;
        IF stale_clauses IS NULL THEN
            RETURN;
        END IF;
    END IF;
    WITH present AS MATERIALIZED (
        SELECT clause, merchant, product, currency, count(*) AS row_count,
               sum(amount_minor) AS sum_minor,
               sum(audit_v1.row_hash(subject, currency, amount_minor, facts)) AS hash,
               bool_and(is_final) AS is_final
        FROM audit_v1.digested
        WHERE (stale_clauses IS NULL
               OR clause = ANY(stale_clauses) AND merchant = ANY(stale_merchants))
          AND partition_time >= of_day AND partition_time < of_day + 1
        GROUP BY clause, merchant, product, currency)
    INSERT INTO proof_digests (
        clause, merchant, day, product, currency, row_count, sum_minor, hash, is_settled)
    SELECT clause, merchant, of_day, product, currency, row_count, sum_minor, hash,
           bool_and(is_final) OVER (PARTITION BY clause, merchant)
    FROM present
    ON CONFLICT (clause, day, merchant, product, currency) DO UPDATE
      SET row_count = excluded.row_count, sum_minor = excluded.sum_minor, hash = excluded.hash,
          is_settled = excluded.is_settled, digest_time = excluded.digest_time
      WHERE proof_digests.row_count < excluded.row_count OR NOT proof_digests.is_settled;
END $$;
-- Goes on with the next day; returns how many days are left. The digests of a day are made when it is 4
-- days old, and again with what ended later.
CREATE FUNCTION keep_proof_digests(today date) RETURNS integer LANGUAGE plpgsql
SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    next_day date;
    age integer;
BEGIN
    SELECT day INTO next_day FROM proof_digest_progress FOR UPDATE SKIP LOCKED;
    IF next_day = '-infinity' THEN
        SELECT (min(partition_time) AT TIME ZONE 'UTC')::date INTO next_day FROM audit_v1.digested;
    END IF;
    IF next_day IS NULL OR next_day >= today THEN
        RETURN 0;
    END IF;
    next_day := next_day + 1;
    FOREACH age IN ARRAY '{4, 8, 32}'::integer[] LOOP
        PERFORM make_proof_digests(next_day - age);
    END LOOP;
    UPDATE proof_digest_progress SET day = next_day, first_day = coalesce(first_day, next_day - 1);
    RETURN today - next_day;
END $$;
-- What acts as the owner is for the roles that write, and not for whoever may only read.
REVOKE EXECUTE ON FUNCTION truncate_outbox, make_proof_digests, keep_proof_digests FROM PUBLIC;
DO $$
DECLARE
    writer regrole;
BEGIN
    FOR writer IN
        SELECT DISTINCT granted.grantee FROM pg_class, aclexplode(relacl) AS granted
        WHERE pg_class.oid = 'requests'::regclass AND granted.privilege_type = 'INSERT'
          AND granted.grantee NOT IN (0, relowner)
    LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION truncate_outbox, keep_proof_digests TO %s', writer);
    END LOOP;
END $$;
CREATE VIEW audit_v1.digests AS
    SELECT clause, merchant, day, product, currency, row_count, sum_minor, hash, is_settled,
           digest_time
    FROM proof_digests;
-- The days of which digests were made. One without a digest of a clause had no rows of it.
CREATE VIEW audit_v1.digest_progress AS
    SELECT first_day AS from_date, day - 4 AS through_date FROM proof_digest_progress
    WHERE first_day <= day - 4;
"""

# A dump that was restored on another server has transactions that are ahead of this one's. They become
# older than any of this server, and all that the outbox keeps is published again.
ADOPT_OUTBOX = (
    """
    UPDATE outbox_cursor SET transaction_id = '0', position = 0, version = version + 1
    WHERE transaction_id >= pg_snapshot_xmax(pg_current_snapshot())
       OR EXISTS (SELECT FROM outbox
                  WHERE transaction_id >= pg_snapshot_xmax(pg_current_snapshot()))
    """,
    """
    UPDATE outbox SET transaction_id = '1'
    WHERE transaction_id >= pg_snapshot_xmax(pg_current_snapshot())
    """,
)


def statements(script: str) -> list[str]:
    """The statements of a script, each of which ends with a semicolon at the end of a line.

    The driver executes one statement at a time. The body of a function between $$ and $$ is not split.
    """
    found = [""]
    for piece in script.split(";\n"):
        if found[-1].count("$$") % 2:
            found[-1] += f";\n{piece}"
        else:
            found.append(piece)
    return [statement for statement in found if statement.strip()]


def upgrade(service: str, database_url: str) -> None:
    """Run the missing migrations. Must not be called from a running event loop.

    Raises errors of PostgreSQL and alembic; a failed migration leaves the schema as it was.
    """
    asyncio.run(upgrade_async(service, database_url))


async def upgrade_async(service: str, database_url: str) -> None:
    """As `upgrade`, from inside an event loop."""
    engine = create_async_engine(
        "postgresql+asyncpg://",
        poolclass=pool.NullPool,
        async_creator=lambda: asyncpg.connect(database_url),
    )
    try:
        until = time.monotonic() + LOCK_TIMEOUT_SECONDS
        while not await _upgraded(engine, service, until):  # noqa: ASYNC110 - others have the table
            await asyncio.sleep(TABLE_LOCK_PAUSE_SECONDS)
    finally:
        await engine.dispose()


async def _upgraded(engine: AsyncEngine, service: str, until: float) -> bool:
    """Whether the missing migrations were run; False if somebody else has a table that they need."""
    try:
        async with engine.begin() as connection:
            await connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_SECONDS}s'"))
            await connection.execute(
                text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK_KEY}
            )
            await connection.execute(
                text(f"SET LOCAL lock_timeout = '{TABLE_LOCK_TIMEOUT_SECONDS}s'")
            )
            await connection.run_sync(_upgrade, service)
    except DBAPIError as error:
        state = getattr(error.orig, "sqlstate", "")
        if state != asyncpg.LockNotAvailableError.sqlstate or time.monotonic() >= until:
            raise
        return False
    return True


def _upgrade(connection: Connection, service: str) -> None:
    found = MigrationContext.configure(connection).get_current_revision()
    if found is not None and found not in revisions.known(service):
        # Newer code has migrated the database; `schema.check` decides whether this code may serve.
        return
    config = _config(service)
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    for adopt in ADOPT_OUTBOX:
        connection.execute(text(adopt))
    connection.execute(text("DELETE FROM served_revisions"))
    connection.execute(
        text("INSERT INTO served_revisions SELECT unnest(CAST(:served AS text[]))"),
        {"served": served(service)},
    )


def served(service: str) -> list[str]:
    """The revisions of the code that may serve on the newest schema of a service.

    A migration serves the code of its own revision, and if it has `serves_since`, the code since that.
    """
    scripts = list(_script(service).walk_revisions())
    names = [script.revision for script in scripts]
    # The index of the oldest code that all migrations so far serve, the newest migration first.
    oldest = len(names)
    for index, script in enumerate(scripts):
        if index > oldest:
            return names[:index]
        since = getattr(script.module, "serves_since", script.revision)
        oldest = min(oldest, names.index(since))
    return names


@functools.cache
def _script(service: str) -> ScriptDirectory:
    return ScriptDirectory.from_config(_config(service))


def _config(service: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(revisions.migrations_folder(service)))
    return config


def main() -> None:
    """Migrate the databases of the services on the command line; says in one line what failed."""
    try:
        for service in sys.argv[1:]:
            upgrade(service, os.environ[revisions.url_variable(service)])
    except Exception as error:  # noqa: BLE001 - whatever PostgreSQL or alembic say
        sys.exit(next(iter(str(error).splitlines()), type(error).__name__))


if __name__ == "__main__":
    main()
