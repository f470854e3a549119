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
from services.catalog.events import subscriptions as catalog_hears
from services.notify.events.handlers import subscriptions as notify_hears
from services.payments.events import subscriptions as payments_hears
from services.runtime import streams
from services.runtime.clock import SystemClock
from services.scheduler.events import subscriptions as scheduler_hears

SERVICES = ("catalog", "scheduler", "payments", "notify")
PLATFORM = "merchant-demo"
USERS = (*SERVICES, "streams", PLATFORM, "developer")
PASSWORD = "only-for-tests-on-this-machine"
HEARS = {
    "catalog": catalog_hears,
    "scheduler": scheduler_hears,
    "payments": payments_hears,
    "notify": notify_hears,
}
# Who reads -> by a durable of which name, and the streams that it reads.
READS = {
    "catalog": ("catalog", {"SCHEDULER"}),
    "scheduler": ("scheduler", {"PAYMENTS", "NOTIFY"}),
    "payments": ("payments", {"SCHEDULER", "NOTIFY"}),
    "notify": ("notify", {"SCHEDULER", "PAYMENTS"}),
    PLATFORM: ("demo", {"MERCHANTS"}),
    "merchant-other": ("other", {"MERCHANTS"}),
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
    asyncio.run(migrate(server))
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


async def migrate(server: EmbeddedNats) -> None:
    url = f"nats://streams:{PASSWORD}@{HOST}:{server.port}"
    for service, subscribe in HEARS.items():
        durables = streams.wanted(service, subscribe(SystemClock()), ["demo", "other"])
        await streams.make_at(url, service, ssl.create_default_context, 1, durables)


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


async def may_pull(server: EmbeddedNats, user: str, stream: str, durable: str) -> bool:
    """Whether it is told what the stream has for the durable, or that there is nothing."""
    pull, no_wait = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{durable}", b'{"no_wait": true}'
    async with connected(server, user) as (client, refused):
        return await is_done(client.request(pull, no_wait, timeout=DEADLINE_SECONDS), refused)


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


@pytest.mark.parametrize("user", [*SERVICES, "streams", PLATFORM])
async def test_each_reads_the_streams_it_needs_by_its_own_durable(
    server: EmbeddedNats, user: str
) -> None:
    durables = [(stream, durable) for durable, read in READS.values() for stream in read]
    name, own = READS.get(user, ("", set()))
    read = {each for each in durables if await may_pull(server, user, *each)}
    assert read == {(stream, name) for stream in own}


TO_AN_INBOX = "_INBOX_catalog.somebodys"
CONSUMERS = [
    ConsumerConfig(durable_name="{own}"),
    ConsumerConfig(durable_name="{own}", deliver_subject=TO_AN_INBOX),
    ConsumerConfig(name="{own}", durable_name="{own}"),
    ConsumerConfig(name="{own}", durable_name="{own}", deliver_subject=TO_AN_INBOX),
    ConsumerConfig(name="{own}", durable_name="{own}", filter_subject="merchants.demo.>"),
    ConsumerConfig(durable_name="somebodys"),
    ConsumerConfig(),
    ConsumerConfig(deliver_subject=TO_AN_INBOX),
]


@pytest.mark.parametrize("user", [*SERVICES, PLATFORM])
@pytest.mark.parametrize("config", CONSUMERS)
async def test_nobody_who_tells_or_hears_makes_a_consumer_or_changes_one(
    server: EmbeddedNats, user: str, config: ConsumerConfig
) -> None:
    own = {
        field: READS[user][0]
        for field in ("name", "durable_name")
        if getattr(config, field) == "{own}"
    }
    for stream in STREAMS:
        async with connected(server, user) as (client, refused):
            asked = client.jetstream().add_consumer(stream, config.evolve(**own))
            assert not await is_done(asked, refused)
            assert refused.is_set()


@pytest.mark.parametrize("user", [*SERVICES, "streams", PLATFORM])
async def test_nobody_deletes_a_consumer(server: EmbeddedNats, user: str) -> None:
    for stream, durable in (("SCHEDULER", "catalog"), ("MERCHANTS", "demo")):
        subject = f"$JS.API.CONSUMER.DELETE.{stream}.{durable}"
        assert not await may_publish(server, user, subject)


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


async def test_who_makes_the_streams_makes_no_consumer_of_its_own_and_tells_nothing(
    server: EmbeddedNats,
) -> None:
    for stream in STREAMS - {"MERCHANTS"}:
        for config in (ConsumerConfig(name="streams", durable_name="streams"), ConsumerConfig()):
            async with connected(server, "streams") as (client, refused):
                assert not await is_done(client.jetstream().add_consumer(stream, config), refused)
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
    async with connected(server, PLATFORM) as (client, _):
        jetstream = client.jetstream(timeout=5)
        subscription = await jetstream.pull_subscribe_bind("demo", "MERCHANTS")
        [message] = await subscription.fetch(10, timeout=2)
        await message.ack_sync(timeout=5)
    assert message.data == b"demo"


async def test_a_platform_tells_nothing(server: EmbeddedNats) -> None:
    for subject in (
        "merchants.demo.x",
        "recurring.scheduler.v1.OrderConfirmed",
        f"_INBOX_{PLATFORM}.x",
    ):
        assert not await may_publish(server, PLATFORM, subject)
