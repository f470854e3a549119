"""Due work of payments: each step takes a batch that is due and calls the use cases."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from functools import partial

from services.payments.application import attempts, charges, refunds
from services.payments.clients.batches import ask_all, batch_deadline
from services.payments.clients.provider import Provider
from services.payments.domain.attempts import Attempt
from services.payments.domain.outcomes import Outcome, Unknown
from services.payments.store import attempts as attempt_store
from services.payments.store import charges as charge_store
from services.payments.store import refunds as refund_store
from services.runtime.crash_points import CrashPoint
from services.runtime.db import leases
from services.runtime.db.pool import Connection, Database
from services.runtime.observability import tracing
from services.runtime.workers.clock import Clock
from services.runtime.workers.loop import Step

BATCH_ROWS = 500

_ATTEMPT_COMMITTED = CrashPoint("payments.attempt_committed", "Attempts are stored and not sent.")
_ATTEMPT_ANSWERED = CrashPoint(
    "payments.attempt_answered", "Attempts are answered and not settled."
)
_ATTEMPT_SETTLED = CrashPoint("payments.attempt_settled", "Outcomes of attempts are committed.")
_LOOKUP_CLAIMED = CrashPoint("payments.lookup_claimed", "Attempts are claimed and not looked up.")
_LOOKUP_FOUND = CrashPoint("payments.lookup_found", "Attempts are looked up and not settled.")
_RESEND_COMMITTED = CrashPoint(
    "payments.resend_committed", "It is stored which are sent once more."
)
_REQUEST_EXPIRED = CrashPoint(
    "payments.request_expired", "Requests to pay are ended and committed."
)
_REFUND_CLAIMED = CrashPoint("payments.refund_claimed", "Refunds are claimed and not sent.")
_REFUND_ANSWERED = CrashPoint("payments.refund_answered", "Refunds are answered and not settled.")


class DueWork:
    """The steps of the workers; any number of processes take them."""

    def __init__(self, database: Database, clock: Clock, provider: Provider) -> None:
        self._database = database
        self._clock = clock
        self._provider = provider

    async def charge(self) -> Step:
        """Decide charges whose time has come, and send the attempts that the guard allows."""
        return await self._step(charge_store.next_due, self._decide_and_charge)

    async def look_up(self) -> Step:
        """Find out what became of attempts; one that is not found is sent once more, or closed."""
        return await self._step(attempt_store.next_lookup, self._claim_and_look_up)

    async def expire_requests(self) -> Step:
        """Abandon requests to pay that nobody confirmed in time."""
        return await self._step(charge_store.next_expiry, self._expire)

    async def refund(self) -> Step:
        """Send refunds until the provider has answered each."""
        return await self._step(refund_store.next_try, self._claim_and_refund)

    async def _step(
        self,
        next_due: Callable[[Connection], Awaitable[datetime | None]],
        work: Callable[[datetime], Awaitable[int]],
    ) -> Step:
        """Work on a batch if something is due; what is due and not to be had, others work on."""
        now = self._clock.now()
        async with self._database.read() as connection:
            due = await next_due(connection)
        if due is None or due > now:
            return Step(wake_at=due)
        worked = await work(now)
        return Step(worked=worked, pending=not worked)

    async def _decide_and_charge(self, now: datetime) -> int:
        async with self._database.begin() as tx:
            taken, begun = await charges.decide_due(tx, now, BATCH_ROWS)
        if not begun:
            return taken
        _ATTEMPT_COMMITTED.reached()
        release = partial(attempt_store.release, attempts=begun)
        with tracing.working("charging", len(begun)):
            async with leases.released_on_failure(self._database, release):
                outcomes = await ask_all(begun, self._charge, batch_deadline())
                _ATTEMPT_ANSWERED.reached()
                async with self._database.begin() as tx:
                    await attempts.settle(tx, outcomes, self._clock.now())
        _ATTEMPT_SETTLED.reached()
        return taken

    async def _charge(self, attempt: Attempt) -> Outcome:
        return await attempts.charge(self._database, self._provider, attempt)

    async def _claim_and_look_up(self, now: datetime) -> int:
        async with self._database.begin() as tx:
            claimed = await attempt_store.claim(tx, now, BATCH_ROWS)
        if not claimed:
            return 0
        _LOOKUP_CLAIMED.reached()
        release = partial(attempt_store.release, attempts=claimed)
        async with leases.released_on_failure(self._database, release):
            outcomes = await self._find(claimed)
            _LOOKUP_FOUND.reached()
            async with self._database.begin() as tx:
                await attempts.settle(tx, outcomes, self._clock.now())
        return len(claimed)

    async def _find(self, claimed: Sequence[Attempt]) -> list[tuple[Attempt, Outcome]]:
        """Ask what became of attempts, and again about those that the provider does not find.

        What is sent once more has the same key, so the money moves once however often it is sent.
        """
        deadline = batch_deadline()
        found = await ask_all(claimed, self._provider.find, deadline)
        outcomes = [(attempt, outcome) for attempt, outcome in found if outcome is not None]
        missing = [attempt for attempt, outcome in found if outcome is None]
        outcomes += [(a, Unknown("the answer was false")) for a in missing if a.mismatch]
        lost = [attempt for attempt in missing if not attempt.mismatch]
        if not lost:
            return outcomes
        now = self._clock.now()
        async with self._database.begin() as tx:
            resent = await attempts.resend_allowed(tx, lost, now)
        _RESEND_COMMITTED.reached()

        async def ask(attempt: Attempt) -> Outcome:
            if attempt.charge_key in resent:
                return await self._charge(attempt)
            return await self._provider.close(attempt, now)

        return outcomes + await ask_all(lost, ask, deadline)

    async def _expire(self, now: datetime) -> int:
        async with self._database.begin() as tx:
            expired = await charges.expire_requests(tx, now, BATCH_ROWS)
        if expired:
            _REQUEST_EXPIRED.reached()
        return expired

    async def _claim_and_refund(self, now: datetime) -> int:
        async with self._database.begin() as tx:
            claimed = await refund_store.claim(tx, now, BATCH_ROWS)
        if not claimed:
            return 0
        _REFUND_CLAIMED.reached()
        release = partial(refund_store.release, refunds=claimed)
        async with leases.released_on_failure(self._database, release):
            send = partial(refunds.send, self._provider)
            outcomes = await ask_all(claimed, send, batch_deadline())
            _REFUND_ANSWERED.reached()
            async with self._database.begin() as tx:
                await refunds.settle(tx, outcomes, self._clock.now())
        return len(claimed)
