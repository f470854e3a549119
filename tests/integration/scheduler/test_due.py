"""What is due is read by bucket: as much as is taken, whether a replica has all buckets or a few."""

import json
from collections.abc import Sequence
from typing import Any

import asyncpg
import pytest

from services.runtime.auth.call_context import act_for_all
from services.runtime.db.leases import BUCKETS
from services.runtime.db.pool import PLANNER_SETTINGS, Database, Pool
from services.scheduler.domain.ids import MerchantId, StandingOrderId, StandingOrderKey
from services.scheduler.store import due
from tests.conftest import KEYRING, ServiceDatabase

STANDING_ORDERS = 20_000
BATCH = 500
FILL = f"""
    INSERT INTO standing_orders (
        merchant, standing_order, customer, title, items, schedule, billing_mode, mandate, ship_to,
        notice_lead, payment_window, state, base_cycle, next_cycle, next_due_time, prepare_time,
        catch_up_mode, catch_up_window, repurchase_action, changes, create_time, update_time)
    SELECT 'acme', 'order-' || number, 'ada', 'Tea', '[]',
        '', 'AUTOMATIC', '', '', '1 day', '1 day', 'ACTIVE', 1, 1, now(),
        now() - number * interval '1 second', 'LATEST_ONLY', '1 day', 'SKIP', '{{}}', now(), now()
    FROM generate_series(1, {STANDING_ORDERS}) AS number
"""  # noqa: S608 - a constant
OF_SIX = tuple(range(0, BUCKETS, 10))


@pytest.fixture
async def url(service_database: ServiceDatabase) -> str:
    """The scheduler's database, in which all standing orders of a merchant are due."""
    url = service_database("scheduler")
    role, rest = url.removeprefix("postgresql://").split(":", 1)
    owner = await asyncpg.connect(f"postgresql://{role}_migrator:{rest}")
    await owner.execute(FILL)
    await owner.close()
    return url


def _read(plan: dict[str, Any]) -> float:
    """How many rows of the table a plan has read by the index of what is due."""
    own = 0.0
    if plan.get("Index Name") == "standing_orders_due":
        own = (plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)) * plan["Actual Loops"]
    return own + sum(map(_read, plan.get("Plans", [])))


@pytest.mark.parametrize("buckets", [tuple(range(BUCKETS)), OF_SIX], ids=["all", "a tenth"])
async def test_a_step_reads_what_it_takes_and_no_more(url: str, buckets: Sequence[int]) -> None:
    connection = await asyncpg.connect(url, server_settings=PLANNER_SETTINGS)
    await connection.execute("SELECT set_config('role', session_user || '_workers', false)")
    given = {
        "buckets": f"ARRAY{list(buckets)}::smallint[]",
        "now": "now()",
        "left_out": "'{}'::text[]",
        "limit": str(BATCH),
    }
    await connection.execute(f"PREPARE q AS {due._TO_PREPARE.sql}")
    call = ", ".join(given[name] for name in due._TO_PREPARE.names)
    explained = await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE q({call})")
    await connection.close()
    plan = json.loads(explained)[0]["Plan"]

    assert plan["Actual Rows"] == BATCH
    assert _read(plan) == BATCH


async def test_those_that_failed_alone_make_room_for_those_behind_them(url: str) -> None:
    act_for_all("test")
    database = Database(Pool(url, application="test", size=1, keyring=KEYRING))
    async with database.read() as connection:
        now = await connection.driver.fetchval("SELECT now()")
        bucket = await connection.driver.fetchval("SELECT bucket FROM standing_orders LIMIT 1")
        every = await _ids(connection, bucket)
        failed = [StandingOrderKey(MerchantId("acme"), StandingOrderId(key)) for key in every[:9]]
        rows = await due._TO_PREPARE.all(
            connection,
            buckets=[bucket],
            now=now,
            limit=3,
            left_out=["/".join(key) for key in failed],
        )
    await database.close()

    assert {row.standing_order for row in rows} == set(every[9:12])


async def _ids(connection: Any, bucket: int) -> list[str]:  # noqa: ANN401 - any connection
    """The standing orders of a bucket, the longest due first."""
    found = await connection.fetch(
        "SELECT standing_order FROM standing_orders WHERE bucket = $1 ORDER BY prepare_time", bucket
    )
    return [standing_order for (standing_order,) in found]
