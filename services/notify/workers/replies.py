"""Messages of customers: read and decided, and what they ask of other services."""

import asyncio
from collections.abc import Sequence

from services.notify.application import replies
from services.notify.clients.acts import Acts
from services.notify.domain.replies.inbound import SenderNumbers
from services.notify.domain.templates.replies import Answer
from services.notify.store import inbound
from services.notify.store.inbound import Acting
from services.runtime.crash_points import CrashPoint
from services.runtime.db.due_work import Batch
from services.runtime.db.pool import Database
from services.runtime.workers.clock import Clock

BATCH_MESSAGES = 100
BATCH_ACTS = 100
ACTS_CONCURRENT_MAX = 10
# No call begins later than this before the end of a step: its deadline, and to store what came.
ACT_SECONDS = 12.0

_DECIDED = CrashPoint(
    "notify.replies_decided",
    "It is committed what customers' messages ask for, and nothing is done.",
)
_ACTED = CrashPoint(
    "notify.replies_acted", "Others have done what customers' messages ask for; it is not stored."
)
_FINISHED = CrashPoint(
    "notify.replies_finished", "It is committed what became of customers' messages."
)


class Replies:
    """Reads messages, obeys STOP, and decides what others are to be asked for."""

    def __init__(self, database: Database, senders: SenderNumbers) -> None:
        self._database = database
        self._senders = senders

    async def work(self, batch: Batch) -> int:
        """Read a batch of messages."""
        async with self._database.begin() as tx:
            decided = await replies.decide_due(
                tx, self._senders, batch.buckets, batch.now, BATCH_MESSAGES
            )
        if decided:
            _DECIDED.reached()
        return decided


class ReplyActs:
    """Asks other services for what customers want, until they have answered."""

    def __init__(self, database: Database, clock: Clock, acts: Acts) -> None:
        self._database = database
        self._clock = clock
        self._acts = acts

    async def work(self, batch: Batch) -> int:
        """Ask for a batch of what is due."""
        async with self._database.read() as connection:
            due = await inbound.acting(connection, batch.buckets, batch.now, BATCH_ACTS)
        if due:
            answers = await self._ask(due, batch.deadline - ACT_SECONDS)
            _ACTED.reached()
            async with self._database.begin() as tx:
                await replies.finish(tx, list(zip(due, answers, strict=True)), self._clock.now())
            _FINISHED.reached()
        return len(due)

    async def _ask(self, due: Sequence[Acting], last_start: float) -> list[Answer | None]:
        loop, turns = asyncio.get_running_loop(), asyncio.Semaphore(ACTS_CONCURRENT_MAX)

        async def ask(acting: Acting) -> Answer | None:
            async with turns:
                if loop.time() >= last_start:
                    return None
                return await self._acts.perform(acting.act, replies.act_id(acting.key))

        return await asyncio.gather(*map(ask, due))
