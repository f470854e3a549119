"""The due work of payments: attempts, look-ups of what is not known, expired requests, refunds.

Each step looks first, with one indexed read, when anything is due; what is due is taken in one
transaction, asked of the provider outside of any, and settled in a second one.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import TypeGuard, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from services.payments import events
from services.payments.domain.books import Refund, RefundState, book_charge, book_refund
from services.payments.domain.charges import (
    Attempt,
    Charge,
    ChargeState,
    decide_all,
    expire,
    method_key,
    present_attempt,
    settle_attempt,
)
from services.payments.domain.consent import Mandate, Notice, month_of
from services.payments.domain.declines import MethodUse, stops_method
from services.payments.domain.keys import ChargeKey, MandateKey, PaymentMethodKey
from services.payments.domain.outcomes import (
    Declined,
    NotMade,
    Outcome,
    Succeeded,
    Unknown,
    ask_again_delay,
)
from services.payments.domain.resends import resend_all
from services.payments.provider import Provider
from services.payments.store import attempts as attempt_store
from services.payments.store import charges as charge_store
from services.payments.store import consent as consent_store
from services.payments.store import gauges
from services.payments.store import ledger as ledger_store
from services.payments.store import refunds as refund_store
from services.payments.store.encrypted import token_aad
from services.runtime.crypto.encryption import UnreadableError
from services.runtime.db.pool import Database
from services.runtime.messaging import outbox
from services.runtime.observability import tracing
from services.runtime.workers.clock import Clock
from services.runtime.workers.loop import Step

log = logging.getLogger(__name__)

BATCH_ROWS = 500
REQUESTS_AT_ONCE = 50
# What a batch may take at the provider in all. It is well below the claims of attempts and refunds,
# so that nobody else asks about them meanwhile; what was not answered by then is looked up later.
ROUND_TIMEOUT_SECONDS = 20.0

T = TypeVar("T", Attempt, Refund)
A = TypeVar("A")


class Charging:
    """Decides charges whose time has come, and sends the attempts that the guard allows."""

    def __init__(self, database: Database, clock: Clock, provider: Provider) -> None:
        self._database = database
        self._clock = clock
        self._provider = provider

    async def step(self) -> Step:
        """Decide a batch of due charges and charge those that are allowed."""
        now = self._clock.now()
        if (wait := await _not_due(self._database, charge_store.next_due, now)) is not None:
            return wait
        async with self._database.begin() as tx:
            taken, begun = await _decide_due(tx, now)
        if not taken:
            return Step(pending=True)
        if begun:
            with tracing.working("charging", len(begun)):
                outcomes = await _ask_all(begun, partial(_charge, self._database, self._provider))
                async with self._database.begin() as tx:
                    await _settle_attempts(tx, outcomes, self._clock.now())
        return Step(worked=taken)


class Lookup:
    """Finds out what became of attempts whose outcome is not known."""

    def __init__(self, database: Database, clock: Clock, provider: Provider) -> None:
        self._database = database
        self._clock = clock
        self._provider = provider

    async def step(self) -> Step:
        """Look a batch of attempts up; those that are not found are sent once more, or closed."""
        now = self._clock.now()
        if (wait := await _not_due(self._database, attempt_store.next_lookup, now)) is not None:
            return wait
        async with self._database.begin() as tx:
            claimed = await attempt_store.claim(tx, now, BATCH_ROWS)
        if not claimed:
            return Step(pending=True)
        found = await _ask_all(claimed, self._provider.find)
        outcomes = [(attempt, outcome) for attempt, outcome in found if outcome is not None]
        missing = [attempt for attempt, outcome in found if outcome is None]
        outcomes += await self._ask_about_missing(missing)
        async with self._database.begin() as tx:
            await _settle_attempts(tx, outcomes, self._clock.now())
        return Step(worked=len(claimed))

    async def _ask_about_missing(self, missing: Sequence[Attempt]) -> list[tuple[Attempt, Outcome]]:
        """Send once more what may still be charged; close the keys of the others.

        What is sent once more has the same key, so the money moves once however often it is sent.
        """
        false = [attempt for attempt in missing if attempt.mismatch]
        lost = [attempt for attempt in missing if not attempt.mismatch]
        if not lost:
            return [(attempt, Unknown("the answer was false")) for attempt in false]
        now = self._clock.now()
        async with self._database.begin() as tx:
            resent = await _resend_allowed(tx, lost, now)

        async def ask(attempt: Attempt) -> Outcome:
            if attempt.charge in resent:
                return await _charge(self._database, self._provider, attempt)
            return await self._provider.close(attempt, now)

        return [
            *((attempt, Unknown("the answer was false")) for attempt in false),
            *await _ask_all(lost, ask),
        ]


class Expiry:
    """Ends requests to pay that nobody confirmed in time."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def step(self) -> Step:
        """Abandon a batch of expired requests."""
        now = self._clock.now()
        if (wait := await _not_due(self._database, charge_store.next_expiry, now)) is not None:
            return wait
        async with self._database.begin() as tx:
            expired = [
                expire(charge, now)
                for charge in await charge_store.take_expired(tx, now, BATCH_ROWS)
            ]
            await charge_store.save(tx, expired)
            await outbox.put(tx, [events.payment_abandoned(charge, now) for charge in expired])
        return Step(worked=len(expired)) if expired else Step(pending=True)


class Refunding:
    """Sends refunds until the provider has answered each."""

    def __init__(self, database: Database, clock: Clock, provider: Provider) -> None:
        self._database = database
        self._clock = clock
        self._provider = provider

    async def step(self) -> Step:
        """Send a batch of pending refunds."""
        now = self._clock.now()
        if (wait := await _not_due(self._database, refund_store.next_try, now)) is not None:
            return wait
        async with self._database.begin() as tx:
            claimed = await refund_store.claim(tx, now, BATCH_ROWS)
        if not claimed:
            return Step(pending=True)
        outcomes = await _ask_all(claimed, self._refund)
        now = self._clock.now()
        known = [(r, o) for r, o in outcomes if isinstance(o, Succeeded | Declined)]
        unknown = [(r, o) for r, o in outcomes if isinstance(o, Unknown)]
        async with self._database.begin() as tx:
            await refund_store.postpone(tx, unknown, now)
            settled = await refund_store.settle(tx, known, now)
            given_back = [each for each in settled if each.state is RefundState.SUCCEEDED]
            charges = await charge_store.by_key(tx, [each.key.charge for each in given_back])
            await ledger_store.book(tx, [book_refund(each, now) for each in given_back])
            await outbox.put(
                tx,
                [
                    events.refund_succeeded(each, charges[each.key.charge], now)
                    for each in given_back
                ],
            )
        return Step(worked=len(claimed))

    async def _refund(self, refund: Refund) -> Outcome:
        """Send a refund; one that was sent before is looked for first, since keys are forgotten."""
        if refund.try_count:
            found = await self._provider.find_refund(refund)
            if found is not None:
                return found
            if refund.mismatch:
                return Unknown("the answer was false")
        return await self._provider.refund(refund)


async def _decide_due(tx: AsyncConnection, now: datetime) -> tuple[int, list[Attempt]]:
    """Decide a batch of due charges; returns how many there were, and the attempts that begin.

    The mandates stay locked until the attempts are stored.
    """
    due = await charge_store.take_due(tx, now, BATCH_ROWS)
    if not due:
        return 0, []
    notices, mandates, spent_minor = await _evidence(tx, due, now)
    uses = await _method_uses(tx, due, mandates, now)
    decided = list(decide_all(due, notices, mandates, spent_minor, now, uses))
    await charge_store.save(tx, decided)
    await outbox.put(tx, events.decided(decided, now))
    begun = [
        present_attempt(charge, now) for charge in decided if charge.state is ChargeState.IN_FLIGHT
    ]
    return len(due), await attempt_store.begin(tx, begun, now + ask_again_delay(0))


async def _resend_allowed(
    tx: AsyncConnection, lost: Sequence[Attempt], now: datetime
) -> set[ChargeKey]:
    """The charges whose attempts are sent once more, by all that is known of them now.

    Charges and mandates stay locked until that is stored: a withdrawal or a revocation comes before,
    and is heeded, or after, like one that comes after any attempt has begun.
    """
    charges = await charge_store.locked(tx, [attempt.charge for attempt in lost])
    attempts = {attempt.charge: attempt for attempt in lost}
    missing = [(charge, attempts[key]) for key, charge in charges.items()]
    notices, mandates, spent_minor = await _evidence(tx, list(charges.values()), now)
    uses = await _method_uses(tx, list(charges.values()), mandates, now)
    verdicts = resend_all(missing, notices, mandates, spent_minor, now, uses)
    allowed = [attempt for (_, attempt), may in zip(missing, verdicts, strict=True) if may]
    resent = await attempt_store.resend(tx, allowed, now)
    relied_on = {key: notices[key].notice if key in notices else "" for key in resent}
    await charge_store.save(tx, [replace(charges[k], notice=relied_on[k]) for k in sorted(resent)])
    return resent


async def _evidence(
    tx: AsyncConnection, charges: Sequence[Charge], now: datetime
) -> tuple[dict[ChargeKey, Notice], dict[MandateKey, Mandate], dict[MandateKey, int]]:
    """What the guard compares charges with: notices, mandates (locked), and their months so far."""
    notices = await consent_store.latest_notices(tx, [charge.key for charge in charges])
    wanted = {charge.mandate_key for charge in charges if charge.mandate_key}
    mandates = await consent_store.mandates(tx, wanted, lock=True)
    month = month_of(now)
    limited = [key for key, mandate in mandates.items() if mandate.month_ceiling_minor is not None]
    totals = await consent_store.month_totals_minor(tx, [(key, month) for key in limited])
    return notices, mandates, dict(zip(limited, totals, strict=True))


async def _method_uses(
    tx: AsyncConnection,
    charges: Sequence[Charge],
    mandates: Mapping[MandateKey, Mandate],
    now: datetime,
) -> dict[PaymentMethodKey, MethodUse]:
    """What the payment methods of charges are used for; they stay locked."""
    wanted = {key for charge in charges if (key := method_key(charge, mandates)) is not None}
    return await consent_store.method_uses(tx, wanted, now) if wanted else {}


async def _charge(database: Database, provider: Provider, attempt: Attempt) -> Outcome:
    """Charge with the attempt's token, opened. One that does not open holds up no other attempt.

    Its key may come back: so the attempt is looked up again, and its outcome is not known till then.
    """
    try:
        token = database.keyring.decrypt(
            attempt.provider_token, *token_aad(_method_of(attempt))
        ).decode()
    except UnreadableError:
        return Unknown("the token does not open")
    return await provider.charge(attempt, token)


async def _settle_attempts(
    tx: AsyncConnection, outcomes: Sequence[tuple[Attempt, Outcome]], now: datetime
) -> None:
    """Write what the provider said. An outcome that is known already is not written again."""
    gauges.answered(outcome for _, outcome in outcomes)
    known = {a.charge: (a, o) for a, o in outcomes if not isinstance(o, Unknown)}
    if known:
        await _settle_known(tx, known, now)
    # Last, so that everybody locks charges before attempts.
    unknown = [(a, o) for a, o in outcomes if isinstance(o, Unknown)]
    await attempt_store.postpone(tx, unknown, now)


async def _settle_known(
    tx: AsyncConnection,
    known: Mapping[ChargeKey, tuple[Attempt, Succeeded | Declined | NotMade]],
    now: datetime,
) -> None:
    charges = await charge_store.locked(tx, known)
    news = await attempt_store.settle(tx, list(known.values()), now)
    tried = {key: known[key] for key in sorted(news)}
    settled = [
        settle_attempt(charges[key], attempt, outcome, now)
        for key, (attempt, outcome) in tried.items()
    ]
    await charge_store.save(tx, settled)
    methods = {key: _method_of(attempt) for key, (attempt, _) in tried.items()}
    await charge_store.wake_awaiting(tx, methods.values(), now)
    stopped = {methods[key]: o.code for key, (_, o) in tried.items() if _stops_method(o)}
    blocked = await consent_store.block_methods(tx, stopped, now)
    paid = [charge for charge in settled if charge.state is ChargeState.SUCCEEDED]
    await ledger_store.book(tx, [book_charge(charge, now) for charge in paid])
    cards = await consent_store.payment_methods(tx, [methods[charge.key] for charge in paid])
    facts = [events.payment_succeeded(c, cards[methods[c.key]], now) for c in paid]
    for charge in settled:
        method = methods[charge.key]
        _, outcome = tried[charge.key]
        if not isinstance(outcome, Succeeded):
            facts += events.not_paid(charge, outcome, now, method_blocked=method in stopped)
        if method in blocked:
            facts.append(events.payment_method_blocked(blocked[method], charge, now))
    await outbox.put(tx, facts)


def _method_of(attempt: Attempt) -> PaymentMethodKey:
    return PaymentMethodKey(attempt.charge.owner, attempt.payment_method)


def _stops_method(outcome: Outcome) -> TypeGuard[Declined]:
    """Whether an outcome ends the use of its payment method for all orders."""
    return isinstance(outcome, Declined) and stops_method(outcome.code, outcome.advice)


async def _not_due(
    database: Database,
    next_due: Callable[[AsyncConnection], Awaitable[datetime | None]],
    now: datetime,
) -> Step | None:
    """A step that found nothing to do, and when there will be; None if something is due."""
    async with database.read() as connection:
        due = await next_due(connection)
    return Step(wake_at=due) if due is None or due > now else None


async def _ask_all(
    items: Iterable[T], ask: Callable[[T], Awaitable[A]]
) -> list[tuple[T, A | Unknown]]:
    """Ask the provider about each, so many at once, for so long at the most."""
    deadline = asyncio.get_running_loop().time() + ROUND_TIMEOUT_SECONDS
    places = asyncio.Semaphore(REQUESTS_AT_ONCE)

    async def ask_one(item: T) -> tuple[T, A | Unknown]:
        try:
            async with asyncio.timeout_at(deadline), places:
                return item, await ask(item)
        except TimeoutError:
            return item, Unknown("no answer within the time of the batch")

    answers = list(await asyncio.gather(*(ask_one(item) for item in items)))
    whys = Counter(outcome.why for _, outcome in answers if isinstance(outcome, Unknown))
    if whys:
        log.warning("outcomes not known yet", extra={"count_by_cause": dict(whys)})
    for item, outcome in answers:
        if isinstance(outcome, Unknown) and outcome.mismatch:
            log.error(
                "the provider answered what was not asked for",
                extra={"asked_for": _name(item), "answered": outcome.mismatch},
            )
    return answers


def _name(item: Attempt | Refund) -> str:
    """What an operator finds an attempt or a refund by."""
    if isinstance(item, Refund):
        return item.key.name
    return f"{item.charge.name} attempt {item.number}, key {item.idempotency_key}"
