"""Whether another merchant has something or not: nobody can tell by what is answered, or by when."""

import random
import statistics
import time
from collections.abc import Awaitable

import grpc
import pytest

from tests.contract.customer import Customer, new_customer
from tests.contract.every_call import Call, platform_calls
from tests.suite import Client, Suite

# One of each service, about something that the other merchant does have.
ASKED = (
    "catalog.GetProduct",
    "scheduler.GetStandingOrder",
    "payments.GetMandate",
    "notify.GetContact",
)
TIMES = 200
# Of the medians. A look into the database is far more, as the last test shows.
DIFFERENCE_MAX = 0.1
# The machine has other things to do; but what takes longer by itself does so each time.
ROUNDS = 5


@pytest.fixture
async def ann(suite: Suite) -> Customer:
    """Ann, whose merchant has all that is asked for."""
    ann = await new_customer(suite)
    request = await ann.ask()
    request.standing_order_id = "weekly"
    await ann.shop.scheduler.CreateStandingOrder(request)
    return ann


async def answer(call: Call, client: Client) -> bytes:
    """All that a refused caller gets to see, apart from the name that it asked for."""
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await call.make(client)
    seen = f"{refusal.value.code()} {refusal.value.details()} ".encode()
    for name, value in refusal.value.trailing_metadata() or ():
        seen += name.encode() + b"=" + (value if isinstance(value, bytes) else value.encode())
    return seen


async def test_a_refusal_is_the_same_to_the_byte_whether_it_is_there_or_not(
    suite: Suite, ann: Customer
) -> None:
    stranger = suite.client()
    # Of the same length, so that what is said of it has the same length, too.
    nobody = "x" * len(ann.shop.merchant)
    there = {call.id: call for call in platform_calls(ann.shop.merchant)}
    nowhere = {call.id: call for call in platform_calls(nobody)}
    for name, call in there.items():
        real = await answer(call, stranger)
        assert b"MERCHANT_FORBIDDEN" in real
        made_up = await answer(nowhere[name], stranger)
        assert real.replace(ann.shop.merchant.encode(), nobody.encode()) == made_up, name


@pytest.mark.parametrize("name", ASKED)
async def test_a_refusal_takes_the_same_time_whether_it_is_there_or_not(
    suite: Suite, ann: Customer, name: str
) -> None:
    stranger = suite.client()
    there, nowhere = (
        next(call for call in platform_calls(merchant) if call.id == name)
        for merchant in (ann.shop.merchant, "x" * len(ann.shop.merchant))
    )
    assert (await there.make(ann.shop)).name
    differences: list[float] = []
    while not differences or min(differences) > DIFFERENCE_MAX:
        assert len(differences) < ROUNDS, differences
        differences.append(await difference((there, stranger), (nowhere, stranger)))


async def test_a_look_into_the_database_would_be_seen(suite: Suite) -> None:
    """What is not there is looked for where it may be; so refusals differ by that where they may."""
    merchant = suite.client()
    own, foreign = (
        next(call for call in platform_calls(owner) if call.id == "catalog.GetProduct")
        for owner in (merchant.merchant, "x" * len(merchant.merchant))
    )
    assert await difference((own, merchant), (foreign, merchant)) > 2 * DIFFERENCE_MAX


Question = tuple[Call, Client]


async def difference(*questions: Question) -> float:
    """By how much the medians of two calls differ, asked in turn and in no order."""
    seconds: list[list[float]] = [[], []]
    for _ in range(TIMES):
        for place in random.sample((0, 1), 2):
            call, client = questions[place]
            seconds[place].append(await taken(call.make(client)))
    shorter, longer = sorted(statistics.median(each) for each in seconds)
    return longer / shorter - 1


async def taken(call: Awaitable[object]) -> float:
    started = time.perf_counter()
    with pytest.raises(grpc.aio.AioRpcError):
        await call
    return time.perf_counter() - started
