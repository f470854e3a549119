"""Sending events to webhook endpoints: a slow endpoint delays its own events only."""

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence

from services.notify.clients.webhooks import WebhookSender
from services.notify.domain.webhooks import (
    CANCELLED_DISABLED,
    DISABLE_AFTER,
    FAILURE_GONE,
    FAILURE_UNREACHABLE,
    FAILURE_UNREADABLE,
    Answer,
    EndpointKey,
    WebhookDelivery,
    WebhookEndpoint,
    failed,
    outcome,
    signed_headers,
)
from services.notify.publishers import webhook_endpoint_disabled
from services.notify.store import webhook_endpoints, webhook_sending, webhooks
from services.notify.store.webhook_endpoints import Health
from services.notify.store.webhook_sending import Sent
from services.runtime.crash_points import CrashPoint
from services.runtime.db.due_work import Batch
from services.runtime.db.pool import Database
from services.runtime.messaging import outbox
from services.runtime.observability import metrics
from services.runtime.workers.clock import Clock

log = logging.getLogger(__name__)

# Endpoints that are sent to at a time, requests at a time to one, and what is read for one at a time.
ENDPOINTS_MAX = 400
ENDPOINT_REQUESTS_MAX = 8
ENDPOINT_BATCH_EVENTS = 32
# How long a step waits for all endpoints that are being sent to; those that take longer, the next one
# waits for.
STEP_WAIT_SECONDS = 0.25
STRAY_BATCH_ROWS = 1000
_READ = CrashPoint("notify.webhook_read", "Events for endpoints are read and not sent.")
_SENT = CrashPoint(
    "notify.webhook_sent", "Events are sent to endpoints, and what came of it is not stored."
)
_FINISHED = CrashPoint(
    "notify.webhook_finished", "What became of events sent to endpoints is committed."
)

_attempts_counter = metrics.counter(
    "recurring.webhook_attempts",
    "{request}",
    "Requests to webhook endpoints of platforms",
    [{"outcome": outcome} for outcome in ("TAKEN", "REFUSED", "UNREACHABLE")],
)


class Webhooks:
    """Sends due events to the endpoints of the buckets.

    Each endpoint is sent to by a task of its own, which may outlive the step that began it. What came
    of its events is stored by the step that sees it end, guarded by the count of attempts. If the
    bucket has gone to another replica meanwhile, an event arrives twice, with the same id.
    """

    def __init__(self, database: Database, clock: Clock, sender: WebhookSender) -> None:
        self._database = database
        self._clock = clock
        self._sender = sender
        self._in_flight: dict[EndpointKey, asyncio.Task[list[Sent]]] = {}

    async def close(self) -> None:
        """Send no more; what is on its way is sent again by whoever comes next."""
        for task in self._in_flight.values():
            task.cancel()
        await asyncio.gather(*self._in_flight.values(), return_exceptions=True)
        self._in_flight.clear()

    async def work(self, batch: Batch) -> int:
        """Begin to send what is due, and store what has come of what was sent."""
        begun = await self._begin(batch)
        if not self._in_flight:
            return begun or await self._cancel_stray(batch)
        await asyncio.wait(self._in_flight.values(), timeout=STEP_WAIT_SECONDS)
        await self._store(self._take_ended())
        # While something is on its way there is something to do.
        return max(begun, 1)

    async def _begin(self, batch: Batch) -> int:
        free = ENDPOINTS_MAX - len(self._in_flight)
        if not free:
            return 0
        async with self._database.read() as connection:
            endpoints = await webhook_sending.endpoints(
                connection, batch.buckets, self._in_flight, batch.now, free
            )
            due = await webhook_sending.due(
                connection,
                [endpoint.key for endpoint in endpoints],
                batch.now,
                ENDPOINT_BATCH_EVENTS,
            )
        if endpoints:
            _READ.reached()
        for endpoint in endpoints:
            self._in_flight[endpoint.key] = asyncio.create_task(
                self._send_all(endpoint, due[endpoint.key])
            )
        return sum(map(len, due.values()))

    async def _send_all(
        self, endpoint: WebhookEndpoint, due: Sequence[WebhookDelivery]
    ) -> list[Sent]:
        """Send events to an endpoint; once it does not answer, the rest wait for the next time.

        One that has taken nothing lately is sent one at a time.
        """
        sent: list[Sent] = []
        waiting = iter(due)
        silent = asyncio.Event()
        requests_max = 1 if endpoint.failing_since_time else ENDPOINT_REQUESTS_MAX

        async def send_in_turn() -> None:
            for delivery in waiting:
                if silent.is_set():
                    return
                one = await self._send(endpoint, delivery)
                if not one.answer.status:
                    silent.set()
                sent.append(one)

        await asyncio.gather(*(send_in_turn() for _ in range(requests_max)))
        return sent

    async def _send(self, endpoint: WebhookEndpoint, delivery: WebhookDelivery) -> Sent:
        start_time = self._clock.now()
        if not endpoint.secret or not delivery.body:
            answer = failed(FAILURE_UNREADABLE)
        else:
            headers = signed_headers(endpoint, str(delivery.event_id), delivery.body, start_time)
            try:
                answer = await self._sender.post(endpoint.url, delivery.body, headers)
            except Exception as error:  # noqa: BLE001 - one event must not hold up the others
                # The error's own words may quote the address.
                log.error("a webhook was not sent: %s", type(error).__name__, extra={  # noqa: TRY400
                    "endpoint": endpoint.endpoint, "merchant": endpoint.merchant})  # fmt: skip
                answer = failed(FAILURE_UNREACHABLE)
        return Sent(delivery, start_time, answer, outcome(delivery, answer, self._clock.now()))

    def _take_ended(self) -> list[Sent]:
        ended = [key for key, task in self._in_flight.items() if task.done()]
        return [one for key in ended for one in self._in_flight.pop(key).result()]

    async def _store(self, sent: Sequence[Sent]) -> None:
        if not sent:
            return
        _SENT.reached()
        now = self._clock.now()
        async with self._database.begin() as tx:
            await webhook_sending.finish(tx, sent)
            disabled = await webhook_endpoints.note_health(
                tx, _healths(sent), now - DISABLE_AFTER, now
            )
            for endpoint in disabled:
                await webhooks.cancel(tx, endpoint.key, CANCELLED_DISABLED)
            await outbox.put(tx, [webhook_endpoint_disabled(one, now) for one in disabled])
        _FINISHED.reached()
        for kind, count in Counter(map(_kind, sent)).items():
            _attempts_counter.add(count, {"outcome": kind})

    async def _cancel_stray(self, batch: Batch) -> int:
        async with self._database.begin(wake_workers=False) as tx:
            return await webhook_sending.cancel_stray(
                tx, batch.buckets, batch.now, STRAY_BATCH_ROWS
            )


def _healths(sent: Sequence[Sent]) -> list[Health]:
    """What came of the requests to each endpoint."""
    by_endpoint: dict[EndpointKey, list[Answer]] = {}
    for one in sent:
        by_endpoint.setdefault(one.delivery.endpoint_key, []).append(one.answer)
    return [
        Health(
            *key,
            has_taken=any(answer.is_taken for answer in answers),
            is_gone=any(answer.why == FAILURE_GONE for answer in answers),
        )
        for key, answers in by_endpoint.items()
    ]


def _kind(one: Sent) -> str:
    if one.answer.is_taken:
        return "TAKEN"
    return "REFUSED" if one.answer.status else "UNREACHABLE"
