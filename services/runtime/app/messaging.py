"""Connects a process to NATS: what publishes its events, and what consumes those of others."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.runtime.app.components import Runtime, S
from services.runtime.messaging import streams
from services.runtime.messaging.broker import Broker
from services.runtime.messaging.consumer import Consumer
from services.runtime.messaging.events import Subscriptions, by_type
from services.runtime.messaging.failed_events import FailedEventRetry
from services.runtime.messaging.relay import Relay
from services.runtime.messaging.streams import Make
from services.runtime.workers.retry import retry_until_success


@dataclass(frozen=True, slots=True)
class Messaging:
    """The connection, and what works on it."""

    broker: Broker
    relay: Relay
    consumers: Sequence[Consumer]
    failed_events: FailedEventRetry


async def start_messaging(
    service: str, name: str, runtime: Runtime[S], subscriptions: Subscriptions
) -> Messaging:
    """Connect, and wait until the service's streams and durable consumers exist.

    `name` is that of the process.
    """
    settings = runtime.settings
    broker = await _connect(service, runtime, settings.nats_url)
    merchants = settings.platform_merchants.split()
    make: Make | None = None
    if settings.migration_nats_url:
        migrator = await _connect(service, runtime, settings.migration_nats_url)
        durables = streams.durables(service, subscriptions, merchants)

        async def make() -> None:
            await streams.make(migrator, durables)

    relay = Relay(
        runtime.database,
        broker,
        service,
        name=name,
        platform_merchants=frozenset(merchants),
        make=make,
    )
    await retry_until_success("nats", relay.ensure_streams)
    retry_seconds = settings.event_retry_seconds
    consumers = [
        Consumer(runtime.database, broker, stream, service, handled, make, retry_seconds)
        for stream, handled in subscriptions.items()
    ]
    for consumer in consumers:
        await retry_until_success("nats", consumer.check_durable)
    failed_events = FailedEventRetry(
        runtime.database, runtime.clock, by_type(subscriptions), retry_seconds=retry_seconds
    )
    return Messaging(broker, relay, consumers, failed_events)


async def _connect(service: str, runtime: Runtime[S], url: str) -> Broker:
    trust, replicas = runtime.identity.trust, runtime.settings.nats_stream_replicas
    broker = await retry_until_success(
        "nats", lambda: Broker.connect(url, service, trust, replicas)
    )
    runtime.resources.push_async_callback(broker.close)
    return broker
