"""What banks take back of debits that had been paid, as the events of GoCardless' API show it.

Source: https://developer.gocardless.com/api-reference#events (payment actions), read on 2026-11-30.
Of a payment there is one dispute at most, known by the payment's id. Nobody decides about it: under
SEPA a payer has eight weeks in which the bank gives the money back without a question. A late failure
is another fact: the bank sent back by itself what the provider had confirmed, for want of funds mostly.
"""

from collections.abc import Sequence
from datetime import datetime

from services.payments.clients.bank_debit_api import BANK_DEBIT, object_in
from services.payments.clients.provider_answers import REASON_MAX_CHARACTERS, charge_of
from services.payments.clients.provider_api import Shown
from services.payments.domain.disputes import DisputeReport, DisputeState, NotDisputed

CHARGED_BACK, CHARGEBACK_CANCELLED, FAILED = "charged_back", "chargeback_cancelled", "failed"
_PAID = frozenset({"confirmed", "paid_out"})


def read_dispute(payment: Shown, events: Sequence[Shown]) -> DisputeReport | NotDisputed:
    """What was taken back of a payment, by its events from the first on.

    Raises KeyError, TypeError or ValueError if it is no payment with its events.
    """
    taken, given_back = _movements(events)
    if taken is None:
        return NotDisputed()
    return DisputeReport(
        provider=BANK_DEBIT,
        provider_dispute=str(payment["id"]),
        provider_payment=str(payment["id"]),
        charge=charge_of(payment),
        # All of it: a bank does not know what was refunded. No event says what it costs.
        amount_minor=int(payment["amount"]),
        currency=str(payment["currency"]),
        reason=str(object_in(taken, "details").get("cause") or "")[:REASON_MAX_CHARACTERS],
        state=DisputeState.LOST if given_back is None else DisputeState.WON,
        open_time=_time(taken),
        withdraw_time=_time(taken),
        reinstate_time=None if given_back is None else _time(given_back),
        late_failure=taken["action"] == FAILED,
    )


def _movements(events: Sequence[Shown]) -> tuple[Shown | None, Shown | None]:
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


def _time(event: Shown) -> datetime:
    return datetime.fromisoformat(event["created_at"])
