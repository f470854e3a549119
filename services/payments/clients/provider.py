"""The payment provider: what payments needs of any, and what the adapters have in common."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar, runtime_checkable

from services.payments.clients.provider_api import ProviderApi, Shown
from services.payments.domain.attempts import Attempt
from services.payments.domain.disputes import (
    Dispute,
    DisputeReport,
    ListedDispute,
    NotDisputed,
)
from services.payments.domain.outcomes import Declined, Outcome, Unknown
from services.payments.domain.payment_methods import PaymentMethodKind
from services.payments.domain.providers import Capabilities
from services.payments.domain.refunds import Refund

REQUEST_TIMEOUT_SECONDS = 10.0
CONNECTIONS_MAX = 50
_DECIDED = Declined("dispute_is_decided", hard=True)


@dataclass(frozen=True, slots=True)
class Card:
    """What may be shown of a payment method."""

    brand: str
    last4: str
    kind: PaymentMethodKind = PaymentMethodKind.CARD
    # The first instant after the month until which it is valid; None: it does not expire.
    expire_time: datetime | None = None
    # Whose it is at the provider; empty if nobody's.
    customer: str = ""


class ProviderUnreachable(ConnectionError):
    """The provider did not answer a question."""


class Provider(Protocol):
    """The operations of a payment provider. Only `card` raises; whatever else fails is Unknown."""

    @property
    def name(self) -> str:
        """How payment methods, webhooks and settings call it; never changed."""

    @property
    def capabilities(self) -> Capabilities:
        """What it can do. What it cannot is refused before it is asked."""

    def turns_within(self, seconds: float) -> int | None:
        """About how many it may be asked within so many seconds; None: about all there are."""

    async def turn(self) -> None:
        """Wait until the provider may be asked about one more; how often it is asked is limited."""

    async def charge(self, attempt: Attempt, token: str) -> Outcome:
        """Charge what a token stands for, once for the attempt's key however often it is sent."""

    async def find(self, attempt: Attempt) -> Outcome | None:
        """What became of the attempt; None if it is not found, which proves nothing yet."""

    async def close(self, attempt: Attempt, token: str, now: datetime) -> Outcome:
        """Have the attempt's key refused from now on; NotMade only if it surely never was used."""

    async def give_up(self, attempt: Attempt) -> Outcome | None:
        """Wait no longer for the customer to confirm an attempt; what became of it before counts."""

    async def refund(self, refund: Refund) -> Outcome:
        """Give back, once for the refund's key while the provider remembers it."""

    async def find_refund(self, refund: Refund) -> Outcome | None:
        """What became of the refund; None if the provider has none."""

    async def card(self, token: str) -> Card | None:
        """What a token stands for; None if nothing. Raises ProviderUnreachable."""


@runtime_checkable
class DisputeProvider(Protocol):
    """What a provider does beside, if its payers can dispute. Nothing raises; what fails is Unknown."""

    async def dispute(self, provider_dispute: str) -> DisputeReport | NotDisputed | Unknown | None:
        """Where a dispute stands, and what payment it is of; None if there is no such dispute."""

    def disputes_since(self, since: datetime) -> AsyncIterator[list[ListedDispute] | Unknown]:
        """What was opened, or decided again, since a time, by page; Unknown where it fails."""

    async def answer_dispute(
        self, dispute: Dispute, evidence: Mapping[str, str]
    ) -> DisputeReport | Declined | Unknown:
        """Have evidence looked at, once for the response's key; Declined: it is not taken."""

    async def accept_dispute(self, dispute: Dispute) -> DisputeReport | Declined | Unknown:
        """Give a dispute up."""


class HttpProvider:
    """What adapters of HTTP APIs have in common."""

    def __init__(self, name: str, capabilities: Capabilities, api: ProviderApi) -> None:
        self.name = name
        self.capabilities = capabilities
        self._api = api

    def turns_within(self, seconds: float) -> int | None:
        """As the rate of its requests allows."""
        return self._api.turns_within(seconds)

    async def turn(self) -> None:
        """As the rate of its requests allows."""
        await self._api.turn()

    async def _registered(self, path: str) -> Shown | None:
        """What a customer has registered; None if there is none. Raises ProviderUnreachable."""
        return reached(await self._api.get(path))


T = TypeVar("T")


def reached(found: T | Unknown) -> T:
    """What a provider has answered. Raises ProviderUnreachable if it has not."""
    if isinstance(found, Unknown):
        raise ProviderUnreachable(found.why)
    return found


class DecidedByBanks:
    """Disputes of which the payers' banks decide by themselves: nothing is answered or accepted."""

    async def answer_dispute(
        self, _dispute: Dispute, _evidence: Mapping[str, str]
    ) -> DisputeReport | Declined | Unknown:
        """Nothing is to be answered."""
        return _DECIDED

    async def accept_dispute(self, _dispute: Dispute) -> DisputeReport | Declined | Unknown:
        """Nothing is to be accepted, neither."""
        return _DECIDED
