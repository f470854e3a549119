"""A standing order that cannot be worked on keeps no other one waiting."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import cast

import pytest

from services.runtime.auth.call_context import act_for_all
from services.runtime.db.due_work import Batch
from services.runtime.db.leases import BUCKETS
from services.runtime.db.pool import Database, Pool
from services.scheduler.clients import Clients
from services.scheduler.domain.ids import MerchantId, StandingOrderId
from services.scheduler.domain.order import Item
from services.scheduler.domain.price_agreements import PriceAgreement
from services.scheduler.domain.standing_order import StandingOrder
from services.scheduler.domain.substitution import DiscontinuedProduct
from services.scheduler.store import products, sign_ups
from services.scheduler.workers import discontinue
from services.scheduler.workers.discontinue import Discontinue
from services.scheduler.workers.price_protections import protections_ending
from services.scheduler.workers.resume import resume
from tests.conftest import KEYRING, ServiceDatabase
from tests.unit.scheduler.test_standing_order import new_standing_order

NOW = datetime(2027, 3, 1, tzinfo=UTC)
BATCH = Batch(NOW, tuple(range(BUCKETS)), deadline=0)
# The catalog has nothing to price here.
NOBODY = cast("Clients", None)


@pytest.fixture
async def database(service_database: ServiceDatabase) -> AsyncIterator[Database]:
    act_for_all("test")
    database = Database(
        Pool(service_database("scheduler"), application="test", size=2, keyring=KEYRING)
    )
    yield database
    await database.close()


# Its zone is not known any more.
BREAK = """
    UPDATE standing_orders SET next_cycle = 1,
        schedule = replace(schedule, 'UTC', 'Europe/Atlantis')
    WHERE standing_order = $1
"""
MEND = """
    UPDATE standing_orders SET next_cycle = NULL,
        schedule = replace(schedule, 'Europe/Atlantis', 'UTC')
"""
RESUMED = "SELECT standing_order FROM standing_orders WHERE state = 'ACTIVE'"
NOTIFIED = "SELECT standing_order FROM standing_orders WHERE protection_notice_time IS NULL"


def with_product(key: str, product: str) -> StandingOrder:
    """A standing order of one product, without a further cycle: nothing has to be asked about it."""
    return replace(
        new_standing_order(),
        standing_order=StandingOrderId(key),
        items=(Item(product, 1),),
        next_cycle=None,
    )


async def unfinished(database: Database) -> set[tuple[str, str, str]]:
    """The walks that are not done: the product, the one standing order, and how far they are."""
    async with database.read() as connection:
        rows = await connection.fetch(
            "SELECT product, only_standing_order, after_standing_order"
            " FROM discontinued_products WHERE NOT is_done"
        )
    return {(str(product), str(only), str(after)) for product, only, after in rows}


@pytest.mark.parametrize("broken", ["a", "b", "e"], ids=["first", "in the middle", "last"])
@pytest.mark.parametrize("page_size", [2, 500], ids=["of several pages", "of one page"])
async def test_customers_are_notified_that_a_product_is_gone_beside_one_who_cannot_be(
    database: Database, broken: str, page_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discontinue, "PAGE_STANDING_ORDERS", page_size)
    every = [with_product(key, "tea") for key in "abcde"] + [with_product("z", "cake")]
    merchant = MerchantId(every[0].merchant)
    gone = [
        DiscontinuedProduct(merchant, product, product.title(), NOW) for product in ("tea", "cake")
    ]
    async with database.begin() as tx:
        await sign_ups.insert(tx, every)
        await products.insert_discontinued(tx, gone)
        # It has a cycle to come.
        await tx.execute(BREAK, broken)

    worker = Discontinue(database, NOBODY)
    for _ in range(9):
        await worker.work(BATCH)
    assert await unfinished(database) == {("tea", broken, "")}
    assert await worker.work(BATCH) == 0

    async with database.begin() as tx:
        await tx.execute(MEND)
    # Another process has not seen it fail.
    assert await Discontinue(database, NOBODY).work(BATCH) == 1
    assert await unfinished(database) == set()


async def insert_protected(database: Database) -> None:
    """Three standing orders whose prices are protected, the middle one broken."""
    agreement = PriceAgreement(1, NOW, {"lock": {"cycle_count": 3}}, last_cycle=3)
    async with database.begin() as tx:
        await sign_ups.insert(
            tx,
            [
                replace(
                    new_standing_order(),
                    standing_order=StandingOrderId(key),
                    price_agreements=(agreement,),
                )
                for key in "abc"
            ],
        )
        await tx.execute(BREAK, "b")


async def ids(database: Database, query: str) -> str:
    """The ids of the standing orders that a query finds."""
    async with database.read() as connection:
        rows = await connection.fetch(query)
    return "".join(sorted(key for (key,) in rows))


async def test_a_pause_ends_beside_one_that_cannot(database: Database) -> None:
    await insert_protected(database)
    async with database.begin() as tx:
        await tx.execute("UPDATE standing_orders SET state = 'PAUSED', resume_time = $1", NOW)
    worker = resume(database, NOBODY)
    assert await worker.work(BATCH) == 3
    assert await ids(database, RESUMED) == "ac"
    assert await worker.work(BATCH) == 0


async def test_the_end_of_a_protection_is_announced_beside_one_that_cannot_be(
    database: Database,
) -> None:
    await insert_protected(database)
    async with database.begin() as tx:
        await tx.execute("UPDATE standing_orders SET protection_notice_time = $1", NOW)
    worker = protections_ending(database, NOBODY)
    assert await worker.work(BATCH) == 3
    assert await ids(database, NOTIFIED) == "ac"
    assert await worker.work(BATCH) == 0
