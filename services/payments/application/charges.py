"""Charges: opened, withdrawn, decided and ended."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from services.payments import publishers
from services.payments.application import credit, evidence, payment_methods, payment_requests
from services.payments.domain.attempts import Attempt, present_attempt
from services.payments.domain.charges import AbandonReason, Charge, abandon, confirm_request, expire
from services.payments.domain.consent import Notice
from services.payments.domain.decisions import decide_all, lapsed_mandates
from services.payments.domain.keys import ChargeKey, CustomerKey, PaymentMethodKey
from services.payments.domain.transitions import ChargeState
from services.payments.domain.verdicts import Verdict
from services.payments.names import ANY_CUSTOMER
from services.payments.store import attempts as attempt_store
from services.payments.store import charges as charge_store
from services.payments.store import dunning as dunning_store
from services.payments.store import expiry as expiry_store
from services.payments.store import instructions as instruction_store
from services.payments.store import mandates as mandate_store
from services.payments.store import notices as notice_store
from services.payments.store import refunds as refund_store
from services.payments.store import verdicts as verdict_store
from services.runtime.db.pool import Connection
from services.runtime.errors import not_found, wrong_state
from services.runtime.messaging import outbox
from services.runtime.money import Money, format_minor
from services.runtime.mutations import Applied


class ChargeView(NamedTuple):
    """A charge as callers see it."""

    charge: Charge
    attempts: Sequence[Attempt]
    refunded_minor: int


async def existing(connection: Connection, key: ChargeKey, *, lock: bool = False) -> Charge:
    """A charge. Raises NOT_FOUND CHARGE_NOT_FOUND."""
    find = charge_store.locked if lock else charge_store.by_key
    charge = (await find(connection, [key])).get(key)
    if charge is None:
        raise not_found("CHARGE_NOT_FOUND", key.name)
    return charge


async def views(connection: Connection, charges: Sequence[Charge]) -> list[ChargeView]:
    """Charges with their attempts and what was given back of them, in two statements for all."""
    keys = [charge.key for charge in charges]
    attempts = await attempt_store.of_charges(connection, keys)
    refunded = await refund_store.refunded_minor(connection, keys)
    return [
        ChargeView(charge, attempts.get(charge.key, ()), refunded.get(charge.key, 0))
        for charge in charges
    ]


async def explained(connection: Connection, key: ChargeKey) -> tuple[ChargeView, Sequence[Verdict]]:
    """A charge with what the guard said of it. Raises NOT_FOUND CHARGE_NOT_FOUND."""
    [view] = await views(connection, [await existing(connection, key)])
    return view, (await verdict_store.of_charges(connection, [key])).get(key, ())


async def views_of(
    connection: Connection, owner: CustomerKey, state: str, after: tuple[str, str], limit: int
) -> list[ChargeView]:
    """The charges of a customer, or of all of a merchant, by id and customer."""
    if owner.customer == ANY_CUSTOMER:
        charges = await charge_store.of_merchant(connection, owner.merchant, state, after, limit)
    else:
        charges = await charge_store.of_customer(connection, owner, state, after[0], limit)
    return await views(connection, charges)


async def confirm(
    tx: Connection,
    key: ChargeKey,
    method_key: PaymentMethodKey | None,
    amount: Money | None,
    now: datetime,
) -> Applied[ChargeView]:
    """Take the customer's confirmation; the worker that makes all charges makes this one.

    Without a payment method it is the customer's default.

    Raises NOT_FOUND CHARGE_NOT_FOUND or PAYMENT_METHOD_NOT_FOUND, FAILED_PRECONDITION
    PAYMENT_METHOD_BLOCKED, PAYMENT_METHOD_DETACHED, PAYMENT_REQUEST_STATE, PARTIAL_PAYMENT,
    OVER_PAYMENT or CURRENCY_MISMATCH.
    """
    charge = await existing(tx, key, lock=True)
    if amount is not None:
        _check_amount(charge, amount)
    method = await payment_methods.attached_or_default(tx, CustomerKey(*key[:2]), method_key)
    if method.block_time is not None:
        raise wrong_state(
            "PAYMENT_METHOD_BLOCKED", "it was declined for good; confirm with another"
        )
    confirmed = confirm_request(charge, method.key.payment_method, now)
    if confirmed is None:
        raise wrong_state(
            "PAYMENT_REQUEST_STATE",
            "the request is paid, expired or withdrawn, or is being charged now",
        )
    await charge_store.save(tx, [confirmed])
    await charge_store.move(tx, {key: method.provider})
    [before] = await views(tx, [charge])
    return Applied(before._replace(charge=confirmed), before=before)


def _check_amount(charge: Charge, amount: Money) -> None:
    """Take neither a part of a request, nor more than it. Raises as `confirm`."""
    wanted = Money(charge.amount_minor, charge.currency)
    if amount == wanted:
        return
    shown = format_minor(wanted.amount_minor, wanted.currency)
    if amount.currency != wanted.currency:
        raise wrong_state("CURRENCY_MISMATCH", f"the request is over {shown}")
    if amount.amount_minor < wanted.amount_minor:
        raise wrong_state("PARTIAL_PAYMENT", f"the request is over {shown}, and is paid as a whole")
    raise wrong_state("OVER_PAYMENT", f"the request is over {shown}, and no more")


async def decide_due(
    tx: Connection, provider: str, keys: Sequence[ChargeKey], now: datetime
) -> list[Attempt]:
    """Decide those of some charges that are due; returns the attempts that begin.

    They are in the queue of a provider. What turns out to be made at another one is put into the
    queue of that one, and not decided. The mandates stay locked until the attempts are stored.
    """
    taken = await charge_store.take_due(tx, keys, now)
    if not taken:
        return []
    known = await evidence.read(tx, taken, now)
    providers = {charge.key: known.use_of(charge).provider or provider for charge in taken}
    await charge_store.move(tx, {key: it for key, it in providers.items() if it != provider})
    due = [charge for charge in taken if providers[charge.key] == provider]
    decisions = list(decide_all(due, known, now))
    ended = [decision.charge for decision in decisions]
    decided = payment_requests.reminded(ended, known.policies, now)
    await charge_store.save(tx, decided)
    await verdict_store.insert(tx, [verdict for _, verdict in decisions if verdict])
    await mandate_store.save(tx, lapsed_mandates(decided, known.mandates, now))
    await credit.reserve(tx, decided, now)
    links = await payment_requests.new_links(tx, decided, known.policies, now)
    await outbox.put(tx, publishers.decided(due, decided, now, links))
    begun = [
        present_attempt(charge, now) for charge in decided if charge.state is ChargeState.IN_FLIGHT
    ]
    return await attempt_store.begin(tx, begun)


async def expire_requests(tx: Connection, keys: Sequence[ChargeKey], now: datetime) -> None:
    """End those of some requests to pay that nobody confirmed in time."""
    due = await charge_store.take_expired(tx, keys, now)
    if not due:
        return
    policies = await dunning_store.of_merchants(tx, [charge.merchant for charge in due])
    expired = payment_requests.reminded([expire(charge, now) for charge in due], policies, now)
    await charge_store.save(tx, expired)
    links = await payment_requests.new_links(tx, expired, policies, now)
    await outbox.put(tx, publishers.given_up(expired, now, links))


async def open_charges(tx: Connection, wanted: Iterable[Charge], now: datetime) -> None:
    """Add charges of orders that are to be paid; one that is there already stays as it is."""
    opened = list(wanted)
    merchants = [it.merchant for it in opened if it.state is ChargeState.REQUESTED]
    policies = await dunning_store.of_merchants(tx, merchants) if merchants else {}
    charges = {it.key: it for it in payment_requests.reminded(opened, policies, now)}
    new = await charge_store.insert(tx, list(charges.values()))
    # What was just written is not read back, but for those few that are withdrawn already.
    withdrawn = await instruction_store.withdrawn(tx, new)
    live = new - await _end_withdrawn(tx, withdrawn, now)
    requested = [
        charges[key] for key in sorted(live) if charges[key].state is ChargeState.REQUESTED
    ]
    links = await payment_requests.new_links(tx, requested, policies, now)
    await outbox.put(
        tx,
        [publishers.payment_requested(it, now, links.get(it.key, "")) for it in requested],
    )


async def withdraw(tx: Connection, keys: set[ChargeKey], now: datetime) -> None:
    """Withdraw charges: what has not been sent to the provider never will be."""
    await instruction_store.insert_withdrawals(tx, keys, now)
    await _end_withdrawn(tx, keys, now)
    await attempt_store.end_actions(tx, keys, now)


async def change_mandates(
    tx: Connection, changes: Mapping[ChargeKey, tuple[str, datetime]]
) -> None:
    """Have charges made under another mandate, each from a time on."""
    await instruction_store.insert_mandate_changes(tx, changes)
    # A charge is read with its latest instruction, so that saving it stores the mandate.
    await charge_store.save(tx, list((await charge_store.locked(tx, changes)).values()))


async def keep_notices(tx: Connection, notices: Sequence[Notice], now: datetime) -> None:
    """Keep what customers were promised: the evidence that the guard requires."""
    await notice_store.keep(tx, notices)
    await charge_store.wake(tx, [notice.charge_key for notice in notices], now)
    await expiry_store.bring_forward(tx, notices, now)


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
