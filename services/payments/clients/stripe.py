"""The adapter for Stripe's API and its like.

Source: https://docs.stripe.com/api (PaymentIntents, SetupIntents, Refunds, PaymentMethods,
lists, idempotent requests, decline codes), read on 2026-11-28.
"""

from collections.abc import AsyncIterator, Mapping
from datetime import datetime, timedelta
from functools import partial

from services.payments.clients.provider import Card, HttpProvider
from services.payments.clients.provider_answers import (
    RefundAsked,
    mismatched,
    outcome_of,
    payment_mismatch,
    read_report,
    refund_outcome,
)
from services.payments.clients.provider_api import (
    TOO_LONG,
    Answer,
    Shown,
    is_of_attempt,
    metadata_of,
)
from services.payments.clients.request_limits import RequestLimits
from services.payments.clients.stripe_api import (
    error_of,
    is_of_account,
    key_used_otherwise,
    refuses,
    stripe_api,
)
from services.payments.clients.stripe_disputes import EXPAND, read_dispute
from services.payments.domain.attempts import Attempt
from services.payments.domain.declines import (
    AUTHENTICATION_REQUIRED,
    DETACHED,
    DeclineClass,
    classify,
)
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
# Where a payment is looked for first: this long before or after we said that we send it.
SENT_WITHIN = timedelta(minutes=2)
LIST_PAGES_MAX = 50
# Of the payments of one customer, or of all where the method is nobody's. An attempt that is not among
# them is sent again under its key, which finds it as well.
FIND_PAGES_MAX = 5
# Of the address at which a customer confirms a payment.
URL_MAX_CHARACTERS = 2000
_PAYMENT_REQUIRED = 402
_CAPABILITIES = Capabilities(
    kinds=frozenset(PaymentMethodKind),
    amount_rules=amount_rules(),
    off_session=True,
    refunds=True,
    decides_later=False,
    webhooks=True,
)
_WITHOUT_REDIRECTS = {
    "automatic_payment_methods[enabled]": "true",
    "automatic_payment_methods[allow_redirects]": "never",
}
# Nothing was sent: what the provider cannot count is not rounded to what it can.
_NOT_CHARGEABLE = Declined("amount_not_chargeable", hard=True)


class StripeProvider(HttpProvider):
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
        super().__init__(name, _CAPABILITIES, stripe_api(http, base_url, api_key, limits))
        self._return_url = return_url

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
        answer = await self._api.ask(
            "POST", "/payment_intents", form=form, key=attempt.idempotency_key
        )
        if isinstance(answer, Unknown):
            return answer
        if answer.status == _PAYMENT_REQUIRED and not is_of_account(answer):
            error = error_of(answer)
            intent = error.get("payment_intent") or {}
            if metadata_of(intent).get("attempt") and not is_of_attempt(attempt, intent):
                return mismatched(f"a decline of another payment: {intent.get('id')}")
            return await self._asked(_declined(error, str(intent.get("id", ""))), attempt, token)
        if answer.ok:
            return _intent_outcome(attempt, answer.body)
        return await self._not_taken(answer, attempt, token)

    async def _not_taken(self, answer: Answer, attempt: Attempt, token: str) -> Outcome:
        """What a charge comes to that was not carried out.

        One of a payment method that has been attached to a customer since it was registered was not
        made, and never is: the provider wants the customer named.

        One that makes no sense does so for its payment method, if that is nobody's: it was detached
        from its customer, or was charged before and attached to none, and is never taken again. The
        provider has no code for it (https://docs.stripe.com/api/payment_methods/detach). A token for a
        new one each time, as there are for tests, is shown under another name.
        """
        refused = _refused(answer)
        if isinstance(refused, Unknown):
            return refused
        method = await self._api.get(f"/payment_methods/{token}")
        if isinstance(method, Unknown):
            return method
        if method is None or method.get("id") != token:
            return refused
        customer = str(method.get("customer") or "")
        if not customer:
            return Declined(DETACHED, hard=True)
        return refused if customer == attempt.provider_customer else NotMade(customer)

    def _session(self, attempt: Attempt) -> dict[str, str]:
        """Whether the customer is there: one who has just confirmed can be sent to their bank.

        The provider refuses a payment that could send them there and says nowhere to come back to, even
        with a card that would not (https://docs.stripe.com/upgrades/manage-payment-methods).
        """
        if not self._return_url:
            return {"off_session": "true", **_WITHOUT_REDIRECTS}
        off_session = "true" if attempt.mandate else "false"
        return {"off_session": off_session, "return_url": self._return_to(attempt)}

    def _return_to(self, attempt: Attempt) -> str:
        return self._return_url.replace("{merchant}", attempt.merchant)

    async def _asked(self, declined: Declined, attempt: Attempt, token: str) -> Outcome:
        """Have the provider wait for the customer, where a bank has declined for want of them.

        A decline leaves a PaymentIntent without its payment method, which is given once more.
        """
        wants_customer = declined.code == AUTHENTICATION_REQUIRED and declined.provider_id
        if not wants_customer or not self._return_url:
            return declined
        answer = await self._api.ask(
            "POST",
            f"/payment_intents/{declined.provider_id}/confirm",
            form={"payment_method": token, "return_url": self._return_to(attempt)},
            key=derived_key(attempt.idempotency_key, "confirm"),
        )
        if isinstance(answer, Unknown):
            return answer
        if answer.ok:
            return _intent_outcome(attempt, answer.body)
        return declined if refuses(answer) else Unknown(f"confirming was answered {answer.status}")

    async def give_up(self, attempt: Attempt) -> Outcome | None:
        """Cancel the PaymentIntent, unless it has come to an end before."""
        path = f"/payment_intents/{attempt.provider_payment}/cancel"
        answer = await self._api.ask("POST", path, form={"cancellation_reason": "abandoned"})
        if isinstance(answer, Unknown):
            return answer
        return await self.find(attempt)

    async def find(self, attempt: Attempt) -> Outcome | None:
        """Retrieve the PaymentIntent that a webhook has named, or look for the attempt's key in a list.

        The list does not lag, as the search does (https://docs.stripe.com/search#data-freshness). If it
        is too long to be looked through, the attempt counts as not found.
        """
        if attempt.provider_payment:
            found = await self._api.get(f"/payment_intents/{attempt.provider_payment}")
            if isinstance(found, Unknown):
                return found
            if found is not None:
                return _intent_outcome(attempt, found)
        listed = await self._listed(attempt, SENT_WITHIN, FIND_PAGES_MAX)
        return None if listed == TOO_LONG else listed

    async def close(self, attempt: Attempt, _token: str, now: datetime) -> Outcome:
        """Use the attempt's key for something that moves no money.

        A key works for one request: if ours had come before, the provider says so, and whatever of ours
        comes later, out of a queue or from a process that was paused, is refused. A key that may be
        forgotten by now proves nothing of the past. Then the list of payments does, which does not lag:
        it is looked through as far as the clocks may be apart.
        """
        form = {"metadata[closes]": attempt.idempotency_key}
        answer = await self._api.ask(
            "POST", "/setup_intents", form=form, key=attempt.idempotency_key
        )
        if isinstance(answer, Unknown):
            return answer
        if answer.ok and now < attempt.start_time + KEY_RELIED_ON:
            return NotMade()
        if not answer.ok and not key_used_otherwise(answer):
            return Unknown(f"closing the key was answered {answer.status}")
        listed = await self._listed(attempt, CLOCKS_DIFFER_MAX, LIST_PAGES_MAX)
        if listed is not None:
            return listed
        return NotMade() if answer.ok else Unknown("the key was used, for what is not found")

    async def _listed(self, attempt: Attempt, within: timedelta, pages_max: int) -> Outcome | None:
        """Look for the attempt's key in the list of the payments made about when it was sent."""

        def query(since: datetime, until: datetime) -> dict[str, str]:
            return {
                "created[gte]": str(int(since.timestamp())),
                "created[lte]": str(int(until.timestamp())),
                **_customer_of(attempt),
            }

        found = await self._api.payment_of(attempt, "/payment_intents", query, within, pages_max)
        return outcome_of(found, partial(_intent_outcome, attempt))

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
        answer = await self._api.ask("POST", "/refunds", form=form, key=refund.idempotency_key)
        if isinstance(answer, Unknown):
            return answer
        return _refund_outcome(refund, answer.body) if answer.ok else _refused(answer)

    async def find_refund(self, refund: Refund) -> Outcome | None:
        """Look for the refund in the list of those of its PaymentIntent."""
        query = {"payment_intent": refund.provider_payment}
        found = await self._api.refund_of(refund, "/refunds", query, LIST_PAGES_MAX)
        return outcome_of(found, partial(_refund_outcome, refund))

    async def dispute(self, provider_dispute: str) -> DisputeReport | NotDisputed | Unknown | None:
        """Retrieve a Dispute with its PaymentIntent, whose metadata name the charge."""
        found = await self._api.get(f"/disputes/{provider_dispute}", EXPAND)
        return found if found is None or isinstance(found, Unknown) else self._report(found)

    def _report(self, shown: Shown) -> DisputeReport | Unknown:
        return read_report(lambda: read_dispute(self.name, shown))

    async def disputes_since(self, since: datetime) -> AsyncIterator[list[ListedDispute] | Unknown]:
        """List Disputes, the newest first."""
        query = {"created[gte]": str(int(since.timestamp()))}
        async for page in self._api.pages("/disputes", query):
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
        answer = await self._api.ask("POST", path, form=form, key=dispute.response_key)
        if isinstance(answer, Unknown):
            return answer
        if answer.ok:
            return self._report(answer.body)
        if not refuses(answer):
            return Unknown(f"status {answer.status}")
        return _senseless(answer)

    async def card(self, token: str) -> Card | None:
        """Look a PaymentMethod up."""
        found = await self._registered(f"/payment_methods/{token}")
        return None if found is None else _card(found)


def _card(body: Shown) -> Card:
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


def _intent_outcome(attempt: Attempt, intent: Shown) -> Outcome:
    """What a PaymentIntent, as it stands, says of its attempt; Unknown if it differs."""
    amount = to_provider(attempt.amount_minor, attempt.currency)
    if mismatch := payment_mismatch(intent, attempt, amount, attempt.currency.lower()):
        return mismatch
    received = intent.get("amount_received")
    if intent.get("status") == "succeeded" and received != amount:
        return mismatched(f"{intent['id']} received {received}")
    if intent.get("status") == "canceled" and attempt.state is AttemptState.REQUIRES_ACTION:
        # By `give_up`: the customer did not confirm it.
        return _unconfirmed(intent["id"])
    return _outcome_of_status(intent)


def _unconfirmed(payment: str) -> Declined:
    return Declined(AUTHENTICATION_REQUIRED, hard=True, provider_id=payment)


def _outcome_of_status(intent: Shown) -> Outcome:
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


def _redirect_of(intent: Shown) -> str:
    """Where the customer confirms a payment; empty if nowhere."""
    redirect = (intent.get("next_action") or {}).get("redirect_to_url") or {}
    url = str(redirect.get("url") or "")
    return url if url.startswith("http") and len(url) <= URL_MAX_CHARACTERS else ""


def _declined(error: Shown, payment: str) -> Declined:
    code = str(error.get("decline_code") or error.get("code") or "generic_decline")
    advice = str(error.get("advice_code") or "")
    hard = classify(code, advice) is not DeclineClass.LATER
    return Declined(code, hard=hard, provider_id=payment, advice=advice)


def _refund_outcome(refund: Refund, shown: Shown) -> Outcome:
    """What the provider's refund, as it stands, says of ours.

    `pending` or `requires_action`: under way for days, if the provider waits for the bank or for us.
    """
    amount = to_provider(refund.method_minor, refund.currency)
    asked = RefundAsked(shown.get("payment_intent"), amount, refund.currency.lower())
    return refund_outcome(shown, refund, asked, "succeeded", {"failed", "canceled"})


def _refused(answer: Answer) -> Outcome:
    """A request that was not carried out: for good if it makes no sense, else nobody knows.

    A key that comes with other parameters was used before: the look-up finds what for.
    """
    if refuses(answer):
        return _senseless(answer)
    code = f", {error_of(answer)['code']}" if is_of_account(answer) else ""
    return Unknown(f"status {answer.status}{code}")


def _senseless(answer: Answer) -> Declined:
    return Declined(str(error_of(answer).get("code") or "invalid_request"), hard=True)
