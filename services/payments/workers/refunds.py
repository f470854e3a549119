"""Refunds that the provider has not answered."""

from functools import partial

from services.payments.application import refunds
from services.payments.clients.batches import ask_all, batch_deadline
from services.payments.clients.provider import Provider
from services.payments.store import refunds as refund_store
from services.payments.workers import due
from services.payments.workers.due import not_due
from services.runtime.crash_points import CrashPoint
from services.runtime.db import leases
from services.runtime.db.pool import Database
from services.runtime.workers.clock import Clock
from services.runtime.workers.loop import Step

_REFUND_CLAIMED = CrashPoint("payments.refund_claimed", "Refunds are claimed and not sent.")
_REFUND_ANSWERED = CrashPoint("payments.refund_answered", "Refunds are answered and not settled.")


class Refunding:
    """Sends refunds until the provider has answered each."""

    def __init__(self, database: Database, clock: Clock, provider: Provider) -> None:
        self._database = database
        self._clock = clock
        self._provider = provider

    async def step(self) -> Step:
        """Send a batch of pending refunds."""
        now = self._clock.now()
        if (wait := await not_due(self._database, refund_store.next_try, now)) is not None:
            return wait
        async with self._database.begin() as tx:
            claimed = await refund_store.claim(tx, now, due.BATCH_ROWS)
        if not claimed:
            return Step(pending=True)
        _REFUND_CLAIMED.reached()
        release = partial(refund_store.release, refunds=claimed)
        async with leases.released_on_failure(self._database, release):
            send = partial(refunds.send, self._provider)
            outcomes = await ask_all(claimed, send, batch_deadline())
            _REFUND_ANSWERED.reached()
            async with self._database.begin() as tx:
                await refunds.settle(tx, outcomes, self._clock.now())
        return Step(worked=len(claimed))
