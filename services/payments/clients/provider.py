"""The payment provider: what payments needs of any, and the adapter for Stripe's API and its like.

Source: https://docs.stripe.com/api (PaymentIntents, SetupIntents, Refunds, PaymentMethods,
lists, idempotent requests, decline codes), read on 2026-11-28.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Protocol, runtime_checkable

from services.payments.clients.provider_requests import send
from services.payments.clients.request_limits import RequestLimits
from services.payments.clients.stripe_disputes import EXPAND, read_dispute
from services.payments.clients.stripe_lists import ListTooLongError, pages
from services.payments.domain.attempts import Attempt
from services.payments.domain.declines import AUTHENTICATION_REQUIRED, DeclineClass, classify
from services.payments.domain.disputes import (
    Dispute,
    DisputeReport,
    ListedDispute,
    NotDisputed,
)
from services.payments.domain.idempotent_retries import CLOCKS_DIFFER_MAX, KEY_RELIED_ON
from services.payments.domain.keys import derived_key
from services.payments.domain.outcomes import (
    Declined,
    NotMade,
    Outcome,
    Pending,
    RequiresAction,
    Succeeded,
    Unknown,
)
from services.payments.domain.payment_methods import PaymentMethodKind, end_of_month
from services.payments.domain.provider_amounts import amount_rules, to_provider
from services.payments.domain.providers import Capabilities
from services.payments.domain.refunds import Refund
from services.payments.domain.transitions import AttemptState
from services.runtime.http_client import HttpClient

STRIPE = "stripe"
REQUEST_TIMEOUT_SECONDS = 10.0
CONNECTIONS_MAX = 50
# Where a payment is looked for first: this long before or after we said that we send it.
SENT_WITHIN = timedelta(minutes=2)
LIST_PAGES_MAX = 50
# Of the payments of one customer, or of all where the method is nobody's. An attempt that is not among
# them is sent again under its key, which finds it as well.
FIND_PAGES_MAX = 5
# Of the address at which a customer confirms a payment.
URL_MAX_CHARACTERS = 2000
_CAPABILITIES = Capabilities(
    kinds=frozenset(PaymentMethodKind),
    amount_rules=amount_rules(),
    off_session=True,
    refunds=True,
    decides_later=False,
    webhooks=True,
)
_CHARGE = ("POST", "/payment_intents")
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
        return self.status == _BAD_REQUEST and not self.key_used_otherwise

    @property
    def key_used_otherwise(self) -> bool:
        """Whether the request's key was used before, for something else."""
        return self.status == _BAD_REQUEST and self.error.get("type") == "idempotency_error"


class StripeProvider:
    """Speaks to Stripe, or to what looks like it."""

    def __init__(
        self,
        http: HttpClient,
        base_url: str,
        api_key: str,
        limits: RequestLimits | None = None,
        return_url: str = "",
        name: str = STRIPE,
    ) -> None:
        """Without limits, it is asked as often as there is something to ask.

        With a `return_url`, to which customers come back from their bank, they are asked to confirm
        what their bank wants them to confirm; without one that is a decline.
        """
        self._name = name
        self._return_url = return_url
        self._http = http
        self._limits = limits
        self._base_url = f"{base_url.rstrip('/')}/v1"
        self._authorization = f"Bearer {api_key}"

    @property
    def name(self) -> str:
        """As the webhooks of its account are called too."""
        return self._name

    @property
    def capabilities(self) -> Capabilities:
        """What Stripe publishes."""
        return _CAPABILITIES

    def turns_within(self, seconds: float) -> int | None:
        """As the rate of its requests allows."""
        return None if self._limits is None else self._limits.turns_within(seconds)

    async def turn(self) -> None:
        """As the rate of its requests allows."""
        if self._limits is not None:
            await self._limits.turn()

    async def charge(self, attempt: Attempt, token: str) -> Outcome:
        """Create and confirm a PaymentIntent; off session, unless the customer has just confirmed."""
        try:
            amount = _amount_form(attempt.amount_minor, attempt.currency)
        except ValueError:
            return _NOT_CHARGEABLE
        form = {
            **amount,
            "payment_method": token,
            **_customer_of(attempt),
            "confirm": "true",
            **self._session(attempt),
            "metadata[charge]": attempt.charge_key.name,
            "metadata[attempt]": attempt.idempotency_key,
        }
        answer = await self._ask(*_CHARGE, form=form, key=attempt.idempotency_key)
        if isinstance(answer, Unknown):
            return answer
        if answer.status == _PAYMENT_REQUIRED:
            intent = answer.error.get("payment_intent") or {}
            if _key_of(intent) not in {attempt.idempotency_key, None}:
                return _mismatched(f"a decline of another payment: {intent.get('id')}")
            return await self._asked(_declined(answer.error, str(intent.get("id", ""))), attempt)
        return _intent_outcome(answer.body, attempt) if answer.status == _OK else _refused(answer)

    def _session(self, attempt: Attempt) -> dict[str, str]:
        """Whether the customer is there: one who has just confirmed can be sent to their bank."""
        if attempt.mandate or not self._return_url:
            return {"off_session": "true"}
        return {"off_session": "false", "return_url": self._return_to(attempt)}

    def _return_to(self, attempt: Attempt) -> str:
        return self._return_url.replace("{merchant}", attempt.merchant)

    async def _asked(self, declined: Declined, attempt: Attempt) -> Outcome:
        """Have the provider wait for the customer, where a bank has declined for want of them."""
        wants_customer = declined.code == AUTHENTICATION_REQUIRED and declined.provider_id
        if not wants_customer or not self._return_url:
            return declined
        answer = await self._ask(
            "POST",
            f"/payment_intents/{declined.provider_id}/confirm",
            form={"return_url": self._return_to(attempt)},
            key=derived_key(attempt.idempotency_key, "confirm"),
        )
        if isinstance(answer, Unknown):
            return answer
        if answer.status == _OK:
            return _intent_outcome(answer.body, attempt)
        return declined if answer.refused else Unknown(f"confirming was answered {answer.status}")

    async def give_up(self, attempt: Attempt) -> Outcome | None:
        """Cancel the PaymentIntent, unless it has come to an end before."""
        path = f"/payment_intents/{attempt.provider_payment}/cancel"
        answer = await self._ask("POST", path, form={"cancellation_reason": "abandoned"})
        if isinstance(answer, Unknown):
            return answer
        return await self.find(attempt)

    async def find(self, attempt: Attempt) -> Outcome | None:
        """Retrieve the PaymentIntent that a webhook has named, or look for the attempt's key in a list.

        The list does not lag, as the search does (https://docs.stripe.com/search#data-freshness). If it
        is too long to be looked through, the attempt counts as not found.
        """
        if attempt.provider_payment:
            answer = await self._ask("GET", f"/payment_intents/{attempt.provider_payment}")
            if isinstance(answer, Unknown):
                return answer
            if answer.status == _OK:
                return _intent_outcome(answer.body, attempt)
        try:
            return await self._listed(attempt, SENT_WITHIN, FIND_PAGES_MAX)
        except ListTooLongError:
            return None

    async def close(self, attempt: Attempt, _token: str, now: datetime) -> Outcome:
        """Use the attempt's key for something that moves no money.

        A key works for one request: if ours had come before, the provider says so, and whatever of ours
        comes later, out of a queue or from a process that was paused, is refused. A key that may be
        forgotten by now proves nothing of the past. Then the list of payments does, which does not lag:
        it is looked through as far as the clocks may be apart.
        """
        form = {"metadata[closes]": attempt.idempotency_key}
        answer = await self._ask("POST", "/setup_intents", form=form, key=attempt.idempotency_key)
        if isinstance(answer, Unknown):
            return answer
        if answer.status == _OK and now < attempt.start_time + KEY_RELIED_ON:
            return NotMade()
        if answer.status != _OK and not answer.key_used_otherwise:
            return Unknown(f"closing the key was answered {answer.status}")
        try:
            listed = await self._listed(attempt, CLOCKS_DIFFER_MAX, LIST_PAGES_MAX)
        except ListTooLongError:
            return Unknown("more payments were made at the time than are looked through")
        if listed is not None:
            return listed
        return (
            NotMade()
            if answer.status == _OK
            else Unknown("the key was used, for what is not found")
        )

    async def _listed(self, attempt: Attempt, within: timedelta, pages_max: int) -> Outcome | None:
        """Look for the attempt's key in the list of the payments made about when it was sent.

        Raises ListTooLongError.
        """
        for sent in filter(None, (attempt.start_time, attempt.resend_time)):
            query = {
                "created[gte]": str(int((sent - within).timestamp())),
                "created[lte]": str(int((sent + within).timestamp())),
                **_customer_of(attempt),
            }
            async for page in self._pages("/payment_intents", query, pages_max):
                if isinstance(page, Unknown):
                    return page
                for intent in page:
                    if _key_of(intent) == attempt.idempotency_key:
                        return _intent_outcome(intent, attempt)
        return None

    def _pages(
        self, path: str, query: Mapping[str, str], pages_max: int | None = None
    ) -> AsyncIterator[list[Mapping[str, Any]] | Unknown]:
        async def ask(query: Mapping[str, str]) -> tuple[int, Mapping[str, Any]] | Unknown:
            answer = await self._ask("GET", path, query=query)
            return answer if isinstance(answer, Unknown) else (answer.status, answer.body)

        return pages(ask, query, pages_max)

    async def refund(self, refund: Refund) -> Outcome:
        """Create a refund of a PaymentIntent."""
        try:
            amount = to_provider(refund.method_minor, refund.currency)
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
        return _refund_outcome(answer.body, refund) if answer.status == _OK else _refused(answer)

    async def find_refund(self, refund: Refund) -> Outcome | None:
        """Look for the refund in the list of those of its PaymentIntent."""
        query = {"payment_intent": refund.provider_payment}
        try:
            async for page in self._pages("/refunds", query, LIST_PAGES_MAX):
                if isinstance(page, Unknown):
                    return page
                for listed in page:
                    if (listed.get("metadata") or {}).get("refund") == refund.key.name:
                        return _refund_outcome(listed, refund)
        except ListTooLongError:
            return Unknown("more refunds were made than are looked through")
        return None

    async def dispute(self, provider_dispute: str) -> DisputeReport | NotDisputed | Unknown | None:
        """Retrieve a Dispute with its PaymentIntent, whose metadata name the charge."""
        answer = await self._ask("GET", f"/disputes/{provider_dispute}", query=EXPAND)
        if isinstance(answer, Unknown):
            return answer
        if answer.status == _OK:
            return read_dispute(self._name, answer.body)
        return None if answer.refused else Unknown(f"status {answer.status}")

    async def disputes_since(self, since: datetime) -> AsyncIterator[list[ListedDispute] | Unknown]:
        """List Disputes, the newest first."""
        query = {"created[gte]": str(int(since.timestamp()))}
        async for page in self._pages("/disputes", query):
            if isinstance(page, Unknown):
                yield page
                return
            yield [ListedDispute(str(dispute["id"])) for dispute in page]

    async def answer_dispute(
        self, dispute: Dispute, evidence: Mapping[str, str]
    ) -> DisputeReport | Declined | Unknown:
        """Submit evidence, after which there is no more."""
        form = {f"evidence[{name}]": text for name, text in evidence.items()}
        return await self._respond(dispute, "", {**form, "submit": "true"})

    async def accept_dispute(self, dispute: Dispute) -> DisputeReport | Declined | Unknown:
        """Close a dispute."""
        return await self._respond(dispute, "/close", {})

    async def _respond(
        self, dispute: Dispute, action: str, form: Mapping[str, str]
    ) -> DisputeReport | Declined | Unknown:
        path = f"/disputes/{dispute.provider_dispute}{action}"
        answer = await self._ask("POST", path, form=form, key=dispute.response_key)
        if isinstance(answer, Unknown):
            return answer
        if answer.status == _OK:
            return read_dispute(self._name, answer.body)
        if not answer.refused:
            return Unknown(f"status {answer.status}")
        return Declined(str(answer.error.get("code") or "invalid_request"), hard=True)

    async def card(self, token: str) -> Card | None:
        """Look a PaymentMethod up."""
        answer = await self._ask("GET", f"/payment_methods/{token}")
        if isinstance(answer, Unknown):
            raise ProviderUnreachable(answer.why)
        if answer.refused:
            return None
        if answer.status != _OK:
            raise ProviderUnreachable(f"the provider answered {answer.status}")
        return _card(answer.body)

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
        request = partial(
            self._http.request,
            method,
            self._base_url + path,
            form=form,
            query=query,
            headers=headers,
        )
        sent = await send(request, self._limits, holds_back=(method, path) == _CHARGE)
        return sent if isinstance(sent, Unknown) else _Answer(*sent)


def _card(body: Mapping[str, Any]) -> Card:
    """What a PaymentMethod shows. Whatever is no card is an account that is debited."""
    kind = str(body.get("type") or "card")
    shown = body.get(kind) or {}
    customer = str(body.get("customer") or "")
    last4 = str(shown.get("last4", ""))
    if kind != "card":
        return Card(kind, last4, PaymentMethodKind.BANK_DEBIT, customer=customer)
    year, month = shown.get("exp_year"), shown.get("exp_month")
    expire_time = None
    if isinstance(year, int) and isinstance(month, int):
        expire_time = end_of_month(year, month)
    return Card(str(shown.get("brand", "")), last4, expire_time=expire_time, customer=customer)


def _amount_form(amount_minor: int, currency: str) -> dict[str, str]:
    """Amount and currency as the provider writes them. Raises ValueError if it has no such amount."""
    return {"amount": str(to_provider(amount_minor, currency)), "currency": currency.lower()}


def _customer_of(attempt: Attempt) -> dict[str, str]:
    """Whose the charged payment method is at the provider, if it is anybody's."""
    return {"customer": attempt.provider_customer} if attempt.provider_customer else {}


def _key_of(intent: object) -> object:
    """The key that a PaymentIntent says it was made for; None if it says none."""
    metadata = intent.get("metadata") if isinstance(intent, dict) else None
    return metadata.get("attempt") if isinstance(metadata, dict) else None


def _mismatched(what: str) -> Unknown:
    return Unknown("the answer differs from the request", mismatch=what)


def _answered(body: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(body.get(name)) for name in ("amount", "currency")}


def _intent_outcome(intent: object, attempt: Attempt) -> Outcome:
    """What a PaymentIntent, as it stands, says of its attempt; Unknown if it differs."""
    if not isinstance(intent, dict) or not isinstance(intent.get("id"), str):
        return Unknown("the answer is no payment")
    if difference := _difference(intent, attempt):
        return _mismatched(difference)
    if intent.get("status") == "canceled" and attempt.state is AttemptState.REQUIRES_ACTION:
        # By `give_up`: the customer did not confirm it.
        return _unconfirmed(intent["id"])
    return _outcome_of_status(intent)


def _unconfirmed(payment: str) -> Declined:
    return Declined(AUTHENTICATION_REQUIRED, hard=True, provider_id=payment)


def _outcome_of_status(intent: Mapping[str, Any]) -> Outcome:
    name, status = intent["id"], intent.get("status")
    if status == "succeeded":
        return Succeeded(name)
    if status == "processing":
        # Of a bank debit, for days.
        return Pending(name)
    if status == "requires_payment_method":
        return _declined(intent.get("last_payment_error") or {}, name)
    if status == "requires_action":
        # Without an address there is nothing that the customer could do.
        url = _redirect_of(intent)
        return RequiresAction(name, url) if url else _unconfirmed(name)
    if status == "canceled":
        return Declined("canceled", hard=False, provider_id=name)
    return Unknown(f"the payment is {status}")


def _redirect_of(intent: Mapping[str, Any]) -> str:
    """Where the customer confirms a payment; empty if nowhere."""
    redirect = (intent.get("next_action") or {}).get("redirect_to_url") or {}
    url = str(redirect.get("url") or "")
    return url if url.startswith("http") and len(url) <= URL_MAX_CHARACTERS else ""


def _declined(error: Mapping[str, Any], payment: str) -> Declined:
    code = str(error.get("decline_code") or error.get("code") or "generic_decline")
    advice = str(error.get("advice_code") or "")
    hard = classify(code, advice) is not DeclineClass.LATER
    return Declined(code, hard=hard, provider_id=payment, advice=advice)


def _difference(intent: Mapping[str, Any], attempt: Attempt) -> str:
    """How a PaymentIntent differs from its request; empty if it does not."""
    name = intent["id"]
    if _key_of(intent) != attempt.idempotency_key:
        return f"{name} is another payment"
    if _answered(intent) != _amount_form(attempt.amount_minor, attempt.currency):
        return f"{name} is over {intent.get('amount')} {intent.get('currency')}"
    received = intent.get("amount_received")
    if intent.get("status") == "succeeded" and received != intent["amount"]:
        return f"{name} received {received}"
    return ""


def _refund_outcome(body: Mapping[str, Any], refund: Refund) -> Outcome:
    """What the provider's refund, as it stands, says of ours; Unknown if it differs."""
    name, status = body.get("id"), body.get("status")
    if not isinstance(name, str):
        return Unknown("the answer is no refund")
    if (body.get("metadata") or {}).get("refund") != refund.key.name:
        return _mismatched(f"{name} is another refund")
    if body.get("payment_intent") != refund.provider_payment:
        return _mismatched(f"{name} gives {body.get('payment_intent')} back")
    if _answered(body) != _amount_form(refund.method_minor, refund.currency):
        return _mismatched(f"{name} is over {body.get('amount')} {body.get('currency')}")
    if status in {"failed", "canceled"}:
        return Declined(str(body.get("failure_reason") or status), hard=True, provider_id=name)
    # `pending` or `requires_action`: under way for days, if the provider waits for the bank or for us.
    return Succeeded(name) if status == "succeeded" else Unknown(f"the refund is {status}")


def _refused(answer: _Answer) -> Outcome:
    """A request that was not carried out: for good if it makes no sense, else nobody knows.

    A key that comes with other parameters was used before: the look-up finds what for.
    """
    if not answer.refused:
        return Unknown(f"status {answer.status}")
    return Declined(str(answer.error.get("code") or "invalid_request"), hard=True)
