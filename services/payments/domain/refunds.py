"""Refunds: money given back."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from services.payments.domain.keys import RefundKey


class RefundState(StrEnum):
    """Where a refund stands; the last two are final."""

    PENDING = "PENDING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class Refund:
    """Money given back."""

    key: RefundKey
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
    # What the provider answered in place of what was asked of it; such a refund is never sent again.
    mismatch: str = ""
    # The provider's id of the payment that it gives back.
    provider_payment: str = ""
    traceparent: str = ""
