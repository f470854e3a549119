"""Walks over the standing orders with a product whose price changes."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import pytest

from services.runtime.auth.call_context import act_for_all
from services.runtime.db.leases import BUCKETS
from services.runtime.db.pool import Database, Pool
from services.scheduler.application.price_changes import WALKS_MAX, walk_due
from services.scheduler.domain.ids import MerchantId
from services.scheduler.domain.price_changes import NewPriceChange
from services.scheduler.store import price_changes as store
from tests.conftest import KEYRING, ServiceDatabase

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
        return await walk_due(tx, EVERY, now)


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


async def test_a_walk_is_over_an_hour_after_its_price_took_effect(database: Database) -> None:
    now = await announce(database, "tea", 1)
    await step(database, now + 2 * DAY + timedelta(hours=1))
    assert await due_times(database) == {None}
