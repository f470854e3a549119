"""Consumers: read the batches of a stream, and hand them to the inbox."""

import asyncio
import logging
import time
from collections.abc import Iterator, Sequence
from datetime import datetime

from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from services.runtime.crash_points import CrashPoint
from services.runtime.db.pool import Database
from services.runtime.messaging import inbox, streams
from services.runtime.messaging.broker import Broker, Pull
from services.runtime.messaging.events import Subscription
from services.runtime.messaging.failed_events import RETRY_SECONDS
from services.runtime.messaging.inbox import ReceivedBatch
from services.runtime.messaging.streams import Make
from services.runtime.observability import metrics, outages
from services.runtime.observability.outages import is_outage
from services.runtime.workers.retry import retry_until_success

log = logging.getLogger(__name__)

CONSUME_MESSAGES_MAX = 500
# Of what is handled in one transaction; a batch by itself may have as many.
CONSUME_EVENTS_MAX = 500
OUTAGE_PAUSE_SECONDS = 0.5
SETTLE_POLL_SECONDS = 0.01
_RECEIVED = CrashPoint("inbox.received", "Events are delivered and not handled.")
_HANDLED = CrashPoint("inbox.handled", "Events are handled and not acknowledged.")

# A message, and the batch that it is.
_Delivery = tuple[Msg, ReceivedBatch]


class Consumer:
    """Reads a stream by a durable consumer that all replicas of a service share."""

    def __init__(
        self,
        database: Database,
        broker: Broker,
        stream: str,
        durable: str,
        subscriptions: Sequence[Subscription],
        make: Make | None = None,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        """Without `make`, which creates durable consumers, a missing one is waited for."""
        self.activity = 0
        self._database = database
        self._broker = broker
        self._stream = stream
        self._durable = durable
        self._subscriptions = {subscription.type: subscription for subscription in subscriptions}
        self._make = make
        self._retry_seconds = retry_seconds
        self._broker_outage, self._database_outage = outages.Reporter(), outages.Reporter()

    def wake(self) -> None:
        """Messages arrive by themselves."""

    async def settle(self) -> datetime | None:
        """Wait until the server has no message and expects no acknowledgement of this consumer."""
        while True:
            try:
                info = await self._broker.consumer_info(self._stream, self._durable)
            except (NatsError, TimeoutError):
                await asyncio.sleep(OUTAGE_PAUSE_SECONDS)
                continue
            if not info.num_pending and not info.num_ack_pending:
                return None
            await asyncio.sleep(SETTLE_POLL_SECONDS)

    async def run(self) -> None:
        """Consume until cancelled, through outages of the broker and the database."""
        while True:
            try:
                pull = await retry_until_success(
                    "events", self._pull, is_transient=lambda error: not _is_of_broker(error)
                )
                self._broker_outage.works()
                await self._consume(pull)
            except Exception as error:
                if _is_of_broker(error):
                    self._broker_outage.failed(outages.BROKER, error)
                else:
                    log.exception("consumer failed", extra={"stream": self._stream})
                await asyncio.sleep(OUTAGE_PAUSE_SECONDS)

    async def check_durable(self) -> None:
        """Check the durable consumer. Raises DurableMissingError if it may not be created here."""
        await streams.ensure(
            lambda: streams.check_durable(
                self._broker, self._stream, self._durable, self._subscriptions
            ),
            self._make,
        )

    async def _pull(self) -> Pull:
        """Start to pull. Raises DurableMissingError."""
        await self.check_durable()
        return await self._broker.pull(self._stream, self._durable)

    async def _consume(self, pull: Pull) -> None:
        """Handle what arrives until nothing does; then the durable consumer is checked again."""
        try:
            while messages := await pull.next_batch(CONSUME_MESSAGES_MAX):
                for deliveries in _grouped([(each, self._receive(each)) for each in messages]):
                    await self._handle(deliveries)
        finally:
            await self._broker.end(pull)

    def _receive(self, message: Msg) -> ReceivedBatch:
        delivery = f"{self._stream}|{message.metadata.sequence.stream}"
        subscription = self._subscriptions.get(message.subject)
        return inbox.receive(message.subject, subscription, message.data, delivery)

    async def _handle(self, deliveries: Sequence[_Delivery]) -> None:
        """Handle batches in one transaction; if that fails, each of their events by itself."""
        started = time.perf_counter()
        outcome = "ok"
        _RECEIVED.reached()
        try:
            try:
                await self._transact(deliveries)
            except Exception as error:
                if is_outage(error):
                    raise
                outcome = "error"
                log.exception("events failed; trying them apart")
                await self._transact(deliveries, apart=True)
        except Exception as error:  # noqa: BLE001 - whatever it is, the messages come again
            outcome = "outage" if is_outage(error) else "error"
            await self._return(deliveries, error)
        else:
            self._database_outage.works()
            _HANDLED.reached()
            await asyncio.gather(*(message.ack() for message, _ in deliveries))
        metrics.BATCH_SECONDS.record(
            time.perf_counter() - started, {metrics.DESTINATION: self._stream, "outcome": outcome}
        )

    async def _transact(self, deliveries: Sequence[_Delivery], *, apart: bool = False) -> None:
        batches = [batch for _, batch in deliveries]
        async with self._database.begin() as tx:
            handled = await inbox.handle_new(
                tx, self._subscriptions, batches, apart=apart, retry_seconds=self._retry_seconds
            )
        for event_type, count in handled.items():
            metrics.EVENTS_HANDLED.add(count, {metrics.DESTINATION: event_type})
        self.activity += sum(len(batch.events) + len(batch.failures) for batch in batches)

    async def _return(self, deliveries: Sequence[_Delivery], error: Exception) -> None:
        """Return messages during an outage of the database, for another replica or for later."""
        if what := outages.out_of_reach(error):
            self._database_outage.failed(what, error)
        else:
            log.warning("events are retried: %r", error, extra={"stream": self._stream})
        await asyncio.gather(*(message.nak(OUTAGE_PAUSE_SECONDS) for message, _ in deliveries))
        await asyncio.sleep(OUTAGE_PAUSE_SECONDS)


def _grouped(deliveries: Sequence[_Delivery]) -> Iterator[list[_Delivery]]:
    """Deliveries by what is handled in one transaction: in order, and not too many events."""
    group: list[_Delivery] = []
    events = 0
    for delivery in deliveries:
        count = len(delivery[1].events)
        if group and events + count > CONSUME_EVENTS_MAX:
            yield group
            group, events = [], 0
        group.append(delivery)
        events += count
    if group:
        yield group


def _is_of_broker(error: Exception) -> bool:
    """Whether the broker is out of reach; errors of the database are handled before."""
    return isinstance(error, NatsError | TimeoutError | OSError)
