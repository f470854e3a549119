"""Walks over the standing orders with a product whose price changes."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import cast

import pytest

from services.runtime.auth.call_context import act_for_all
from services.runtime.db.due_work import Batch
from services.runtime.db.leases import BUCKETS
from services.runtime.db.pool import Database, Pool
from services.scheduler.application.evaluation.context import Context
from services.scheduler.application.price_changes import WALKS_MAX, store_decided, walk
from services.scheduler.clients import Clients
from services.scheduler.domain.ids import MerchantId
from services.scheduler.domain.order import Item
from services.scheduler.domain.price_changes import Impact, NewPriceChange
from services.scheduler.store import price_changes as store
from services.scheduler.store import sign_ups
from services.scheduler.store.price_changes import Assessed
from services.scheduler.workers.price_changes import PriceChanges
from tests.conftest import KEYRING, ServiceDatabase
from tests.unit.scheduler.test_standing_order import new_standing_order

EVERY = tuple(range(BUCKETS))
DAY = timedelta(days=1)


@pytest.fixture
async def database(service_database: ServiceDatabase) -> AsyncIterator[Database]:
    act_for_all("test")
    database = Database(
        Pool(service_database("scheduler"), application="test", size=1, keyring=KEYRING)
    )
    yield database
    await database.close()


async def announce(database: Database, product: str, count: int) -> datetime:
    """Prices of a product, an hour apart, from the day after the next; returns the day."""
    async with database.begin() as tx:
        now: datetime = await tx.driver.fetchval("SELECT date_trunc('day', now(), 'UTC')")
        changes = [
            NewPriceChange(
                *(MerchantId("acme"), product, f"p{number}", "Tea"),
                *(now + 2 * DAY + timedelta(hours=number), now, None),
            )
            for number in range(count)
        ]
        await store.insert(tx, changes, now)
    return now


async def step(database: Database, now: datetime) -> int:
    async with database.begin() as tx:
        return await walk(tx, await store.due(tx, EVERY, now, WALKS_MAX, ()), now)


async def due_times(database: Database) -> set[datetime | None]:
    async with database.read() as connection:
        rows = await connection.fetch("SELECT due_time FROM price_changes")
    return {due_time for (due_time,) in rows}


async def test_walks_without_anybody_to_look_at_rest_together_until_midnight(
    database: Database,
) -> None:
    now = await announce(database, "tea", WALKS_MAX)
    assert await step(database, now) == WALKS_MAX
    assert await due_times(database) == {now + DAY}
    assert await step(database, now) == 0


async def test_walks_go_on_beside_one_that_cannot(database: Database) -> None:
    now = await announce(database, "tea", 2)
    await announce(database, "cake", 1)
    async with database.begin() as tx:
        # It has changed as often as can be counted.
        await tx.execute("UPDATE price_changes SET version = 2147483647 WHERE price = 'p1'")
    worker = PriceChanges(database)
    batch = Batch(now, EVERY, deadline=0)
    assert [await worker.work(batch) for _ in range(2)] == [2, 0]
    assert await due_times(database) == {now, now + DAY}


async def test_whoever_was_added_since_is_found_by_each_walk_at_its_next_midnight(
    database: Database,
) -> None:
    now = await announce(database, "tea", 3)
    await step(database, now)
    async with database.begin() as tx:
        await tx.execute(
            """
            INSERT INTO standing_order_products (merchant, product, standing_order, customer)
            VALUES ('acme', 'tea', 'weekly', 'ada'), ('acme', 'coffee', 'weekly', 'ada')
            """
        )
    worked = [await step(database, now + DAY) for _ in range(7)]
    assert worked == [1, 1, 1, 0, 0, 0, 0]
    async with database.read() as connection:
        told = await connection.fetch(
            "SELECT standing_order, product, price FROM price_change_notices"
        )
    assert sorted(map(tuple, told)) == [("weekly", "tea", f"p{number}") for number in range(3)]


async def test_a_notice_that_another_replica_has_published_is_not_published_beside_one_of_mine(
    database: Database,
) -> None:
    now = await announce(database, "tea", 2)
    standing_order = replace(new_standing_order(), items=(Item("tea", 1),))
    async with database.begin() as tx:
        await sign_ups.insert(tx, [standing_order])
    await step(database, now + DAY)
    await step(database, now + DAY)
    nobody = cast("Clients", None)
    context = Context(database, nobody, {standing_order.key: standing_order}, now + DAY)
    impact = Impact(1, now + 3 * DAY, 1200, 1000, "EUR")
    async with database.begin() as tx:
        both = await store.recipients(tx, EVERY, now + DAY, 10, ())
        decided = [Assessed(recipient, impact) for recipient in both]
        assert len(decided) == 2
        await store_decided(tx, context, decided[:1])
        await store_decided(tx, context, decided)
        counts = await tx.fetch("SELECT event_count FROM outbox ORDER BY position")
    assert [count for (count,) in counts] == [1, 1]


async def test_a_notice_that_waits_after_a_failure_does_not_keep_another_products_waiting(
    database: Database,
) -> None:
    now = await announce(database, "tea", 1)
    await announce(database, "cake", 1)
    items = (Item("tea", 1), Item("cake", 1))
    async with database.begin() as tx:
        await sign_ups.insert(tx, [replace(new_standing_order(), items=items)])
    for _ in range(3):
        await step(database, now + DAY)
    async with database.begin() as tx:
        both = await store.recipients(tx, EVERY, now + DAY, 10, ())
        waiting = next(one.customer_key for one in both if one.product == "cake")
        others = await store.recipients(tx, EVERY, now + DAY, 10, [waiting])
    assert {(one.product, one.price) for one in both} == {("tea", "p0"), ("cake", "p0")}
    assert [one.product for one in others] == ["tea"]


async def test_a_walk_is_over_an_hour_after_its_price_took_effect(database: Database) -> None:
    now = await announce(database, "tea", 1)
    await step(database, now + 2 * DAY + timedelta(hours=1))
    assert await due_times(database) == {None}
