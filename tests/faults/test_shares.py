"""Callers and what is due have a share each of a service's connections; neither takes the other's."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date, timedelta

import asyncpg
import grpc
import pytest
from recurring.scheduler.v1 import scheduler_pb2

from deploy.embedded import wiring
from deploy.embedded.keys import Keys
from services.runtime.rpc.conversions import to_date
from tests.contract.customer import Customer, new_customer
from tests.faults.conftest import Operator
from tests.suite import new_id

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

# More than a process has connections for calls.
CALLS = 40
# All that is due within six days, on a machine that has other things to do. Without connections of its
# own, what is due waits five seconds for each, in vain.
AMPLE_SECONDS = 60.0


@asynccontextmanager
async def requests_locked(operator: Operator) -> AsyncIterator[None]:
    """No call can change anything meanwhile; whoever wants to waits with a connection.

    This lock writes nothing: a transaction that does so for long holds up what is published.
    """
    keys = Keys(operator.stack.home / "keys")
    url = wiring.database_url("scheduler", operator.stack.addresses, keys, "_migrator")
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            await connection.execute("SET LOCAL ROLE recurring_scheduler_owner")
            await connection.execute("LOCK TABLE requests IN EXCLUSIVE MODE")
            awake = asyncio.create_task(keep_awake(connection))
            yield
            awake.cancel()
            await asyncio.wait({awake})
    finally:
        await connection.close()


async def keep_awake(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Whoever holds a transaction open and says nothing is cut off."""
    while True:
        await asyncio.sleep(2)
        await connection.execute("SELECT 1")


def weekly_from(day: date) -> scheduler_pb2.Schedule:
    return scheduler_pb2.Schedule(
        start_date=to_date(day),
        time_zone="Europe/Berlin",
        weekly=scheduler_pb2.Schedule.Weekly(every_weeks=1),
    )


async def pause_on_and_on(ann: Customer, standing_order: str) -> None:
    """Ask for a change that has to wait, and ask again when it was refused."""
    while True:
        request = scheduler_pb2.PauseStandingOrderRequest(name=standing_order, request_id=new_id())
        try:
            await ann.shop.scheduler.PauseStandingOrder(request)
        except grpc.aio.AioRpcError as error:
            assert error.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}  # noqa: PT017
            await asyncio.sleep(0.1)


async def test_callers_who_hold_all_their_connections_delay_no_cycle_and_no_event(
    operator: Operator, ann: Customer
) -> None:
    later = await ann.today() + timedelta(days=60)
    slow = (await ann.subscribe(schedule=weekly_from(later))).name
    other = await new_customer(operator.suite)
    tea = (await other.subscribe()).name
    log = operator.stack.home / "log" / "scheduler.log"
    said_before = len(log.read_text())
    async with requests_locked(operator):
        waiting = [asyncio.create_task(pause_on_and_on(ann, slow)) for _ in range(CALLS)]
        try:
            await asyncio.sleep(1)
            started = time.monotonic()
            # Prepared, announced by notify, and so collected and paid: by events, through the outbox.
            await operator.suite.advance(timedelta(days=6))
            seconds = time.monotonic() - started
            assert not any(task.done() for task in waiting)
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
    name = scheduler_pb2.GetOrderRequest(name=f"{tea}/orders/1")
    order = await other.shop.scheduler.GetOrder(name)
    assert order.state == scheduler_pb2.Order.PAID
    assert seconds < AMPLE_SECONDS
    # Readiness was kept all the while.
    assert "not ready" not in log.read_text()[said_before:]
