"""The provider's books: its cards, charges and refunds, and their representation."""

import json
import secrets
import sqlite3
from collections.abc import Callable, Mapping
from typing import Any

from sandbox.endpoint import Reply
from sandbox.provider.cards import (
    AUTHENTICATION_REQUIRED,
    DECLINE_FIRST_ATTEMPT,
    DECLINE_MESSAGES,
    FOREIGN_PAYMENT,
    REFUND_WRONG_AMOUNT,
    TIMEOUT_AFTER_CHARGE,
    TIMEOUT_BEFORE_CHARGE,
    WRONG_AMOUNT,
    WRONG_CURRENCY,
    Card,
    is_detached,
    name_of,
)
from sandbox.provider.forms import check_step, invalid, missing

Row = Mapping[str, Any] | sqlite3.Row
# Declines for which Stripe has a code of their own; all others here are `card_declined`.
_OWN_CODES = frozenset({"expired_card", AUTHENTICATION_REQUIRED})
_CANCELABLE = frozenset({"requires_action", "requires_payment_method"})


def charge(
    db: sqlite3.Connection,
    row: Row,
    card: Card,
    metadata: dict[str, str],
    tries: int,
    *,
    off_session: bool = True,
) -> Reply:
    """Enter a PaymentIntent and the issuer's answer to it."""
    method = row["payment_method"]
    _check_reusable(db, method, card)
    if method == TIMEOUT_BEFORE_CHARGE and tries == 1:
        return Reply(504, {}, keep=False, drop=True)
    error = _decline(db, row, card, metadata, off_session=off_session)
    action = card.authenticated and not error
    values = {
        **row,
        "id": f"pi_{secrets.token_hex(12)}",
        "status": "requires_payment_method"
        if error
        else ("requires_action" if action else "succeeded"),
        "metadata": json.dumps(metadata),
        "error": json.dumps(error) if error else None,
    }
    seq = insert(db, "payment_intents", values)
    db.executemany(
        "INSERT INTO payment_intent_metadata (name, value, seq) VALUES (?, ?, ?)",
        [(name, value, seq) for name, value in metadata.items()],
    )
    intent = describe_intent(values)
    if error:
        return Reply(402, {"error": {**error, "payment_intent": intent}})
    return Reply(200, intent, drop=method == TIMEOUT_AFTER_CHARGE)


def _check_reusable(db: sqlite3.Connection, method: str, card: Card) -> None:
    """Refuse what is nobody's and was charged before, or was somebody's."""
    if not card.is_one or card.customer is not None:
        return
    used = "SELECT 1 FROM payment_intents WHERE payment_method = ? LIMIT 1"
    if is_detached(method, card) or db.execute(used, (method,)).fetchone():
        raise invalid(_SPENT)


def authenticate(db: sqlite3.Connection, name: str, *, succeeds: bool) -> Reply:
    """Enter what the holder of a card made of a payment that they were to confirm."""
    error = None if succeeds else _AUTHENTICATION_FAILED
    status = "succeeded" if succeeds else "requires_payment_method"
    return _change(db, name, status, error, frozenset({"requires_action"}))


def confirm(
    db: sqlite3.Connection, name: str, method: str, card_of: Callable[[str], Card | None]
) -> Reply:
    """Enter that a payment is tried again with its customer there, as their bank has wanted.

    A decline has taken its payment method from it, so that is to be given once more.
    """
    row = db.execute("SELECT payment_method FROM payment_intents WHERE id = ?", (name,)).fetchone()
    if row is not None and not method:
        raise invalid(_NO_METHOD, code="payment_intent_unexpected_state")
    card = card_of(method) if row and row["payment_method"] == method else None
    if row is not None and (card is None or not card.authenticated):
        raise invalid("Only a payment whose customer is asked by their bank can be confirmed here.")
    return _change(db, name, "requires_action", None, frozenset({"requires_payment_method"}))


def cancel(db: sqlite3.Connection, name: str) -> Reply:
    """Enter that a payment is given up that has not been made."""
    return _change(db, name, "canceled", None, _CANCELABLE)


_SPENT = (
    "The provided PaymentMethod was previously used with a PaymentIntent without Customer attachment,"
    " shared with a connected account without Customer attachment, or was detached from a Customer. It"
    " may not be used again. To use a PaymentMethod multiple times, you must attach it to a Customer"
    " first."
)
_NO_METHOD = (
    "You cannot confirm this PaymentIntent because it's missing a payment method. You can either"
    " update the PaymentIntent with a payment method and then confirm it again, or confirm it again"
    " directly with a payment method."
)
_AUTHENTICATION_FAILED = {
    "type": "invalid_request_error",
    "code": "payment_intent_authentication_failure",
    "message": "The provided PaymentMethod has failed authentication.",
}


def _change(
    db: sqlite3.Connection,
    name: str,
    status: str,
    error: Mapping[str, str] | None,
    allowed: frozenset[str],
) -> Reply:
    row = db.execute("SELECT * FROM payment_intents WHERE id = ?", (name,)).fetchone()
    if row is None:
        raise missing("payment_intent", name, status=404)
    if row["status"] not in allowed:
        message = f"This PaymentIntent's status is {row['status']}."
        raise invalid(message, code="payment_intent_unexpected_state")
    kept = json.dumps(error) if error else row["error"] if status == "canceled" else None
    db.execute(
        "UPDATE payment_intents SET status = ?, error = ? WHERE id = ?", (status, kept, name)
    )
    return Reply(200, describe_intent({**dict(row), "status": status, "error": kept}))


def refund(
    db: sqlite3.Connection, intent_id: str, amount: int | None, row: Row, lost: int = 0
) -> Reply:
    """Enter a refund, of all that is left when no amount is given; never more than was captured.

    What was lost by disputes is not left.
    """
    intent = db.execute(
        "SELECT p.*, (SELECT coalesce(sum(r.amount), 0) FROM refunds r"
        " WHERE r.payment_intent = p.id AND coalesce(r.fails > ?, true)) AS refunded"
        " FROM payment_intents p WHERE p.id = ?",
        (row["created"], intent_id),
    ).fetchone()
    if intent is None:
        raise missing("payment_intent", intent_id, param="payment_intent")
    if intent["status"] != "succeeded":
        message = f"This PaymentIntent has no captured charge: its status is {intent['status']}."
        raise invalid(message, code="payment_intent_unexpected_state")
    left = intent["amount"] - intent["refunded"] - lost
    if left <= 0:
        raise invalid("This charge has already been refunded.", code="charge_already_refunded")
    if amount is not None and amount > left:
        message = f"The refund ({amount}) is greater than the unrefunded amount ({left})."
        raise invalid(message, param="amount", code="amount_too_large")
    if amount is not None:
        check_step(amount, intent["currency"])
    values = {
        **row,
        "id": f"re_{secrets.token_hex(12)}",
        "payment_intent": intent_id,
        "amount": left if amount is None else amount,
        "currency": intent["currency"],
    }
    insert(db, "refunds", values)
    answer = describe_refund(values, row["created"])
    if intent["payment_method"] == REFUND_WRONG_AMOUNT:
        answer["amount"] += 1
    return Reply(200, answer)


def setup(metadata: dict[str, str], created: int) -> Reply:
    """Answer with a new SetupIntent; nothing else is known of it afterwards."""
    intent = {
        "id": f"seti_{secrets.token_hex(12)}",
        "object": "setup_intent",
        "status": "requires_payment_method",
        "metadata": metadata,
        "created": created,
        "livemode": False,
    }
    return Reply(200, intent)


def describe_intent(row: Row) -> dict[str, Any]:
    """Return a PaymentIntent as the API shows it."""
    return {
        **_intent(row),
        **_false_answer(row),
    }


def _false_answer(row: Row) -> Mapping[str, Any]:
    """What a careful caller must not believe of a payment by such a card."""
    method = row["payment_method"]
    if method == WRONG_AMOUNT:
        return {"amount": row["amount"] + 1, "amount_received": row["amount"] + 1}
    if method == WRONG_CURRENCY:
        return {"currency": "usd" if row["currency"] == "eur" else "eur"}
    if method == FOREIGN_PAYMENT:
        return {"id": "pi_of_somebody_else", "metadata": {"attempt": "another"}}
    return {}


def _intent(row: Row) -> dict[str, Any]:
    """As it stands. One that was declined has its payment method in its error alone."""
    error = json.loads(row["error"]) if row["error"] else None
    if error:
        tried = {"id": row["payment_method"], "object": "payment_method"}
        error = {**error, "payment_method": tried}
    return {
        "id": row["id"],
        "object": "payment_intent",
        "amount": row["amount"],
        "amount_received": row["amount"] if row["status"] == "succeeded" else 0,
        "currency": row["currency"],
        "customer": row["customer"],
        "description": row["description"],
        "payment_method": None if error else row["payment_method"],
        "payment_method_types": ["card"],
        "capture_method": "automatic",
        "confirmation_method": "automatic",
        "status": row["status"],
        "latest_charge": f"ch_{row['id'].removeprefix('pi_')}",
        "last_payment_error": error,
        "metadata": json.loads(row["metadata"]),
        "created": row["created"],
        "livemode": False,
    }


def describe_refund(row: Row, now: int) -> dict[str, Any]:
    """Return a refund as the API shows it at a time (unix)."""
    failed = row["fails"] is not None and now >= row["fails"]
    reason = {"failure_reason": "expired_or_canceled_card"} if failed else {}
    return {
        "id": row["id"],
        "object": "refund",
        "amount": row["amount"],
        "currency": row["currency"],
        "payment_intent": row["payment_intent"],
        "reason": row["reason"],
        "status": "failed" if failed else "pending" if now < row["settles"] else "succeeded",
        **reason,
        "metadata": json.loads(row["metadata"]),
        "created": row["created"],
    }


def describe_card(name: str, card: Card) -> dict[str, Any]:
    """Return a test payment method as the API shows it."""
    shown: dict[str, Any] = {"last4": card.last4}
    if card.kind == "card":
        shown |= {
            "brand": card.brand,
            "exp_month": card.exp_month,
            "exp_year": card.exp_year,
            "funding": "credit",
        }
    return {
        "id": name_of(name, card),
        "object": "payment_method",
        "type": card.kind,
        card.kind: shown,
        "customer": card.customer,
        "livemode": False,
    }


def _decline(
    db: sqlite3.Connection,
    row: Row,
    card: Card,
    metadata: Mapping[str, str],
    *,
    off_session: bool,
) -> dict[str, str] | None:
    decline_code = card.decline_code
    method = row["payment_method"]
    if method == DECLINE_FIRST_ATTEMPT and not _was_attempted(db, method, metadata):
        decline_code = "insufficient_funds"
    if decline_code is None and card.is_expired(row["created"]):
        decline_code = "expired_card"
    if decline_code is None and card.authenticated and off_session:
        decline_code = AUTHENTICATION_REQUIRED
    if decline_code is None:
        return None
    return {
        "type": "card_error",
        "code": decline_code if decline_code in _OWN_CODES else "card_declined",
        "decline_code": decline_code,
        **({"advice_code": card.advice_code} if card.advice_code else {}),
        "message": DECLINE_MESSAGES.get(decline_code, "Your card was declined."),
    }


def _was_attempted(db: sqlite3.Connection, method: str, metadata: Mapping[str, str]) -> bool:
    return bool(
        db.execute(
            "SELECT 1 FROM payment_intent_metadata JOIN payment_intents p USING (seq)"
            " WHERE name = 'charge' AND value = ? AND p.payment_method = ? LIMIT 1",
            (metadata.get("charge"), method),
        ).fetchone()
    )


def insert(db: sqlite3.Connection, table: str, values: Mapping[str, object]) -> int:
    """Enter a row; returns its place among all of its table."""
    columns, marks = ", ".join(values), ", ".join("?" * len(values))
    # Table and columns are fixed words of this module.
    statement = f"INSERT INTO {table} ({columns}) VALUES ({marks})"  # noqa: S608
    return db.execute(statement, tuple(values.values())).lastrowid or 0
