"""Disputes of payments, as Stripe has them: inquiries and chargebacks, their money and their evidence.

Source: https://docs.stripe.com/api/disputes and https://docs.stripe.com/testing#disputes, read on
2026-11-30. As in Stripe's test mode the evidence decides: `winning_evidence` and `losing_evidence` as
`uncategorized_text` end a dispute at once; any other is under review until the bank's route says more.
"""

import json
import secrets
import sqlite3
from collections.abc import Mapping
from typing import Any

from sandbox.endpoint import Reply
from sandbox.provider.books import Row, describe_intent, insert
from sandbox.provider.forms import invalid, missing

DAY_SECONDS = 24 * 3600
# What the merchant has to answer in, and what an inquiry that nothing follows is closed after.
EVIDENCE_SECONDS = 7 * DAY_SECONDS
INQUIRY_SECONDS = 120 * DAY_SECONDS
# What a chargeback costs, in units of its currency; it is not given back.
FEE = 1500
EVIDENCE_CHARACTERS_MAX = 20_000
# All evidence together.
EVIDENCE_TOTAL_CHARACTERS_MAX = 150_000
NEEDS_RESPONSE = frozenset({"needs_response", "warning_needs_response"})
CHARGEBACKS = frozenset({"needs_response", "under_review"})
REASONS = frozenset({
    "bank_cannot_process", "check_returned", "credit_not_processed", "customer_initiated",
    "debit_not_authorized", "duplicate", "fraudulent", "general", "incorrect_account_details",
    "insufficient_funds", "noncompliant", "product_not_received", "product_unacceptable",
    "subscription_canceled", "unrecognized",
})  # fmt: skip
# The texts among Stripe's evidence; files cannot be uploaded here.
EVIDENCE_TEXTS = frozenset({
    "access_activity_log", "billing_address", "cancellation_policy_disclosure", "cancellation_rebuttal",
    "customer_email_address", "customer_name", "customer_purchase_ip", "duplicate_charge_explanation",
    "duplicate_charge_id", "product_description", "refund_policy_disclosure",
    "refund_refusal_explanation", "service_date", "shipping_address", "shipping_carrier",
    "shipping_date", "shipping_tracking_number", "uncategorized_text",
})  # fmt: skip
# What evidence of these words does at once, in Stripe's test mode.
_DECISIVE = {"winning_evidence": "won", "losing_evidence": "lost"}
# What the bank may say of a dispute, by where it stands.
_NEXT = {
    "needs_response": frozenset({"won", "lost"}),
    "under_review": frozenset({"won", "lost"}),
    "warning_needs_response": frozenset({"needs_response", "warning_closed"}),
    "warning_under_review": frozenset({"needs_response", "warning_closed"}),
    "won": frozenset({"lost"}),
}


def open_dispute(
    db: sqlite3.Connection,
    intent_id: str,
    created: int,
    *,
    reason: str,
    amount: int | None = None,
    inquiry: bool = False,
) -> Row:
    """Enter that the payer disputes a payment, or what is left of it."""
    intent = db.execute(
        "SELECT p.*, (SELECT coalesce(sum(r.amount), 0) FROM refunds r"
        " WHERE r.payment_intent = p.id AND coalesce(r.fails > ?, true)) AS refunded"
        " FROM payment_intents p WHERE p.id = ? AND p.status = 'succeeded'",
        (created, intent_id),
    ).fetchone()
    if intent is None:
        raise missing("payment_intent that succeeded", intent_id, param="payment_intent")
    left = intent["amount"] - intent["refunded"]
    wanted = left if amount is None else amount
    if not 0 < wanted <= left:
        raise invalid("No more can be disputed than was paid and not refunded.", param="amount")
    row = {
        "id": f"dp_{secrets.token_hex(12)}",
        "payment_intent": intent_id,
        "amount": wanted,
        "currency": intent["currency"],
        "reason": reason,
        "status": "warning_needs_response" if inquiry else "needs_response",
        "evidence": "{}",
        "submissions": 0,
        "created": created,
        "due_by": created + (INQUIRY_SECONDS if inquiry else EVIDENCE_SECONDS),
        "withdrawn": None if inquiry else created,
        "reinstated": None,
    }
    insert(db, "disputes", row)
    return row


def submit(
    db: sqlite3.Connection, name: str, evidence: Mapping[str, str], now: int, *, final: bool
) -> Row:
    """Keep evidence; final: have the bank look at it, after which there is no more."""
    row = present(db, name, now)
    if row["status"] not in NEEDS_RESPONSE:
        raise invalid(f"This dispute is {row['status']}: it takes no more evidence.")
    kept = json.loads(row["evidence"]) | evidence
    if sum(map(len, kept.values())) > EVIDENCE_TOTAL_CHARACTERS_MAX:
        raise invalid(f"At most {EVIDENCE_TOTAL_CHARACTERS_MAX} characters of evidence.")
    changes: dict[str, object] = {"evidence": json.dumps(kept)}
    if final:
        review = "warning_under_review" if row["status"].startswith("warning") else "under_review"
        text = str(kept.get("uncategorized_text"))
        status = _DECISIVE.get(text, review) if review == "under_review" else review
        if text == "escalate_inquiry_evidence" and review == "warning_under_review":
            status = "needs_response"
        changes |= {"submissions": row["submissions"] + 1, **_became(row, status, now)}
    return _change(db, row, changes)


def close(db: sqlite3.Connection, name: str, now: int) -> Row:
    """The merchant accepts a dispute: it is lost."""
    row = present(db, name, now)
    if row["status"] not in NEEDS_RESPONSE:
        raise invalid(f"This dispute is {row['status']}: it cannot be closed.")
    # Who accepts an inquiry gives the money back by a refund.
    status = "warning_closed" if row["status"].startswith("warning") else "lost"
    return _change(db, row, _became(row, status, now))


def decide(db: sqlite3.Connection, name: str, status: str, now: int) -> Row:
    """Enter what the bank says of a dispute."""
    row = present(db, name, now)
    if status not in _NEXT.get(row["status"], frozenset()):
        raise invalid(f"This dispute is {row['status']}: it cannot be {status}.", param="status")
    return _change(db, row, _became(row, status, now))


def present(db: sqlite3.Connection, name: str, now: int) -> Row:
    """A dispute as it stands at a time."""
    row = db.execute("SELECT * FROM disputes WHERE id = ?", (name,)).fetchone()
    if row is None:
        raise missing("dispute", name, status=404)
    return at(row, now)


def at(row: Row, now: int) -> dict[str, Any]:
    """What time alone has made of a dispute: nobody answered until it was due."""
    expired = row["status"] in NEEDS_RESPONSE and now >= row["due_by"]
    if not expired:
        return dict(row)
    status = "warning_closed" if row["status"].startswith("warning") else "lost"
    return {**dict(row), "status": status}


def describe_dispute(row: Row, now: int, intent: Row | None = None) -> dict[str, Any]:
    """A dispute as the API shows it at a time, with its payment in full if that is wanted."""
    shown = at(row, now)
    evidence = dict.fromkeys(sorted(EVIDENCE_TEXTS)) | json.loads(shown["evidence"])
    return {
        "id": shown["id"],
        "object": "dispute",
        "amount": shown["amount"],
        "balance_transactions": _balance_transactions(shown),
        "charge": f"ch_{shown['payment_intent'].removeprefix('pi_')}",
        "created": shown["created"],
        "currency": shown["currency"],
        "evidence": evidence,
        "evidence_details": {
            "due_by": shown["due_by"],
            "has_evidence": any(evidence.values()),
            "past_due": shown["submissions"] == 0 and now >= shown["due_by"],
            "submission_count": shown["submissions"],
        },
        "is_charge_refundable": shown["status"].startswith("warning"),
        "livemode": False,
        "metadata": {},
        "payment_intent": shown["payment_intent"] if intent is None else describe_intent(intent),
        "reason": shown["reason"],
        "status": shown["status"],
    }


def disputed(db: sqlite3.Connection, intent_id: str, now: int) -> tuple[bool, int]:
    """Whether a payment is being disputed at a time, and how much of it is lost."""
    rows = db.execute("SELECT * FROM disputes WHERE payment_intent = ?", (intent_id,)).fetchall()
    shown = [at(row, now) for row in rows]
    lost = sum(row["amount"] for row in shown if row["status"] == "lost")
    return any(row["status"] in CHARGEBACKS for row in shown), lost


def as_reply(row: Row, now: int) -> Reply:
    """The answer to a request that has changed a dispute."""
    return Reply(200, describe_dispute(row, now))


def _became(row: Row, status: str, now: int) -> dict[str, object]:
    """The columns that change with a dispute's status."""
    changes: dict[str, object] = {"status": status}
    if status == "needs_response":
        changes |= {"withdrawn": now, "due_by": now + EVIDENCE_SECONDS, "submissions": 0}
    if status == "won":
        changes["reinstated"] = now
    if status == "lost" and row["status"] == "won":
        changes["reinstated"] = None
    return changes


def _change(db: sqlite3.Connection, row: Row, changes: Mapping[str, object]) -> Row:
    assignments = ", ".join(f"{name} = ?" for name in changes)
    # The columns are fixed words of this module.
    statement = f"UPDATE disputes SET {assignments} WHERE id = ?"  # noqa: S608
    db.execute(statement, (*changes.values(), row["id"]))
    return {**dict(row), **changes}


def _balance_transactions(row: Row) -> list[dict[str, Any]]:
    moved = (
        (row["withdrawn"], -row["amount"], FEE, "dispute"),
        (row["reinstated"], row["amount"], 0, "dispute_reversal"),
    )
    return [
        {
            "id": f"txn_{row['id'].removeprefix('dp_')}_{category}",
            "object": "balance_transaction",
            "amount": amount,
            "currency": row["currency"],
            "fee": fee,
            "net": amount - fee,
            "type": "adjustment",
            "reporting_category": category,
            "source": row["id"],
            "created": created,
        }
        for created, amount, fee, category in moved
        if created is not None
    ]
