"""Several processes of a service share the work, and one that stops loses no call."""

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import grpc
import psutil
import pytest
from recurring.catalog.v1 import catalog_pb2, events_pb2

from deploy.embedded import wiring
from deploy.embedded.addresses import Addresses
from deploy.embedded.keys import Keys
from deploy.embedded.ports import free_ports
from deploy.embedded.program import Program, answers_grpc
from deploy.embedded.stack import EmbeddedStack
from tests.suite import Client, Suite, new_id

CALLERS = 8
CALLS_BEFORE_STOP = 60
STOPPING = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)


@pytest.fixture
def replica(suite_stack: EmbeddedStack, tmp_path: Path) -> Iterator[Program]:
    """A second process of the catalog, beside the stack's own."""
    own = ("catalog", "catalog_metrics", "catalog_peer", "catalog_health")
    ports = dict(zip(own, free_ports(len(own)), strict=True))
    addresses = Addresses({**suite_stack.addresses.ports, **ports})
    environment = wiring.service_environment("catalog", addresses, Keys(suite_stack.home / "keys"))
    target = addresses.target("catalog")
    program = Program(
        "catalog-2", "services.catalog", tmp_path, environment, lambda: answers_grpc(target)
    )
    program.start()
    yield program
    program.stop()


def replica_client(suite: Suite, replica: Program) -> Client:
    """A program of a new merchant that calls the second process."""
    shop = suite.client()
    address = replica.process.environment["RECURRING_GRPC_ADDRESS"]
    return Client({**suite.deployment.targets, "catalog": address}, shop.merchant, shop.token)


def new_product(shop: Client, product: str) -> catalog_pb2.CreateProductRequest:
    return catalog_pb2.CreateProductRequest(
        parent=shop.name,
        product_id=product,
        product=catalog_pb2.Product(title=product.title()),
        request_id=new_id(),
    )


async def test_what_one_replica_did_the_other_knows(suite: Suite, replica: Program) -> None:
    there = replica_client(suite, replica)
    here = suite.with_token(there.token, there.merchant)
    request = new_product(here, "tea")
    made = await here.catalog.CreateProduct(request)
    name = catalog_pb2.GetProductRequest(name=made.name)
    assert await there.catalog.GetProduct(name) == made
    # A request that was answered by one is known to the other.
    assert await there.catalog.CreateProduct(request) == made
    await there.close()


async def test_replicas_publish_each_event_once(suite: Suite, replica: Program) -> None:
    there = replica_client(suite, replica)
    here = suite.with_token(there.token, there.merchant)
    products = [f"p{number}" for number in range(20)]
    async with suite.subscribe_events() as subscription:
        for shop, product in zip([here, there] * 10, products, strict=True):
            made = await shop.catalog.CreateProduct(new_product(shop, product))
            await shop.catalog.DiscontinueProduct(
                catalog_pb2.DiscontinueProductRequest(name=made.name, request_id=new_id())
            )
        message_type = events_pb2.ProductDiscontinued
        received = [await subscription.next(message_type, here.merchant) for _ in products]
    assert len({event.event.id for event in received}) == len(products)
    await there.close()


async def test_a_replica_that_is_stopped_under_load_loses_no_call(
    suite: Suite, replica: Program
) -> None:
    """Each call is done, or refused with nothing done, and the other replica does it then."""
    there = replica_client(suite, replica)
    here = suite.with_token(there.token, there.merchant)
    done: list[str] = []
    enough, stopped = asyncio.Event(), asyncio.Event()

    async def call_until_stopped(caller: int) -> None:
        number = 0
        while not stopped.is_set():
            number += 1
            request = new_product(there, f"c{caller}-{number}")
            try:
                await there.catalog.CreateProduct(request)
            except grpc.aio.AioRpcError as error:
                if error.code() not in STOPPING:
                    raise
                await here.catalog.CreateProduct(request)
                stopped.set()
            done.append(f"{there.name}/products/{request.product_id}")
            if len(done) >= CALLS_BEFORE_STOP:
                enough.set()

    async with asyncio.TaskGroup() as group:
        for caller in range(CALLERS):
            group.create_task(call_until_stopped(caller))
        await enough.wait()
        process = replica.process.find()
        assert process is not None
        process.send_signal(signal.SIGTERM)
    await asyncio.to_thread(psutil.Process(process.pid).wait, 15)

    request = catalog_pb2.ListProductsRequest(parent=here.name, page_size=1000)
    products = await here.catalog.ListProducts(request)
    assert sorted(product.name for product in products.products) == sorted(done)
    assert "Traceback" not in replica.process.log_tail(1000)
    await there.close()
