"""Asking gateways what became of messages that they took and have said nothing about."""

import asyncio
import logging
from collections.abc import Mapping, Sequence

from services.notify.application import receipts as use_case
from services.notify.application.outcomes import count
from services.notify.clients.gateway import ReceiptSource
from services.notify.domain.notices import DeliveryKey
from services.notify.domain.receipts import Receipt, ReceiptStatus
from services.notify.store import receipts
from services.notify.store.receipts import Accepted
from services.runtime.crash_points import CrashPoint
from services.runtime.db.due_work import Batch
from services.runtime.db.pool import Database
from services.runtime.observability import tracing
from services.runtime.workers.clock import Clock

log = logging.getLogger(__name__)

BATCH_RECEIPTS = 200
QUESTIONS_CONCURRENT_MAX = 20
# No question begins later than this before the end of a step: a time-out, and to store what came.
QUESTION_SECONDS = 12.0

_ANSWERED = CrashPoint(
    "notify.receipts_answered", "Gateways are asked about messages, and nothing of it is stored."
)
_COMMITTED = CrashPoint("notify.receipts_committed", "What gateways said of messages is committed.")


class Receipts:
    """Polls gateways, and gives up what they never say anything about."""

    def __init__(
        self, database: Database, clock: Clock, sources: Mapping[str, ReceiptSource]
    ) -> None:
        """`sources` are the gateways by their names."""
        self._database = database
        self._clock = clock
        self._sources = sources

    async def work(self, batch: Batch) -> int:
        """Ask about a batch of messages."""
        async with self._database.read() as connection:
            due = await receipts.due(connection, batch.buckets, batch.now, BATCH_RECEIPTS)
        if due:
            with tracing.working("receipts", len(due), [each.traceparent for each in due]):
                said = await self._ask(due, batch.deadline - QUESTION_SECONDS)
                _ANSWERED.reached()
                now = self._clock.now()
                async with self._database.begin() as tx:
                    ended, _ = await use_case.apply(tx, said, now)
                _COMMITTED.reached()
                count(ended)
        return len(due)

    async def _ask(self, due: Sequence[Accepted], last_start: float) -> dict[DeliveryKey, Receipt]:
        loop, turns = asyncio.get_running_loop(), asyncio.Semaphore(QUESTIONS_CONCURRENT_MAX)

        async def receipt(message: Accepted) -> Receipt:
            source = self._sources.get(message.gateway)
            async with turns:
                if source is None or loop.time() >= last_start:
                    return Receipt(ReceiptStatus.UNKNOWN, message.gateway_message)
                try:
                    return await source.receipt(message.gateway_message)
                except Exception as error:  # noqa: BLE001 - one message must not hold up the others
                    log.error("asking a gateway failed: %s", type(error).__name__)  # noqa: TRY400
                    return Receipt(ReceiptStatus.UNKNOWN, message.gateway_message)

        said = await asyncio.gather(*map(receipt, due))
        return {message.key: receipt for message, receipt in zip(due, said, strict=True)}
