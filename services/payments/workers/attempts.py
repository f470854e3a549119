"""Attempts whose outcome is not known."""

from collections.abc import Sequence
from functools import partial

from services.payments.application import attempts
from services.payments.clients.batches import ask_all, batch_deadline
from services.payments.clients.provider import Provider
from services.payments.domain.attempts import Attempt
from services.payments.domain.outcomes import Outcome, Unknown
from services.payments.store import attempts as attempt_store
from services.payments.workers import due
from services.payments.workers.due import not_due
from services.runtime.crash_points import CrashPoint
from services.runtime.db import leases
from services.runtime.db.pool import Database
from services.runtime.workers.clock import Clock
from services.runtime.workers.loop import Step

_LOOKUP_CLAIMED = CrashPoint("payments.lookup_claimed", "Attempts are claimed and not looked up.")
_LOOKUP_FOUND = CrashPoint("payments.lookup_found", "Attempts are looked up and not settled.")
_RESEND_COMMITTED = CrashPoint(
    "payments.resend_committed", "It is stored which are sent once more."
)


class Lookup:
    """Finds out what became of attempts whose outcome is not known."""

    def __init__(self, database: Database, clock: Clock, provider: Provider) -> None:
        self._database = database
        self._clock = clock
        self._provider = provider

    async def step(self) -> Step:
        """Look a batch of attempts up; those that are not found are sent once more, or closed."""
        now = self._clock.now()
        if (wait := await not_due(self._database, attempt_store.next_lookup, now)) is not None:
            return wait
        async with self._database.begin() as tx:
            claimed = await attempt_store.claim(tx, now, due.BATCH_ROWS)
        if not claimed:
            return Step(pending=True)
        _LOOKUP_CLAIMED.reached()
        release = partial(attempt_store.release, attempts=claimed)
        async with leases.released_on_failure(self._database, release):
            await self._look_up(claimed)
        return Step(worked=len(claimed))

    async def _look_up(self, claimed: Sequence[Attempt]) -> None:
        deadline = batch_deadline()
        found = await ask_all(claimed, self._provider.find, deadline)
        outcomes = [(attempt, outcome) for attempt, outcome in found if outcome is not None]
        missing = [attempt for attempt, outcome in found if outcome is None]
        outcomes += await self._ask_about_missing(missing, deadline)
        _LOOKUP_FOUND.reached()
        async with self._database.begin() as tx:
            await attempts.settle(tx, outcomes, self._clock.now())

    async def _ask_about_missing(
        self, missing: Sequence[Attempt], deadline: float
    ) -> list[tuple[Attempt, Outcome]]:
        """Send once more what may still be charged; close the keys of the others.

        What is sent once more has the same key, so the money moves once however often it is sent.
        """
        false = [attempt for attempt in missing if attempt.mismatch]
        lost = [attempt for attempt in missing if not attempt.mismatch]
        if not lost:
            return [(attempt, Unknown("the answer was false")) for attempt in false]
        now = self._clock.now()
        async with self._database.begin() as tx:
            resent = await attempts.resend_allowed(tx, lost, now)
        _RESEND_COMMITTED.reached()

        async def ask(attempt: Attempt) -> Outcome:
            if attempt.charge_key in resent:
                return await attempts.charge(self._database, self._provider, attempt)
            return await self._provider.close(attempt, now)

        return [
            *((attempt, Unknown("the answer was false")) for attempt in false),
            *await ask_all(lost, ask, deadline),
        ]
