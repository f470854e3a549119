"""A process that stands still for long holds no stock for an order that has ended meanwhile."""

import asyncio
from datetime import timedelta

import aiohttp
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families
from recurring.catalog.v1 import catalog_pb2
from recurring.scheduler.v1 import scheduler_pb2

from deploy.embedded.program import Program
from tests.contract.customer import Customer
from tests.faults.conftest import Operator
from tests.suite import new_id

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

UNTIL_DUE = timedelta(days=6)
WAIT_SECONDS = 60.0
# Samples of catalog's metrics, and what a label of theirs says.
ENDED_ORDERS = ("messaging_client_consumed_messages_total", "OrderCancelled")
HOLDS = ("rpc_server_call_duration_seconds_count", "BatchHoldStock")


async def stopped(process: Program) -> psutil.Process:
    """The process once it stands still at its crash point."""
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            found = process.process.find()
            if found is not None and found.status() == psutil.STATUS_STOPPED:
                return found
            await asyncio.sleep(0.05)


async def count(operator: Operator, sample_name: str, about: str) -> float:
    """How often catalog has done something, as its metrics count it."""
    url = f"http://{operator.stack.addresses.local('catalog_metrics')}/metrics"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        families = text_string_to_metric_families(await response.text())
    return sum(
        sample.value
        for family in families
        for sample in family.samples
        if sample.name == sample_name and any(about in value for value in sample.labels.values())
    )


async def until_more(operator: Operator, sample: tuple[str, str], before: float) -> None:
    """Wait until catalog has done something once more."""
    async with asyncio.timeout(WAIT_SECONDS):
        while await count(operator, *sample) == before:  # noqa: ASYNC110 - nothing announces it
            await asyncio.sleep(0.05)


async def held_units(ann: Customer, product: str) -> int:
    stock = await ann.shop.catalog.GetStock(catalog_pb2.GetStockRequest(product=product))
    return int(stock.held_units)


async def add_counted_product(ann: Customer) -> str:
    """Beans, of which there are ten."""
    name = f"{ann.shop.name}/products/beans"
    await ann.shop.catalog.CreateProduct(
        catalog_pb2.CreateProductRequest(
            parent=ann.shop.name,
            product_id="beans",
            product=catalog_pb2.Product(title="Beans", stock_tracked=True),
            request_id=new_id(),
        )
    )
    await ann.shop.catalog.CreatePrice(
        catalog_pb2.CreatePriceRequest(
            parent=name,
            price_id="first",
            price=catalog_pb2.Price(unit_price={"currency_code": "EUR", "units": 4}),
            request_id=new_id(),
        )
    )
    await ann.shop.catalog.AdjustStock(
        catalog_pb2.AdjustStockRequest(product=name, delta_units=10, request_id=new_id())
    )
    return name


async def test_a_hold_that_comes_after_its_order_was_cancelled_leaves_the_stock_free(
    operator: Operator, ann: Customer
) -> None:
    beans = await add_counted_product(ann)
    made = await ann.subscribe(items=[scheduler_pb2.Item(product=beans, quantity=2)])
    stack = operator.stack
    # Announced by the process that everybody calls, collected by one that then stands still.
    await operator.suite.advance(timedelta(days=3))
    await asyncio.to_thread(stack.kill, "scheduler")
    late = stack.replica("scheduler", 2, {"RECURRING_CRASH_POINT": "scheduler.collect_read:stop"})
    await asyncio.to_thread(late.start)
    advancing = asyncio.create_task(operator.suite.advance(UNTIL_DUE - timedelta(days=3)))
    try:
        process = await stopped(late)
        await asyncio.to_thread(stack.start, "scheduler")
        events, calls = await count(operator, *ENDED_ORDERS), await count(operator, *HOLDS)
        await ann.shop.scheduler.CancelStandingOrder(
            scheduler_pb2.CancelStandingOrderRequest(name=made.name, request_id=new_id())
        )
        await until_more(operator, ENDED_ORDERS, events)
        process.resume()
        await until_more(operator, HOLDS, calls)
        await advancing
    finally:
        advancing.cancel()
        await asyncio.to_thread(late.stop)
    order = await ann.shop.scheduler.GetOrder(
        scheduler_pb2.GetOrderRequest(name=f"{made.name}/orders/1")
    )
    assert order.state == scheduler_pb2.Order.CANCELLED
    assert await held_units(ann, beans) == 0
    await operator.prove()
