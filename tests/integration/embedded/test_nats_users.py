"""What each user of the broker may publish and subscribe to, and that it may do nothing else."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.errors import NoRespondersError
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig, RePublish, StreamConfig, StreamSource
from nats.js.errors import NoStreamResponseError, ServiceUnavailableError

from deploy.embedded.nats import EmbeddedNats
from deploy.embedded.ports import HOST, free_ports
from services.catalog.consumers import subscriptions as catalog_subscriptions
from services.notify.consumers import subscriptions as notify_subscriptions
from services.payments.consumers import subscriptions as payments_subscriptions
from services.runtime.messaging import streams
from services.runtime.messaging.broker import DOMAIN
from services.runtime.workers.clock import SystemClock
from services.scheduler.consumers import subscriptions as scheduler_subscriptions
from tests.nats_clients import flush

SERVICES = ("catalog", "scheduler", "payments", "notify")
PLATFORM = "merchant-demo"
USERS = (*SERVICES, "streams", PLATFORM, "developer")
API = f"$JS.{DOMAIN}.API"
PASSWORD = "only-for-tests-on-this-machine"
SUBSCRIPTIONS = {
    "catalog": catalog_subscriptions,
    "scheduler": scheduler_subscriptions,
    "payments": payments_subscriptions,
    "notify": notify_subscriptions,
}
# Who reads -> by a durable of which name, and the streams that it reads.
READS = {
    "catalog": ("catalog", {"SCHEDULER", "NOTIFY"}),
    "scheduler": ("scheduler", {"CATALOG", "PAYMENTS", "NOTIFY"}),
    "payments": ("payments", {"SCHEDULER", "NOTIFY"}),
    "notify": ("notify", {"CATALOG", "SCHEDULER", "PAYMENTS", "NOTIFY"}),
    PLATFORM: ("demo", {"MERCHANTS"}),
    "merchant-other": ("other", {"MERCHANTS"}),
}
STREAMS = {"CATALOG", "SCHEDULER", "PAYMENTS", "NOTIFY", "MERCHANTS"}
# As users.conf has it.
PLATFORM_CONNECTIONS_MAX = 10
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
async def connected(server: EmbeddedNats, user: str) -> AsyncIterator[Client]:
    url = f"nats://{user}:{PASSWORD}@{HOST}:{server.port}"
    client = Client()
    try:
        await client.connect(url, allow_reconnect=False)
        yield client
    finally:
        await client.close()


def jetstream(client: Client) -> JetStreamContext:
    return client.jetstream(domain=DOMAIN, timeout=DEADLINE_SECONDS)


async def migrate(server: EmbeddedNats) -> None:
    url = f"nats://streams:{PASSWORD}@{HOST}:{server.port}"
    for service, subscribe in SUBSCRIPTIONS.items():
        durables = streams.durables(service, subscribe(SystemClock()), ["demo", "other"])
        await streams.make_at(url, service, ssl.create_default_context, 1, durables)


async def is_done(request: Awaitable[object]) -> bool:
    """Whether the server does what it is asked, rather than have nobody to answer."""
    try:
        await request
    except (NoRespondersError, NoStreamResponseError, ServiceUnavailableError):
        return False
    return True


async def may_publish(server: EmbeddedNats, user: str, subject: str) -> bool:
    """Whether somebody answers: a stream says that it has stored it, the server what it has done."""
    async with connected(server, user) as client:
        return await is_done(client.request(subject, b"", timeout=DEADLINE_SECONDS))


async def may_pull(server: EmbeddedNats, user: str, stream: str, durable: str) -> bool:
    """Whether the server says what the stream has for the durable, or that there is nothing."""
    pull, no_wait = f"{API}.CONSUMER.MSG.NEXT.{stream}.{durable}", b'{"no_wait": true}'
    async with connected(server, user) as client:
        return await is_done(client.request(pull, no_wait, timeout=DEADLINE_SECONDS))


async def test_nobody_comes_in_without_a_password(server: EmbeddedNats) -> None:
    client = Client()
    with pytest.raises(NatsError):
        await client.connect(f"nats://{HOST}:{server.port}", allow_reconnect=False)
    await client.close()


@pytest.mark.parametrize("service", SERVICES)
async def test_a_service_publishes_only_its_own_events(server: EmbeddedNats, service: str) -> None:
    publishers = {
        publisher
        for publisher in SERVICES
        if await may_publish(server, service, f"recurring.{publisher}.v1.Something")
        or await may_publish(server, service, f"merchants.acme.recurring.{publisher}.v1.Something")
    }
    assert publishers == {service}


@pytest.mark.parametrize("user", [*SERVICES, "streams", PLATFORM, "developer"])
async def test_each_reads_the_streams_it_needs_by_its_own_durable(
    server: EmbeddedNats, user: str
) -> None:
    durables = [(stream, durable) for durable, read in READS.values() for stream in read]
    name, own = READS.get(user, ("", set()))
    read = {durable for durable in durables if await may_pull(server, user, *durable)}
    assert read == {(stream, name) for stream in own}


TO_AN_INBOX = "_INBOX.somebodys"
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


@pytest.mark.parametrize("user", [*SERVICES, PLATFORM, "developer"])
@pytest.mark.parametrize("config", CONSUMERS)
async def test_nobody_who_publishes_or_consumes_creates_a_consumer_or_changes_one(
    server: EmbeddedNats, user: str, config: ConsumerConfig
) -> None:
    own = {
        field: READS.get(user, ("catalog", set()))[0]
        for field in ("name", "durable_name")
        if getattr(config, field) == "{own}"
    }
    for stream in STREAMS:
        async with connected(server, user) as client:
            request = jetstream(client).add_consumer(stream, config.evolve(**own))
            assert not await is_done(request)


# What the server does with a durable beyond what is asked of it here (JetStream's API, 2.12).
OF_A_CONSUMER = (
    "DELETE",
    "PAUSE",
    "RESET",
    "UNPIN",
    "LEADER.STEPDOWN",
    "DURABLE.CREATE",
)


@pytest.mark.parametrize("user", [*SERVICES, "streams", PLATFORM, "developer"])
async def test_nobody_deletes_a_consumer_or_stops_it(server: EmbeddedNats, user: str) -> None:
    for stream, durable in (("SCHEDULER", "catalog"), ("MERCHANTS", "demo")):
        for action in OF_A_CONSUMER:
            subject = f"{API}.CONSUMER.{action}.{stream}.{durable}"
            assert not await may_publish(server, user, subject), subject


async def test_nobody_acknowledges_what_is_anothers(server: EmbeddedNats) -> None:
    async with connected(server, "scheduler") as publisher:
        subject = "recurring.scheduler.v1.OrderConfirmed"
        await publisher.jetstream().publish(subject, timeout=DEADLINE_SECONDS)
    async with connected(server, "notify") as client:
        pull = await jetstream(client).pull_subscribe_bind("notify", "SCHEDULER")
        [given] = await pull.fetch(1, timeout=DEADLINE_SECONDS)
        assert given.reply.startswith("$JS.ACK.SCHEDULER.notify.")
        for user in ("catalog", PLATFORM, "developer", "streams"):
            async with connected(server, user) as other:
                await other.publish(given.reply, b"+ACK")
                await flush(other)
        waiting = await jetstream(client).consumer_info("SCHEDULER", "notify")
        assert waiting.num_ack_pending == 1
        await given.ack_sync(timeout=DEADLINE_SECONDS)


async def test_a_developer_reads_all_that_is_published_and_where_each_reader_is(
    server: EmbeddedNats,
) -> None:
    async with connected(server, "developer") as client, connected(server, "notify") as publisher:
        subscription = await client.subscribe("recurring.>")
        await flush(client)
        subject = "recurring.notify.v1.NoticeDelivered"
        stored = await publisher.jetstream().publish(subject, b"one", timeout=DEADLINE_SECONDS)
        assert (await subscription.next_msg(DEADLINE_SECONDS)).data == b"one"
        read = await jetstream(client).get_msg("NOTIFY", stored.seq)
        assert (read.subject, read.data) == (subject, b"one")
        assert {stream.config.name for stream in await jetstream(client).streams_info()} == STREAMS
        readers = {consumer.name for consumer in await jetstream(client).consumers_info("NOTIFY")}
        assert readers == {"catalog", "scheduler", "payments", "notify"}


FORGED = StreamConfig(
    subjects=["recurring.catalog.v1.>"],
    republish=RePublish(src="recurring.catalog.v1.*", dest="recurring.payments.v1.{{wildcard(1)}}"),
)
REPUBLISHED = StreamConfig(
    sources=[StreamSource(name="PAYMENTS")],
    republish=RePublish(src=">", dest="_INBOX.copied.>"),
)
EMPTIED = StreamConfig(subjects=["merchants.>"], max_msgs=1)


@pytest.mark.parametrize("user", [*SERVICES, PLATFORM, "developer"])
@pytest.mark.parametrize("config", [FORGED, REPUBLISHED, EMPTIED])
async def test_nobody_who_publishes_or_consumes_creates_a_stream_or_changes_one(
    server: EmbeddedNats, user: str, config: StreamConfig
) -> None:
    for stream in (*STREAMS, "SOMEBODYS"):
        named = config.evolve(name=stream)
        async with connected(server, user) as client:
            assert not await is_done(jetstream(client).add_stream(named))
            assert not await is_done(jetstream(client).update_stream(named))


async def test_who_creates_the_streams_creates_no_consumer_for_itself_and_publishes_nothing(
    server: EmbeddedNats,
) -> None:
    for stream in STREAMS - {"MERCHANTS"}:
        for config in (ConsumerConfig(name="streams", durable_name="streams"), ConsumerConfig()):
            async with connected(server, "streams") as client:
                assert not await is_done(jetstream(client).add_consumer(stream, config))
    for service in SERVICES:
        assert not await may_publish(server, "streams", f"recurring.{service}.v1.Something")
    assert not await may_publish(server, "streams", "merchants.demo.x")


@pytest.mark.parametrize("user", [*SERVICES, "streams", PLATFORM])
async def test_nobody_listens_to_what_is_for_others(server: EmbeddedNats, user: str) -> None:
    publishing_service = "scheduler" if user == "catalog" else "catalog"
    async with (
        connected(server, user) as listener,
        connected(server, publishing_service) as publisher,
    ):
        subscription = await listener.subscribe(">")
        await flush(listener)
        for subject in (
            f"recurring.{publishing_service}.v1.X",
            f"merchants.other.recurring.{publishing_service}.v1.X",
        ):
            await publisher.jetstream().publish(subject, timeout=DEADLINE_SECONDS)
        # What the server has to tell comes before the answer to this.
        await flush(listener)
        assert subscription.pending_msgs == 0


# What the server answers: events, what it knows of a durable or a stream, that it has stored something.
QUESTIONS = {
    "streams": [f"{API}.STREAM.INFO.MERCHANTS"],
    "developer": [
        f"{API}.STREAM.NAMES",
        f"{API}.STREAM.INFO.PAYMENTS",
        f"{API}.STREAM.MSG.GET.PAYMENTS",
        f"{API}.CONSUMER.LIST.PAYMENTS",
        f"{API}.CONSUMER.INFO.PAYMENTS.notify",
    ],
    **{
        user: [
            f"{API}.CONSUMER.{ask}.{stream}.{durable}"
            for stream in streams
            for ask in ("INFO", "MSG.NEXT")
        ]
        for user, (durable, streams) in READS.items()
    },
}
ELSEWHERE = (
    "recurring.{other}.v1.X",
    "merchants.other.recurring.{other}.v1.X",
    "$JS.API.STREAM.DELETE.{OTHER}",
    f"{API}.STREAM.DELETE.{{OTHER}}",
    f"{API}.CONSUMER.DELETE.MERCHANTS.other",
    "_INBOX.{other}",
)


@pytest.mark.parametrize("user", [*SERVICES, "streams", PLATFORM, "developer"])
async def test_no_answer_goes_anywhere_but_to_who_has_asked(
    server: EmbeddedNats, user: str
) -> None:
    """A server answers wherever the question says, whatever the asker may publish itself."""
    other = "notify" if user == "payments" else "payments"
    async with (
        connected(server, user) as client,
        connected(server, other) as bystander,
        connected(server, "developer") as looking,
    ):
        subscription = await bystander.subscribe("_INBOX.>")
        await flush(bystander)
        before = await messages(looking)
        for question in QUESTIONS[user]:
            for place in ELSEWHERE:
                reply = place.format(other=other, OTHER=other.upper())
                await client.publish(question, b'{"no_wait": true}', reply)
            # Whoever asks by the same connection is answered after those.
            await client.request(question, b'{"no_wait": true}', timeout=DEADLINE_SECONDS)
        assert await messages(looking) == before
        await flush(bystander)
        assert subscription.pending_msgs == 0
        assert await jetstream(looking).consumer_info("MERCHANTS", "other")


async def messages(client: Client) -> dict[str | None, int]:
    """How many each stream has had."""
    return {
        stream.config.name: stream.state.last_seq
        for stream in await jetstream(client).streams_info()
    }


async def test_a_platform_takes_the_broker_from_nobody(server: EmbeddedNats) -> None:
    async with AsyncExitStack() as connections:
        for _ in range(PLATFORM_CONNECTIONS_MAX):
            await connections.enter_async_context(connected(server, PLATFORM))
        one_more = connections.enter_async_context(connected(server, PLATFORM))
        with pytest.raises(NatsError, match="maximum account active connections exceeded"):
            await one_more
        assert (await connections.enter_async_context(connected(server, "catalog"))).is_connected


# What the server does with a stream beyond what is asked of it here (JetStream's API, 2.12).
OF_A_STREAM = (
    "STREAM.DELETE",
    "STREAM.PURGE",
    "STREAM.MSG.DELETE",
    "STREAM.SNAPSHOT",
    "STREAM.RESTORE",
    "STREAM.LEADER.STEPDOWN",
    "STREAM.PEER.REMOVE",
    "CONSUMER.DURABLE.CREATE",
)
READING = ("STREAM.MSG.GET", "DIRECT.GET")


@pytest.mark.parametrize("user", [*SERVICES, "streams", PLATFORM, "developer"])
async def test_nobody_deletes_a_stream_empties_it_or_reads_it_without_a_durable(
    server: EmbeddedNats, user: str
) -> None:
    for action in (*OF_A_STREAM, *(() if user == "developer" else READING)):
        assert not await may_publish(server, user, f"{API}.{action}.SCHEDULER"), action


async def test_a_platform_receives_its_own_merchant_alone(server: EmbeddedNats) -> None:
    async with connected(server, "scheduler") as client:
        for merchant in ("demo", "other", "demo"):
            subject = f"merchants.{merchant}.recurring.scheduler.v1.OrderConfirmed"
            await client.jetstream().publish(subject, merchant.encode(), timeout=5)
    async with connected(server, PLATFORM) as client:
        subscription = await jetstream(client).pull_subscribe_bind("demo", "MERCHANTS")
        messages = await subscription.fetch(2, timeout=DEADLINE_SECONDS)
        for message in messages:
            await message.ack_sync(timeout=5)
    assert [message.data for message in messages] == [b"demo", b"demo"]


async def test_a_platform_receives_the_live_events_of_its_own_merchant(
    server: EmbeddedNats,
) -> None:
    async with (
        connected(server, PLATFORM) as listener,
        connected(server, "notify") as publisher,
    ):
        subscription = await listener.subscribe("merchants.>")
        await flush(listener)
        for merchant in ("other", "demo"):
            subject = f"merchants.{merchant}.recurring.notify.v1.NoticeDelivered"
            await publisher.jetstream().publish(subject, merchant.encode(), timeout=5)
        message = await subscription.next_msg(DEADLINE_SECONDS)
        assert (message.subject.split(".")[1], subscription.pending_msgs) == ("demo", 0)


@pytest.mark.parametrize("user", [PLATFORM, "developer"])
async def test_who_only_reads_publishes_nothing(server: EmbeddedNats, user: str) -> None:
    for subject in (
        "merchants.demo.x",
        "recurring.scheduler.v1.OrderConfirmed",
    ):
        assert not await may_publish(server, user, subject)
