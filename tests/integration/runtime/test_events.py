"""Facts on their way from an outbox to an inbox: all of them, each once, whatever happens."""

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
from tests.integration.runtime.postbox import (
    DURABLE,
    GRACE_SECONDS,
    LISTENERS,
    NOW,
    SERVICE,
    STREAM,
    SUBJECT,
    Listener,
    Teller,
    at_work,
    count,
    fact,
    until,
)

# A failed event comes again after so long: time to stop its reader and start another one.
RESTART_SECONDS = 0.4


async def test_a_fact_is_told_once_and_handled_once(teller: Teller, listener: Listener) -> None:
    await teller.tell("tea", "coffee")
    async with at_work(teller.relay_worker(), listener.consumer()) as workers:
        await listener.until_heard(2)
        assert (await workers.settle(GRACE_SECONDS)).quiet
    assert await listener.heard() == ["coffee", "tea"]
    assert await teller.unpublished() == 0


async def test_telling_a_fact_again_changes_nothing(teller: Teller, listener: Listener) -> None:
    async with at_work(teller.relay_worker(), listener.consumer()) as workers:
        await teller.tell("tea")
        await listener.until_heard(1)
        await teller.tell("tea")
        assert (await workers.settle(GRACE_SECONDS)).quiet
    assert await listener.heard() == ["tea"]


async def test_an_event_carries_what_any_reader_needs(teller: Teller, nats_url: str) -> None:
    client = await nats.connect(nats_url)
    subscription = await client.subscribe("recurring.>")
    await client.flush()
    await teller.tell("tea")
    await teller.relay().step()
    event = await subscription.next_msg(GRACE_SECONDS)
    await client.close()

    head = dict(event.headers or {})
    assert head.pop("ce-id") == head["Nats-Msg-Id"] == str(fact("tea").event_id)
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


async def test_what_was_rolled_back_is_not_told(teller: Teller, listener: Listener) -> None:
    async def fail() -> None:
        async with teller.database.begin() as tx:
            await outbox.put(tx, [fact("tea")])
            raise LookupError

    async with at_work(teller.relay_worker(), listener.consumer()) as workers:
        with_error = await asyncio.gather(fail(), return_exceptions=True)
        assert isinstance(with_error[0], LookupError)
        await teller.tell("coffee")
        await listener.until_heard(1)
        assert (await workers.settle(GRACE_SECONDS)).quiet
    assert await listener.heard() == ["coffee"]


async def test_what_is_published_twice_is_handled_once(teller: Teller, listener: Listener) -> None:
    await teller.tell("tea")
    async with at_work(teller.relay_worker(), listener.consumer()) as workers:
        await listener.until_heard(1)
        await teller.forget_publishing()
        assert (await workers.settle(GRACE_SECONDS)).quiet
    assert await listener.heard() == ["tea"]
    assert await teller.unpublished() == 0


async def test_a_lost_stream_comes_back_with_all_that_it_had(
    teller: Teller, listener: Listener, nats_url: str
) -> None:
    await teller.tell("tea")
    async with at_work(teller.relay_worker()):
        await until(lambda: _is_zero(teller))
        await _delete_stream(nats_url)
        await teller.tell("coffee")
        async with at_work(listener.consumer()):
            await listener.until_heard(2)
    assert await listener.heard() == ["coffee", "tea"]


async def test_a_stream_that_others_made_anew_is_filled_by_who_may_not_make_one(
    teller: Teller, listener: Listener, broker: Broker, nats_url: str
) -> None:
    await teller.tell("tea")
    async with at_work(teller.relay_worker()):
        await until(lambda: _is_zero(teller))
    await _delete_stream(nats_url)
    relay = Relay(teller.database, broker, SERVICE)
    with pytest.raises(StreamMissingError, match="stream CATALOG is not there"):
        await relay.ensure_streams()
    await teller.make()
    await relay.ensure_streams()
    async with at_work(teller.relay_worker(), listener.consumer()):
        await listener.until_heard(1)
    assert await listener.heard() == ["tea"]


async def test_a_durable_that_nobody_has_made_is_waited_for(
    teller: Teller,
    listener: Listener,
    broker: Broker,
    nats_url: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await _delete_stream(nats_url)
    await streams.make(broker, [])
    async with at_work(listener.consumer(), teller.relay_worker()):

        async def said() -> bool:
            return "durable listener of stream CATALOG is not there: migrate" in caplog.text

        await until(said)
        await teller.make()
        await teller.tell("tea")
        await listener.until_heard(1)
    assert caplog.text.count("is not there") == 1


NEWER = replace(LISTENERS, subjects=LISTENERS.subjects | {"recurring.catalog.v1.StockLow"})


async def test_a_durable_that_hears_too_little_is_waited_for(
    teller: Teller, listener: Listener, broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    await teller.tell("tea")
    async with at_work(listener.consumer(events_pb2.StockLow), teller.relay_worker()):

        async def said() -> bool:
            return "does not have recurring.catalog.v1.StockLow: migrate" in caplog.text

        await until(said)
        await broker.ensure_durable(NEWER)
        await listener.until_heard(1)


async def test_an_older_version_takes_nothing_from_what_a_durable_hears(
    teller: Teller, broker: Broker
) -> None:
    await broker.ensure_durable(NEWER)
    await teller.make()
    assert await broker.subjects_of(STREAM, DURABLE) == NEWER.subjects


async def test_what_only_a_newer_version_knows_is_left_to_it(
    listener: Listener, teller: Teller, broker: Broker
) -> None:
    del teller  # It made the stream.
    await broker.ensure_durable(NEWER)
    await _publish_newer(broker, "tea")
    async with at_work(listener.consumer(unknown_type_seconds=0.5)):
        await until(lambda: _was_redelivered(broker))
        async with at_work(listener.consumer(events_pb2.StockLow)):
            await listener.until_heard(1)
    assert await listener.dead_letters() == 0


async def test_what_only_a_newer_version_knows_is_kept_for_it_where_none_runs(
    listener: Listener, teller: Teller, broker: Broker
) -> None:
    await broker.ensure_durable(NEWER)
    await _publish_newer(broker, "tea")
    async with at_work(listener.consumer(), teller.relay_worker()):
        # It holds nothing up.
        await teller.tell("coffee")
        await until(listener.dead_letters)
    assert await listener.heard() == ["coffee"]
    [letter] = await dead_letters(listener.database, None)
    assert letter.error == "LookupError: this version does not know recurring.catalog.v1.StockLow"


async def test_a_replay_of_everything_changes_nothing(
    teller: Teller, listener: Listener, nats_url: str
) -> None:
    async with at_work(teller.relay_worker(), listener.consumer()) as workers:
        await teller.tell("tea", "coffee")
        await listener.until_heard(2)
        # Without the stream its memory of what it had is gone, too.
        await _delete_stream(nats_url)
        await teller.forget_publishing()
        await teller.tell("milk")
        await listener.until_heard(3)
        assert (await workers.settle(GRACE_SECONDS)).quiet
    assert await listener.heard() == ["coffee", "milk", "tea"]


async def test_a_broker_that_lost_everything_is_filled_again(
    teller: Teller, listener: Listener, nats_server: EmbeddedNats
) -> None:
    await teller.tell("tea")
    async with at_work(teller.relay_worker()):
        await until(lambda: _is_zero(teller))
        await asyncio.to_thread(_wipe, nats_server)
        async with at_work(listener.consumer()):
            await listener.until_heard(1)
    assert await listener.heard() == ["tea"]


async def test_a_crash_of_the_broker_is_survived(
    teller: Teller, listener: Listener, nats_server: EmbeddedNats
) -> None:
    async with at_work(teller.relay_worker(), listener.consumer()):
        await teller.tell("tea")
        await listener.until_heard(1)
        await asyncio.to_thread(nats_server.kill)
        await teller.tell("coffee")
        await asyncio.to_thread(nats_server.start)
        await listener.until_heard(2)
    assert await listener.heard() == ["coffee", "tea"]


async def test_a_restart_of_the_database_is_survived(
    teller: Teller, listener: Listener, broker: Broker, postgres: EmbeddedPostgres
) -> None:
    async with at_work(teller.relay_worker(), listener.consumer()) as workers:
        await teller.tell("tea")
        await listener.until_heard(1)
        # What is heard before that is written down would be claimed until long after the restart.
        await until(lambda: _is_zero(teller))
        await asyncio.to_thread(postgres.stop)
        await _publish(broker, "coffee")
        await until(lambda: _was_redelivered(broker))
        await asyncio.to_thread(postgres.start)
        await teller.tell("milk")
        await listener.until_heard(3)
        assert (await workers.settle(GRACE_SECONDS)).quiet
    assert await listener.heard() == ["coffee", "milk", "tea"]
    assert await listener.dead_letters() == 0


async def test_one_bad_event_holds_nobody_up_and_is_given_up(
    teller: Teller, listener: Listener
) -> None:
    listener.poison = {"poison"}
    await teller.tell("coffee", "poison", "tea")
    async with at_work(teller.relay_worker(), listener.consumer()) as workers:
        await listener.until_heard(2)
        await until(listener.dead_letters)
        assert (await workers.settle(GRACE_SECONDS)).quiet
    assert await listener.heard() == ["coffee", "tea"]
    async with listener.database.read() as connection:
        [letter] = await connection.execute(text("SELECT * FROM dead_letters"))
    assert (letter.type, letter.partition_key) == (SUBJECT, "poison")
    assert letter.error == "ValueError: cannot be handled"
    assert events_pb2.ProductDiscontinued.FromString(letter.data).product == "poison"


async def test_a_bad_event_is_given_up_after_so_many_tries_of_all_replicas_and_restarts(
    teller: Teller, listener: Listener, broker: Broker
) -> None:
    listener.poison = {"poison"}
    await teller.relay().ensure_streams()
    await _publish(broker, "poison")
    for failures in range(1, FAILURES_MAX):
        async with at_work(listener.consumer(redelivery_seconds=RESTART_SECONDS)):
            failed = f"failed_deliveries WHERE failure_count = {failures}"
            await until(partial(count, listener.database, failed))
            await asyncio.sleep(RESTART_SECONDS / 4)  # for the broker to hear of it
    assert await listener.dead_letters() == 0
    async with at_work(listener.consumer(), listener.consumer()):
        await until(listener.dead_letters)
    delivered = (await broker.consumer_info(STREAM, DURABLE)).delivered
    assert delivered is not None
    assert delivered.consumer_seq == FAILURES_MAX
    assert await count(listener.database, "failed_deliveries") == 0


async def test_a_bad_event_that_gets_better_is_handled(teller: Teller, listener: Listener) -> None:
    listener.poison = {"tea"}
    await teller.tell("tea")
    async with at_work(teller.relay_worker(), listener.consumer()):
        await asyncio.wait_for(listener.handling.wait(), GRACE_SECONDS)
        listener.poison = set()
        await listener.until_heard(1)
    assert await listener.dead_letters() == 0


async def test_what_is_no_event_is_given_up(
    teller: Teller, listener: Listener, broker: Broker
) -> None:
    await broker.publish(SUBJECT, b"\xff", {}, GRACE_SECONDS)
    await teller.tell("tea")
    async with at_work(teller.relay_worker(), listener.consumer()):
        await listener.until_heard(1)
        await until(listener.dead_letters)
    assert await listener.heard() == ["tea"]


async def test_a_malformed_trace_is_no_reason_to_give_an_event_up(
    listener: Listener, teller: Teller, broker: Broker
) -> None:
    del teller  # It made the stream.
    await _publish(broker, "tea", traceparent="00-not-a-trace")
    async with at_work(listener.consumer()):
        await listener.until_heard(1)
    assert await listener.heard() == ["tea"]


async def test_two_relays_share_the_work(teller: Teller, nats_url: str) -> None:
    keys = {f"p{number}" for number in range(1200)}
    client = await nats.connect(nats_url)
    subscription = await client.subscribe("recurring.>", pending_msgs_limit=-1)
    await client.flush()
    await teller.tell(*keys)
    steps = [teller.relay().step() for _ in range(4)]
    worked = [step.worked for step in await asyncio.gather(*steps)]
    await client.flush()
    told = [await subscription.next_msg(GRACE_SECONDS) for _ in range(sum(worked))]
    await client.close()

    assert sum(worked) == len(keys)
    assert sum(1 for count_one in worked if count_one) > 1
    assert {(event.headers or {})["ce-partitionkey"] for event in told} == keys


async def test_two_consumers_share_the_work(teller: Teller, listener: Listener) -> None:
    keys = sorted(f"p{number}" for number in range(1200))
    consumers = [listener.consumer(), listener.consumer()]
    async with at_work(teller.relay_worker(), *consumers) as workers:
        await teller.tell(*keys)
        await listener.until_heard(len(keys))
        assert (await workers.settle(GRACE_SECONDS)).quiet
    assert await listener.heard() == keys
    assert sum(consumer.activity for consumer in consumers) == len(keys)


async def test_a_relay_that_is_stopped_gives_back_what_it_claimed(
    teller: Teller, nats_server: EmbeddedNats
) -> None:
    await asyncio.to_thread(nats_server.stop)
    await teller.tell("tea")
    async with at_work(teller.relay_worker()):
        await until(lambda: count(teller.database, "outbox WHERE claim_time IS NOT NULL"))
    assert await count(teller.database, "outbox WHERE claim_time IS NOT NULL") == 0
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
    teller: Teller, listener: Listener
) -> None:
    await teller.tell("tea", "coffee")
    listener.free.clear()
    async with at_work(teller.relay_worker(), listener.consumer()):
        await asyncio.wait_for(listener.handling.wait(), GRACE_SECONDS)
    listener.free.set()
    async with at_work(listener.consumer()):
        await listener.until_heard(2)
    assert await listener.heard() == ["coffee", "tea"]


async def test_an_outage_is_not_held_against_an_event(
    teller: Teller, listener: Listener, broker: Broker
) -> None:
    """However often it was delivered, it has its own tries before it is given up."""
    listener.poison = {"tea"}
    await teller.relay().ensure_streams()
    await _publish(broker, "tea")
    for _ in range(FAILURES_MAX):
        pull = await broker.pull(STREAM, DURABLE)
        await pull.next_batch(1)
        await broker.end(pull)
    async with at_work(listener.consumer()):
        await asyncio.wait_for(listener.handling.wait(), GRACE_SECONDS)
        listener.poison = set()
        await listener.until_heard(1)
    assert await listener.dead_letters() == 0


async def test_what_was_settled_long_ago_is_deleted(teller: Teller, listener: Listener) -> None:
    async with at_work(teller.relay_worker(), listener.consumer()):
        await teller.tell("old", "new")
        await listener.until_heard(2)
    long_ago = "now() - interval '31 days'"
    async with teller.database.begin() as tx:
        await tx.execute(
            text(f"UPDATE outbox SET publish_time = {long_ago} WHERE partition_key = 'old'")  # noqa: S608
        )
    async with listener.database.begin() as tx:
        await tx.execute(
            text(f"UPDATE inbox SET handle_time = {long_ago} WHERE partition_key = 'old'")  # noqa: S608
        )
    assert (await outbox.purge(teller.database, 30)).worked == 1
    assert (await outbox.purge(listener.database, 30)).worked == 1
    assert await count(teller.database, "outbox WHERE partition_key = 'new'") == 1
    assert await count(listener.database, "inbox WHERE partition_key = 'new'") == 1


async def test_what_was_never_published_is_kept(teller: Teller) -> None:
    await teller.tell("tea")
    assert (await outbox.purge(teller.database, 0)).worked == 0
    assert await teller.unpublished() == 1


async def _is_zero(teller: Teller) -> bool:
    return await teller.unpublished() == 0


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
    await _publish_fact(broker, fact(key), traceparent)


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
    teller: Teller, listener: Listener
) -> None:
    listener.poison = {"bad"}
    async with at_work(teller.relay_worker(), listener.consumer()):
        await teller.tell("bad")

        async def given_up() -> bool:
            return await listener.dead_letters() == 1

        await until(given_up)
    [letter] = await dead_letters(listener.database, None)

    still = await redrive(listener.database, listener.subscriptions, letter)
    assert "cannot be handled" in still
    assert await listener.dead_letters() == 1

    listener.poison = set()
    outcomes = [await redrive(listener.database, listener.subscriptions, letter) for _ in "ab"]
    assert outcomes == ["", ""]
    assert await listener.heard() == ["bad"]
    assert await listener.dead_letters() == 0
