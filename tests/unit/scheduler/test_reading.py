"""What callers send, read while others are served."""

import asyncio
import time

import pytest
from google.type.postal_address_pb2 import PostalAddress
from recurring.scheduler.v1 import scheduler_pb2

from services.runtime.rpc.limits import ConcurrencyLimiter
from services.scheduler.api.requests.standing_orders import read_aside, region_of

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


@pytest.mark.parametrize(
    ("country", "area", "region"),
    [
        ("DE", "", "DE"),
        ("us", "ca", "US-CA"),
        ("US", "US-NY", "US-NY"),
        ("US", "California", "US"),
        ("", "CA", ""),
        ("Germany", "", ""),
    ],
)
def test_the_region_of_an_address_is_a_code_or_nothing(
    country: str, area: str, region: str
) -> None:
    address = PostalAddress(region_code=country, administrative_area=area)
    assert region_of(address) == region
