"""Refunds: sent to the provider and settled."""

from collections import Counter
from collections.abc import Container, Mapping, Sequence
from datetime import datetime

from services.payments import publishers
from services.payments.application import charges, credit, revenue
from services.payments.clients.provider import Provider
from services.payments.domain.charges import Charge
from services.payments.domain.credit import give_refund
from services.payments.domain.disputes import CONTESTED, DisputeState
from services.payments.domain.documents import DocumentCause
from services.payments.domain.idempotent_retries import KEY_RELIED_ON
from services.payments.domain.keys import ChargeKey, RefundKey, derived_key
from services.payments.domain.ledger import (
    book_refund,
    book_refund_to_credit,
    comes_back,
    given_back_by,
    reverse,
)
from services.payments.domain.lines import load_lines
from services.payments.domain.outcomes import Declined, Outcome, Succeeded, Unknown
from services.payments.domain.provider_amounts import step_minor
from services.payments.domain.refunds import (
    Refund,
    RefundLine,
    dump_refund_lines,
    left_of_lines,
    settled_state,
)
from services.payments.domain.revenue import changed_by
from services.payments.domain.transfers import Transfer
from services.payments.domain.transitions import ChargeState, RefundState
from services.payments.store import charges as charge_store
from services.payments.store import disputes as dispute_store
from services.payments.store import documents as document_store
from services.payments.store import ledger as ledger_store
from services.payments.store import refunds as refund_store
from services.payments.store import revenue as revenue_store
from services.payments.store.encrypted import note_aad
from services.runtime.crypto.encryption import encrypt
from services.runtime.db.pool import Connection
from services.runtime.errors import Violations, already_exists, not_found, wrong_state
from services.runtime.messaging import outbox
from services.runtime.money import Money, format_minor
from services.runtime.mutations import Applied
from services.runtime.observability import tracing

# The id of a product of the charge, and what is given back of it; None for all that is left.
WantedLine = tuple[str, Money | None]


async def create(
    tx: Connection,
    key: RefundKey,
    wanted: Money | None,
    note: str,
    now: datetime,
    *,
    to_credit: bool = False,
    wanted_lines: Sequence[WantedLine] = (),
) -> Applied[Refund]:
    """Promise to give money back; the charge stays locked, so its refunds are counted in turn.

    What the payment method paid goes back to it first, the rest becomes credit at once; all of it if it
    is to. Raises NOT_FOUND CHARGE_NOT_FOUND, FAILED_PRECONDITION CHARGE_STATE, CHARGE_DISPUTED,
    CURRENCY_MISMATCH, REFUND_ABOVE_CHARGE or CREDIT_TOO_HIGH, INVALID_ARGUMENT for an amount that the
    provider has not, ALREADY_EXISTS REFUND_ALREADY_EXISTS.
    """
    charge = await charges.existing(tx, key.charge_key, lock=True)
    lines = await _lines(tx, charge, wanted_lines)
    if lines:
        wanted = Money(sum(line.amount_minor for line in lines), charge.currency)
    amount_minor, method_minor = await _refundable_minor(tx, charge, wanted, to_credit=to_credit)
    refund = Refund(
        *key,
        amount_minor=amount_minor,
        currency=charge.currency,
        note=encrypt(tx, note, *note_aad(key)),
        state=RefundState.PENDING if method_minor else RefundState.SUCCEEDED,
        idempotency_key=derived_key(key.name),
        create_time=now,
        update_time=now,
        traceparent=tracing.current_traceparent(),
        credit_minor=amount_minor - method_minor,
        lines=dump_refund_lines(lines),
    )
    if not await refund_store.insert(tx, refund):
        raise already_exists("REFUND_ALREADY_EXISTS", key.name)
    if refund.credit_minor:
        await credit.give(tx, give_refund(refund, now), now)
        await _book_to_credit(tx, refund, charge, now)
        await document_store.owe_refunds(tx, [refund], DocumentCause.REFUND_TO_CREDIT, now)
    settled = [] if method_minor else [publishers.refund_succeeded(refund, charge, now)]
    return Applied(refund, events=settled)


async def _book_to_credit(tx: Connection, refund: Refund, charge: Charge, now: datetime) -> None:
    given_back = (await ledger_store.given_back(tx, [charge.key])).get(charge.key, Counter())
    deferrals = await revenue_store.locked(tx, [charge.key])
    deferral = deferrals.get(charge.key)
    booked = list(book_refund_to_credit(refund, charge, given_back, now, deferral))
    await ledger_store.book(tx, booked)
    await revenue.save_changes(tx, deferrals, {charge.key: booked}, now)


async def _lines(tx: Connection, charge: Charge, wanted: Sequence[WantedLine]) -> list[RefundLine]:
    """What is given back of which product; raises why it can't."""
    if not wanted:
        return []
    left = left_of_lines(load_lines(charge.lines), await refund_store.lines(tx, charge.key))
    violations = Violations()
    for index, (product, _) in enumerate(wanted):
        field = f"refund.lines[{index}].product_id"
        violations.require(field, "must be a product of the charge", met=product in left)
    violations.check()
    lines = []
    for product, amount in wanted:
        if amount is not None and amount.currency != charge.currency:
            raise wrong_state("CURRENCY_MISMATCH", f"the charge's currency is {charge.currency}")
        amount_minor = left[product] if amount is None else amount.amount_minor
        if not 0 < amount_minor <= left[product]:
            raise wrong_state(
                "REFUND_ABOVE_CHARGE", f"no more of {product} can be given back than is left"
            )
        lines.append(RefundLine(product, amount_minor))
    return lines


async def existing(connection: Connection, key: RefundKey) -> Refund:
    """A refund. Raises NOT_FOUND REFUND_NOT_FOUND."""
    refund = await refund_store.refund(connection, key)
    if refund is None:
        raise not_found("REFUND_NOT_FOUND", key.name)
    return refund


async def _refundable_minor(
    tx: Connection, charge: Charge, wanted: Money | None, *, to_credit: bool
) -> tuple[int, int]:
    """What a new refund of a charge gives back, and how much of it to the payment method; raises why
    it can't.
    """
    if charge.state is not ChargeState.SUCCEEDED:
        raise wrong_state("CHARGE_STATE", "the charge has not succeeded")
    disputed_minor = await dispute_store.totals_minor(tx, charge.key)
    if not CONTESTED.isdisjoint(disputed_minor):
        raise wrong_state("CHARGE_DISPUTED", "the provider gives nothing back while it is disputed")
    lost_minor = disputed_minor.get(DisputeState.LOST, 0)
    total = await refund_store.total(tx, charge.key)
    left_minor = charge.amount_minor - total.credit_minor - total.promised_minor - lost_minor
    if wanted is not None and wanted.currency != charge.currency:
        raise wrong_state("CURRENCY_MISMATCH", f"the charge's currency is {charge.currency}")
    amount_minor = left_minor if wanted is None else wanted.amount_minor
    if not 0 < amount_minor <= left_minor:
        raise wrong_state("REFUND_ABOVE_CHARGE", "no more can be given back than is left")
    of_method_minor = max(0, charge.method_minor - total.promised_minor - lost_minor)
    method_minor = 0 if to_credit else min(amount_minor, of_method_minor)
    if method_minor:
        _require_steps(method_minor, charge.currency)
    return amount_minor, method_minor


def _require_steps(method_minor: int, currency: str) -> None:
    step = step_minor(currency)
    violations = Violations()
    violations.require(
        "refund.amount",
        f"must be a multiple of {format_minor(step, currency)}, which the provider counts in",
        met=method_minor % step == 0,
    )
    violations.check()


async def send(now: datetime, provider: Provider, refund: Refund) -> Outcome:
    """Send a refund, or look at one that succeeded again.

    One that was sent before is looked for first, since keys are forgotten. So is one whose key would be
    forgotten by now: whoever sent it may have ended before that was stored.
    """
    if refund.state is RefundState.SUCCEEDED:
        return await provider.find_refund(refund) or Unknown("the refund is not found any more")
    if refund.try_count or now >= refund.create_time + KEY_RELIED_ON:
        outcome = await provider.find_refund(refund)
        if outcome is not None:
            return outcome
        if refund.mismatch:
            return Unknown("the answer was false")
    return await provider.refund(refund)


async def settle(tx: Connection, outcomes: Sequence[tuple[Refund, Outcome]], now: datetime) -> None:
    """Write what the provider said. An outcome that is known already is not written again."""
    known = [(r, o) for r, o in outcomes if isinstance(o, Succeeded | Declined)]
    news = [(r, o) for r, o in known if settled_state(r, o) is not r.state]
    # First, so that everybody locks charges before refunds. What is booked of a refund depends on those
    # of its charge that came before.
    of_charges = await charge_store.locked(tx, {refund.key.charge_key for refund, _ in news})
    unknown = [(r, o) for r, o in outcomes if isinstance(o, Unknown)]
    await refund_store.postpone(tx, unknown, now)
    confirmed = [
        refund for refund, outcome in known if settled_state(refund, outcome) is refund.state
    ]
    await refund_store.follow_up(tx, confirmed, now)
    settled = await refund_store.settle(tx, news, now)
    was_given = {refund.key for refund, _ in news if refund.state is RefundState.SUCCEEDED}
    await _book(tx, settled, was_given, of_charges, now)
    await outbox.put(
        tx,
        [
            publishers.refund_settled(refund, of_charges[refund.key.charge_key], now)
            for refund in settled
        ],
    )


async def _book(
    tx: Connection,
    settled: Sequence[Refund],
    was_given: Container[RefundKey],
    of_charges: Mapping[ChargeKey, Charge],
    now: datetime,
) -> None:
    """Book refunds whose state has changed, and have their documents issued.

    What was booked of one that came back is booked back.
    """
    succeeded = [refund for refund in settled if refund.state is RefundState.SUCCEEDED]
    failed = [refund for refund in settled if refund.state is RefundState.FAILED]
    given_back = await ledger_store.given_back(tx, {refund.key.charge_key for refund in succeeded})
    deferrals = await revenue_store.locked(tx, {refund.key.charge_key for refund in settled})
    booked: dict[ChargeKey, list[Transfer]] = {}
    for refund in succeeded:
        key = refund.key.charge_key
        before, deferral = given_back.setdefault(key, Counter()), deferrals.get(key)
        of_charge = booked.setdefault(key, [])
        present = deferral and changed_by(deferral, of_charge, now)
        of_refund = list(book_refund(refund, of_charges[key], before, now, present))
        before.update(given_back_by(of_refund))
        of_charge += of_refund
    failed_charges = {refund.key.name: refund.key.charge_key for refund in failed}
    for transfer in await ledger_store.of_refunds(tx, [refund.key for refund in failed]):
        if comes_back(transfer):
            of_charge = booked.setdefault(failed_charges[transfer.source], [])
            of_charge.append(reverse(transfer, now))
    await ledger_store.book(tx, [it for of_charge in booked.values() for it in of_charge])
    await revenue.save_changes(tx, deferrals, booked, now)
    await document_store.owe_refunds(tx, succeeded, DocumentCause.REFUND, now)
    returned = [refund for refund in failed if refund.key in was_given]
    await document_store.owe_refunds(tx, returned, DocumentCause.REFUND_FAILURE, now)
