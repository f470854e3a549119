"""Statements about named orders read these orders, however many others there are."""

import json
from typing import Any

import asyncpg

from services.runtime.db.pool import PLANNER_SETTINGS
from services.runtime.db.statements import Command, Query
from services.scheduler.store import orders
from tests.conftest import ServiceDatabase

BATCH = 500
FILL = """
    INSERT INTO orders (
        merchant, standing_order, cycle, customer, local_date, due_time, notice_lead, state, title,
        billing_mode, mandate, payment_window, time_zone, reasons, items, substitutes, ship_to, lines,
        currency, collect_time, asks_condition, confirmed_reasons, hold_until_time,
        announcement_count, traceparent, is_moved, first_decisions, create_time, update_time)
    SELECT 'acme', 'order-' || number, 1, 'ada', now(), now(), '1 day', 'UPCOMING', 'Tea',
        'AUTOMATIC', '', '1 day', 'UTC', '{}', '[]', '{}', '', '[]',
        'EUR', now(), false, '{}', now(), 0, '', false, '[]', now(), now()
    FROM generate_series(1, 20000) AS number
"""
# Those that are given keys of orders, many at once.
KEYED = {
    name: statement.sql
    for name, statement in vars(orders).items()
    if isinstance(statement, Query | Command) and "unnest(" in statement.sql
}


def _parameter(kind: asyncpg.Type) -> str:
    if kind.kind == "array":
        return f"array_fill(NULL::{kind.name.removesuffix('[]')}, ARRAY[{BATCH}])"
    return "'UPCOMING'" if kind.name == "text" else "NULL"


def _nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for below in plan.get("Plans", []) for node in _nodes(below))]


async def test_named_orders_are_found_by_their_key_among_many_with_stale_statistics(
    service_database: ServiceDatabase,
) -> None:
    url = service_database("scheduler")
    role, rest = url.removeprefix("postgresql://").split(":", 1)
    owner = await asyncpg.connect(f"postgresql://{role}_migrator:{rest}")
    # The statistics say that there are none.
    await owner.execute("ALTER TABLE orders SET (autovacuum_enabled = off)")
    await owner.execute("ANALYZE orders")
    await owner.execute(FILL)
    await owner.close()

    connection = await asyncpg.connect(url, server_settings=PLANNER_SETTINGS)
    await connection.execute("SET recurring.tenant = 'acme'")
    read_otherwise = {}
    for name, sql in KEYED.items():
        await connection.execute(f"PREPARE q AS {sql}")
        types = (await connection.prepare(sql)).get_parameters()
        given = ", ".join(map(_parameter, types))
        explained = await connection.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE q({given})")
        await connection.execute("DEALLOCATE q")
        scans = [
            node
            for node in _nodes(json.loads(explained)[0]["Plan"])
            if node.get("Relation Name") == "orders"
            and node["Node Type"] != "ModifyTable"
            and node["Node Type"] != "LockRows"
        ]
        by_key = [node.get("Index Name") == "orders_pkey" for node in scans]
        if not all(by_key):
            read_otherwise[name] = [
                (node["Node Type"], node.get("Index Name"), node.get("Index Cond"))
                for node in scans
            ]
    await connection.close()
    assert KEYED
    assert read_otherwise == {}
