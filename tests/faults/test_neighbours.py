"""A merchant at full speed delays no other's cycles, whatever its standing orders cost to evaluate."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta

import grpc
import pytest
from recurring.scheduler.v1 import scheduler_pb2

from services.runtime.rpc.conversions import to_date
from tests.contract.customer import Customer, new_customer
from tests.faults.conftest import Operator

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

DEAR_ORDERS = 4
DEAREST = "[" + ",".join(["1"] * 190) + "].all(i, i > 0)"
# Of calls of each kind at the same time: more than a merchant is allowed at once.
CALLS_AT_ONCE = 4
IMPORTED_ROWS = 50
# Beside a merchant at full speed each step of the clock may take so much longer, on a machine that has
# other things to do.
DELAYED_MAX_TIMES = 10
DELAYED_MAX_SECONDS = 15.0
REFUSED = {
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
}

Schedule = scheduler_pb2.Schedule


async def dear_order(greedy: Customer) -> scheduler_pb2.StandingOrder:
    """The dearest conditions and a calendar that moves each date, if it is not left out."""
    today = await greedy.today()
    otherwise = scheduler_pb2.Otherwise(action=scheduler_pb2.Otherwise.SKIP)
    conditions = [
        scheduler_pb2.Condition(expression=DEAREST, otherwise=otherwise) for _ in range(10)
    ]
    schedule = Schedule(
        start_date=to_date(today + timedelta(days=1)),
        time_zone="Australia/Lord_Howe",
        daily=Schedule.Daily(every_days=2),
        business_days=Schedule.BusinessDays(rule=Schedule.BusinessDays.NEXT, country="DE"),
    )
    return await greedy.order(conditions=conditions, schedule=schedule)


async def on_and_on(call: Callable[[], Awaitable[object]]) -> None:
    """Call again as soon as there is an answer, or as a refusal for being too many says."""
    while True:
        try:
            await call()
        except grpc.aio.AioRpcError as error:
            # A stream that is refused while the client sends has no status of the server's.
            sent_in_vain = "execute_batch" in str(error)
            assert sent_in_vain or error.code() in REFUSED, error.details()  # noqa: PT017
            await asyncio.sleep(0.05)


async def longest_step_seconds(operator: Operator, by: timedelta) -> float:
    """Of real time, from the moment that something is due until it and all it leads to is done."""
    sandbox = operator.suite.sandbox
    longest, begun = 0.0, time.monotonic()
    async for _ in sandbox.advance(await sandbox.now() + by):
        now = time.monotonic()
        longest, begun = max(longest, now - begun), now
    return longest


async def test_a_merchant_at_full_speed_delays_no_others_cycle(
    operator: Operator, ann: Customer, capsys: pytest.CaptureFixture[str]
) -> None:
    greedy = await new_customer(operator.suite)
    scheduler = greedy.shop.scheduler
    dear = await dear_order(greedy)
    names = []
    for number in range(DEAR_ORDERS):
        request = await greedy.ask()
        request.standing_order.CopyFrom(dear)
        request.standing_order_id, request.allow_duplicate = f"dear-{number}", True
        names.append((await scheduler.CreateStandingOrder(request)).name)
    tea = (await ann.subscribe()).name
    quiet = await longest_step_seconds(operator, timedelta(days=6))

    async def preview() -> object:
        request = scheduler_pb2.PreviewCyclesRequest(name=names[0], cycle_count=100)
        return await scheduler.PreviewCycles(request)

    async def forecast() -> object:
        request = scheduler_pb2.ForecastDemandRequest(parent=greedy.shop.name)
        return await scheduler.ForecastDemand(request)

    async def rows() -> AsyncIterator[scheduler_pb2.ImportStandingOrdersRequest]:
        config = scheduler_pb2.ImportConfig(
            parent=greedy.shop.name, dry_run=True, shadow_cycle_count=12, allow_duplicate=True
        )
        yield scheduler_pb2.ImportStandingOrdersRequest(config=config)
        # A date that no weekend moves.
        today = await greedy.today()
        wednesday = today + timedelta(days=7 - (today.weekday() - 2) % 7)
        for number in range(IMPORTED_ROWS):
            row = scheduler_pb2.ImportRow(
                standing_order_id=f"old-{number}",
                standing_order=dear,
                next_cycle=1,
                next_date=to_date(wednesday),
            )
            yield scheduler_pb2.ImportStandingOrdersRequest(row=row)

    async def dry_import() -> object:
        return await scheduler.ImportStandingOrders(
            rows(), metadata=greedy.shop.metadata, timeout=60
        )

    calls = [
        asyncio.create_task(on_and_on(call))
        for call in (preview, forecast, dry_import)
        for _ in range(CALLS_AT_ONCE)
    ]
    try:
        await asyncio.sleep(1)
        loud = await longest_step_seconds(operator, timedelta(days=7))
        assert not [call for call in calls if call.done()]
    finally:
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
    with capsys.disabled():
        print(f"longest step of the clock: {quiet:.1f} s, beside full speed {loud:.1f} s")  # noqa: T201
    order = await ann.shop.scheduler.GetOrder(scheduler_pb2.GetOrderRequest(name=f"{tea}/orders/2"))
    assert order.state == scheduler_pb2.Order.PAID
    assert loud < DELAYED_MAX_TIMES * quiet + DELAYED_MAX_SECONDS, (loud, quiet)
