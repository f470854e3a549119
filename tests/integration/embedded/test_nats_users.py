"""What each user of the broker may tell and hear, and that it may do nothing else."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.api import ConsumerConfig, RePublish, StreamConfig, StreamSource

from deploy.embedded.nats import EmbeddedNats
from deploy.embedded.ports import HOST, free_ports
from services.runtime import streams

SERVICES = ("catalog", "scheduler", "payments", "notify")
PLATFORM = "merchant-demo"
USERS = (*SERVICES, "streams", PLATFORM, "developer")
PASSWORD = "only-for-tests-on-this-machine"
# Service -> the streams that it reads.
READS = {
    "catalog": {"SCHEDULER"},
    "scheduler": {"PAYMENTS", "NOTIFY"},
    "payments": {"SCHEDULER", "NOTIFY"},
    "notify": {"SCHEDULER", "PAYMENTS"},
}
STREAMS = {"CATALOG", "SCHEDULER", "PAYMENTS", "NOTIFY", "MERCHANTS"}
# How long the server may take to answer or to refuse; it always does one of the two.
DEADLINE_SECONDS = 20


@pytest.fixture(scope="module")
def server(servers_folder: Path) -> Iterator[EmbeddedNats]:
    [port] = free_ports(1)
    passwords = dict.fromkeys(USERS, PASSWORD)
    folder = servers_folder / "nats-users"
    server = EmbeddedNats(folder, port, servers_folder / "nats-users.log", passwords)
    server.start()
    yield server
    server.destroy()


@asynccontextmanager
async def connected(server: EmbeddedNats, user: str) -> AsyncIterator[tuple[Client, asyncio.Event]]:
    """A connection of a user, and whether the server has refused it anything."""
    refused = asyncio.Event()

    async def note(error: Exception) -> None:
        if "permissions violation" in str(error).lower():
            refused.set()

    url = f"nats://{user}:{PASSWORD}@{HOST}:{server.port}"
    client = await nats.connect(url, inbox_prefix=f"_INBOX_{user}", error_cb=note)
    try:
        yield client, refused
    finally:
        await client.close()


@pytest.fixture(autouse=True)
async def _streams(server: EmbeddedNats) -> None:
    await streams.make_at(
        f"nats://streams:{PASSWORD}@{HOST}:{server.port}", "test", ssl.create_default_context, 1
    )


async def is_done(asked: Coroutine[Any, Any, object], refused: asyncio.Event) -> bool:
    """Whether the server does what it is asked, rather than refuse it."""
    answer, refusal = asyncio.ensure_future(asked), asyncio.ensure_future(refused.wait())
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            await asyncio.wait({answer, refusal}, return_when=asyncio.FIRST_COMPLETED)
        return not refused.is_set() and answer.exception() is None
    finally:
        answer.cancel()
        refusal.cancel()


async def may_publish(server: EmbeddedNats, user: str, subject: str) -> bool:
    """Whether somebody answers: a stream says that it has stored it, the server what it has done."""
    async with connected(server, user) as (client, refused):
        return await is_done(client.request(subject, b"", timeout=DEADLINE_SECONDS), refused)


async def may_subscribe(server: EmbeddedNats, user: str, subject: str) -> bool:
    async with connected(server, user) as (client, refused):
        await client.subscribe(subject)
        # The client may send the ping of a flush before what it flushes. The second comes after the
        # subscription, and its answer after a refusal.
        await client.flush(DEADLINE_SECONDS)
        await client.flush(DEADLINE_SECONDS)
        return not refused.is_set()


async def may_consume(server: EmbeddedNats, user: str, stream: str, config: ConsumerConfig) -> bool:
    async with connected(server, user) as (client, refused):
        jetstream = client.jetstream(timeout=DEADLINE_SECONDS)
        return await is_done(jetstream.add_consumer(stream, config), refused)


async def test_nobody_comes_in_without_a_password(server: EmbeddedNats) -> None:
    client = Client()
    with pytest.raises(NatsError):
        await client.connect(f"nats://{HOST}:{server.port}", allow_reconnect=False)
    await client.close()


@pytest.mark.parametrize("service", SERVICES)
async def test_a_service_tells_its_own_facts_alone(server: EmbeddedNats, service: str) -> None:
    told = {
        each
        for each in SERVICES
        if await may_publish(server, service, f"recurring.{each}.v1.Something")
        or await may_publish(server, service, f"merchants.acme.recurring.{each}.v1.Something")
    }
    assert told == {service}


@pytest.mark.parametrize("service", SERVICES)
async def test_a_service_reads_the_streams_it_needs_by_its_own_consumer(
    server: EmbeddedNats, service: str
) -> None:
    own = ConsumerConfig(durable_name=service)
    read = {each for each in STREAMS if await may_consume(server, service, each, own)}
    assert read == READS[service]
    others = {
        other
        for other in (*SERVICES, "somebody")
        if other != service
        and await may_consume(
            server, service, min(READS[service]), ConsumerConfig(durable_name=other)
        )
    }
    assert others == set()


FORGED = StreamConfig(
    subjects=["recurring.catalog.v1.>"],
    republish=RePublish(src="recurring.catalog.v1.*", dest="recurring.payments.v1.{{wildcard(1)}}"),
)
OVERHEARD = StreamConfig(
    sources=[StreamSource(name="PAYMENTS")],
    republish=RePublish(src=">", dest="_INBOX_catalog.heard.>"),
)
EMPTIED = StreamConfig(subjects=["merchants.>"], max_msgs=1)


@pytest.mark.parametrize("user", [*SERVICES, PLATFORM, "developer"])
@pytest.mark.parametrize("config", [FORGED, OVERHEARD, EMPTIED])
async def test_nobody_who_tells_or_hears_makes_a_stream_of_others_events_or_changes_one(
    server: EmbeddedNats, user: str, config: StreamConfig
) -> None:
    for stream in (*STREAMS, "SOMEBODYS"):
        named = config.evolve(name=stream)
        async with connected(server, user) as (client, refused):
            assert not await is_done(client.jetstream().add_stream(named), refused)
            assert refused.is_set()
        async with connected(server, user) as (client, refused):
            assert not await is_done(client.jetstream().update_stream(named), refused)
            assert refused.is_set()


async def test_who_makes_the_streams_tells_and_hears_nothing(server: EmbeddedNats) -> None:
    for stream in STREAMS:
        config = ConsumerConfig(durable_name="streams")
        assert not await may_consume(server, "streams", stream, config)
    for service in SERVICES:
        assert not await may_publish(server, "streams", f"recurring.{service}.v1.Something")
    assert not await may_publish(server, "streams", "merchants.demo.x")


@pytest.mark.parametrize("user", [*SERVICES, "streams", PLATFORM])
@pytest.mark.parametrize(
    "subject", ["recurring.>", ">", "_INBOX.>", "_INBOX_catalog.x.>", "merchants.other.>"]
)
async def test_nobody_listens_to_what_is_for_others(
    server: EmbeddedNats, user: str, subject: str
) -> None:
    own = subject.startswith(f"_INBOX_{user}.")
    assert await may_subscribe(server, user, subject) == own


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("action", ["DELETE", "PURGE"])
async def test_nobody_deletes_a_stream_or_empties_it(
    server: EmbeddedNats, user: str, action: str
) -> None:
    assert not await may_publish(server, user, f"$JS.API.STREAM.{action}.SCHEDULER")


async def test_a_platform_hears_its_own_merchant_alone(server: EmbeddedNats) -> None:
    for merchant in ("demo", "other"):
        subject = f"merchants.{merchant}.recurring.scheduler.v1.OrderConfirmed"
        async with connected(server, "scheduler") as (client, _):
            await client.jetstream().publish(subject, merchant.encode(), timeout=5)
    filtered = "merchants.demo.recurring.scheduler.v1.*"
    async with connected(server, PLATFORM) as (client, _):
        jetstream = client.jetstream(timeout=5)
        # The name as well: only then is the filter part of what is asked for.
        config = ConsumerConfig(name="demo", durable_name="demo", filter_subject=filtered)
        await jetstream.add_consumer("MERCHANTS", config)
        subscription = await jetstream.pull_subscribe_bind("demo", "MERCHANTS")
        [message] = await subscription.fetch(10, timeout=2)
        await message.ack_sync(timeout=5)
    assert message.data == b"demo"


@pytest.mark.parametrize(
    ("durable", "subject"),
    [
        ("demo", "merchants.other.>"),
        ("demo", "merchants.>"),
        ("demo", None),
        ("other", "merchants.other.>"),
        ("other", "merchants.demo.>"),
        ("scheduler", "merchants.demo.>"),
    ],
)
async def test_a_platform_cannot_read_another_merchant_or_by_another_name(
    server: EmbeddedNats, durable: str, subject: str | None
) -> None:
    for name in (durable, None):
        config = ConsumerConfig(name=name, durable_name=durable, filter_subject=subject)
        assert not await may_consume(server, PLATFORM, "MERCHANTS", config)
        assert not await may_consume(server, PLATFORM, "SCHEDULER", config)


async def test_a_platform_tells_nothing(server: EmbeddedNats) -> None:
    for subject in (
        "merchants.demo.x",
        "recurring.scheduler.v1.OrderConfirmed",
        f"_INBOX_{PLATFORM}.x",
    ):
        assert not await may_publish(server, PLATFORM, subject)
