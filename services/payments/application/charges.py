"""Charges: opened, withdrawn, decided and ended."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from services.payments import publishers
from services.payments.application import evidence
from services.payments.domain.attempts import Attempt, present_attempt
from services.payments.domain.charges import AbandonReason, Charge, ChargeState, abandon, expire
from services.payments.domain.consent import Notice
from services.payments.domain.decisions import decide_all
from services.payments.domain.keys import ChargeKey
from services.payments.domain.outcomes import ask_again_delay
from services.payments.store import attempts as attempt_store
from services.payments.store import charges as charge_store
from services.payments.store import consent as consent_store
from services.runtime.db.pool import Connection
from services.runtime.messaging import outbox


async def decide_due(tx: Connection, now: datetime, limit: int) -> tuple[int, list[Attempt]]:
    """Decide a batch of due charges; returns how many there were, and the attempts that begin.

    The mandates stay locked until the attempts are stored.
    """
    due = await charge_store.take_due(tx, now, limit)
    if not due:
        return 0, []
    notices, mandates, spent_minor = await evidence.read(tx, due, now)
    uses = await evidence.method_uses(tx, due, mandates, now)
    decided = list(decide_all(due, notices, mandates, spent_minor, now, uses))
    await charge_store.save(tx, decided)
    await outbox.put(tx, publishers.decided(decided, now))
    begun = [
        present_attempt(charge, now) for charge in decided if charge.state is ChargeState.IN_FLIGHT
    ]
    return len(due), await attempt_store.begin(tx, begun, now + ask_again_delay(0))


async def expire_requests(tx: Connection, now: datetime, limit: int) -> int:
    """Abandon a batch of requests to pay that nobody confirmed in time; returns how many."""
    expired = [expire(charge, now) for charge in await charge_store.take_expired(tx, now, limit)]
    await charge_store.save(tx, expired)
    await outbox.put(tx, [publishers.payment_abandoned(charge, now) for charge in expired])
    return len(expired)


async def open_charges(tx: Connection, wanted: Iterable[Charge], now: datetime) -> None:
    """Add charges of orders that are to be paid; one that is there already stays as it is."""
    charges = {charge.key: charge for charge in wanted}
    new = await charge_store.insert(tx, list(charges.values()))
    live = new - await _end_withdrawn(tx, new, now)
    requested = [
        charges[key] for key in sorted(live) if charges[key].state is ChargeState.REQUESTED
    ]
    await outbox.put(tx, [publishers.payment_requested(charge, now) for charge in requested])


async def withdraw(tx: Connection, keys: set[ChargeKey], now: datetime) -> None:
    """Withdraw charges: what has not been sent to the provider never will be."""
    await charge_store.insert_withdrawals(tx, keys, now)
    await _end_withdrawn(tx, keys, now)


async def change_mandates(
    tx: Connection, changes: Mapping[ChargeKey, tuple[str, datetime]]
) -> None:
    """Have charges made under another mandate, each from a time on."""
    await charge_store.insert_mandate_changes(tx, changes)
    await charge_store.save(tx, list((await charge_store.locked(tx, changes)).values()))


async def keep_notices(tx: Connection, notices: Sequence[Notice], now: datetime) -> None:
    """Keep what customers were promised: the evidence that the guard asks for."""
    await consent_store.insert_notices(tx, notices)
    await charge_store.wake(tx, [notice.charge for notice in notices], now)


async def _end_withdrawn(tx: Connection, keys: set[ChargeKey], now: datetime) -> set[ChargeKey]:
    """Abandon those of the charges that are withdrawn and have no attempt under way; returns which.

    One that is being attempted is left alone: what becomes of it is decided with the outcome.
    """
    open_states = {ChargeState.SCHEDULED, ChargeState.REQUESTED}
    ended = [
        abandon(charge, AbandonReason.WITHDRAWN, now)
        for charge in (await charge_store.locked(tx, keys)).values()
        if charge.withdrawn and charge.state in open_states
    ]
    await charge_store.save(tx, ended)
    await outbox.put(tx, [publishers.payment_abandoned(charge, now) for charge in ended])
    return {charge.key for charge in ended}
