"""Notify's due work: sending what is to be delivered."""

import asyncio
import logging
import time
import uuid
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial

from services.notify.clients.gateway import Gateway, Message
from services.notify.domain.notices import (
    FAILURE_CODE_VOID,
    FAILURE_NO_CHANNEL,
    FAILURE_UNREADABLE,
    VOID_EXPIRED,
    Attempt,
    Channel,
    NoticeKind,
    Progress,
    Verdict,
    is_expired,
    is_sendable,
    progress,
)
from services.notify.domain.transitions import DeliveryState
from services.notify.publishers import notice_delivered, notice_failed
from services.notify.store import attempts, contacts, superseding
from services.notify.store.attempts import Ended, Outgoing
from services.notify.store.contacts import SmsEnded
from services.runtime.crash_points import CrashPoint
from services.runtime.db import leases
from services.runtime.db.pool import Database
from services.runtime.messaging import outbox
from services.runtime.messaging.events import OutboxEvent
from services.runtime.observability import metrics, tracing
from services.runtime.workers.clock import Clock
from services.runtime.workers.loop import Step

log = logging.getLogger(__name__)

CLAIM_BATCH_DELIVERIES = 500
SENDS_CONCURRENT_MAX = 50
# No send begins later than this in a batch; with a gateway's time-out that is less than a lease.
SEND_BATCH_SECONDS = 15.0
FAILURE_INTERNAL = "INTERNAL"
_CLAIMED = CrashPoint("notify.delivery_claimed", "Deliveries are claimed and not sent.")
_SENT = CrashPoint("notify.delivery_sent", "Deliveries are sent and not finished.")
_FINISHED = CrashPoint("notify.delivery_finished", "What became of deliveries is committed.")

_notices_counter = metrics.counter(
    "recurring.notices",
    "{notice}",
    "Notices that were delivered, failed, or were voided before they went out",
    [
        {"kind": kind, "outcome": outcome}
        for kind in NoticeKind
        for outcome in DeliveryState
        if outcome is not DeliveryState.PENDING
    ],
)

_KEY_NAMESPACE = uuid.UUID("0c4f0c1e-7f0e-5f9c-8a55-6a4f3b0e9d27")


class Deliveries:
    """Sends due deliveries in batches, and publishes which notices arrived and which did not."""

    def __init__(
        self, database: Database, clock: Clock, gateways: Mapping[Channel, Gateway]
    ) -> None:
        self._database = database
        self._clock = clock
        self._gateways = gateways

    async def step(self) -> Step:
        """Send a batch of what is due."""
        now = self._clock.now()
        async with self._database.engine.begin() as tx:
            claimed = await attempts.claim(tx, now, CLAIM_BATCH_DELIVERIES, leases.OUTSIDE.seconds)
            # An event of another stream may have been stored at this moment, neither seeing the other.
            void = await superseding.void_superseded(tx, [o.notice.key for o in claimed])
            sendable = [outgoing for outgoing in claimed if outgoing.notice.key not in void]
            wake_at = None if claimed else await attempts.next_time(tx)
        if claimed:
            _CLAIMED.reached()
            parents = [outgoing.notice.traceparent for outgoing in claimed]
            release = partial(attempts.release, claimed=claimed)
            with tracing.working("deliveries", len(claimed), parents):
                async with leases.released_on_failure(self._database, release):
                    await self._deliver(sendable)
            return Step(worked=len(claimed))
        # Another process may send what is due, or have died over it.
        return Step(wake_at=wake_at, pending=wake_at is not None and wake_at <= now)

    async def _deliver(self, claimed: Sequence[Outgoing]) -> None:
        last_start = time.monotonic() + SEND_BATCH_SECONDS
        turns = asyncio.Semaphore(SENDS_CONCURRENT_MAX)

        async def attempt(outgoing: Outgoing) -> tuple[Outgoing, Progress]:
            async with turns:
                in_time = time.monotonic() < last_start
                result = await self._attempt(outgoing) if in_time else Attempt(Verdict.NOT_TRIED)
            return outgoing, progress(outgoing.delivery, result, self._clock.now())

        async def attempt_in_order(queue: Sequence[Outgoing]) -> list[tuple[Outgoing, Progress]]:
            """Attempt the deliveries of one address; those after one that has to wait, wait as long."""
            done: list[tuple[Outgoing, Progress]] = []
            for index, outgoing in enumerate(queue):
                sent, result = await attempt(outgoing)
                done.append((sent, result))
                if (
                    result.state is DeliveryState.PENDING
                    and result.failure_code != FAILURE_UNREADABLE
                ):
                    done += [(later, _waiting(later, result)) for later in queue[index + 1 :]]
                    break
            return done

        queues = await asyncio.gather(*(attempt_in_order(queue) for queue in _queues(claimed)))
        results = [result for queue in queues for result in queue]
        if not results:
            return
        _SENT.reached()
        async with self._database.begin() as tx:
            ended = await attempts.finish(tx, results)
            now = self._clock.now()
            await contacts.count_sms(tx, _sms_ended(results), now)
            await outbox.put(tx, [event for notice in ended for event in _events(notice, now)])
        _FINISHED.reached()
        for notice in ended:
            _notices_counter.add(1, {"kind": notice.notice.kind, "outcome": notice.outcome})

    async def _attempt(self, outgoing: Outgoing) -> Attempt:
        delivery = outgoing.delivery
        if not is_sendable(delivery, self._clock.now()):
            return Attempt(Verdict.PERMANENT, FAILURE_CODE_VOID)
        if is_expired(delivery, self._clock.now()):
            return Attempt(Verdict.VOID, VOID_EXPIRED)
        if not outgoing.readable:
            # A key that is missing may come back before the notice is of no use any more.
            log.error("a delivery does not open", extra={
                "notice": outgoing.notice.notice, "channel": delivery.channel})  # fmt: skip
            return Attempt(Verdict.TEMPORARY, FAILURE_UNREADABLE)
        text = delivery.text if delivery.secret_text is None else delivery.secret_text
        # Without a text it was erased, and the customer has perhaps come back since.
        if not outgoing.address or not text:
            return Attempt(Verdict.PERMANENT, FAILURE_NO_CHANNEL)
        message = Message(_message_key(outgoing), outgoing.address, delivery.subject, text)
        try:
            return await self._gateways[delivery.channel].send(message)
        except Exception as error:  # noqa: BLE001 - one message must not hold up the others
            # The error's own words may quote the address.
            log.error("sending failed: %s", type(error).__name__, extra={  # noqa: TRY400
                "notice": outgoing.notice.notice, "channel": delivery.channel})  # fmt: skip
            return Attempt(Verdict.TEMPORARY, FAILURE_INTERNAL)


def _message_key(outgoing: Outgoing) -> str:
    """The same for every attempt at a delivery, as long as the customer's phone is the same."""
    parts = (*outgoing.notice.key, outgoing.delivery.channel, str(outgoing.address_version))
    return str(uuid.uuid5(_KEY_NAMESPACE, "|".join(parts)))


def _queues(claimed: Sequence[Outgoing]) -> list[list[Outgoing]]:
    """What was claimed by the address that it goes to, in its order."""
    queues: dict[tuple[object, ...], list[Outgoing]] = defaultdict(list)
    for outgoing in claimed:
        is_code = outgoing.notice.kind is NoticeKind.PHONE_CODE
        queues[outgoing.notice.customer_key, outgoing.delivery.channel, is_code].append(outgoing)
    return list(queues.values())


def _waiting(outgoing: Outgoing, ahead: Progress) -> Progress:
    """What becomes of a delivery that waits for the one ahead of it."""
    kept = progress(outgoing.delivery, Attempt(Verdict.NOT_TRIED), ahead.next_attempt_time)
    return replace(kept, next_attempt_time=ahead.next_attempt_time)


def _sms_ended(results: Sequence[tuple[Outgoing, Progress]]) -> list[SmsEnded]:
    """Which bound phones took a message, and which did not; the last of each customer counts."""
    ends = {DeliveryState.DELIVERED: True, DeliveryState.FAILED: False}
    return [
        SmsEnded(*outgoing.notice.customer_key, outgoing.address_version, ends[result.state])
        for outgoing, result in results
        # Only the present phone has a version.
        if outgoing.delivery.channel is Channel.SMS and outgoing.address_version > 0
        # An outage that lasts is the gateway's fault, not the phone's.
        if result.state in ends and (result.deliver_time or result.is_permanent)
    ]


def _events(ended: Ended, now: datetime) -> list[OutboxEvent]:
    """What is published of a notice that ended."""
    if ended.outcome is DeliveryState.DELIVERED and ended.deliver_time is not None:
        return [notice_delivered(ended.notice, ended.deliver_time)]
    if ended.outcome is DeliveryState.FAILED:
        return [notice_failed(ended.notice, ended.failure_code, now)]
    return []
