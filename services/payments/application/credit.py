"""Customers' credit: given, taken, used before a payment method."""

from collections.abc import Sequence
from datetime import datetime

from services.payments.application import revenue
from services.payments.domain.charges import Charge
from services.payments.domain.credit import Credit, CreditTransaction, use_credit
from services.payments.domain.ledger import book_credit
from services.payments.domain.transitions import ChargeState
from services.payments.store import credit as store
from services.payments.store import documents as document_store
from services.payments.store import ledger as ledger_store
from services.runtime.db.pool import Connection
from services.runtime.errors import already_exists, wrong_state
from services.runtime.money import AMOUNT_MINOR_MAX, format_minor
from services.runtime.mutations import Applied


async def create(
    tx: Connection, wanted: CreditTransaction, now: datetime
) -> Applied[CreditTransaction]:
    """Give a customer credit, or take some away, as the merchant's platform wants it.

    Raises ALREADY_EXISTS CREDIT_TRANSACTION_ALREADY_EXISTS, FAILED_PRECONDITION CREDIT_TOO_LOW or
    CREDIT_TOO_HIGH.
    """
    await store.ensure(tx, [wanted.credit_key])
    [credit] = (await store.locked(tx, [wanted.credit_key])).values()
    taken = already_exists("CREDIT_TRANSACTION_ALREADY_EXISTS", wanted.key.name)
    if await store.exists(tx, wanted.key):
        raise taken
    if credit.available_minor + wanted.amount_minor < 0:
        left = format_minor(credit.available_minor, wanted.currency)
        raise wrong_state("CREDIT_TOO_LOW", f"{left} of the customer's credit are available")
    _check_maximum(credit, wanted)
    # One of the same name in another currency locks another balance.
    added = await store.add(tx, [wanted])
    if not added:
        raise taken
    await _book(tx, added, now)
    return Applied(added[0])


async def give(tx: Connection, transaction: CreditTransaction, now: datetime) -> None:
    """Give a customer credit. Raises FAILED_PRECONDITION CREDIT_TOO_HIGH."""
    await store.ensure(tx, [transaction.credit_key])
    [credit] = (await store.locked(tx, [transaction.credit_key])).values()
    _check_maximum(credit, transaction)
    await add(tx, [transaction], now)


def _check_maximum(credit: Credit, wanted: CreditTransaction) -> None:
    if credit.is_too_high(wanted.amount_minor):
        most = format_minor(AMOUNT_MINOR_MAX, wanted.currency)
        raise wrong_state("CREDIT_TOO_HIGH", f"a customer has at most {most} of credit")


async def add(tx: Connection, transactions: Sequence[CreditTransaction], now: datetime) -> None:
    """Change credits that are locked, and book it. Ids are derived: no caller can have taken one."""
    added = await store.add(tx, transactions)
    if len(added) < len(transactions):
        raise RuntimeError("a charge or refund has changed its customer's credit before")
    await _book(tx, added, now)


async def _book(tx: Connection, added: Sequence[CreditTransaction], now: datetime) -> None:
    await ledger_store.book(tx, [book_credit(transaction, now) for transaction in added])


async def reserve(tx: Connection, decided: Sequence[Charge], now: datetime) -> None:
    """Reserve what charges use of credits that are locked; use it where nothing else pays for one."""
    paying = [charge for charge in decided if charge.credit_minor]
    begun = [charge for charge in paying if charge.state is ChargeState.IN_FLIGHT]
    await store.reserve(
        tx, [charge.credit_key for charge in begun], [charge.credit_minor for charge in begun]
    )
    paid = [charge for charge in paying if charge.state is ChargeState.SUCCEEDED]
    await add(tx, [use_credit(charge, now) for charge in paid], now)
    await revenue.book_sales(tx, paid, now)
    await document_store.owe_payments(tx, paid, now)


async def settle(
    tx: Connection, before: Sequence[Charge], settled: Sequence[Charge], now: datetime
) -> None:
    """Use what charges had reserved that succeeded, and free what the others had."""
    reserved = [charge for charge in before if charge.credit_minor]
    if not reserved:
        return
    keys = [charge.credit_key for charge in reserved]
    await store.locked(tx, keys)
    await store.reserve(tx, keys, [-charge.credit_minor for charge in reserved])
    used = [charge for charge in settled if charge.credit_minor]
    await add(tx, [use_credit(charge, now) for charge in used], now)
