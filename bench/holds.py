"""How many orders get their stock held in a second: spread over products, and all of one.

The catalog's own handler runs here, on the stack's database. Stock is held as the scheduler's workers
ask for it, hundreds of orders a call; and for one hot product also as many callers do, one order each.
"""

import asyncio
import time
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from recurring.catalog.v1 import catalog_pb2

from bench.measure import Aim, Figure, check
from bench.provider_table import ProviderTable
from bench.stack import Stack
from services.catalog import api
from services.runtime.auth.call_context import Caller, set_caller
from services.runtime.db.pool import Database, Pool
from services.runtime.rpc.conversions import to_timestamp
from services.runtime.workers.clock import SystemClock

ORDERS = 20_000
BATCH_ORDERS = 500
WORKERS = 4
PRODUCTS = 1_000
HOT_CALLERS = 64
HOT_ORDERS = 3_200
HOLDS_A_SECOND_MIN = 5_000
FAR = datetime(2040, 1, 1, tzinfo=UTC)

Batches = Iterator[Sequence[catalog_pb2.StockHoldRequest]]


async def measure(stack: Stack) -> list[Figure]:
    """Holds a second, each kind on products of its own."""
    database = Database(
        Pool(
            stack.own_url("catalog"),
            application="recurring-bench",
            size=HOT_CALLERS,
            keyring=stack.keyring("catalog"),
        )
    )
    shop = _Shop(api.Servicer(database, SystemClock(), ProviderTable()))
    try:
        spread = await shop.hold("spread", PRODUCTS, ORDERS, BATCH_ORDERS, WORKERS)
        hot = await shop.hold("hot", 1, ORDERS, BATCH_ORDERS, WORKERS)
        alone = await shop.hold("alone", 1, HOT_ORDERS, 1, HOT_CALLERS)
    finally:
        await database.close()
    return [
        Figure(f"holds of {PRODUCTS:,} products", spread, "a second", Aim(HOLDS_A_SECOND_MIN)),
        Figure("holds of one hot product", hot, "a second"),
        Figure(f"the same, {HOT_CALLERS} callers with an order each", alone, "a second"),
    ]


class _Shop:
    def __init__(self, servicer: api.Servicer) -> None:
        self._servicer = servicer
        self._merchant = f"bench-holds-{uuid.uuid4().hex[:8]}"

    async def hold(
        self, prefix: str, products: int, orders: int, batch_orders: int, callers: int
    ) -> float:
        """Hold a unit for each order; returns how many in a second."""
        names = [await self._sell(f"{prefix}-{n}", orders) for n in range(products)]
        batches = self._batches(prefix, names, orders, batch_orders)
        set_caller(Caller("scheduler", "*"))
        started = time.perf_counter()
        held = sum(await asyncio.gather(*(self._ask(batches) for _ in range(callers))))
        seconds = time.perf_counter() - started
        check("orders with their stock held", orders, held)
        return orders / seconds

    async def _sell(self, product: str, units: int) -> str:
        set_caller(Caller("bench", self._merchant, frozenset({"platform"})))
        made = await self._servicer.CreateProduct(
            catalog_pb2.CreateProductRequest(
                parent=f"merchants/{self._merchant}",
                product_id=product,
                product=catalog_pb2.Product(title=product, stock_tracked=True),
                request_id=str(uuid.uuid4()),
            ),
            None,
        )
        await self._servicer.AdjustStock(
            catalog_pb2.AdjustStockRequest(
                product=made.name, delta_units=units, request_id=str(uuid.uuid4())
            ),
            None,
        )
        return made.name

    def _batches(
        self, prefix: str, products: Sequence[str], orders: int, batch_orders: int
    ) -> Batches:
        merchant = f"merchants/{self._merchant}"
        for first in range(0, orders, batch_orders):
            yield [
                catalog_pb2.StockHoldRequest(
                    order=f"{merchant}/standingOrders/{prefix}-{number}/orders/1",
                    announcement_count=1,
                    items=[catalog_pb2.Item(product=products[number % len(products)], quantity=1)],
                    expire_time=to_timestamp(FAR),
                    due_time=to_timestamp(FAR - timedelta(days=1)),
                )
                for number in range(first, min(first + batch_orders, orders))
            ]

    async def _ask(self, batches: Batches) -> int:
        held = 0
        for batch in batches:
            response = await self._servicer.BatchHoldStock(
                catalog_pb2.BatchHoldStockRequest(entries=batch), None
            )
            held += sum(not result.problems for result in response.results)
        return held
