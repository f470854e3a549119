"""Events from an outbox to an inbox: all arrive, each is handled once, whatever fails."""

import asyncio
import shutil
from dataclasses import replace
from functools import partial

import nats
import pytest
from recurring.catalog.v1 import events_pb2
from sqlalchemy import text

from deploy.embedded.nats import EmbeddedNats
from deploy.embedded.postgres import EmbeddedPostgres
from services.runtime.messaging import outbox, streams
from services.runtime.messaging.broker import CLOSE_TIMEOUT_SECONDS, Broker
from services.runtime.messaging.events import OutboxEvent
from services.runtime.messaging.inbox import FAILURES_MAX, dead_letters, redrive
from services.runtime.messaging.outbox import OutboxRow, Relay, headers
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


async def test_an_event_carries_what_any_reader_needs(publisher: Publisher, nats_url: str) -> None:
    client = await nats.connect(nats_url)
    subscription = await client.subscribe("recurring.>")
    await client.flush()
    await publisher.publish("tea")
    await publisher.relay().step()
    event = await subscription.next_msg(GRACE_SECONDS)
    await client.close()

    head = dict(event.headers or {})
    assert head.pop("ce-id") == head["Nats-Msg-Id"] == str(discontinued("tea").event_id)
    del head["Nats-Msg-Id"], head["traceparent"]
    assert (event.subject, head) == (
        SUBJECT,
        {
            "ce-specversion": "1.0",
            "ce-type": SUBJECT,
            "ce-source": "//recurring/catalog",
            "ce-time": NOW.isoformat(),
            "ce-partitionkey": "tea",
            "ce-tenant": "acme",
            "content-type": "application/protobuf",
        },
    )
    assert events_pb2.ProductDiscontinued.FromString(event.data).product == "tea"


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


async def test_a_durable_that_hears_too_little_is_waited_for(
    publisher: Publisher, subscriber: Subscriber, broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    await publisher.publish("tea")
    async with at_work(subscriber.consumer(events_pb2.StockLow), publisher.relay_worker()):

        async def said() -> bool:
            return "does not have recurring.catalog.v1.StockLow: migrate" in caplog.text

        await until(said)
        await broker.ensure_durable(NEWER)
        await subscriber.until_received(1)


async def test_an_older_version_takes_nothing_from_what_a_durable_hears(
    publisher: Publisher, broker: Broker
) -> None:
    await broker.ensure_durable(NEWER)
    await publisher.make()
    assert await broker.subjects_of(STREAM, DURABLE) == NEWER.subjects


async def test_what_only_a_newer_version_knows_is_left_to_it(
    subscriber: Subscriber, publisher: Publisher, broker: Broker
) -> None:
    del publisher  # It made the stream.
    await broker.ensure_durable(NEWER)
    await _publish_newer(broker, "tea")
    async with at_work(subscriber.consumer(unknown_type_seconds=0.5)):
        await until(lambda: _was_redelivered(broker))
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


async def test_one_bad_event_holds_nobody_up_and_is_given_up(
    publisher: Publisher, subscriber: Subscriber
) -> None:
    subscriber.poison = {"poison"}
    await publisher.publish("coffee", "poison", "tea")
    async with at_work(publisher.relay_worker(), subscriber.consumer()) as workers:
        await subscriber.until_received(2)
        await until(subscriber.dead_letters)
        assert (await workers.settle(GRACE_SECONDS)).quiet
    assert await subscriber.received() == ["coffee", "tea"]
    async with subscriber.database.read() as connection:
        [letter] = await connection.execute(text("SELECT * FROM dead_letters"))
    assert (letter.type, letter.partition_key) == (SUBJECT, "poison")
    assert letter.error == "ValueError: cannot be handled"
    assert events_pb2.ProductDiscontinued.FromString(letter.data).product == "poison"


async def test_a_bad_event_is_given_up_after_so_many_tries_of_all_replicas_and_restarts(
    publisher: Publisher, subscriber: Subscriber, broker: Broker
) -> None:
    subscriber.poison = {"poison"}
    await publisher.relay().ensure_streams()
    await _publish(broker, "poison")
    for failures in range(1, FAILURES_MAX):
        async with at_work(subscriber.consumer(redelivery_seconds=RESTART_SECONDS)):
            failed = f"failed_deliveries WHERE failure_count = {failures}"
            await until(partial(count, subscriber.database, failed))
            await asyncio.sleep(RESTART_SECONDS / 4)  # for the broker to hear of it
    assert await subscriber.dead_letters() == 0
    async with at_work(subscriber.consumer(), subscriber.consumer()):
        await until(subscriber.dead_letters)
    delivered = (await broker.consumer_info(STREAM, DURABLE)).delivered
    assert delivered is not None
    assert delivered.consumer_seq == FAILURES_MAX
    assert await count(subscriber.database, "failed_deliveries") == 0


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


async def test_two_relays_share_the_work(publisher: Publisher, nats_url: str) -> None:
    keys = {f"p{number}" for number in range(1200)}
    client = await nats.connect(nats_url)
    subscription = await client.subscribe("recurring.>", pending_msgs_limit=-1)
    await client.flush()
    await publisher.publish(*keys)
    steps = [publisher.relay().step() for _ in range(4)]
    worked = [step.worked for step in await asyncio.gather(*steps)]
    await client.flush()
    told = [await subscription.next_msg(GRACE_SECONDS) for _ in range(sum(worked))]
    await client.close()

    assert sum(worked) == len(keys)
    assert sum(1 for count_one in worked if count_one) > 1
    assert {(event.headers or {})["ce-partitionkey"] for event in told} == keys


async def test_two_consumers_share_the_work(publisher: Publisher, subscriber: Subscriber) -> None:
    keys = sorted(f"p{number}" for number in range(1200))
    consumers = [subscriber.consumer(), subscriber.consumer()]
    async with at_work(publisher.relay_worker(), *consumers) as workers:
        await publisher.publish(*keys)
        await subscriber.until_received(len(keys))
        assert (await workers.settle(GRACE_SECONDS)).quiet
    assert await subscriber.received() == keys
    assert sum(consumer.activity for consumer in consumers) == len(keys)


async def test_a_relay_that_is_stopped_gives_back_what_it_claimed(
    publisher: Publisher, nats_server: EmbeddedNats
) -> None:
    await asyncio.to_thread(nats_server.stop)
    await publisher.publish("tea")
    async with at_work(publisher.relay_worker()):
        await until(lambda: count(publisher.database, "outbox WHERE claim_time IS NOT NULL"))
    assert await count(publisher.database, "outbox WHERE claim_time IS NOT NULL") == 0
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
        await publisher.publish("old", "new")
        await subscriber.until_received(2)
    long_ago = "now() - interval '31 days'"
    async with publisher.database.begin() as tx:
        await tx.execute(
            text(f"UPDATE outbox SET publish_time = {long_ago} WHERE partition_key = 'old'")  # noqa: S608
        )
    async with subscriber.database.begin() as tx:
        await tx.execute(
            text(f"UPDATE inbox SET handle_time = {long_ago} WHERE partition_key = 'old'")  # noqa: S608
        )
    assert (await outbox.purge(publisher.database, 30)).worked == 1
    assert (await outbox.purge(subscriber.database, 30)).worked == 1
    assert await count(publisher.database, "outbox WHERE partition_key = 'new'") == 1
    assert await count(subscriber.database, "inbox WHERE partition_key = 'new'") == 1


async def test_what_was_never_published_is_kept(publisher: Publisher) -> None:
    await publisher.publish("tea")
    assert (await outbox.purge(publisher.database, 0)).worked == 0
    assert await publisher.unpublished() == 1


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
    row = OutboxRow(
        position=0,
        data=told.message.SerializeToString(),
        event_id=told.event_id,
        type=told.type,
        occur_time=NOW,
        partition_key=told.partition_key,
        tenant="acme",
        traceparent=traceparent,
    )
    await broker.publish(told.type, row.data, headers(row, f"//recurring/{SERVICE}"), GRACE_SECONDS)


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

    still = await redrive(subscriber.database, subscriber.subscriptions, letter)
    assert "cannot be handled" in still
    assert await subscriber.dead_letters() == 1

    subscriber.poison = set()
    outcomes = [await redrive(subscriber.database, subscriber.subscriptions, letter) for _ in "ab"]
    assert outcomes == ["", ""]
    assert await subscriber.received() == ["bad"]
    assert await subscriber.dead_letters() == 0
