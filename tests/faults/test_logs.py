"""An outage is one line in the log of a process, not a stack from each worker at each retry."""

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import grpc
import pytest
from recurring.catalog.v1 import catalog_pb2

from deploy.embedded.addresses import SERVICES
from deploy.embedded.stack import EmbeddedStack
from tests.contract.customer import Customer
from tests.faults.conftest import Operator

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

# Workers try again at most 5 s apart, so each has failed several times.
OUTAGE_SECONDS = 20.0
BACK_SECONDS = 60.0
LOUD = {"WARNING", "ERROR", "CRITICAL"}

Lines = dict[str, list[dict[str, Any]]]


def sizes(stack: EmbeddedStack) -> dict[str, int]:
    return {service: stack.process_of(service).log_file.stat().st_size for service in SERVICES}


def lines_since(stack: EmbeddedStack, sizes: dict[str, int]) -> Lines:
    """What each service has logged since; all of it has to be JSON."""
    logs: Lines = {}
    for service, size in sizes.items():
        with stack.process_of(service).log_file.open("rb") as log:
            log.seek(size)
            logs[service] = [json.loads(line) for line in log.read().splitlines()]
    return logs


def loud(lines: Lines) -> dict[str, list[str]]:
    return {
        service: [line["message"] for line in logged if line["level"] in LOUD]
        for service, logged in lines.items()
    }


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(BACK_SECONDS):
        while not holds():  # noqa: ASYNC110 - logs are files
            await asyncio.sleep(0.5)


@pytest.mark.parametrize(("part", "what"), [("postgres", "database"), ("nats", "nats")])
async def test_an_outage_is_one_line_in_each_service_and_its_end_another(
    operator: Operator, ann: Customer, part: str, what: str
) -> None:
    stack = operator.stack
    # There is something to tell, to sell and to read when the outage comes.
    await ann.subscribe()
    before = sizes(stack)
    await asyncio.to_thread(stack.kill, part)
    try:
        for _ in range(5):
            await call(ann)
            await asyncio.sleep(OUTAGE_SECONDS / 5)
        during = lines_since(stack, before)
    finally:
        await asyncio.to_thread(stack.up)

    def all_are_back() -> bool:
        logs = lines_since(stack, before).values()
        return all(f"{what}: back" in [line["message"] for line in lines] for lines in logs)

    await until(all_are_back)
    assert [
        line["exception"] for lines in during.values() for line in lines if "exception" in line
    ] == []
    errors = loud(during)
    assert all(len(lines) == 1 for lines in errors.values()), errors
    assert all(lines[0].startswith(f"waiting for {what}: ") for lines in errors.values()), errors
    after = lines_since(stack, before)
    assert loud(after) == loud(during)
    assert not [line for lines in after.values() for line in lines if "exception" in line]
    await operator.suite.sandbox.settle()
    assert await operator.prove()


async def call(ann: Customer) -> None:
    """A call that needs the database, whatever becomes of it."""
    request = catalog_pb2.ListProductsRequest(parent=ann.shop.name)
    with suppress(grpc.aio.AioRpcError):
        await ann.shop.catalog.ListProducts(request)
