"""Whatever happens to the stock of products, in whatever order and however many ask at once, no unit is
promised twice."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recurring.scheduler.v1 import events_pb2 as scheduler_events_pb2

from bench.provider_table import ProviderTable
from services.catalog import api
from services.runtime.db.pool import Database, Pool
from services.runtime.errors import Problem
from tests.conftest import KEYRING, ServiceDatabase
from tests.integration.catalog.shop import ManualClock, Shop, day, item, order

CALLERS = 64
REFUSALS = {"STOCK_HOLD_COMMITTED", "STOCK_HOLD_NOT_FOUND", "STOCK_INSUFFICIENT"}
PRODUCTS = ("tea", "coffee")
# Several histories share a database: each has products and standing orders of its own.
_numbers = itertools.count()

orders = st.integers(1, 4)
products = st.sampled_from(PRODUCTS)
units = st.integers(1, 6)
steps = st.lists(
    st.one_of(
        st.tuples(
            st.just("hold"), orders, st.lists(st.tuples(products, units), min_size=1, max_size=3)
        ),
        st.tuples(st.just("paid"), orders),
        st.tuples(st.just("ended"), orders),
        st.tuples(st.just("released"), orders),
        st.tuples(st.just("expired"), st.just(0)),
        st.tuples(st.just("adjusted"), products, st.integers(-6, 6).filter(bool)),
    ),
    max_size=25,
)


@asynccontextmanager
async def opened(url: str, connections: int) -> AsyncIterator[Shop]:
    database = Database(Pool(url, application="test", size=connections, keyring=KEYRING))
    clock = ManualClock()
    yield Shop(database, clock, api.Servicer(database, clock, ProviderTable()))
    await database.close()


async def refused_or(call: Awaitable[object]) -> bool:
    """Whether a call was refused, as some are."""
    try:
        await call
    except Problem as refused:
        if refused.reason not in REFUSALS:
            raise
        return True
    return False


class History:
    """A history of the stock, and what must hold after each of its steps."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.number = next(_numbers)
        self.announcements: dict[int, int] = {}
        self.added = dict.fromkeys(PRODUCTS, 0)
        self.days = 0

    def product(self, name: str) -> str:
        return f"{name}-{self.number}"

    def order(self, number: int) -> str:
        return order(f"o{self.number}", number)

    async def run(self, history: list[tuple[Any, ...]]) -> None:
        for name in PRODUCTS:
            await self.shop.sell(self.product(name), 100, units=5)
            self.added[name] = 5
        for step in history:
            await self.take(step)
            await self.check(step)

    async def take(self, step: tuple[Any, ...]) -> None:
        match step:
            case ("hold", number, wanted):
                count = self.announcements[number] = self.announcements.get(number, 0) + 1
                items = [item(self.product(name), quantity) for name, quantity in wanted]
                held = (self.order(number), items)
                await self.shop.hold(held, until=day(self.days + 1), announcement=count)
            case ("paid", number):
                confirmed = scheduler_events_pb2.OrderConfirmed
                await self.shop.order_event(confirmed, self.order(number))
            case ("ended", number):
                await self.shop.order_event(
                    scheduler_events_pb2.OrderLapsed,
                    self.order(number),
                    announcement=self.announcements.get(number, 1),
                )
            case ("released", number):
                await refused_or(self.shop.release(self.order(number)))
            case ("expired", _):
                self.days += 1
                self.shop.clock.move_to(day(self.days))
                await self.shop.expire()
            case ("adjusted", name, delta):
                if not await refused_or(self.shop.adjust(self.product(name), delta)):
                    self.added[name] += delta

    async def check(self, step: tuple[Any, ...]) -> None:
        async with self.shop.database.read() as connection:
            rows = await connection.fetch(
                """
                SELECT product, on_hand_units, held_units, committed_units,
                       coalesce(sum(quantity) FILTER (WHERE state = 'HELD'), 0) AS held,
                       coalesce(sum(quantity) FILTER (WHERE state = 'COMMITTED'), 0) AS committed
                FROM stock LEFT JOIN (
                    SELECT state, held.product, quantity
                    FROM stock_holds, unnest(products, quantities) AS held (product, quantity)
                ) AS held USING (product)
                WHERE product = ANY ($1) GROUP BY product, merchant
                """,
                [self.product(name) for name in PRODUCTS],
            )
        for row in rows:
            added = self.added[row["product"].partition("-")[0]]
            assert 0 <= row["held_units"] <= row["on_hand_units"], step
            assert row["held_units"] == row["held"], step
            assert row["committed_units"] == row["committed"], step
            assert row["on_hand_units"] == added - row["committed"], step


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(history=steps)
def test_in_any_history_no_more_is_held_than_is_there_and_every_unit_is_accounted_for(
    service_database: ServiceDatabase, history: list[tuple[Any, ...]]
) -> None:
    url = service_database("catalog")

    async def run() -> None:
        async with opened(url, connections=2) as shop:
            await History(shop).run(history)

    asyncio.run(run())


@pytest.mark.parametrize("products", [("tea",), ("tea", "coffee", "milk")], ids=["one", "three"])
async def test_64_callers_at_once_get_each_unit_of_a_hot_product_once(
    service_database: ServiceDatabase, products: tuple[str, ...]
) -> None:
    """And others settle at the same time; nobody waits for another for ever."""
    held_of_each, rounds = 500, 10
    async with opened(service_database("catalog"), CALLERS) as shop:
        for product in products:
            await shop.sell(product, 100, units=held_of_each)

        async def call(caller: int) -> int:
            held = 0
            for cycle in range(1, rounds + 1):
                name = order(f"o{caller}", cycle)
                # Every other caller names the products the other way round.
                wanted = [item(product) for product in products[:: 1 if caller % 2 else -1]]
                [lacking] = await shop.hold((name, wanted))
                if lacking:
                    continue
                held += 1
                if cycle % 3 == 0:
                    await shop.order_event(scheduler_events_pb2.OrderConfirmed, name)
            return held

        assert sum(await asyncio.gather(*map(call, range(CALLERS)))) == held_of_each
        for product in products:
            on_hand, held_units, available = await shop.units(product)
            assert (on_hand, available) == (held_units, 0)
