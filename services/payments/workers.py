"""Due work of payments: each step reads a batch that is due and calls the use cases."""

import logging
from collections.abc import Awaitable, Callable, Hashable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from operator import attrgetter
from typing import TypeVar

from services.payments.application import (
    attempts,
    charges,
    disputes,
    documents,
    expiry,
    payment_requests,
    refunds,
    revenue,
    webhooks,
)
from services.payments.clients.batches import ask_all
from services.payments.clients.provider import Provider
from services.payments.clients.provider_clock import ProviderClock
from services.payments.clients.providers import Providers
from services.payments.domain.attempts import Attempt, is_over
from services.payments.domain.expiry import Checked
from services.payments.domain.keys import ChargeKey, DisputeKey, PaymentMethodKey, RefundKey
from services.payments.domain.outcomes import Outcome, Unknown
from services.payments.domain.refunds import Refund
from services.payments.domain.transitions import AttemptState
from services.payments.domain.webhooks import WebhookEvent, WebhookKey
from services.payments.store import attempts as attempt_store
from services.payments.store import charges as charge_store
from services.payments.store import dispute_lookups as dispute_lookup_store
from services.payments.store import disputes as dispute_store
from services.payments.store import documents as document_store
from services.payments.store import expiry as expiry_store
from services.payments.store import refunds as refund_store
from services.payments.store import revenue as revenue_store
from services.payments.store import webhooks as webhook_store
from services.payments.store.documents import FAILURE_MAX_CHARS, FailedDocuments
from services.runtime.crash_points import CrashPoint
from services.runtime.db.due_work import Batch, DueWork
from services.runtime.db.pool import Database
from services.runtime.observability import error_format, tracing
from services.runtime.observability.outages import is_outage
from services.runtime.workers.bisection import Postponed, bisect_failures, bisect_set
from services.runtime.workers.clock import Clock

log = logging.getLogger(__name__)

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)

BATCH_ROWS = 500
# Of each provider: one decides and settles while the attempts of the other are on their way.
CHARGE_WORKERS = 2
# Several steps share the rate of a provider: each takes no more than it may be asked about in so many
# seconds, so that all get their turns before the step's time is over.
TURNS_SECONDS = 4.0
# Unless a setting says otherwise.
EXPIRY_NOTICE_DAYS = 30
EXPIRY_NOTICE_AHEAD = timedelta(days=EXPIRY_NOTICE_DAYS)

_ATTEMPT_COMMITTED = CrashPoint("payments.attempt_committed", "Attempts are stored and not sent.")
_ATTEMPT_ANSWERED = CrashPoint(
    "payments.attempt_answered", "Attempts are answered and not settled."
)
_ATTEMPT_SETTLED = CrashPoint("payments.attempt_settled", "Outcomes of attempts are committed.")
_LOOKUP_READ = CrashPoint("payments.lookup_read", "Attempts are read and not looked up.")
_LOOKUP_FOUND = CrashPoint("payments.lookup_found", "Attempts are looked up and not settled.")
_RESEND_COMMITTED = CrashPoint(
    "payments.resend_committed", "It is stored which are sent once more."
)
_REQUEST_EXPIRED = CrashPoint(
    "payments.request_expired", "Requests to pay are ended and committed."
)
_REQUEST_REMINDED = CrashPoint(
    "payments.request_reminded", "Reminders of requests to pay are committed."
)
_REFUND_READ = CrashPoint("payments.refund_read", "Refunds are read and not sent.")
_REFUND_ANSWERED = CrashPoint("payments.refund_answered", "Refunds are answered and not settled.")
_REFUND_SETTLED = CrashPoint("payments.refund_settled", "Outcomes of refunds are committed.")
_WEBHOOKS_HANDLED = CrashPoint(
    "payments.webhooks_handled", "It is committed what webhooks have looked up."
)
_EXPIRY_ANSWERED = CrashPoint(
    "payments.expiry_answered", "Payment methods that expire are looked at, and nothing is stored."
)
_EXPIRY_SETTLED = CrashPoint(
    "payments.expiry_settled", "It is committed which payment methods are about to expire."
)
_DISPUTES_FOUND = CrashPoint("payments.disputes_found", "Disputes are looked up and not settled.")
_DISPUTES_SETTLED = CrashPoint(
    "payments.disputes_settled", "What providers say of disputes is committed."
)
_RESPONSES_ANSWERED = CrashPoint(
    "payments.dispute_responses_answered", "Responses to disputes are sent, and that is not stored."
)
_RESPONSES_SETTLED = CrashPoint(
    "payments.dispute_responses_settled", "It is committed that responses to disputes are sent."
)
_DOCUMENTS_READ = CrashPoint(
    "payments.documents_read", "It is read whose documents are owed, and none is numbered."
)
_REVENUE_RECOGNIZED = CrashPoint(
    "payments.revenue_recognized", "What days have made revenue is committed."
)
_DOCUMENTS_ISSUED = CrashPoint("payments.documents_issued", "Documents are numbered and committed.")


class Workers:
    """What is done at a time, a batch at each call; returns how many rows were worked on.

    What a provider is asked has a queue a provider, and each queue a worker of its own: one that hangs
    keeps nothing of another waiting.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        providers: Providers,
        expiry_notice_ahead: timedelta = EXPIRY_NOTICE_AHEAD,
        clocks: Iterable[ProviderClock] = (),
    ) -> None:
        self._database = database
        self._clock = clock
        self._providers = providers
        self._expiry_notice_ahead = expiry_notice_ahead
        self._clocks = {clock.provider: clock for clock in clocks}
        # What has failed alone, by what was to be done.
        self._postponed_charges: Postponed[ChargeKey] = Postponed()
        self._postponed_lookups: Postponed[ChargeKey] = Postponed()
        self._postponed_resends: Postponed[ChargeKey] = Postponed()
        self._postponed_expiries: Postponed[ChargeKey] = Postponed()
        self._postponed_reminders: Postponed[ChargeKey] = Postponed()
        self._postponed_checks: Postponed[PaymentMethodKey] = Postponed()
        self._postponed_refunds: Postponed[RefundKey] = Postponed()
        self._postponed_disputes: Postponed[tuple[str, str]] = Postponed()
        self._postponed_responses: Postponed[DisputeKey] = Postponed()
        self._postponed_webhooks: Postponed[WebhookKey] = Postponed()
        self._postponed_revenue: Postponed[ChargeKey] = Postponed()

    def due_work(self) -> Sequence[DueWork]:
        """What each worker does."""
        return (
            *self._of_each_provider("charge", self.charge, CHARGE_WORKERS),
            *self._of_each_provider("lookup", self.look_up),
            *self._of_each_provider("refund", self.refund),
            *self._of_each_provider("method-expiry", self.check_expiry),
            *self._of_each_provider("dispute-lookup", self.look_up_disputes),
            *self._of_each_provider("dispute-response", self.answer_disputes),
            DueWork("request-expiry", self.expire_requests),
            DueWork("request-reminder", self.remind_of_requests),
            DueWork("webhook", self.handle_webhooks),
            DueWork("document", self.issue_documents),
            DueWork("revenue", self.recognize_revenue),
        )

    def _of_each_provider(
        self, kind: str, work: Callable[[Batch], Awaitable[int]], parts: int = 1
    ) -> Iterator[DueWork]:
        """Workers for each provider, and one for what belongs to none that is set."""
        names = self._providers.names
        for name in names:
            yield from (DueWork(kind, work, part, parts, queue=name) for part in range(parts))
        yield DueWork(kind, work, others=frozenset(names))

    def _rows_of(self, batch: Batch) -> int:
        """How many rows a step takes, of what its provider is asked about."""
        provider = self._providers.get(batch.queue)
        turns = provider.turns_within(TURNS_SECONDS) if provider else None
        return BATCH_ROWS if turns is None else min(BATCH_ROWS, turns)

    async def charge(self, batch: Batch) -> int:
        """Decide charges whose time has come, and send the attempts that the guard allows.

        They wait while the provider's clock differs from ours by more than the guard allows for.
        """
        if not await self._may_charge(batch.queue):
            return 0
        async with self._database.read() as connection:
            due = await charge_store.due(
                connection,
                batch.queue,
                batch.buckets,
                batch.now,
                self._rows_of(batch),
                self._postponed_charges.waiting(),
            )
        begun: list[Attempt] = []

        async def decide(keys: Sequence[ChargeKey]) -> None:
            async with self._database.begin() as tx:
                decided = await charges.decide_due(tx, batch.queue, keys, batch.now)
            if decided:
                _ATTEMPT_COMMITTED.reached()
            # What is not committed is not sent.
            begun.extend(decided)

        await _work_apart(due, decide, self._postponed_charges, _itself)
        if begun:
            with tracing.working("charging", len(begun)):
                outcomes = await ask_all(begun, self._charge, self._providers, batch.deadline)
                _ATTEMPT_ANSWERED.reached()
                await self._settle(outcomes)
        return len(due)

    async def _settle(self, outcomes: Sequence[tuple[Attempt, Outcome]]) -> None:
        """Write outcomes of attempts; those that cannot be written are looked up again later."""

        async def settle(some: Sequence[tuple[Attempt, Outcome]]) -> None:
            async with self._database.begin() as tx:
                await attempts.settle(tx, some, self._clock.now())
            _ATTEMPT_SETTLED.reached()

        await _work_apart(outcomes, settle, self._postponed_lookups, lambda it: it[0].charge_key)

    async def _may_charge(self, provider: str) -> bool:
        clock = self._clocks.get(provider)
        return clock is None or await clock.allows_charges()

    async def _charge(self, provider: Provider, attempt: Attempt) -> Outcome:
        return await attempts.charge(self._database, provider, attempt)

    async def look_up(self, batch: Batch) -> int:
        """Find out what became of attempts; one that is not found is sent once more, or closed."""
        left_out = [*self._postponed_lookups.waiting(), *self._postponed_resends.waiting()]
        async with self._database.read() as connection:
            due = await attempt_store.due(
                connection,
                batch.queue,
                batch.buckets,
                batch.now,
                self._rows_of(batch),
                left_out,
            )
        if not due:
            return 0
        _LOOKUP_READ.reached()
        outcomes = await self._find(due, batch.queue, batch.deadline)
        _LOOKUP_FOUND.reached()
        await self._settle(outcomes)
        return len(due)

    async def _find(
        self, unknown: Sequence[Attempt], provider_name: str, deadline: float
    ) -> list[tuple[Attempt, Outcome]]:
        """Ask what became of attempts, and again about those that the provider does not find.

        What is sent once more has the same key, so the money moves once however often it is sent.
        """
        now = self._clock.now()
        found = await ask_all(unknown, partial(_find, now), self._providers, deadline)
        outcomes = [(attempt, outcome) for attempt, outcome in found if outcome is not None]
        missing = [attempt for attempt, outcome in found if outcome is None]
        # It was there before: what says otherwise now is not believed.
        known = [a for a in missing if a.mismatch or a.state is not AttemptState.UNKNOWN]
        outcomes += [(attempt, Unknown("it is not found any more")) for attempt in known]
        lost = [attempt for attempt in missing if attempt not in known]
        if not lost:
            return outcomes
        if not await self._may_charge(provider_name):
            # Whether the provider still knows the key cannot be said.
            return outcomes + [(attempt, Unknown("clocks differ")) for attempt in lost]
        judged: list[Attempt] = []
        resent: dict[ChargeKey, Attempt] = {}

        async def allow(some: Sequence[Attempt]) -> None:
            async with self._database.begin() as tx:
                allowed = await attempts.resend_allowed(tx, some, now)
            _RESEND_COMMITTED.reached()
            judged.extend(some)
            resent.update(allowed)

        await _work_apart(lost, allow, self._postponed_resends, attrgetter("charge_key"))

        async def ask(provider: Provider, attempt: Attempt) -> Outcome:
            if again := resent.get(attempt.charge_key):
                return await self._charge(provider, again)
            return await attempts.close(self._database, provider, attempt, now)

        return outcomes + await ask_all(judged, ask, self._providers, deadline)

    async def expire_requests(self, batch: Batch) -> int:
        """Abandon requests to pay that nobody confirmed in time."""
        left_out = self._postponed_expiries.waiting()
        async with self._database.read() as connection:
            due = await charge_store.expired(
                connection, batch.buckets, batch.now, BATCH_ROWS, left_out
            )

        async def expire(keys: Sequence[ChargeKey]) -> None:
            async with self._database.begin() as tx:
                await charges.expire_requests(tx, keys, batch.now)
            _REQUEST_EXPIRED.reached()

        await _work_apart(due, expire, self._postponed_expiries, _itself)
        return len(due)

    async def remind_of_requests(self, batch: Batch) -> int:
        """Remind customers of requests to pay that are about to end."""
        left_out = self._postponed_reminders.waiting()
        async with self._database.read() as connection:
            due = await charge_store.to_remind(
                connection, batch.buckets, batch.now, BATCH_ROWS, left_out
            )

        async def remind(keys: Sequence[ChargeKey]) -> None:
            async with self._database.begin() as tx:
                await payment_requests.remind(tx, keys, batch.now)
            _REQUEST_REMINDED.reached()

        await _work_apart(due, remind, self._postponed_reminders, _itself)
        return len(due)

    async def check_expiry(self, batch: Batch) -> int:
        """Look at payment methods that are about to expire, and publish whose are."""
        left_out = self._postponed_checks.waiting()
        async with self._database.read() as connection:
            methods = await expiry_store.due(
                connection, batch.queue, batch.buckets, batch.now, self._rows_of(batch), left_out
            )
        if not methods:
            return 0
        asked, waiting = expiry.to_ask(methods, self._expiry_notice_ahead, batch.now)
        ask = partial(expiry.ask, self._database)

        async def settle(looks: Sequence[Checked]) -> None:
            async with self._database.begin() as tx:
                await expiry.settle(tx, looks, batch.now)
            _EXPIRY_SETTLED.reached()

        with tracing.working("method-expiry", len(methods)):
            answers = await ask_all(asked, ask, self._providers, batch.deadline)
            _EXPIRY_ANSWERED.reached()
            looks = [*waiting, *(expiry.checked(*answer, batch.now) for answer in answers)]
            await _work_apart(looks, settle, self._postponed_checks, attrgetter("method.key"))
        return len(methods)

    async def refund(self, batch: Batch) -> int:
        """Send refunds until the provider has answered each."""
        left_out = self._postponed_refunds.waiting()
        async with self._database.read() as connection:
            pending = await refund_store.due(
                connection, batch.queue, batch.buckets, batch.now, self._rows_of(batch), left_out
            )
        if not pending:
            return 0
        _REFUND_READ.reached()
        send = partial(refunds.send, batch.now)
        outcomes = await ask_all(pending, send, self._providers, batch.deadline)
        _REFUND_ANSWERED.reached()

        async def settle(some: Sequence[tuple[Refund, Outcome]]) -> None:
            async with self._database.begin() as tx:
                await refunds.settle(tx, some, self._clock.now())
            _REFUND_SETTLED.reached()

        await _work_apart(outcomes, settle, self._postponed_refunds, lambda it: it[0].key)
        return len(pending)

    async def look_up_disputes(self, batch: Batch) -> int:
        """Look disputes up that the provider has named, or that are open."""
        left_out = self._postponed_disputes.waiting()
        async with self._database.read() as connection:
            lookups = await dispute_lookup_store.due(
                connection, batch.queue, batch.buckets, batch.now, self._rows_of(batch), left_out
            )
        if not lookups:
            return 0
        reports = await ask_all(lookups, disputes.look_up, self._providers, batch.deadline)
        _DISPUTES_FOUND.reached()

        async def settle(some: Sequence[disputes.Lookup]) -> None:
            async with self._database.begin() as tx:
                await disputes.settle(tx, some, self._clock.now())
            _DISPUTES_SETTLED.reached()

        await _work_apart(
            reports,
            settle,
            self._postponed_disputes,
            lambda it: (it[0].provider, it[0].provider_dispute),
        )
        return len(lookups)

    async def answer_disputes(self, batch: Batch) -> int:
        """Send the merchants' responses until the provider has taken or refused each."""
        left_out = self._postponed_responses.waiting()
        async with self._database.read() as connection:
            answered = await dispute_store.due(
                connection, batch.queue, batch.buckets, batch.now, self._rows_of(batch), left_out
            )
        if not answered:
            return 0
        send = partial(disputes.send, self._database, batch.now)
        outcomes = await ask_all(answered, send, self._providers, batch.deadline)
        _RESPONSES_ANSWERED.reached()

        async def settle(some: Sequence[disputes.Sent]) -> None:
            async with self._database.begin() as tx:
                await disputes.settle_sent(tx, some, self._clock.now())
            _RESPONSES_SETTLED.reached()

        await _work_apart(outcomes, settle, self._postponed_responses, lambda it: it[0].key)
        return len(answered)

    async def handle_webhooks(self, batch: Batch) -> int:
        """Have looked up what webhooks name."""
        left_out = self._postponed_webhooks.waiting()
        async with self._database.read() as connection:
            events = await webhook_store.due(
                connection, batch.buckets, batch.now, BATCH_ROWS, left_out
            )

        async def handle(some: Sequence[WebhookEvent]) -> None:
            async with self._database.begin() as tx:
                await webhooks.handle(tx, some, batch.now)
            _WEBHOOKS_HANDLED.reached()

        await _work_apart(events, handle, self._postponed_webhooks, attrgetter("key"))
        return len(events)

    async def issue_documents(self, batch: Batch) -> int:
        """Issue the documents of what was paid and given back; those that cannot be made wait alone."""
        async with self._database.read() as connection:
            due = await document_store.due_charges(connection, batch.buckets, batch.now, BATCH_ROWS)
        failed: list[FailedDocuments] = []

        async def issue(charge_keys: Sequence[ChargeKey]) -> None:
            async with self._database.begin() as tx:
                await documents.issue(tx, charge_keys, batch.now)
            _DOCUMENTS_ISSUED.reached()

        def fail(key: ChargeKey, error: Exception) -> None:
            log.error("documents of a charge cannot be made", exc_info=error)
            reason = error_format.one_line(error)[:FAILURE_MAX_CHARS]
            failed.append(FailedDocuments(*key, reason))

        if due:
            _DOCUMENTS_READ.reached()
            await bisect_set(due, issue, is_outage, fail)
        if failed:
            async with self._database.begin() as tx:
                await document_store.postpone(tx, failed, batch.now)
        return len(due)

    async def recognize_revenue(self, batch: Batch) -> int:
        """Recognize what was sold of the days that have begun."""
        left_out = self._postponed_revenue.waiting()
        async with self._database.read() as connection:
            due = await revenue_store.due(
                connection, batch.buckets, batch.now, BATCH_ROWS, left_out
            )

        async def recognize(keys: Sequence[ChargeKey]) -> None:
            async with self._database.begin() as tx:
                await revenue.recognize_due(tx, keys, batch.now)
            _REVENUE_RECOGNIZED.reached()

        await _work_apart(due, recognize, self._postponed_revenue, _itself)
        return len(due)


def _itself(key: ChargeKey) -> ChargeKey:
    return key


async def _work_apart(
    items: Sequence[T],
    work: Callable[[Sequence[T]], Awaitable[None]],
    postponed: Postponed[K],
    key: Callable[[T], K],
) -> None:
    """Work on all items at once; on their halves, if one fails alone, which then waits."""
    if items:
        await bisect_failures(items, work, is_outage, postponed, key)


async def _find(now: datetime, provider: Provider, attempt: Attempt) -> Outcome | None:
    """What became of an attempt.

    One that its customer has not confirmed in time is given up, and one that is not wanted any more.
    """
    given_up = attempt.state is not AttemptState.UNKNOWN and is_over(attempt, now)
    return await (provider.give_up(attempt) if given_up else provider.find(attempt))
