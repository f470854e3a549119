"""Charges whose time has come, and requests to pay that have expired."""

from collections.abc import Sequence
from functools import partial

from services.payments.application import attempts, charges
from services.payments.clients.batches import ask_all, batch_deadline
from services.payments.clients.provider import Provider
from services.payments.domain.attempts import Attempt
from services.payments.store import attempts as attempt_store
from services.payments.store import charges as charge_store
from services.payments.workers import due
from services.payments.workers.due import not_due
from services.runtime.crash_points import CrashPoint
from services.runtime.db import leases
from services.runtime.db.pool import Database
from services.runtime.observability import tracing
from services.runtime.workers.clock import Clock
from services.runtime.workers.loop import Step

_ATTEMPT_COMMITTED = CrashPoint("payments.attempt_committed", "Attempts are stored and not sent.")
_ATTEMPT_ANSWERED = CrashPoint(
    "payments.attempt_answered", "Attempts are answered and not settled."
)
_ATTEMPT_SETTLED = CrashPoint("payments.attempt_settled", "Outcomes of attempts are committed.")
_REQUEST_EXPIRED = CrashPoint(
    "payments.request_expired", "Requests to pay are ended and committed."
)


class Charging:
    """Decides charges whose time has come, and sends the attempts that the guard allows."""

    def __init__(self, database: Database, clock: Clock, provider: Provider) -> None:
        self._database = database
        self._clock = clock
        self._provider = provider

    async def step(self) -> Step:
        """Decide a batch of due charges and charge those that are allowed."""
        now = self._clock.now()
        if (wait := await not_due(self._database, charge_store.next_due, now)) is not None:
            return wait
        async with self._database.begin() as tx:
            taken, begun = await charges.decide_due(tx, now, due.BATCH_ROWS)
        if not taken:
            return Step(pending=True)
        if begun:
            _ATTEMPT_COMMITTED.reached()
            with tracing.working("charging", len(begun)):
                await self._charge(begun)
        return Step(worked=taken)

    async def _charge(self, begun: Sequence[Attempt]) -> None:
        release = partial(attempt_store.release, attempts=begun)
        async with leases.released_on_failure(self._database, release):
            charge = partial(attempts.charge, self._database, self._provider)
            outcomes = await ask_all(begun, charge, batch_deadline())
            _ATTEMPT_ANSWERED.reached()
            async with self._database.begin() as tx:
                await attempts.settle(tx, outcomes, self._clock.now())
        _ATTEMPT_SETTLED.reached()


class Expiry:
    """Ends requests to pay that nobody confirmed in time."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def step(self) -> Step:
        """Abandon a batch of expired requests."""
        now = self._clock.now()
        if (wait := await not_due(self._database, charge_store.next_expiry, now)) is not None:
            return wait
        async with self._database.begin() as tx:
            expired = await charges.expire_requests(tx, now, due.BATCH_ROWS)
        if not expired:
            return Step(pending=True)
        _REQUEST_EXPIRED.reached()
        return Step(worked=expired)
