"""Transfers: what the ledger is made of.

A transfer debits one account and credits another with the same amount, so that whatever is booked
balances.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from services.payments.domain.keys import CustomerId, MerchantId, derived_key

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Transfer:
    """An amount that one account is debited and another credited with, so that both balance."""

    merchant: MerchantId
    customer: CustomerId
    # Name of the charge or refund that is booked.
    source: str
    # What is booked of the source, which is booked once.
    kind: str
    debit_account: str
    credit_account: str
    amount_minor: int
    currency: str
    # When it is booked, or as soon after that as a day is open.
    book_time: datetime
    # When it happened, if that was before.
    occur_time: datetime | None = None

    @property
    def transaction(self) -> str:
        """The id of what is booked, the same for the same source and kind."""
        return derived_key(self.source, self.kind)


def shares(amount_minor: int, kept: Mapping[T, int]) -> dict[T, int]:
    """An amount as parts of what accounts keep, none above it; the largest remainders round up."""
    kept_minor = sum(kept.values())
    parts = {account: amount_minor * minor // kept_minor for account, minor in kept.items()}
    largest_first = sorted(kept, key=lambda account: -(amount_minor * kept[account] % kept_minor))
    for account in largest_first[: amount_minor - sum(parts.values())]:
        parts[account] += 1
    return {account: minor for account, minor in parts.items() if minor}
