"""Statements read the rows that they are about, however many others there are.

The tables have doubled since they were analyzed, when nothing in them waited for work. All that is new
waits: what the planner believes least fits what is there.
"""

import importlib
import json
import pkgutil
import re
from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest

import services
from services.runtime.db.pool import PLANNER_SETTINGS
from services.runtime.db.statements import Command, Query, compiled
from services.runtime.observability.gauges import GaugeQuery
from tests.conftest import ServiceDatabase

# A statement as PostgreSQL takes it, and the names of its parameters.
Compiled = tuple[str, tuple[str, ...]]
SERVICES = ("catalog", "payments", "notify", "scheduler")
ROWS = 20_000
# So many keys are given at once, of a thousand times as many rows.
BATCH = 20

# What may read more than what it is given or has a limit for, and why.
_PURGE = "once in a while, in bounded batches: any rows that are old enough will do"
EXEMPT = {
    "catalog.store.products._BUNDLES_WITH": "the bundles of one merchant, once when units arrive",
    "catalog.store.holds._WAKE_BACKORDERS": "what one merchant owes, once when units arrive",
    "notify.store.statistics._MERGE": "once a minute, in bounded batches: any rows will do",
    "notify.store.inbound._PURGE": _PURGE,
    "notify.store.templates._FOR_NOTICES": "a merchant's of one kind: one a channel and language",
    "notify.store.webhooks._KEEP": "a merchant's endpoints: ten at most",
    "notify.store.webhooks._WANTING": "a merchant's endpoints: ten at most",
    "notify.store.webhooks._PURGE_DELIVERIES": _PURGE,
    "notify.store.webhooks._PURGE_EVENTS": _PURGE,
    "payments.store.attempts._UNKNOWN": "an operator's question, by age and not by time of lookup",
    "payments.store.ledger._KEEP_DAYS": "a day of all merchants, once a day: skips between merchants",
    "payments.store.ledger_periods._CLOSE": "what a merchant has booked a day, once a period",
    "payments.store.reconciliation._COMPARE": "a merchant's question about one day",
    "payments.store.reconciliation._ANY_BOOKED": "the same, ended by the first",
    "payments.store.reconciliation._RECORD": "a day of merchants, once it is finished",
    "payments.store.reconciliation._MERCHANTS": "the merchants of a day, once it is finished",
    "payments.store.reconciliation._OPEN_DAYS": "of what is open, which is little",
    "payments.store.provider_balance._SHARES": "what a payout has paid out, once a day and currency",
    "scheduler.store.orders._CHANGED_SINCE": "an operator's walk, after the catalog was restored",
    "scheduler.store.standing_orders._CHANGED_SINCE": "an operator's walk, as that of orders",
    "scheduler.store.products._RECHECK_OUT_OF_STOCK": "what is held, once when units arrive",
    "runtime.messaging.failed_events._DEAD_LETTERS": "an operator's question; dead letters are few",
    "runtime.messaging.failed_events._ANY_TO_RETRY": "asks whether there is any, and ends at the first",
    "runtime.messaging.outbox._UNPUBLISHED": "tells an operator what a replay is going to publish",
    "runtime.messaging.outbox._DELETE_INBOX": _PURGE,
    "runtime.messaging.outbox._DELETE_REQUESTS": _PURGE,
}

# Tables that stay small.
SMALL = {
    "alembic_version", "served_revisions", "outbox_cursor", "bucket_leases", "lease_holders",
    "ledger_closing", "balance_reading",
}  # fmt: skip
# What reads all that is below it before it gives a row, or may.
READS_ALL = {"Sort", "Aggregate", "Hash", "Hash Join", "Merge Join", "Materialize"}
# Columns that many rows have in common: a condition on them alone is met by a large part of a table.
SHARED = {"merchant", "tenant", "state", "kind", "channel", "account", "currency"}

VALUES = {
    "_text": "ARRAY['{name}-' || number]",
    "_uuid": "ARRAY[CAST(md5('{name}' || number) AS uuid)]",
    "xid8": "CAST(CAST(number AS text) AS xid8)",
    # A partition of the outbox.
    "int2": "number % 8",
    "text": "'{name}-' || number",
    "uuid": "CAST(md5('{name}' || number) AS uuid)",
    "bytea": "decode(md5('{name}' || number), 'hex')",
    "int4": "number",
    "int8": "number",
    "numeric": "number",
    "bool": "false",
    "interval": "interval '1 day'",
    "jsonb": "'[]'",
    "date": "current_date + number",
    "timestamptz": "now() + number * interval '1 second'",
}
PARAMETERS = {
    "text": "'ada'",
    "uuid": "'0198b2a4-0000-7000-8000-000000000000'",
    "bytea": "'ada'",
    "int2": "1",
    "int4": "1",
    "int8": "100",
    "float8": "30",
    "numeric": "30",
    "bool": "false",
    "interval": "interval '1 day'",
    "jsonb": "'[]'",
    "date": "current_date",
    "timestamptz": "now()",
}

COLUMNS = """
    SELECT attrelid::regclass::text AS table, attname AS name, typname AS type,
           attname IN ('merchant', 'tenant') AND NOT EXISTS (
             SELECT FROM pg_index WHERE indrelid = attrelid AND indisunique
             AND indkey::text = attnum::text) AS is_tenant,
           (SELECT substring(pg_get_expr(indpred, indrelid) FROM 'state = ''(\\w+)''')
            FROM pg_index WHERE indrelid = attrelid AND indpred IS NOT NULL
            AND pg_get_expr(indpred, indrelid) LIKE '%state = %' LIMIT 1) AS state,
           NOT attnotnull AND EXISTS (
             SELECT FROM pg_index WHERE indrelid = attrelid
             AND pg_get_expr(indpred, indrelid) LIKE '%' || attname || ' IS NOT NULL%') AS is_due
    FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
    JOIN pg_type ON pg_type.oid = atttypid
    WHERE relkind IN ('r', 'p') AND NOT relispartition
      AND relnamespace = 'public'::regnamespace AND attnum > 0
      AND NOT attisdropped AND attgenerated = '' AND attidentity = ''
      AND relname <> ALL($1)
      AND (attnotnull AND NOT atthasdef
           OR attname = 'state'
           OR attname <> 'publish_time' AND EXISTS (
             SELECT FROM pg_index WHERE indrelid = attrelid AND attnum = ANY(indkey)))
    ORDER BY 1, attnum
"""
# Index -> its first column, empty for an expression; and whether that one is a key by itself.
LEADING = """
    SELECT indexrelid::regclass::text, coalesce(attname, ''), indisunique AND indnkeyatts = 1
    FROM pg_index LEFT JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0]
    WHERE indrelid::regclass::text NOT LIKE 'pg\\_%'
"""
RULES = """
    SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname)
    FROM pg_constraint WHERE contype IN ('f', 'c') AND connamespace = 'public'::regnamespace
      AND conrelid <> 0
    UNION ALL
    SELECT format('DROP TRIGGER %I ON %s', tgname, tgrelid::regclass)
    FROM pg_trigger WHERE NOT tgisinternal
"""


def statements(service: str) -> dict[str, Compiled]:
    """Those of a service and of the runtime, by module and name."""
    statements: dict[str, Compiled] = {}
    for module in pkgutil.walk_packages(services.__path__, "services."):
        if not module.name.startswith((f"services.{service}.", "services.runtime.")):
            continue
        if module.name.endswith("__main__") or ".migrations" in module.name:
            continue
        for name, value in vars(importlib.import_module(module.name)).items():
            for number, statement in enumerate(_flattened(value)):
                suffix = f"[{number}]" if isinstance(value, tuple | list | dict) else ""
                if statement not in statements.values():
                    statements[f"{module.name.removeprefix('services.')}.{name}{suffix}"] = (
                        statement
                    )
    return statements


def _flattened(value: object) -> Iterator[Compiled]:
    match value:
        case Query() | Command():
            yield value.sql, value.names
        case GaugeQuery():
            yield compiled(value.sql)
        case tuple() | list():
            for element in value:
                yield from _flattened(element)
        case dict():
            yield from _flattened(list(value.values()))


async def fill(owner: asyncpg.Connection) -> None:
    """Many rows in every table, half of which wait, and the statistics know nothing of those."""
    # Table -> column -> its value in a row that does not wait, and in one that does.
    tables: dict[str, dict[str, tuple[str, str]]] = {}
    for column in await owner.fetch(COLUMNS, list(SMALL)):
        kind = column["type"]
        value = "'{}'" if kind.startswith("_") and kind not in VALUES else VALUES[kind]
        value = value.replace("{name}", column["name"])
        over = "NULL" if column["is_due"] else value
        if column["is_tenant"]:
            value = over = "'acme'"
        elif column["name"] == "state" and column["state"]:
            value, over = f"'{column['state']}'", "'OVER'"
        tables.setdefault(column["table"], {})[column["name"]] = over, value
    for rule in await owner.fetch(RULES):
        await owner.execute(rule[0])
    for table, columns in tables.items():
        # A plain table has no tree of partitions.
        for (part,) in await owner.fetch(
            "SELECT relid::text FROM pg_partition_tree($1) WHERE isleaf"
            " UNION SELECT oid::regclass::text FROM pg_class"
            " WHERE oid = $1::regclass AND relkind = 'r'",
            table,
        ):
            await owner.execute(f"ALTER TABLE {part} SET (autovacuum_enabled = off)")
        for waits, numbers in enumerate((f"1, {ROWS}", f"{ROWS + 1}, {2 * ROWS}")):
            values = ", ".join(value[waits] for value in columns.values())
            await owner.execute(
                f"INSERT INTO {table} ({', '.join(columns)})"  # noqa: S608 - of the catalog
                f" SELECT {values} FROM generate_series({numbers}) AS number"
            )
            if not waits:
                await owner.execute(f"ANALYZE {table}")


def _parameter(name: str, kind: asyncpg.Type) -> str:
    known = {"merchant": "'acme'", "tenant": "'acme'", "limit": "100", "transaction_id": "'1'"}
    if kind.kind == "array":
        element = kind.name.removesuffix("[]")
        # A row type has no value here: the plan is the same.
        return f"array_fill({PARAMETERS.get(element, 'NULL')}::{element}, ARRAY[{BATCH}])"
    return f"{known.get(name, PARAMETERS[kind.name])}"


def _too_wide(
    plan: dict[str, Any], leading: dict[str, tuple[str, bool]], *, keyed: bool, ends: bool = False
) -> Iterator[str]:
    """The scans of a plan that read a large part of a table, with nothing that ends them early."""
    node = plan["Node Type"]
    if plan.get("Parent Relationship") in {"InitPlan", "SubPlan"}:
        ends = False
    counted = ends and "Filter" not in plan
    if node == "Seq Scan" and plan["Relation Name"] not in SMALL and not counted:
        yield f"{node} of {plan['Relation Name']}"
    if (index := plan.get("Index Name")) and plan["Relation Name"] not in SMALL:
        condition = plan.get("Index Cond", "")
        given = set(re.findall(r"(\w+)\)?(?:::\w+)? = ", condition))
        first, is_key = leading[index]
        # Without keys: what is due by its time, or a page of a merchant's.
        is_selective = (
            (is_key or given - SHARED) and first in given if keyed else first in condition
        )
        if not ends and not is_selective:
            yield f"{node} by {index} {condition}"
    if node == "Limit":
        ends = True
    elif node in READS_ALL:
        ends = False
    for below in plan.get("Plans", []):
        yield from _too_wide(below, leading, keyed=keyed, ends=ends)


def _locks_again(plan: dict[str, Any], *, inner: bool = False) -> Iterator[str]:
    """What locks the first rows of an order anew for each row of a join, as the planner may choose.

    Each time it passes over what the statement has changed by then, and so takes more than its limit.
    """
    if inner and plan["Node Type"] == "LockRows":
        yield "LockRows, more than once"
    for below in plan.get("Plans", []):
        # What is materialized runs once.
        if below.get("Parent Relationship") != "InitPlan" and plan["Node Type"] != "Materialize":
            joined = plan["Node Type"] == "Nested Loop" and below["Parent Relationship"] == "Inner"
            yield from _locks_again(below, inner=inner or joined)


@pytest.mark.parametrize("service", SERVICES)
async def test_no_statement_reads_a_whole_table_when_statistics_are_stale(
    service: str, service_database: ServiceDatabase
) -> None:
    url = service_database(service)
    role, rest = url.removeprefix("postgresql://").split(":", 1)
    owner = await asyncpg.connect(f"postgresql://{role}_migrator:{rest}")
    await fill(owner)
    leading = {row[0]: (row[1], row[2]) for row in await owner.fetch(LEADING)}
    await owner.close()

    connection = await asyncpg.connect(url, server_settings=PLANNER_SETTINGS)
    await connection.execute("SET recurring.tenant = 'acme'")
    read_too_much: dict[str, set[str]] = {}
    for name, (sql, names) in statements(service).items():
        if name in EXEMPT or "SAVEPOINT" in sql:
            continue
        types = (await connection.prepare(sql)).get_parameters()
        given = ", ".join(map(_parameter, names, types))
        call = f"q({given})" if given else "q"
        await connection.execute(f"PREPARE q AS {sql}")
        # By a worker for all merchants, and by a caller for theirs.
        workers = f"{role}_workers"
        callers = {"merchant", "tenant"} & {
            parameter for parameter, kind in zip(names, types, strict=True) if kind.kind != "array"
        }
        for acting in (workers, "none") if callers else (workers,):
            await connection.execute(f"SET ROLE {acting}")
            explained = await connection.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE {call}")
            plan = json.loads(explained)[0]["Plan"]
            wide = {*_too_wide(plan, leading, keyed="unnest(" in sql), *_locks_again(plan)}
            if wide:
                read_too_much.setdefault(name, set()).update(f"{acting}: {scan}" for scan in wide)
        await connection.execute("SET ROLE none")
        await connection.execute("DEALLOCATE q")
    await connection.close()

    assert read_too_much == {}
