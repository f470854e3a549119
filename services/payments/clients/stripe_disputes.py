"""Disputes as Stripe's API shows them.

Source: https://docs.stripe.com/api/disputes, read on 2026-11-30.
"""

from datetime import UTC, datetime

from services.payments.clients.provider_answers import REASON_MAX_CHARACTERS, charge_of
from services.payments.clients.provider_api import Shown
from services.payments.domain.disputes import DisputeReport, DisputeState
from services.payments.domain.provider_amounts import from_provider

# The payment in full, since it says which charge it was made for.
EXPAND = {"expand[]": "payment_intent"}
_STATES = {
    "warning_needs_response": DisputeState.INQUIRY_NEEDS_RESPONSE,
    "warning_under_review": DisputeState.INQUIRY_UNDER_REVIEW,
    "warning_closed": DisputeState.INQUIRY_CLOSED,
    # Given back before it was a dispute.
    "prevented": DisputeState.INQUIRY_CLOSED,
    "needs_response": DisputeState.NEEDS_RESPONSE,
    "under_review": DisputeState.UNDER_REVIEW,
    "won": DisputeState.WON,
    "lost": DisputeState.LOST,
}
# Of bank debits that a bank sent back by itself after they had succeeded
# (https://docs.stripe.com/disputes/categories, read on 2026-11-30).
_LATE_FAILURES = frozenset({
    "bank_cannot_process", "check_returned", "incorrect_account_details", "insufficient_funds",
})  # fmt: skip


def read_dispute(provider: str, body: Shown) -> DisputeReport:
    """A dispute of an answer. Raises KeyError, TypeError or ValueError if it is none."""
    payment = body["payment_intent"]
    is_expanded = isinstance(payment, dict)
    details = body.get("evidence_details") or {}
    withdrawn = _moved(body, taken=True)
    reinstated = _moved(body, taken=False)
    currency = str(body["currency"]).upper()
    fees = [moved for moved in body.get("balance_transactions") or () if moved.get("fee")]
    fee_currency = str(fees[0]["currency"]).upper() if fees else ""
    fee = sum(int(moved["fee"]) for moved in fees)
    return DisputeReport(
        provider=provider,
        provider_dispute=str(body["id"]),
        provider_payment=str(payment["id"] if is_expanded else payment),
        charge=charge_of(payment),
        amount_minor=from_provider(int(body["amount"]), currency),
        currency=currency,
        reason=str(body.get("reason") or "")[:REASON_MAX_CHARACTERS],
        state=_STATES[body["status"]],
        open_time=_time(body["created"]),
        evidence_due_time=_time(details["due_by"]) if details.get("due_by") else None,
        withdraw_time=withdrawn,
        reinstate_time=reinstated,
        fee_minor=from_provider(fee, fee_currency) if fee else 0,
        fee_currency=fee_currency,
        is_answered=bool(details.get("submission_count")),
        late_failure=body.get("reason") in _LATE_FAILURES,
    )


def _moved(body: Shown, *, taken: bool) -> datetime | None:
    """When the money was taken, or given back."""
    times = [
        _time(moved["created"])
        for moved in body.get("balance_transactions") or ()
        if (moved["amount"] < 0) is taken
    ]
    return min(times, default=None)


def _time(unix: object) -> datetime:
    if type(unix) is not int:
        raise TypeError("no unix time")
    return datetime.fromtimestamp(unix, UTC)
