"""Events from an outbox to an inbox: all arrive, each is handled once, whatever fails."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC
from functools import partial
from typing import Any

import nats
import pytest
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from recurring.catalog.v1 import events_pb2
from recurring.cloudevents.v1.cloudevents_pb2 import CloudEvent, CloudEventBatch

from deploy.embedded.nats import EmbeddedNats
from deploy.embedded.postgres import EmbeddedPostgres
from services.runtime.db.migrations import ADOPT_OUTBOX
from services.runtime.db.pool import Database
from services.runtime.messaging import failed_events, outbox, streams
from services.runtime.messaging.batches import BATCH_MAX_EVENTS, batch_headers, in_batches
from services.runtime.messaging.broker import CLOSE_TIMEOUT_SECONDS, Broker
from services.runtime.messaging.events import OutboxEvent
from services.runtime.messaging.failed_events import FAILURES_MAX, dead_letters, retry
from services.runtime.messaging.relay import ForeignOutboxError, Relay
from services.runtime.messaging.streams import StreamMissingError
from tests.integration.runtime.pubsub import (
    DURABLE,
    GRACE_SECONDS,
    NOW,
    SERVICE,
    STREAM,
    SUBJECT,
    SUBSCRIBER_DURABLE,
    Publisher,
    Subscriber,
    at_work,
    count,
    discontinued,
    until,
)
from tests.nats_clients import flush
from tests.owner import as_owner
from tests.published import messages

# A failed event comes again after so long: time to stop its reader and start another one.
RESTART_SECONDS = 0.4


async def test_an_event_is_published_once_and_handled_once(
    publisher: Publisher, subscriber: Subscriber
) -> None:
    await publisher.publish("tea", "coffee")
    async with at_work(publisher.relay_worker(), subscriber.consumer()) as workers:
        await subscriber.until_received(2)
        assert (await workers.settle(GRACE_SECONDS)).quiet
    assert await subscriber.received() == ["coffee", "tea"]
    assert await publisher.unpublished() == 0


async def test_storing_an_event_again_changes_nothing(
    publisher: Publisher, subscriber: Subscriber
) -> None:
    async with at_work(publisher.relay_worker(), subscriber.consumer()) as workers:
        await publisher.publish("tea")
        await subscriber.until_received(1)
        await publisher.publish("tea")
        assert (await workers.settle(GRACE_SECONDS)).quiet
    assert await subscriber.received() == ["tea"]


async def test_what_a_transaction_publishes_of_a_type_is_one_message(
    publisher: Publisher, nats_url: str
) -> None:
    client = await nats.connect(nats_url)
    subscription = await client.subscribe("recurring.>")
    await flush(client)
    await publisher.publish("tea", "coffee")
    assert (await publisher.relay().step()).worked == 2
    message = await subscription.next_msg(GRACE_SECONDS)
    await client.close()

    events = CloudEventBatch.FromString(message.data).events
    assert message.subject == SUBJECT
    assert message.headers == {
        "content-type": "application/cloudevents-batch+protobuf",
        "Nats-Msg-Id": str(in_batches([discontinued("tea"), discontinued("coffee")])[0].batch_id),
    }
    assert [event.id for event in events] == [
        str(discontinued(key).event_id) for key in ("tea", "coffee")
    ]
    tea = events[0]
    assert (tea.type, tea.source, tea.spec_version) == (SUBJECT, "//recurring/catalog", "1.0")
    assert tea.attributes["time"].ce_timestamp.ToDatetime(UTC) == NOW
    assert tea.attributes["partitionkey"].ce_string == "tea"
    assert tea.attributes["tenant"].ce_string == "acme"
    message_of_tea = events_pb2.ProductDiscontinued()
    assert tea.proto_data.Unpack(message_of_tea)
    assert message_of_tea.product == "tea"


async def test_a_platform_that_listens_gets_each_event_by_itself(
    publisher: Publisher, nats_url: str
) -> None:
    client = await nats.connect(nats_url)
    subscription = await client.subscribe("merchants.>")
    await flush(client)
    await publisher.publish("tea", "coffee")
    await publisher.relay("acme").step()
    event = await subscription.next_msg(GRACE_SECONDS)
    other = await subscription.next_msg(GRACE_SECONDS)
    await client.close()

    assert event.subject == other.subject == f"merchants.acme.{SUBJECT}"
    head = dict(event.headers or {})
    assert head.pop("ce-id") == head["Nats-Msg-Id"] == str(discontinued("tea").event_id)
    del head["Nats-Msg-Id"]
    head.pop("traceparent", None)
    assert head == {
        "ce-specversion": "1.0",
        "ce-type": SUBJECT,
        "ce-source": "//recurring/catalog",
        "ce-time": NOW.isoformat(),
        "ce-partitionkey": "tea",
        "ce-tenant": "acme",
        "content-type": "application/protobuf",
    }
    assert events_pb2.ProductDiscontinued.FromString(event.data).product == "tea"


async def test_what_no_platform_listens_to_is_published_once(
    publisher: Publisher, nats_url: str
) -> None:
    client = await nats.connect(nats_url)
    subscription = await client.subscribe(">")
    await flush(client)
    await publisher.publish("tea")
    await publisher.relay("other").step()
    await flush(client)
    subjects = [message.subject async for message in _pending(subscription)]
    await client.close()
    assert SUBJECT in subjects
    assert not any(subject.startswith("merchants.") for subject in subjects)


async def test_what_only_one_of_the_streams_has_stored_is_published_again(
    publisher: Publisher, broker: Broker, nats_url: str
) -> None:
    """As after a crash between the two."""
    await publisher.publish("tea")
    client = await nats.connect(nats_url)
    await client.jetstream().delete_stream("MERCHANTS")
    waiting = Relay(publisher.database, broker, SERVICE, platform_merchants=frozenset({"acme"}))
    with pytest.raises(StreamMissingError, match="stream MERCHANTS is not there"):
        await waiting.step()
    assert (await client.jetstream().stream_info(STREAM)).state.messages == 1
    assert await publisher.unpublished() == 1
    relay = publisher.relay("acme")
    await relay.ensure_streams()
    await relay.step()
    assert (await client.jetstream().stream_info("MERCHANTS")).state.messages == 1
    assert await publisher.unpublished() == 0
    await client.close()


async def test_an_event_of_a_rolled_back_transaction_is_not_published(
    publisher: Publisher, subscriber: Subscriber
) -> None:
    async def fail() -> None:
        async with publisher.database.begin() as tx:
            await outbox.put(tx, [discontinued("tea")])
            raise LookupError

    async with at_work(publisher.relay_worker(), subscriber.consumer()) as workers:
        with_error = await asyncio.gather(fail(), return_exceptions=True)
        assert isinstance(with_error[0], LookupError)
        await publisher.publish("coffee")
        await subscriber.until_received(1)
        assert (await workers.settle(GRACE_SECONDS)).quiet
    assert await subscriber.received() == ["coffee"]


async def test_what_is_published_twice_is_handled_once(
    publisher: Publisher, subscriber: Subscriber
) -> None:
    await publisher.publish("tea")
    async with at_work(publisher.relay_worker(), subscriber.consumer()) as workers:
        await subscriber.until_received(1)
        await publisher.forget_publishing()
        assert (await workers.settle(GRACE_SECONDS)).quiet
    assert await subscriber.received() == ["tea"]
    assert await publisher.unpublished() == 0


async def test_a_lost_stream_comes_back_with_all_that_it_had(
    publisher: Publisher, subscriber: Subscriber, nats_url: str
) -> None:
    await publisher.publish("tea")
    async with at_work(publisher.relay_worker()):
        await until(lambda: _is_zero(publisher))
        await _delete_stream(nats_url)
        await publisher.publish("coffee")
        async with at_work(subscriber.consumer()):
            await subscriber.until_received(2)
    assert await subscriber.received() == ["coffee", "tea"]


async def test_a_stream_that_was_created_again_is_filled_by_a_service_that_may_not_create_it(
    publisher: Publisher, subscriber: Subscriber, broker: Broker, nats_url: str
) -> None:
    await publisher.publish("tea")
    async with at_work(publisher.relay_worker()):
        await until(lambda: _is_zero(publisher))
    await _delete_stream(nats_url)
    relay = Relay(publisher.database, broker, SERVICE)
    with pytest.raises(StreamMissingError, match="stream CATALOG is not there"):
        await relay.ensure_streams()
    await publisher.make()
    await relay.ensure_streams()
    async with at_work(publisher.relay_worker(), subscriber.consumer()):
        await subscriber.until_received(1)
    assert await subscriber.received() == ["tea"]


async def test_a_durable_that_nobody_has_made_is_waited_for(
    publisher: Publisher,
    subscriber: Subscriber,
    broker: Broker,
    nats_url: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await _delete_stream(nats_url)
    await streams.make(broker, [])
    async with at_work(subscriber.consumer(), publisher.relay_worker()):

        async def said() -> bool:
            return "durable subscriber of stream CATALOG is not there: migrate" in caplog.text

        await until(said)
        await publisher.make()
        await publisher.publish("tea")
        await subscriber.until_received(1)
    assert caplog.text.count("is not there") == 1


NEWER = replace(
    SUBSCRIBER_DURABLE, subjects=SUBSCRIBER_DURABLE.subjects | {"recurring.catalog.v1.StockLow"}
)


async def test_a_durable_that_receives_too_little_is_waited_for(
    publisher: Publisher, subscriber: Subscriber, broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    await publisher.publish("tea")
    async with at_work(subscriber.consumer(events_pb2.StockLow), publisher.relay_worker()):

        async def said() -> bool:
            return "does not have recurring.catalog.v1.StockLow: migrate" in caplog.text

        await until(said)
        await broker.ensure_durable(NEWER)
        await subscriber.until_received(1)


async def test_an_older_version_takes_nothing_from_what_a_durable_receives(
    publisher: Publisher, broker: Broker
) -> None:
    await broker.ensure_durable(NEWER)
    await publisher.make()
    assert await broker.subjects_of(STREAM, DURABLE) == NEWER.subjects


async def test_what_only_a_newer_version_knows_is_left_to_it(
    subscriber: Subscriber, publisher: Publisher, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    del publisher  # It made the stream.
    monkeypatch.setattr(failed_events, "UNKNOWN_TYPE_SECONDS", 0.5)
    await broker.ensure_durable(NEWER)
    await _publish_newer(broker, "tea")
    async with at_work(subscriber.consumer()):
        await until(partial(count, subscriber.database, "failed_events"))
        async with at_work(subscriber.consumer(events_pb2.StockLow)):
            await subscriber.until_received(1)
    assert await subscriber.dead_letters() == 0


async def test_what_only_a_newer_version_knows_is_kept_for_it_where_none_runs(
    subscriber: Subscriber, publisher: Publisher, broker: Broker
) -> None:
    await broker.ensure_durable(NEWER)
    await _publish_newer(broker, "tea")
    async with at_work(subscriber.consumer(), publisher.relay_worker()):
        # It holds nothing up.
        await publisher.publish("coffee")
        await until(subscriber.dead_letters)
    assert await subscriber.received() == ["coffee"]
    [letter] = await dead_letters(subscriber.database, None)
    assert letter.error == "LookupError: this version does not know recurring.catalog.v1.StockLow"


async def test_a_replay_of_everything_changes_nothing(
    publisher: Publisher, subscriber: Subscriber, nats_url: str
) -> None:
    async with at_work(publisher.relay_worker(), subscriber.consumer()) as workers:
        await publisher.publish("tea", "coffee")
        await subscriber.until_received(2)
        # Without the stream its memory of what it had is gone, too.
        await _delete_stream(nats_url)
        await publisher.forget_publishing()
        await publisher.publish("milk")
        await subscriber.until_received(3)
        assert (await workers.settle(GRACE_SECONDS)).quiet
    assert await subscriber.received() == ["coffee", "milk", "tea"]


async def test_a_broker_that_lost_everything_is_filled_again(
    publisher: Publisher, subscriber: Subscriber, nats_server: EmbeddedNats
) -> None:
    await publisher.publish("tea")
    async with at_work(publisher.relay_worker()):
        await until(lambda: _is_zero(publisher))
        await asyncio.to_thread(_wipe, nats_server)
        async with at_work(subscriber.consumer()):
            await subscriber.until_received(1)
    assert await subscriber.received() == ["tea"]


async def test_a_crash_of_the_broker_is_survived(
    publisher: Publisher, subscriber: Subscriber, nats_server: EmbeddedNats
) -> None:
    async with at_work(publisher.relay_worker(), subscriber.consumer()):
        await publisher.publish("tea")
        await subscriber.until_received(1)
        await asyncio.to_thread(nats_server.kill)
        await publisher.publish("coffee")
        await asyncio.to_thread(nats_server.start)
        await subscriber.until_received(2)
    assert await subscriber.received() == ["coffee", "tea"]


async def test_a_restart_of_the_database_is_survived(
    publisher: Publisher, subscriber: Subscriber, broker: Broker, postgres: EmbeddedPostgres
) -> None:
    async with at_work(publisher.relay_worker(), subscriber.consumer()) as workers:
        await publisher.publish("tea")
        await subscriber.until_received(1)
        # What is heard before that is written down would be claimed until long after the restart.
        await until(lambda: _is_zero(publisher))
        await asyncio.to_thread(postgres.stop)
        await _publish(broker, "coffee")
        await until(lambda: _was_redelivered(broker))
        await asyncio.to_thread(postgres.start)
        await publisher.publish("milk")
        await subscriber.until_received(3)
        assert (await workers.settle(GRACE_SECONDS)).quiet
    assert await subscriber.received() == ["coffee", "milk", "tea"]
    assert await subscriber.dead_letters() == 0


async def test_one_bad_event_of_a_batch_holds_nobody_up_and_is_given_up(
    publisher: Publisher, subscriber: Subscriber, broker: Broker
) -> None:
    subscriber.poison = {"poison"}
    await publisher.publish("coffee", "poison", "tea")
    async with at_work(publisher.relay_worker(), subscriber.consumer()) as workers:
        await subscriber.until_received(2)
        await until(subscriber.dead_letters)
        assert (await workers.settle(GRACE_SECONDS)).quiet
    assert await subscriber.received() == ["coffee", "tea"]
    assert not await _was_redelivered(broker)
    [letter] = await dead_letters(subscriber.database, None)
    assert (letter.type, letter.partition_key) == (SUBJECT, "poison")
    assert (letter.error, letter.failure_count) == ("ValueError: cannot be handled", FAILURES_MAX)


async def test_a_bad_event_is_given_up_after_so_many_tries_of_all_replicas_and_restarts(
    publisher: Publisher, subscriber: Subscriber
) -> None:
    subscriber.retry_seconds = RESTART_SECONDS
    subscriber.poison = {"poison"}
    await publisher.publish("poison")
    for failures in range(1, FAILURES_MAX):
        async with at_work(publisher.relay_worker(), subscriber.consumer()):
            failed = f"failed_events WHERE failure_count = {failures}"
            await until(partial(count, subscriber.database, failed))
    assert await subscriber.dead_letters() == 0
    async with at_work(subscriber.consumer(), subscriber.consumer()):
        await until(subscriber.dead_letters)
    [letter] = await dead_letters(subscriber.database, None)
    assert letter.failure_count == FAILURES_MAX


async def test_a_bad_event_that_gets_better_is_handled(
    publisher: Publisher, subscriber: Subscriber
) -> None:
    subscriber.poison = {"tea"}
    await publisher.publish("tea")
    async with at_work(publisher.relay_worker(), subscriber.consumer()):
        await asyncio.wait_for(subscriber.handling.wait(), GRACE_SECONDS)
        subscriber.poison = set()
        await subscriber.until_received(1)
    assert await subscriber.dead_letters() == 0


async def test_what_is_no_event_is_given_up(
    publisher: Publisher, subscriber: Subscriber, broker: Broker
) -> None:
    await broker.publish(SUBJECT, b"\xff", {}, GRACE_SECONDS)
    empty = CloudEventBatch(events=[CloudEvent(id="1")]).SerializeToString()
    await broker.publish(SUBJECT, empty, {}, GRACE_SECONDS)
    await publisher.publish("tea")
    async with at_work(publisher.relay_worker(), subscriber.consumer()):
        await subscriber.until_received(1)
        await until(subscriber.dead_letters)
    assert await subscriber.received() == ["tea"]


async def test_a_malformed_trace_is_no_reason_to_give_an_event_up(
    subscriber: Subscriber, publisher: Publisher, broker: Broker
) -> None:
    del publisher  # It made the stream.
    await _publish(broker, "tea", traceparent="00-not-a-trace")
    async with at_work(subscriber.consumer()):
        await subscriber.until_received(1)
    assert await subscriber.received() == ["tea"]


async def test_of_several_relays_one_publishes_at_a_time(
    publisher: Publisher, nats_url: str
) -> None:
    keys = {f"p{number}" for number in range(3 * BATCH_MAX_EVENTS)}
    client = await nats.connect(nats_url)
    subscription = await client.subscribe("recurring.>", pending_msgs_limit=-1)
    await flush(client)
    await publisher.publish(*keys)
    first = SlowRelay(publisher.database, publisher.broker, SERVICE)
    step = asyncio.create_task(first.step())
    await asyncio.wait_for(first.publishing.wait(), GRACE_SECONDS)
    others = await asyncio.gather(*(publisher.relay().step() for _ in range(3)))
    first.free.set()
    published = await step
    await flush(client)
    batches = [message.data async for message in _pending(subscription)]
    await client.close()

    assert (published.worked, [other.worked for other in others]) == (len(keys), [0, 0, 0])
    assert all(other.pending for other in others)
    assert {told.product for told in messages(events_pb2.ProductDiscontinued, batches)} == keys
    assert len(batches) == 3


async def test_a_relay_that_wakes_up_late_moves_the_cursor_nowhere(publisher: Publisher) -> None:
    """Its lease has ended, another has published further, and an operator has begun a replay."""
    late = SlowRelay(publisher.database, publisher.broker, SERVICE)
    await publisher.publish("tea")
    step = asyncio.create_task(late.step())
    await asyncio.wait_for(late.publishing.wait(), GRACE_SECONDS)
    async with publisher.database.begin() as tx:
        await tx.execute("UPDATE outbox_cursor SET lease_end_time = now()")
    await publisher.publish("coffee")
    assert (await publisher.relay().step()).worked == 2
    await outbox.replay(publisher.database, NOW)
    late.free.set()
    await step
    assert await publisher.unpublished() == 2


async def test_a_relay_that_is_started_in_the_place_of_one_that_crashed_publishes_at_once(
    publisher: Publisher,
) -> None:
    crashed, again, other = (
        SlowRelay(publisher.database, publisher.broker, SERVICE, name)
        for name in ("one", "one", "other")
    )
    await publisher.publish("tea")
    step = asyncio.create_task(crashed.step())
    await asyncio.wait_for(crashed.publishing.wait(), GRACE_SECONDS)
    other.free.set()
    again.free.set()
    assert (await other.step()).worked == 0
    assert (await again.step()).worked == 1
    # Were it alive after all, it would move the cursor nowhere.
    await outbox.replay(publisher.database, NOW)
    crashed.free.set()
    await step
    assert await publisher.unpublished() == 1


class SlowRelay(Relay):
    """Publishes when it is told to."""

    def __init__(self, database: Database, broker: Broker, service: str, name: str = "") -> None:
        super().__init__(database, broker, service, name=name)
        self.publishing, self.free = asyncio.Event(), asyncio.Event()

    async def _publish(self, row: Any) -> None:  # noqa: ANN401
        self.publishing.set()
        await self.free.wait()
        await super()._publish(row)


async def test_an_event_waits_for_every_older_transaction(
    publisher: Publisher, subscriber: Subscriber
) -> None:
    """Otherwise the cursor would have passed what an older one publishes later."""
    async with publisher.database.begin() as older:
        await outbox.put(older, [discontinued("tea")])
        await publisher.publish("coffee")
        step = await publisher.relay().step()
        assert (step.worked, step.pending) == (0, True)
    assert (await publisher.relay().step()).worked == 2
    async with at_work(subscriber.consumer()):
        await subscriber.until_received(2)


async def test_an_outbox_from_another_server_is_published_after_it_was_migrated(
    publisher: Publisher, subscriber: Subscriber
) -> None:
    """As a dump has it that was restored where fewer transactions have been."""
    await publisher.publish("tea")
    await publisher.relay().step()
    async with as_owner(publisher.database) as tx:
        for table in ("outbox", "outbox_cursor"):
            await tx.execute(f"UPDATE {table} SET transaction_id = '1000000000000'")  # noqa: S608
    await publisher.publish("coffee")
    with pytest.raises(ForeignOutboxError, match="restored from another server: migrate"):
        await publisher.relay().step()
    async with as_owner(publisher.database) as tx:
        for statement in ADOPT_OUTBOX:
            await tx.execute(statement)
    async with at_work(publisher.relay_worker(), subscriber.consumer()):
        await subscriber.until_received(2)
    assert await subscriber.received() == ["coffee", "tea"]
    assert await publisher.unpublished() == 0


async def test_two_consumers_share_the_work(publisher: Publisher, subscriber: Subscriber) -> None:
    keys = sorted(f"p{number}" for number in range(1200))
    consumers = [subscriber.consumer(), subscriber.consumer()]
    async with at_work(publisher.relay_worker(), *consumers) as workers:
        await publisher.publish(*keys)
        await subscriber.until_received(len(keys))
        assert (await workers.settle(GRACE_SECONDS)).quiet
    assert await subscriber.received() == keys
    assert sum(consumer.activity for consumer, _ in consumers) == len(keys)


async def test_a_relay_that_is_stopped_leaves_its_batches_to_another_at_once(
    publisher: Publisher, nats_server: EmbeddedNats
) -> None:
    await asyncio.to_thread(nats_server.stop)
    await publisher.publish("tea")
    leased = "outbox_cursor WHERE lease_end_time > now()"
    async with at_work(publisher.relay_worker()):
        await until(partial(count, publisher.database, leased))
    assert await count(publisher.database, leased) == 0
    await asyncio.to_thread(nats_server.start)


async def test_a_stop_does_not_wait_long_for_a_server_that_does_not_answer(
    nats_server: EmbeddedNats,
) -> None:
    broker = await Broker.connect(nats_server.url, "test")
    server = nats_server.process.find()
    assert server is not None
    server.suspend()
    try:
        async with asyncio.timeout(2 * CLOSE_TIMEOUT_SECONDS):
            await broker.close()
    finally:
        server.resume()


async def test_a_consumer_that_is_stopped_leaves_its_events_to_another_at_once(
    publisher: Publisher, subscriber: Subscriber
) -> None:
    await publisher.publish("tea", "coffee")
    subscriber.free.clear()
    async with at_work(publisher.relay_worker(), subscriber.consumer()):
        await asyncio.wait_for(subscriber.handling.wait(), GRACE_SECONDS)
    subscriber.free.set()
    async with at_work(subscriber.consumer()):
        await subscriber.until_received(2)
    assert await subscriber.received() == ["coffee", "tea"]


async def test_an_outage_is_not_held_against_an_event(
    publisher: Publisher, subscriber: Subscriber, broker: Broker
) -> None:
    """However often it was delivered, it has its own tries before it is given up."""
    subscriber.poison = {"tea"}
    await publisher.relay().ensure_streams()
    await _publish(broker, "tea")
    for _ in range(FAILURES_MAX):
        pull = await broker.pull(STREAM, DURABLE)
        await pull.next_batch(1)
        await broker.end(pull)
    async with at_work(subscriber.consumer()):
        await asyncio.wait_for(subscriber.handling.wait(), GRACE_SECONDS)
        subscriber.poison = set()
        await subscriber.until_received(1)
    assert await subscriber.dead_letters() == 0


async def test_what_was_settled_long_ago_is_deleted(
    publisher: Publisher, subscriber: Subscriber
) -> None:
    async with at_work(publisher.relay_worker(), subscriber.consumer()):
        await publisher.publish("old")
        await publisher.publish("new")
        await subscriber.until_received(2)
        await until(lambda: _is_zero(publisher))
    await _age(publisher, "old", days=38)
    async with subscriber.database.begin() as tx:
        await tx.execute(
            "UPDATE inbox SET handle_time = now() - interval '39 days'"
            " WHERE 'old' = ANY(partition_keys)"
        )
    assert (await outbox.purge(publisher.database, 30)).worked == 1
    assert (await outbox.purge(subscriber.database, 30)).worked == 1
    assert await _kept(publisher) == ["new"]
    assert await count(subscriber.database, "inbox WHERE 'new' = ANY(partition_keys)") == 1


async def test_what_was_never_published_is_kept(publisher: Publisher) -> None:
    await publisher.publish("tea")
    await _age(publisher, "tea", days=38)
    assert (await outbox.purge(publisher.database, 30)).worked == 0
    assert await publisher.unpublished() == 1


async def test_a_week_that_a_proof_is_reading_is_emptied_later(publisher: Publisher) -> None:
    await publisher.publish("tea")
    await publisher.relay().step()
    await _age(publisher, "tea", days=38)
    async with publisher.database.begin() as reading:
        await reading.execute("SELECT FROM outbox")
        assert (await outbox.purge(publisher.database, 30)).worked == 0
    assert (await outbox.purge(publisher.database, 30)).worked == 1


async def _age(publisher: Publisher, key: str, days: int) -> None:
    """As if a batch had been stored so long ago."""
    stored = f"now() - interval '{days} days'"
    async with as_owner(publisher.database) as tx:
        await tx.execute(
            f"UPDATE outbox SET store_time = {stored}, partition = outbox_week({stored}) % 8"  # noqa: S608
            " WHERE $1 = ANY(partition_keys)",
            key,
        )


async def _kept(publisher: Publisher) -> list[str]:
    async with publisher.database.read() as connection:
        return [key for (key,) in await connection.fetch("SELECT partition_keys[1] FROM outbox")]


async def _pending(subscription: Subscription) -> AsyncIterator[Msg]:
    """What has arrived."""
    while subscription.pending_msgs:
        yield await subscription.next_msg(GRACE_SECONDS)


async def _is_zero(publisher: Publisher) -> bool:
    return await publisher.unpublished() == 0


async def _delete_stream(url: str) -> None:
    client = await nats.connect(url)
    await client.jetstream().delete_stream(STREAM)
    await client.close()


def _wipe(server: EmbeddedNats) -> None:
    server.stop()
    shutil.rmtree(server.folder / "store")
    server.start()


async def _publish_newer(broker: Broker, key: str) -> None:
    await _publish_fact(
        broker, OutboxEvent(key, events_pb2.StockLow(product=key), "acme", key, NOW)
    )


async def _publish(broker: Broker, key: str, traceparent: str = "") -> None:
    await _publish_fact(broker, discontinued(key), traceparent)


async def _publish_fact(broker: Broker, told: OutboxEvent, traceparent: str = "") -> None:
    [batch] = in_batches([told], traceparent)
    await broker.publish(batch.type, batch.data, batch_headers(batch.batch_id), GRACE_SECONDS)


async def _was_redelivered(broker: Broker) -> bool:
    return bool((await broker.consumer_info(STREAM, DURABLE)).num_redelivered)


async def test_an_event_that_was_given_up_is_handled_once_when_it_is_replayed(
    publisher: Publisher, subscriber: Subscriber
) -> None:
    subscriber.poison = {"bad"}
    async with at_work(publisher.relay_worker(), subscriber.consumer()):
        await publisher.publish("bad")

        async def given_up() -> bool:
            return await subscriber.dead_letters() == 1

        await until(given_up)
    [letter] = await dead_letters(subscriber.database, None)

    still = await retry(subscriber.database, subscriber.subscriptions, letter)
    assert "cannot be handled" in still
    assert await subscriber.dead_letters() == 1

    subscriber.poison = set()
    [letter] = await dead_letters(subscriber.database, None)
    outcomes = [await retry(subscriber.database, subscriber.subscriptions, letter) for _ in "ab"]
    assert outcomes == ["", ""]
    assert await subscriber.received() == ["bad"]
    assert await subscriber.dead_letters() == 0
