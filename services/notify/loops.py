"""Notify's due work: sending what is to be delivered."""

import asyncio
import logging
import time
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime

from services.notify import watch
from services.notify.domain.notices import (
    FAILURE_CODE_VOID,
    FAILURE_NO_CHANNEL,
    Attempt,
    Channel,
    DeliveryState,
    Progress,
    Verdict,
    progress,
    worth_sending,
)
from services.notify.events.facts import notice_delivered, notice_failed
from services.notify.gateways import Gateway, Message
from services.notify.store import notices
from services.notify.store.notices import Outgoing
from services.runtime import outbox, telemetry
from services.runtime.clock import Clock
from services.runtime.database import Database
from services.runtime.events import Fact
from services.runtime.loops import Step

log = logging.getLogger(__name__)

CLAIM_BATCH_DELIVERIES = 500
SENDS_CONCURRENT_MAX = 50
# No send begins later than this in a batch; with a gateway's time-out that is less than a claim.
SEND_BATCH_SECONDS = 15.0
CLAIM_SECONDS = 25
FAILURE_INTERNAL = "INTERNAL"
FAILURE_UNREADABLE = "UNREADABLE"

_KEY_NAMESPACE = uuid.UUID("0c4f0c1e-7f0e-5f9c-8a55-6a4f3b0e9d27")


class Deliveries:
    """Sends due deliveries in batches and tells which notices arrived and which did not."""

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
            claimed = await notices.claim(tx, now, CLAIM_BATCH_DELIVERIES, CLAIM_SECONDS)
            wake_at = None if claimed else await notices.next_attempt(tx)
        if claimed:
            parents = [outgoing.notice.traceparent for outgoing in claimed]
            with telemetry.working("deliveries", len(claimed), parents):
                await self._deliver(claimed)
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

        results = await asyncio.gather(*(attempt(outgoing) for outgoing in claimed))
        async with self._database.begin() as tx:
            stored = await notices.finish(tx, results)
            now = self._clock.now()
            facts = [fact for sent, result in stored for fact in _facts(sent, result, now)]
            await outbox.put(tx, facts)
        watch.ended(
            (sent.notice.kind, result.state)
            for sent, result in stored
            if sent.delivery.main and result.state is not DeliveryState.PENDING
        )

    async def _attempt(self, outgoing: Outgoing) -> Attempt:
        delivery = outgoing.delivery
        if not worth_sending(delivery, self._clock.now()):
            return Attempt(Verdict.PERMANENT, FAILURE_CODE_VOID)
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
    key = outgoing.notice.key
    parts = (
        key.merchant, key.customer, outgoing.notice.notice, outgoing.delivery.channel,
        str(outgoing.address_version),
    )  # fmt: skip
    return str(uuid.uuid5(_KEY_NAMESPACE, "|".join(parts)))


def _facts(outgoing: Outgoing, result: Progress, now: datetime) -> list[Fact]:
    """What is told of an attempt: how the main channel ended."""
    if not outgoing.delivery.main or result.state is DeliveryState.PENDING:
        return []
    if result.deliver_time is not None:
        return [notice_delivered(outgoing.notice, result.deliver_time)]
    return [notice_failed(outgoing.notice, result.failure_code, now)]
