"""Webhooks: stored as they arrive, in sets; handled later by having their objects looked up."""

import asyncio
import logging
from collections.abc import Sequence
from datetime import datetime

from services.payments.domain.disputes import DisputeLookup
from services.payments.domain.keys import ChargeKey, RefundKey
from services.payments.domain.transitions import OPEN_ATTEMPTS, AttemptState
from services.payments.domain.webhooks import (
    FAILED,
    OPEN_STATES,
    TAKEN_BACK,
    WebhookEvent,
    WebhookState,
    WebhookSubject,
)
from services.payments.store import attempts as attempt_store
from services.payments.store import dispute_lookups as dispute_lookup_store
from services.payments.store import refunds as refund_store
from services.payments.store import webhooks as webhook_store
from services.runtime.auth.call_context import act_for_all
from services.runtime.db.pool import Connection, Database
from services.runtime.workers.clock import Clock

log = logging.getLogger(__name__)

STORED_AT_ONCE_MAX = 500
# Statements that store events side by side: one that arrives while another is written to the disk
# waits for its own write alone.
STATEMENTS_AT_ONCE_MAX = 3
# So long after the first of them events are handled, in one set: the answer does not wait for that.
HANDLE_DELAY_SECONDS = 0.1
# Expired events that a batch deletes beside what it handles.
FORGOTTEN_AT_ONCE_MAX = 1000


class WebhookInbox:
    """Stores events as they arrive, those that arrive at the same time by one statement."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._waiting: list[tuple[WebhookEvent, asyncio.Future[bool]]] = []
        self._storing: set[asyncio.Task[None]] = set()
        self._waking: asyncio.TimerHandle | None = None

    async def store(self, event: WebhookEvent) -> bool:
        """Return once an event is stored; False if it was before. Raises what the database raises."""
        stored: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((event, stored))
        if len(self._storing) < STATEMENTS_AT_ONCE_MAX:
            task = asyncio.create_task(self._store_waiting())
            self._storing.add(task)
            task.add_done_callback(self._storing.discard)
        return await stored

    async def _store_waiting(self) -> None:
        # Whose events they are is in them, and not in who sends them.
        act_for_all("payments")
        while self._waiting:
            batch = self._waiting[:STORED_AT_ONCE_MAX]
            del self._waiting[:STORED_AT_ONCE_MAX]
            await self._store_batch(batch)

    async def _store_batch(
        self, batch: Sequence[tuple[WebhookEvent, asyncio.Future[bool]]]
    ) -> None:
        # In the order of their keys, so that two statements with the same events do not wait for each
        # other.
        events = {
            event.key: event for event, _ in sorted(batch, key=lambda waiting: waiting[0].key)
        }
        try:
            async with self._database.autocommit() as tx:
                new = await webhook_store.insert(tx, events.values(), self._clock.now())
        except Exception as error:  # noqa: BLE001 - raised to each that waits
            for _, stored in batch:
                if not stored.done():
                    stored.set_exception(error)
            return
        for event, stored in batch:
            if not stored.done():
                stored.set_result(event.key in new)
        if self._waking is None:
            loop = asyncio.get_running_loop()
            self._waking = loop.call_later(HANDLE_DELAY_SECONDS, self._wake)

    def _wake(self) -> None:
        self._waking = None
        self._database.wake_workers()


async def handle(tx: Connection, events: Sequence[WebhookEvent], now: datetime) -> None:
    """Handle a set of events: have what they are about looked up."""
    payments = [event for event in events if event.subject is WebhookSubject.PAYMENT]
    refunds = [event for event in events if event.subject is WebhookSubject.REFUND]
    attempts = await attempt_store.hinted(tx, payments, now)
    known_refunds = await refund_store.hinted(tx, refunds, now)
    disputes = [event for event in events if event.subject is WebhookSubject.DISPUTE]
    taken = [event for event in payments if _may_be_taken(event, attempts.get(_attempt_key(event)))]
    lookups = [DisputeLookup(event.provider, event.object) for event in [*disputes, *taken]]
    await dispute_lookup_store.hint(tx, lookups, now)
    handled = dict.fromkeys(events, WebhookState.IGNORED)
    handled |= dict.fromkeys(disputes, WebhookState.HANDLED)
    handled |= {event: _of_payment(event, attempts.get(_attempt_key(event))) for event in payments}
    handled |= {event: _of_refund(known=_refund_key(event) in known_refunds) for event in refunds}
    await webhook_store.finish(tx, handled, now)
    await webhook_store.forget(tx, now, FORGOTTEN_AT_ONCE_MAX)
    for event, state in handled.items():
        if state in OPEN_STATES:
            log.warning(
                "a webhook is to be looked at",
                extra={"webhook": event.event, "type": event.type, "object": event.object,
                       "became": state.value},
            )  # fmt: skip


def _of_payment(event: WebhookEvent, attempt: AttemptState | None) -> WebhookState:
    if attempt is None:
        return WebhookState.UNKNOWN_OBJECT
    paid = OPEN_ATTEMPTS | {AttemptState.SUCCEEDED}
    moved_unpaid = event.moved and attempt not in paid
    return WebhookState.CONTRADICTED if moved_unpaid else WebhookState.HANDLED


def _may_be_taken(event: WebhookEvent, attempt: AttemptState | None) -> bool:
    """Whether it may be about a payment that a bank has taken back: its look-up says."""
    failed_late = event.object_state == FAILED and attempt is AttemptState.SUCCEEDED
    return attempt is not None and (event.object_state in TAKEN_BACK or failed_late)


def _of_refund(*, known: bool) -> WebhookState:
    return WebhookState.HANDLED if known else WebhookState.UNKNOWN_OBJECT


def _attempt_key(event: WebhookEvent) -> tuple[ChargeKey, str]:
    return ChargeKey(event.merchant, event.customer, event.charge), event.idempotency_key


def _refund_key(event: WebhookEvent) -> RefundKey:
    return RefundKey(event.merchant, event.customer, event.charge, event.refund)
