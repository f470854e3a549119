"""Refunds: money given back."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from services.payments.domain.keys import ChargeId, CustomerId, MerchantId, RefundId, RefundKey
from services.payments.domain.lines import ChargeLine
from services.payments.domain.outcomes import Declined, Succeeded
from services.payments.domain.transfers import shares
from services.payments.domain.transitions import REFUND, RefundEvent, RefundState

# A refund that succeeded is checked again so long afterwards: the customer's bank may send it back.
# Source: Stripe's refunds go from succeeded to failed, as those to a closed account do after days
# (https://docs.stripe.com/refunds#failed-refunds); no provider promises a last day.
FOLLOW_UP_DELAYS = tuple(timedelta(days=days) for days in (1, 3, 7, 14, 30))


class RefundLine(NamedTuple):
    """What of a refund gives a product back, in minor units of the charge's currency."""

    # Its id.
    product: str
    amount_minor: int


@dataclass(frozen=True, slots=True)
class Refund:
    """Money given back."""

    merchant: MerchantId
    customer: CustomerId
    charge: ChargeId
    refund: RefundId
    amount_minor: int
    currency: str
    # Encrypted: only who shows it opens it. Empty once it was erased.
    note: bytes
    state: RefundState
    idempotency_key: str
    create_time: datetime
    update_time: datetime
    # How often it was sent without an answer.
    try_count: int = 0
    # How the provider's answer differs from the request; such a refund is never sent again.
    mismatch: str = ""
    # Why it failed, as the provider names it.
    failure_code: str = ""
    traceparent: str = ""
    # What of the amount was given as credit at once, and never goes to the provider.
    credit_minor: int = 0
    # What lines of the charge it gives back, as JSON (`load_refund_lines`); none: a part of all.
    lines: str = "[]"
    # The provider's id of the payment that it gives back.
    provider_payment: str = ""
    # Which provider made that.
    provider: str = ""

    @property
    def key(self) -> RefundKey:
        """Which it is."""
        return RefundKey(self.merchant, self.customer, self.charge, self.refund)

    @property
    def method_minor(self) -> int:
        """What goes back to the payment method that was charged."""
        return self.amount_minor - self.credit_minor


def dump_refund_lines(lines: Iterable[RefundLine]) -> str:
    """Lines as JSON."""
    return json.dumps([line._asdict() for line in lines], separators=(",", ":"))


def load_refund_lines(text: str) -> tuple[RefundLine, ...]:
    """Lines from their JSON."""
    return tuple(RefundLine(**line) for line in json.loads(text))


def given_lines(lines: Iterable[RefundLine], given_minor: int) -> list[RefundLine]:
    """What lines give back if so much of them was given: of each the same part."""
    wanted = {line.product: line.amount_minor for line in lines}
    parts = shares(given_minor, wanted)
    return [RefundLine(product, minor) for product, minor in parts.items()]


def left_of_lines(charged: Iterable[ChargeLine], given_back: Iterable[RefundLine]) -> Counter[str]:
    """What can still be given back of each product of a charge, in minor units."""
    left: Counter[str] = Counter()
    for line in charged:
        left[line.product] += line.gross_minor
    for refunded in given_back:
        left[refunded.product] -= refunded.amount_minor
    return left


def next_follow_up(settled_time: datetime, now: datetime) -> datetime | None:
    """When a refund that succeeded at a time is checked again; None: no more."""
    later = (settled_time + delay for delay in FOLLOW_UP_DELAYS)
    return next((moment for moment in later if moment > now), None)


def settled_state(refund: Refund, outcome: Succeeded | Declined) -> RefundState:
    """The state of a refund once its outcome is known."""
    succeeded = isinstance(outcome, Succeeded)
    return REFUND.to(refund.state, RefundEvent.SUCCEED if succeeded else RefundEvent.FAIL)
