"""Attempts: sent, sent once more, settled."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TypeGuard

from services.payments import publishers
from services.payments.application import (
    credit,
    dunning,
    evidence,
    payment_requests,
    revenue,
)
from services.payments.application.mandate_terms import changed_events
from services.payments.clients.provider import Provider
from services.payments.domain.attempts import Attempt, ask_customer, is_over, settle_attempt
from services.payments.domain.charges import Charge
from services.payments.domain.declines import stops_method
from services.payments.domain.dunning import STANDARD
from services.payments.domain.idempotent_retries import resend_all
from services.payments.domain.keys import ChargeKey, CustomerKey, MandateKey, PaymentMethodKey
from services.payments.domain.outcomes import (
    Declined,
    FinalOutcome,
    NotMade,
    Outcome,
    Pending,
    RequiresAction,
    Succeeded,
    Unknown,
)
from services.payments.domain.payment_methods import PaymentMethod
from services.payments.domain.transitions import AttemptState, ChargeState, MandateState
from services.payments.domain.verdicts import RESENDING
from services.payments.store import attempts as attempt_store
from services.payments.store import charges as charge_store
from services.payments.store import documents as document_store
from services.payments.store import dunning as dunning_store
from services.payments.store import mandates as mandate_store
from services.payments.store import payment_methods as payment_method_store
from services.payments.store import verdicts as verdict_store
from services.payments.store.encrypted import token_aad
from services.runtime.crypto.encryption import UnreadableError
from services.runtime.db.pool import Connection, Database
from services.runtime.messaging import outbox
from services.runtime.messaging.events import OutboxEvent
from services.runtime.observability import metrics

_OUTCOMES: dict[type[Outcome], str] = {
    Succeeded: "SUCCEEDED",
    Declined: "DECLINED",
    NotMade: "NOT_MADE",
    Pending: "PENDING",
    RequiresAction: "REQUIRES_ACTION",
    Unknown: "UNKNOWN",
}
_outcomes_counter = metrics.counter(
    "recurring.charge.attempts",
    "{attempt}",
    "Answers of the provider to charges, by outcome",
    [{"outcome": outcome} for outcome in _OUTCOMES.values()],
)


async def charge(database: Database, provider: Provider, attempt: Attempt) -> Outcome:
    """Charge with the attempt's token, opened. One that does not open holds up no other attempt.

    Its key may come back: so the attempt is looked up again, and its outcome is not known till then.
    """
    token = _opened(database, attempt)
    return token if isinstance(token, Unknown) else await provider.charge(attempt, token)


async def close(database: Database, provider: Provider, attempt: Attempt, now: datetime) -> Outcome:
    """Have an attempt that the provider does not have never be made there."""
    token = _opened(database, attempt)
    return token if isinstance(token, Unknown) else await provider.close(attempt, token, now)


def _opened(database: Database, attempt: Attempt) -> str | Unknown:
    try:
        return database.keyring.decrypt(
            attempt.provider_token, *token_aad(attempt.method_key)
        ).decode()
    except UnreadableError:
        return Unknown("the token does not open")


async def resend_allowed(
    tx: Connection, lost: Sequence[Attempt], now: datetime
) -> dict[ChargeKey, Attempt]:
    """The attempts that are sent once more, by all that is known of them now; by their charges.

    Charges and mandates stay locked until that is stored: a withdrawal or a revocation comes before,
    and is heeded, or after, like one that comes after any attempt has begun.
    """
    charges = await charge_store.locked(tx, [attempt.charge_key for attempt in lost])
    attempts = {attempt.charge_key: attempt for attempt in lost}
    missing = [(charge, attempts[key]) for key, charge in charges.items()]
    known = await evidence.read(tx, list(charges.values()), now)
    permits = list(resend_all(missing, known, now))
    await verdict_store.insert(tx, permits)
    resent = await attempt_store.resend(tx, permits, now)
    relied_on = {key: notice.notice for key, notice in known.notices.items()}
    again = [charges[key]._replace(notice=relied_on.get(key, "")) for key in sorted(resent)]
    await charge_store.save(tx, again)
    return {key: replace(attempts[key], permit=RESENDING, resend_time=now) for key in resent}


async def settle(
    tx: Connection, outcomes: Sequence[tuple[Attempt, Outcome]], now: datetime
) -> None:
    """Write what the provider said. An outcome that is known already is not written again."""
    known = {a.charge_key: (a, o) for a, o in outcomes if isinstance(o, FinalOutcome)}
    asked = {a.charge_key: (a, o) for a, o in outcomes if isinstance(o, RequiresAction)}
    submitted = {a.charge_key: (a, o) for a, o in outcomes if isinstance(o, Pending)}
    if known or asked or submitted:
        charges = await charge_store.locked(tx, [*known, *asked, *submitted])
        await _ask_customers(tx, charges, list(asked.values()), now)
        await _keep_pending(tx, charges, list(submitted.values()), now)
        await _settle_known(tx, charges, known, now)
    # Last, so that everybody locks charges before attempts.
    unknown = [(a, o) for a, o in outcomes if isinstance(o, Unknown)]
    await attempt_store.postpone(tx, unknown, now)
    for _, outcome in outcomes:
        _outcomes_counter.add(1, {"outcome": _OUTCOMES[type(outcome)]})


async def _ask_customers(
    tx: Connection,
    charges: Mapping[ChargeKey, Charge],
    asked: Sequence[tuple[Attempt, RequiresAction]],
    now: datetime,
) -> None:
    """Have customers confirm attempts with their banks; each is asked once an attempt.

    Mandates are locked: whoever revokes one gives up what it finds waiting, or is heeded here.
    """
    if not asked:
        return
    allowed = await _allowed(tx, [attempt for attempt, _ in asked])
    waiting = []
    for attempt, outcome in asked:
        wanted = attempt.charge_key in allowed
        present = ask_customer(charges[attempt.charge_key], attempt, wanted=wanted, now=now)
        waiting.append((present, outcome))
    is_open = await attempt_store.ask(tx, waiting)
    await charge_store.wake_awaiting(tx, [attempt.method_key for attempt, _ in waiting], now)
    events = [
        publishers.payment_action_required(charges[attempt.charge_key], attempt, outcome.url, now)
        for attempt, outcome in waiting
        if attempt.charge_key in is_open
        and attempt.state is AttemptState.UNKNOWN
        and not is_over(attempt, now)
    ]
    await outbox.put(tx, events)


async def _keep_pending(
    tx: Connection,
    charges: Mapping[ChargeKey, Charge],
    submitted: Sequence[tuple[Attempt, Pending]],
    now: datetime,
) -> None:
    """Wait for what banks decide; what is not wanted any more is given up, while it can be.

    Mandates are locked, as where customers are asked.
    """
    if not submitted:
        return
    allowed = await _allowed(tx, [attempt for attempt, _ in submitted])
    pending = []
    for attempt, outcome in submitted:
        is_wanted = attempt.charge_key in allowed and not charges[attempt.charge_key].withdrawn
        end_time = None if is_wanted else attempt.action_expire_time or now
        pending.append((replace(attempt, action_expire_time=end_time), outcome))
    await attempt_store.submit(tx, pending, now)


async def _allowed(tx: Connection, attempts: Sequence[Attempt]) -> set[ChargeKey]:
    """The charges of attempts that mandates allow still, or that customers have confirmed.

    A mandate whose validity is over allows what began before; a paused or revoked one allows nothing.
    """
    under = {a.charge_key: MandateKey(*a.charge_key[:2], a.mandate) for a in attempts if a.mandate}
    mandates = await mandate_store.by_key(tx, under.values(), lock=True)
    allowed = set()
    for attempt in attempts:
        mandate = mandates.get(under[attempt.charge_key]) if attempt.mandate else None
        # Only the end of its validity depends on the instant.
        was_active = mandate and mandate.state(attempt.start_time) is MandateState.ACTIVE
        if was_active or not attempt.mandate:
            allowed.add(attempt.charge_key)
    return allowed


async def _settle_known(
    tx: Connection,
    charges: Mapping[ChargeKey, Charge],
    known: Mapping[ChargeKey, tuple[Attempt, FinalOutcome]],
    now: datetime,
) -> None:
    if not known:
        return
    policies = await dunning_store.of_merchants(tx, [key.merchant for key in known])
    news = await attempt_store.settle(tx, list(known.values()), policies, now)
    tried = {key: known[key] for key in sorted(news)}
    following = await dunning.fallbacks(tx, tried, now)
    settled = [
        settle_attempt(
            charges[key],
            attempt,
            outcome,
            now,
            policies.get(key.merchant, STANDARD),
            following.get(key),
        )
        for key, (attempt, outcome) in tried.items()
    ]
    settled = payment_requests.reminded(settled, policies, now)
    links = await payment_requests.new_links(tx, settled, policies, now)
    await charge_store.save(tx, settled)
    methods = {key: attempt.method_key for key, (attempt, _) in tried.items()}
    await charge_store.wake_awaiting(tx, methods.values(), now)
    attached = {
        methods[key]: outcome.provider_customer
        for key, (_, outcome) in tried.items()
        if isinstance(outcome, NotMade) and outcome.provider_customer
    }
    await payment_method_store.attach(tx, attached)
    stopped = {methods[key]: o.code for key, (_, o) in tried.items() if _stops_method(o)}
    blocked, events = await _block(tx, stopped, now)
    await credit.settle(tx, [charges[key] for key in tried], settled, now)
    paid = [charge for charge in settled if charge.state is ChargeState.SUCCEEDED]
    await revenue.book_sales(tx, paid, now)
    await document_store.owe_payments(tx, paid, now)
    cards = await payment_method_store.by_key(tx, [methods[charge.key] for charge in paid])
    events += [publishers.payment_succeeded(c, cards[methods[c.key]], now) for c in paid]
    for charge in settled:
        method = methods[charge.key]
        _, outcome = tried[charge.key]
        if not isinstance(outcome, Succeeded):
            events += publishers.not_paid(
                charge,
                outcome,
                now,
                method_blocked=method in stopped,
                is_last_resort=charge.billing_mode is not charges[charge.key].billing_mode,
                link_uri=links.get(charge.key, ""),
            )
        if method in blocked:
            events.append(publishers.payment_method_blocked(blocked[method], charge, now))
    await outbox.put(tx, events)


async def _block(
    tx: Connection, stopped: Mapping[PaymentMethodKey, str], now: datetime
) -> tuple[dict[PaymentMethodKey, PaymentMethod], list[OutboxEvent]]:
    """Block payment methods by their decline codes: those that are new, and what that changes."""
    if not stopped:
        return {}, []
    customers = {CustomerKey(*method[:2]) for method in stopped}
    terms = await mandate_store.notice_terms(tx, customers)
    blocked = await payment_method_store.block(tx, stopped, now)
    return blocked, await changed_events(tx, terms, now)


def _stops_method(outcome: Outcome) -> TypeGuard[Declined]:
    """Whether an outcome ends the use of its payment method for all orders."""
    return isinstance(outcome, Declined) and stops_method(outcome.code, outcome.advice)
