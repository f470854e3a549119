"""Whatever is sent to whatever method: an answer or a clear refusal, in time, and nothing half done.

`make test` tries a few hundred requests, the same each time; `make fuzz` ten thousand others.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import grpc
import pytest
from hypothesis import HealthCheck, given, settings

from deploy.embedded.stack import EmbeddedStack
from tests.contract.customer import Customer, new_customer
from tests.contract.every_call import CONTRACTS, Call, platform_calls, suite_calls
from tests.fuzz.requests import payloads
from tests.suite import CALL_TIMEOUT_SECONDS, Suite, read_refusal
from tests.tables import CHANGED_AT_INTERVALS

CASES_VARIABLE = "FUZZ_CASES"
CASES_DEFAULT = 320
CASES = int(os.environ.get(CASES_VARIABLE, CASES_DEFAULT))
SERVICES = tuple(CONTRACTS)
# Nothing that a caller sends may be our fault, or keep us busy until its deadline.
OUR_FAULT = {
    "UNKNOWN",
    "INTERNAL",
    "DEADLINE_EXCEEDED",
    "UNAVAILABLE",
    "CANCELLED",
    "UNIMPLEMENTED",
}
LEAKS = ("Traceback", 'File "', "site-packages", "asyncpg", "sqlalchemy", "SELECT ", "INSERT ")
# What grpc.aio's client says instead of the server's answer, if that came while it was sending the next
# message of a stream (https://github.com/grpc/grpc/issues/36066).
CLIENT_WAS_SENDING = "Internal error from Core"
# A wrong guess is refused, and counted.
COUNTED = "CODE_WRONG"

# The outbox is published at any moment, and the inbox is filled from there.
_LEFT_OUT = ("outbox", "inbox", "alembic_version", *CHANGED_AT_INTERVALS)
_TABLES = """
    SELECT relname FROM pg_class
    WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND relname <> ALL ($1)
    ORDER BY relname
"""


class World:
    """A customer of a merchant with a standing order, and every call about them."""

    def __init__(self, ann: Customer, database: asyncpg.Connection) -> None:
        self.ann = ann
        self._suite_client = ann.suite.suite_client()
        self._database = database
        self._channels: dict[bool, grpc.aio.Channel] = {}
        self._stored = ""

    async def send(self, call: Call, payload: list[bytes]) -> None:
        """Send bytes to a method; raises AioRpcError."""
        inside = call.method.startswith("Batch")
        client = self._suite_client if inside else self.ann.shop
        if inside not in self._channels:
            self._channels[inside] = client.channel(call.service)
        channel = self._channels[inside]
        [description] = CONTRACTS[call.service].DESCRIPTOR.services_by_name.values()
        path = f"/{description.full_name}/{call.method}"
        if call.sends_stream:
            stream: Any = channel.stream_unary(path)
            await stream(_stream(payload), metadata=client.metadata, timeout=CALL_TIMEOUT_SECONDS)
        else:
            unary: Any = channel.unary_unary(path)
            await unary(payload[0], timeout=CALL_TIMEOUT_SECONDS)

    async def close(self) -> None:
        await self._database.close()
        await self.ann.suite.close()

    async def look(self) -> None:
        """Remember what is stored, once everything that follows from it has been done."""
        await self.ann.suite.sandbox.settle()
        self._stored = await self._fingerprint()

    async def is_as_it_was(self) -> bool:
        """Whether nothing has been stored since it was looked at."""
        return self._stored == await self._fingerprint()

    async def _fingerprint(self) -> str:
        tables = [row["relname"] for row in await self._database.fetch(_TABLES, _LEFT_OUT)]
        parts = [
            f"SELECT '{table}' AS t, count(*) AS n, sum(hashtext({table}::text)) AS h FROM {table}"  # noqa: S608
            for table in tables
        ]
        return str(await self._database.fetch(" UNION ALL ".join(parts)))


async def _stream(payload: list[bytes]) -> AsyncIterator[bytes]:
    for message in payload:
        yield message


async def open_world(stack: EmbeddedStack, service: str) -> World:
    """A world of its own, with a database to look into."""
    suite = Suite.on(stack)
    ann = await new_customer(suite)
    request = await ann.ask()
    request.standing_order_id = "weekly"
    await ann.shop.scheduler.CreateStandingOrder(request)
    server = stack._postgres.databases.url
    world = World(ann, await asyncpg.connect(server, database=f"recurring_{service}"))
    await world.look()
    return world


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    """An event loop between examples."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("service", SERVICES)
def test_whatever_is_sent_is_answered_or_refused(
    suite_stack: EmbeddedStack, runner: asyncio.Runner, service: str
) -> None:
    world = runner.run(open_world(suite_stack, service))
    merchant = world.ann.shop.merchant
    calls = [
        call
        for call in (*platform_calls(merchant), *suite_calls(merchant))
        if call.service == service
    ]

    @settings(
        max_examples=CASES // len(SERVICES),
        derandomize=CASES_VARIABLE not in os.environ,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(payloads(calls))
    def every(case: tuple[Call, list[bytes]]) -> None:
        call, payload = case
        runner.run(one(world, call, payload))

    try:
        every()
    finally:
        runner.run(world.close())


async def one(world: World, call: Call, payload: list[bytes]) -> None:
    """Send one request; what it is answered, or why it is refused, must be worth having."""
    try:
        await world.send(call, payload)
    except grpc.aio.AioRpcError as error:
        if error.details() == CLIENT_WAS_SENDING:
            await world.look()
            return
        refusal = read_refusal(error)
    else:
        await world.look()
        return
    assert refusal.code not in OUR_FAULT, (call.id, refusal)
    assert refusal.reason, (call.id, refusal)
    assert not any(leak in refusal.message for leak in LEAKS), (call.id, refusal)
    if refusal.reason == COUNTED:
        await world.look()
    else:
        assert await world.is_as_it_was(), (call.id, refusal)
