"""NATS JetStream: transport between services. PostgreSQL is the record."""

import asyncio
import contextlib
import json
import logging
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias, cast

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import AuthorizationError, NoServersError, StaleConnectionError, UnexpectedEOF
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    ConsumerInfo,
    DeliverPolicy,
    DiscardPolicy,
    RetentionPolicy,
    StorageType,
    StreamConfig,
)
from nats.js.errors import NotFoundError
from nats.protocol.parser import AUTHORIZATION_VIOLATION

from services.runtime.observability import outages

log = logging.getLogger(__name__)

# The domain of JetStream; the account of a user has no JetStream of its own.
DOMAIN = "events"
CONNECT_TIMEOUT_SECONDS = 5
RECONNECT_WAIT_SECONDS = 1
PING_SECONDS = 10
API_TIMEOUT_SECONDS = 5.0
# The connection is closed after this, whether the server answers or not.
CLOSE_TIMEOUT_SECONDS = 2.0
STREAM_MAX_AGE_SECONDS = 7 * 24 * 3600
STREAM_MAX_BYTES = 1024**3
DUPLICATE_WINDOW_SECONDS = 120
MESSAGE_MAX_BYTES = 1024**2
ACK_WAIT_SECONDS = 10
ACK_PENDING_MAX_MESSAGES = 5000
PULL_EXPIRES_SECONDS = 10.0
# A request brings no more than this, so that all of it is handled before it is delivered again.
PULL_MAX_BYTES = 2 * MESSAGE_MAX_BYTES
# The library reports these while it still calls itself connected.
_CONNECTION_ENDS = (
    OSError, AuthorizationError, NoServersError, StaleConnectionError, UnexpectedEOF,
)  # fmt: skip

# Gives the authorities that the server's certificate may come from.
Trust: TypeAlias = Callable[[], ssl.SSLContext]


@dataclass(frozen=True, slots=True)
class Durable:
    """A durable consumer: the events of a stream that a reader gets, and how far it has come."""

    stream: str
    name: str
    # Never empty, since a stream may hold subjects that are not for every reader.
    subjects: frozenset[str]
    # An event without an acknowledgement is redelivered after this, as long as the stream has it.
    ack_wait_seconds: int = ACK_WAIT_SECONDS
    # The maximum of events without an acknowledgement.
    ack_pending_max_messages: int = ACK_PENDING_MAX_MESSAGES


class ReconnectingClient(Client):
    """A client that also reconnects after the server has refused it, where the library's own gives up.

    While passwords are replaced, the server and its clients differ for a moment. The authorities are
    read for each connection, since they are replaced as well.
    """

    def __init__(self, trust: Trust) -> None:
        super().__init__()
        self._trust = trust

    @property
    def ssl_context(self) -> ssl.SSLContext:
        """The authorities for the next connection."""
        return self._trust()

    async def _process_err(self, err_msg: str) -> None:
        if self.is_connected and AUTHORIZATION_VIOLATION in err_msg:
            await self._process_op_err(AuthorizationError())
        else:
            await super()._process_err(err_msg)


class Broker:
    """A connection that reconnects for as long as the process runs."""

    def __init__(self, client: Client, stream_replicas: int) -> None:
        self._client = client
        self._stream_replicas = stream_replicas
        self._jetstream: JetStreamContext = client.jetstream(
            domain=DOMAIN, timeout=API_TIMEOUT_SECONDS
        )
        self._pulls: set[Pull] = set()

    @classmethod
    async def connect(
        cls,
        url: str,
        name: str,
        trust: Trust = ssl.create_default_context,
        stream_replicas: int = 1,
    ) -> "Broker":
        """Connect, and retry for as long as it takes. A `tls` URL requires a trusted certificate."""
        outage = outages.Reporter()
        logged = ""

        async def report(error: Exception) -> None:
            """Log an error once, however often the client retries."""
            nonlocal logged
            if isinstance(error, _CONNECTION_ENDS) or not client.is_connected:
                outage.failed(outages.BROKER, error)
            elif repr(error) != logged:
                logged = repr(error)
                log.warning("nats: %s", logged)

        async def reconnected() -> None:
            nonlocal logged
            logged = ""
            outage.works()
            for pull in tuple(broker._pulls):
                await pull.renew()

        client = ReconnectingClient(trust)
        await client.connect(
            url,
            name=name,
            connect_timeout=CONNECT_TIMEOUT_SECONDS,
            reconnect_time_wait=RECONNECT_WAIT_SECONDS,
            max_reconnect_attempts=-1,
            ping_interval=PING_SECONDS,
            max_outstanding_pings=2,
            error_cb=report,
            reconnected_cb=reconnected,
        )
        outage.works()
        broker = cls(client, stream_replicas)
        return broker

    @property
    def connected(self) -> bool:
        """Whether there is a connection at this moment."""
        return self._client.is_connected

    @property
    def connections(self) -> int:
        """The number of reconnects, each perhaps to another server."""
        return int(self._client.stats["reconnects"])

    async def close(self) -> None:
        """Send what is buffered, and disconnect."""
        steps = [self._client.flush] if self._client.is_connected else []
        for step in (*steps, self._client.close):
            with contextlib.suppress(NatsError, OSError):
                async with asyncio.timeout(CLOSE_TIMEOUT_SECONDS / 2):
                    await step()

    async def creation_time(self, stream: str) -> datetime | None:
        """When a stream was created; None if the server has no such stream."""
        try:
            # Optional in the library; the server always sends it.
            return cast("datetime", (await self._jetstream.stream_info(stream)).created)
        except NotFoundError:
            return None

    async def ensure_stream(self, name: str, subjects: Sequence[str]) -> None:
        """Create the stream, or update its configuration."""
        config = StreamConfig(
            name=name,
            subjects=list(subjects),
            retention=RetentionPolicy.LIMITS,
            storage=StorageType.FILE,
            num_replicas=self._stream_replicas,
            discard=DiscardPolicy.OLD,
            max_age=STREAM_MAX_AGE_SECONDS,
            max_bytes=STREAM_MAX_BYTES,
            max_msg_size=MESSAGE_MAX_BYTES,
            duplicate_window=DUPLICATE_WINDOW_SECONDS,
        )
        try:
            await self._jetstream.update_stream(config)
        except NotFoundError:
            await self._jetstream.add_stream(config)

    async def ensure_durable(self, durable: Durable) -> None:
        """Create the durable consumer, or update its configuration.

        Its present subjects stay: during a roll-out, or after a roll-back, the version with fewer
        subjects would otherwise take events from the one with more. Raises NotFoundError if the stream
        does not exist.
        """
        present = await self.subjects_of(durable.stream, durable.name)
        await self._jetstream.add_consumer(
            durable.stream,
            ConsumerConfig(
                name=durable.name,
                durable_name=durable.name,
                deliver_policy=DeliverPolicy.ALL,
                ack_policy=AckPolicy.EXPLICIT,
                ack_wait=durable.ack_wait_seconds,
                max_ack_pending=durable.ack_pending_max_messages,
                filter_subjects=sorted(durable.subjects | present),
            ),
        )

    async def subjects_of(self, stream: str, durable: str) -> set[str]:
        """The subjects of a durable consumer; none if it, or its stream, does not exist."""
        try:
            config = (await self.consumer_info(stream, durable)).config
        except NotFoundError:
            return set()
        # The server has a field of its own for a single subject.
        return {*(config.filter_subjects or ()), config.filter_subject} - {None, ""}

    async def consumer_info(self, stream: str, durable: str) -> ConsumerInfo:
        """The state of a consumer at the server."""
        info: ConsumerInfo = await self._jetstream.consumer_info(
            stream, durable, timeout=API_TIMEOUT_SECONDS
        )
        return info

    async def publish(
        self, subject: str, data: bytes, headers: Mapping[str, str], timeout_seconds: float
    ) -> None:
        """Publish, and wait until the stream has stored it. Raises if that is not confirmed in time."""
        await self._jetstream.publish(subject, data, timeout=timeout_seconds, headers=dict(headers))

    async def pull(self, stream: str, durable: str) -> "Pull":
        """Start to pull from a durable consumer."""
        pull = Pull(self._client, f"$JS.{DOMAIN}.API.CONSUMER.MSG.NEXT.{stream}.{durable}")
        await pull.open()
        self._pulls.add(pull)
        return pull

    async def end(self, pull: "Pull") -> None:
        """Stop pulling; unhandled messages are redelivered at once, to any replica."""
        self._pulls.discard(pull)
        if self.connected:
            await pull.close()


class Pull:
    """Pulls messages in batches: one request is open at a time, and what has arrived is a batch.

    The library's fetch waits for a full batch or its time-out; events should neither wait for more of
    them nor be handled one by one.
    """

    def __init__(self, client: Client, subject: str) -> None:
        self._client = client
        self._subject = subject
        self._inbox = client.new_inbox()
        self._subscription: Subscription | None = None
        self._arrived: asyncio.Queue[Msg] = asyncio.Queue()
        # Messages that the open request can still bring.
        self._outstanding = 0
        # The last batch that was returned, or that is being collected.
        self._batch: list[Msg] = []

    async def open(self) -> None:
        """Subscribe to the messages."""
        self._subscription = await self._client.subscribe(
            self._inbox, cb=self._arrived.put, pending_msgs_limit=-1
        )

    async def next_batch(self, limit: int) -> list[Msg]:
        """At least one message and at most `limit`; none if none arrived while the request was open."""
        if self._outstanding <= 0:
            await self._request(limit)
        self._batch = []
        try:
            async with asyncio.timeout(PULL_EXPIRES_SECONDS + 1):
                self._take(await self._arrived.get())
        except TimeoutError:
            # The request was lost.
            self._outstanding = 0
            return []
        # Messages of one burst arrive together: let the client deliver them all.
        await asyncio.sleep(0.001)
        while not self._arrived.empty() and len(self._batch) < limit:
            self._take(self._arrived.get_nowait())
        return self._batch

    async def renew(self) -> None:
        """Request the outstanding messages again: a request ends with its connection."""
        if self._outstanding > 0:
            await self._request(self._outstanding)

    async def close(self) -> None:
        """Stop pulling, and return unhandled messages."""
        if self._subscription is not None:
            await self._subscription.unsubscribe()
        while not self._arrived.empty():
            self._take(self._arrived.get_nowait())
        for message in self._batch:
            if not message.is_acked:
                await message.nak()

    async def _request(self, limit: int) -> None:
        request = {
            "batch": limit,
            "max_bytes": PULL_MAX_BYTES,
            "expires": int(PULL_EXPIRES_SECONDS * 1e9),
        }
        await self._client.publish(self._subject, json.dumps(request).encode(), self._inbox)
        self._outstanding = limit

    def _take(self, message: Msg) -> None:
        status = (message.headers or {}).get("Status")
        if status is None:
            self._outstanding -= 1
            self._batch.append(message)
        elif status != "100":
            # 404, 408, 409: the request has ended. 100 is a heartbeat.
            self._outstanding = 0
