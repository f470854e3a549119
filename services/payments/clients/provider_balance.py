"""What is asked of a provider's balance."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Generic, Protocol, TypeVar

from services.payments.domain.provider_balance import BalanceTransaction, ProviderPayout

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some of a list."""

    items: Sequence[T]
    # What the next page comes after; empty on the last one.
    after: str


class ProviderBalance(Protocol):
    """What is asked of a provider's balance. Each raises ProviderUnreachable."""

    @property
    def name(self) -> str:
        """The provider's."""

    @property
    def listing_delay(self) -> timedelta:
        """So long after it was known to us a movement is listed at the latest."""

    async def transactions(
        self, since: datetime, until: datetime, after: str
    ) -> Page[BalanceTransaction]:
        """What moved the balance in a time, without payouts."""

    async def transactions_of(self, payout: str, after: str) -> Page[BalanceTransaction] | None:
        """What a payout has paid out; None: it cannot all be listed yet."""

    async def payouts(self, since: datetime, until: datetime, after: str) -> Page[ProviderPayout]:
        """What was paid out in a time."""
