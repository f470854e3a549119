"""What banks take back of debits that had been paid, as the events of GoCardless' API show it.

Source: https://developer.gocardless.com/api-reference#events (payment actions), read on 2026-11-30.
Of a payment there is one dispute at most, known by the payment's id. Nobody decides about it: under
SEPA a payer has eight weeks in which the bank gives the money back without a question. A late failure
is another fact: the bank sent back by itself what the provider had confirmed, for want of funds mostly.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from services.payments.domain.disputes import DisputeReport, DisputeState, NotDisputed
from services.payments.domain.keys import ChargeKey
from services.payments.domain.outcomes import Unknown
from services.payments.names import CHARGE

CHARGED_BACK, CHARGEBACK_CANCELLED, FAILED = "charged_back", "chargeback_cancelled", "failed"
_PAID = frozenset({"confirmed", "paid_out"})
_REASON_CHARACTERS_MAX = 100


def read_dispute(
    provider: str, payment: Mapping[str, Any], events: Sequence[Mapping[str, Any]]
) -> DisputeReport | NotDisputed | Unknown:
    """What was taken back of a payment, by its events from the first on."""
    try:
        return _read(provider, payment, events)
    except (KeyError, TypeError, ValueError) as error:
        return Unknown(f"the answer is no payment with its events: {type(error).__name__}")


def _read(
    provider: str, payment: Mapping[str, Any], events: Sequence[Mapping[str, Any]]
) -> DisputeReport | NotDisputed:
    taken, given_back = _movements(events)
    if taken is None:
        return NotDisputed()
    withdraw_time = _time(taken)
    return DisputeReport(
        provider=provider,
        provider_dispute=str(payment["id"]),
        provider_payment=str(payment["id"]),
        charge=_charge(payment.get("metadata") or {}),
        # All of it: a bank does not know what was refunded.
        amount_minor=int(payment["amount"]),
        currency=str(payment["currency"]),
        reason=str((taken.get("details") or {}).get("cause") or "")[:_REASON_CHARACTERS_MAX],
        state=DisputeState.LOST if given_back is None else DisputeState.WON,
        open_time=withdraw_time,
        evidence_due_time=None,
        withdraw_time=withdraw_time,
        reinstate_time=None if given_back is None else _time(given_back),
        # No event says what it costs.
        fee_minor=0,
        fee_currency="",
        is_answered=False,
        late_failure=taken["action"] == FAILED,
    )


def _movements(
    events: Sequence[Mapping[str, Any]],
) -> tuple[Mapping[str, Any] | None, Mapping[str, Any] | None]:
    """By which event the money was taken, and by which it was given back."""
    taken = given_back = None
    was_paid = False
    for event in events:
        action = event["action"]
        was_paid = was_paid or action in _PAID
        # What fails before it was confirmed is declined, and nothing had come.
        if taken is None and (action == CHARGED_BACK or (action == FAILED and was_paid)):
            taken = event
        elif taken is not None and action == CHARGEBACK_CANCELLED:
            given_back = event
    return taken, given_back


def _charge(metadata: Mapping[str, Any]) -> ChargeKey | None:
    try:
        key: ChargeKey = CHARGE.key(str(metadata.get("charge")))
    except ValueError:
        return None
    return key


def _time(event: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(event["created_at"])
