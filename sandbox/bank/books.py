"""The provider's books: payments, which a bank decides over days, and refunds.

What becomes of a payment is fixed when it is created, and shown as the days pass. Until it is submitted
it can be cancelled.
"""

import hashlib
import json
import secrets
import sqlite3
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from typing import Any

from sandbox.bank.errors import invalid, missing, wrong_state
from sandbox.bank.mandates import Mandate
from sandbox.endpoint import Reply

DAY_SECONDS = 86_400
# After its creation, or before its charge date if that was asked for later.
SUBMITTED_DAYS = 1
CHARGED_DAYS = 3
# After its charge date.
CONFIRMED_DAYS = 2
PAID_OUT_DAYS = 4
FAILED_LATE_DAYS = 6
CHARGED_BACK_DAYS = 10
CHARGEBACK_CANCELLED_DAYS = 15
# After a bank took back what had been paid out: it is kept from a payout.
SETTLED_DAYS = 2
REFUND_PAID_DAYS = 2
_REFUNDABLE = frozenset({"confirmed", "paid_out"})
# What an event makes of a payment; the others change nothing of where it stands.
_STATUSES = {
    "cancelled": "cancelled", "submitted": "submitted", "confirmed": "confirmed",
    "paid_out": "paid_out", "failed": "failed", "charged_back": "charged_back",
    "chargeback_cancelled": "paid_out",
}  # fmt: skip
# Those by which events of all payments are listed, and the columns that say when they happen.
LISTED_ACTIONS = {
    "failed": "fails", "charged_back": "charged_back", "chargeback_cancelled": "chargeback_cancelled",
}  # fmt: skip

Row = Mapping[str, Any] | sqlite3.Row


def first_charge_date(now: int) -> date:
    """The first day on which an account can be debited."""
    return _date(now + CHARGED_DAYS * DAY_SECONDS)


def create_payment(
    db: sqlite3.Connection,
    row: Row,
    charge_date: date | None,
    mandate: Mandate,
    metadata: Mapping[str, str],
) -> Mapping[str, Any]:
    """Enter a payment, and all that is to become of it; returns its row."""
    created = int(row["created"])
    charged = created + CHARGED_DAYS * DAY_SECONDS
    if charge_date is not None:
        wanted = int(datetime.combine(charge_date, datetime.min.time(), UTC).timestamp())
        charged = max(charged, wanted)
    cause = mandate.failure_cause
    if mandate.first_alone and _was_tried(db, metadata):
        cause = None
    settled = charged + CONFIRMED_DAYS * DAY_SECONDS
    values = {
        **row,
        "id": f"PM{secrets.token_hex(10).upper()}",
        "metadata": json.dumps(metadata),
        "charge": metadata.get("charge", ""),
        "submits": charged - (CHARGED_DAYS - SUBMITTED_DAYS) * DAY_SECONDS,
        "charged": charged,
        "confirms": settled if cause is None or mandate.fails_late else None,
        "fails": None
        if cause is None
        else charged + FAILED_LATE_DAYS * DAY_SECONDS
        if mandate.fails_late
        else settled,
        "cause": cause,
        "charged_back": charged + CHARGED_BACK_DAYS * DAY_SECONDS
        if mandate.is_charged_back
        else None,
        "chargeback_cancelled": charged + CHARGEBACK_CANCELLED_DAYS * DAY_SECONDS
        if mandate.chargeback_is_cancelled
        else None,
        "cancelled": None,
    }
    _insert(db, "bank_payments", values)
    return values


def cancel_payment(db: sqlite3.Connection, name: str, now: int) -> Mapping[str, Any]:
    """Enter that a payment is not to be made; returns its row."""
    row = db.execute("SELECT * FROM bank_payments WHERE id = ?", (name,)).fetchone()
    if row is None:
        raise missing()
    if status_of(row, now) != "pending_submission":
        raise wrong_state("cancellation_failed", f"Payment is {status_of(row, now)}")
    db.execute("UPDATE bank_payments SET cancelled = ? WHERE id = ?", (now, name))
    return {**dict(row), "cancelled": now}


def refund(
    db: sqlite3.Connection, payment: str, amount: int, total: int, row: Row
) -> Mapping[str, Any]:
    """Enter a refund; returns its row."""
    paid = db.execute("SELECT * FROM bank_payments WHERE id = ?", (payment,)).fetchone()
    if paid is None:
        raise invalid("payment not found", "refunds.links.payment")
    if status_of(paid, row["created"]) not in _REFUNDABLE:
        raise wrong_state("refund_payment_invalid_state", "The payment has not been confirmed")
    refunded = refunded_amount(db, payment)
    if refunded + amount > paid["amount"]:
        raise invalid("refunds are above the payment", "refunds.amount")
    if total != refunded + amount:
        raise wrong_state(
            "total_amount_confirmation_invalid", "total_amount_confirmation is not the total"
        )
    values = {
        **row,
        "id": f"RF{secrets.token_hex(10).upper()}",
        "payment": payment,
        "amount": amount,
        "currency": paid["currency"],
        "paid": row["created"] + REFUND_PAID_DAYS * DAY_SECONDS,
    }
    _insert(db, "bank_refunds", values)
    return values


def refunded_amount(db: sqlite3.Connection, payment: str) -> int:
    """What was given back of a payment."""
    statement = "SELECT coalesce(sum(amount), 0) FROM bank_refunds WHERE payment = ?"
    return int(db.execute(statement, (payment,)).fetchone()[0])


def history_of(row: Row) -> Iterator[tuple[int, str, str]]:
    """What becomes of a payment: when (unix), the action, and its cause."""
    created = row["created"]
    yield created, "created", "payment_created"
    if row["cancelled"] is not None:
        yield row["cancelled"], "cancelled", "payment_cancelled"
        return
    yield row["submits"], "submitted", "payment_submitted"
    if row["confirms"] is None:
        yield row["fails"], "failed", row["cause"]
        return
    yield row["confirms"], "confirmed", "payment_confirmed"
    yield row["charged"] + PAID_OUT_DAYS * DAY_SECONDS, "paid_out", "payment_paid_out"
    if row["fails"] is not None:
        yield row["fails"], "failed", row["cause"]
        settled = row["fails"] + SETTLED_DAYS * DAY_SECONDS
        yield settled, "late_failure_settled", "late_failure_settled"
    if row["charged_back"] is not None:
        yield row["charged_back"], "charged_back", "refund_requested"
        settled = row["charged_back"] + SETTLED_DAYS * DAY_SECONDS
        yield settled, "chargeback_settled", "chargeback_settled"
    if row["chargeback_cancelled"] is not None:
        yield row["chargeback_cancelled"], "chargeback_cancelled", "payment_confirmed"


def status_of(row: Row, now: int) -> str:
    """Where a payment stands at a time (unix)."""
    status = "pending_submission"
    for at, action, _ in history_of(row):
        if at <= now:
            status = _STATUSES.get(action, status)
    return status


def events_of(row: Row, now: int) -> list[dict[str, Any]]:
    """What has become of a payment by a time, the newest first."""
    return [describe_event(row, *entry) for entry in history_of(row) if entry[0] <= now][::-1]


def describe_event(row: Row, at: int, action: str, cause: str) -> dict[str, Any]:
    """An event as the API shows it."""
    name = hashlib.sha256(f"{row['id']} {action}".encode()).hexdigest()[:20].upper()
    is_bank = action in LISTED_ACTIONS
    return {
        "id": f"EV{name}",
        "created_at": timestamp(at),
        "resource_type": "payments",
        "action": action,
        "details": {
            "origin": "bank" if is_bank else "gocardless",
            "cause": cause,
            "description": cause.replace("_", " "),
        },
        "metadata": {},
        "resource_metadata": json.loads(row["metadata"]),
        "links": {"payment": row["id"]},
    }


def describe_payment(row: Row, refunded: int, now: int) -> dict[str, Any]:
    """A payment as the API shows it."""
    return {
        "id": row["id"],
        "created_at": timestamp(row["created"]),
        "charge_date": _date(row["charged"]).isoformat(),
        "amount": row["amount"],
        "amount_refunded": refunded,
        "currency": row["currency"],
        "description": row["description"],
        "reference": None,
        "status": status_of(row, now),
        "metadata": json.loads(row["metadata"]),
        "retry_if_possible": False,
        "links": {"mandate": row["mandate"], "creditor": "CR_sandbox"},
    }


def describe_refund(row: Row, now: int) -> dict[str, Any]:
    """A refund as the API shows it."""
    return {
        "id": row["id"],
        "created_at": timestamp(row["created"]),
        "amount": row["amount"],
        "currency": row["currency"],
        "reference": None,
        "status": "paid" if now >= row["paid"] else "pending_submission",
        "metadata": json.loads(row["metadata"]),
        "links": {"payment": row["payment"]},
    }


def moves_of(row: Row, now: int) -> dict[str, Any] | None:
    """What a payment has moved by a time, for audits; None: nothing."""
    if row["confirms"] is None or now < row["confirms"] or status_of(row, now) == "cancelled":
        return None
    metadata = json.loads(row["metadata"])
    return {
        "id": row["id"],
        "metadata": {"attempt": metadata.get("attempt", "")},
        "amount": row["amount"],
        "currency": row["currency"],
        # It came, whatever its bank took back later.
        "status": "succeeded",
        "created": row["confirms"],
    }


def as_reply(name: str, body: Mapping[str, Any]) -> Reply:
    """The answer to what was created."""
    return Reply(201, {name: body})


def timestamp(at: int) -> str:
    """A time as the API writes it."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _date(at: int) -> date:
    return datetime.fromtimestamp(at, UTC).date()


def _was_tried(db: sqlite3.Connection, metadata: Mapping[str, str]) -> bool:
    statement = "SELECT 1 FROM bank_payments WHERE charge = ? LIMIT 1"
    return bool(db.execute(statement, (metadata.get("charge", ""),)).fetchone())


def _insert(db: sqlite3.Connection, table: str, values: Mapping[str, object]) -> None:
    columns, marks = ", ".join(values), ", ".join("?" * len(values))
    # Table and columns are fixed words of this module.
    statement = f"INSERT INTO {table} ({columns}) VALUES ({marks})"  # noqa: S608
    db.execute(statement, tuple(values.values()))
