"""What callers send, read while others are served."""

import asyncio
import time

import pytest
from recurring.scheduler.v1 import scheduler_pb2

from services.runtime.rpc.limits import ConcurrencyLimiter
from services.scheduler.api.requests.standing_orders import read_aside

READ_SECONDS = 0.2


@pytest.mark.parametrize("expressions", [0, 1])
async def test_others_are_served_while_expressions_are_checked(expressions: int) -> None:
    message = scheduler_pb2.StandingOrder(
        conditions=[scheduler_pb2.Condition(expression="total > 0")] * expressions
    )
    read = asyncio.create_task(
        read_aside(message, ConcurrencyLimiter(1, 1), lambda: time.sleep(READ_SECONDS))
    )
    turns = 0
    while not read.done():
        await asyncio.sleep(READ_SECONDS / 20)
        turns += 1
    assert (turns > 1) == bool(expressions)
