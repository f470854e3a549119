"""The payment provider: what is asked of any, and the adapter for those in the shape of Stripe's API.

Source: https://docs.stripe.com/api (PaymentIntents, Refunds, PaymentMethods, search, idempotent
requests, decline codes).
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import aiohttp

from services.payments.domain.books import Refund
from services.payments.domain.charges import Attempt
from services.payments.domain.outcomes import Declined, Outcome, Succeeded, Unknown
from services.payments.domain.provider_amounts import to_provider

REQUEST_TIMEOUT_SECONDS = 10.0
CONNECTIONS_MAX = 50
# Trying again is pointless or, by the rules of the card networks, forbidden.
HARD_DECLINE_CODES = frozenset(
    {
        "authentication_required", "card_not_supported", "currency_not_supported", "expired_card",
        "fraudulent", "incorrect_number", "invalid_account", "invalid_number", "lost_card",
        "merchant_blacklist", "new_account_information_available", "not_permitted", "pickup_card",
        "restricted_card", "revocation_of_all_authorizations", "revocation_of_authorization",
        "security_violation", "service_not_allowed", "stolen_card", "stop_payment_order",
        "transaction_not_allowed",
    }
)  # fmt: skip

_OK = 200
_BAD_REQUEST = 400
_PAYMENT_REQUIRED = 402
_NOT_FOUND = 404
_MISSING = "resource_missing"
# Nothing was sent: what the provider cannot count is not rounded to what it can.
_NOT_CHARGEABLE = Declined("amount_not_chargeable", hard=True)


@dataclass(frozen=True, slots=True)
class Card:
    """What may be shown of a payment method."""

    brand: str
    last4: str


class ProviderUnreachable(ConnectionError):
    """The provider did not answer a question."""


class Provider(Protocol):
    """What payments asks of a provider. Only `card` raises; whatever else fails is Unknown."""

    async def charge(self, attempt: Attempt, token: str) -> Outcome:
        """Charge what a token stands for, once for the attempt's key however often it is asked."""

    async def find(self, attempt: Attempt) -> Outcome | None:
        """What became of the attempt; None if the provider has never heard of it."""

    async def refund(self, refund: Refund) -> Outcome:
        """Give back, once for the refund's key however often it is asked."""

    async def card(self, token: str) -> Card | None:
        """What a token stands for; None if nothing. Raises ProviderUnreachable."""


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: Mapping[str, Any]

    @property
    def error(self) -> Mapping[str, Any]:
        error = self.body.get("error")
        return error if isinstance(error, dict) else {}

    @property
    def refused(self) -> bool:
        """Whether the request makes no sense to the provider, and never will.

        A bare 404 is no such word: more likely the address is wrong.
        """
        if self.status == _NOT_FOUND:
            return self.error.get("code") == _MISSING
        return self.status == _BAD_REQUEST and self.error.get("type") != "idempotency_error"


class StripeProvider:
    """Speaks to Stripe, or to what looks like it."""

    def __init__(self, http: aiohttp.ClientSession, base_url: str, api_key: str) -> None:
        self._http = http
        self._base_url = f"{base_url.rstrip('/')}/v1"
        self._authorization = f"Bearer {api_key}"

    async def charge(self, attempt: Attempt, token: str) -> Outcome:
        """Create and confirm a PaymentIntent off session."""
        try:
            amount = to_provider(attempt.amount_minor, attempt.currency)
        except ValueError:
            return _NOT_CHARGEABLE
        form = {
            "amount": str(amount),
            "currency": attempt.currency.lower(),
            "payment_method": token,
            "confirm": "true",
            "off_session": "true",
            "metadata[charge]": attempt.charge.name,
            "metadata[attempt]": attempt.idempotency_key,
        }
        answer = await self._ask("POST", "/payment_intents", form=form, key=attempt.idempotency_key)
        if isinstance(answer, Unknown):
            return answer
        if answer.status == _PAYMENT_REQUIRED:
            intent = answer.error.get("payment_intent") or {}
            return _declined(answer.error, str(intent.get("id", "")))
        return _intent_outcome(answer.body) if answer.status == _OK else _refused(answer)

    async def find(self, attempt: Attempt) -> Outcome | None:
        """Search the PaymentIntents for the attempt's key."""
        query = {"query": f"metadata['attempt']:'{attempt.idempotency_key}'"}
        answer = await self._ask("GET", "/payment_intents/search", query=query)
        if isinstance(answer, Unknown):
            return answer
        if answer.status != _OK:
            return Unknown(f"search answered {answer.status}")
        found = answer.body.get("data")
        if not isinstance(found, list):
            return Unknown("search answered without a list")
        return _intent_outcome(found[0]) if found else None

    async def refund(self, refund: Refund) -> Outcome:
        """Create a refund of a PaymentIntent."""
        try:
            amount = to_provider(refund.amount_minor, refund.currency)
        except ValueError:
            return _NOT_CHARGEABLE
        form = {
            "payment_intent": refund.provider_payment,
            "amount": str(amount),
            "metadata[refund]": refund.key.name,
        }
        answer = await self._ask("POST", "/refunds", form=form, key=refund.idempotency_key)
        if isinstance(answer, Unknown):
            return answer
        if answer.status != _OK:
            return _refused(answer)
        name, status = answer.body.get("id"), answer.body.get("status")
        if not isinstance(name, str):
            return Unknown("the answer is no refund")
        # A pending one is the provider's to finish; a later failure comes as a fact of its own.
        if status in {"failed", "canceled"}:
            code = str(answer.body.get("failure_reason") or status)
            return Declined(code, hard=True, provider_id=name)
        return Succeeded(name)

    async def card(self, token: str) -> Card | None:
        """Look a PaymentMethod up."""
        answer = await self._ask("GET", f"/payment_methods/{token}")
        if isinstance(answer, Unknown):
            raise ProviderUnreachable(answer.why)
        if answer.refused:
            return None
        if answer.status != _OK:
            raise ProviderUnreachable(f"the provider answered {answer.status}")
        shown = answer.body.get("card") or {}
        return Card(str(shown.get("brand", "")), str(shown.get("last4", "")))

    async def _ask(
        self,
        method: str,
        path: str,
        *,
        form: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        key: str | None = None,
    ) -> _Answer | Unknown:
        headers = {"Authorization": self._authorization}
        if key is not None:
            headers["Idempotency-Key"] = key
        try:
            async with (
                asyncio.timeout(REQUEST_TIMEOUT_SECONDS),
                self._http.request(
                    method, self._base_url + path, data=form, params=query, headers=headers
                ) as response,
            ):
                body = await response.json()
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            # Its class says enough, and holds nothing that was sent.
            return Unknown(type(error).__name__)
        if not isinstance(body, dict):
            return Unknown(f"status {response.status} without an object")
        return _Answer(response.status, body)


def _intent_outcome(intent: object) -> Outcome:
    """What a PaymentIntent, as it stands, says of its attempt."""
    if not isinstance(intent, dict) or not isinstance(intent.get("id"), str):
        return Unknown("the answer is no payment")
    name, status = intent["id"], intent.get("status")
    if status == "succeeded":
        return Succeeded(name)
    if status == "requires_payment_method":
        return _declined(intent.get("last_payment_error") or {}, name)
    if status == "requires_action":
        # The customer would have to be there, and is not: an off-session payment ends here.
        return Declined("authentication_required", hard=True, provider_id=name)
    if status == "canceled":
        return Declined("canceled", hard=False, provider_id=name)
    return Unknown(f"the payment is {status}")


def _declined(error: Mapping[str, Any], payment: str) -> Declined:
    code = str(error.get("decline_code") or error.get("code") or "generic_decline")
    return Declined(code, hard=code in HARD_DECLINE_CODES, provider_id=payment)


def _refused(answer: _Answer) -> Outcome:
    """A request that was not carried out: for good if it makes no sense, else nobody knows.

    A key that comes with other parameters was used before: the look-up finds what for.
    """
    if not answer.refused:
        return Unknown(f"status {answer.status}")
    return Declined(str(answer.error.get("code") or "invalid_request"), hard=True)
