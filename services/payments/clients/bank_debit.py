"""The adapter for bank debits in the shape of GoCardless' API.

Source: https://developer.gocardless.com/api-reference, version 2015-07-06 (mandates, customer bank
accounts, payments, refunds, events, cursors, idempotency keys, errors), read on 2026-11-30. A payment
method is a mandate there. What becomes of a payment is known days later: until then it is PENDING.
"""

from collections.abc import AsyncIterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from services.payments.clients.bank_debit_api import (
    CHARGE,
    CREATED,
    NOT_FOUND,
    OK,
    UNPROCESSABLE,
    Answer,
    BankDebitApi,
)
from services.payments.clients.bank_debit_disputes import (
    CHARGEBACK_CANCELLED,
    CHARGED_BACK,
    FAILED,
    read_dispute,
)
from services.payments.clients.provider import Card, ProviderUnreachable
from services.payments.clients.request_limits import RequestLimits
from services.payments.domain.attempts import Attempt
from services.payments.domain.bank_debits import LEAST_MINOR, SCHEMES, amount_rules
from services.payments.domain.disputes import (
    Dispute,
    DisputeReport,
    ListedDispute,
    NotDisputed,
)
from services.payments.domain.outcomes import (
    Declined,
    NotMade,
    Outcome,
    Pending,
    Succeeded,
    Unknown,
)
from services.payments.domain.payment_methods import PaymentMethodKind
from services.payments.domain.providers import Capabilities
from services.payments.domain.refunds import Refund
from services.runtime.http_client import HttpClient

BANK_DEBIT = "bank-debit"
# A payment was made this long before or after we said that we send it: clocks differ, requests queue.
SENT_WITHIN = timedelta(minutes=2)
# A payment that only takes a key is cancelled long before it would be submitted.
CLOSING_AHEAD = timedelta(days=60)
CLOSING_DESCRIPTION = "Cancelled, and never collected"
_CAPABILITIES = Capabilities(
    kinds=frozenset({PaymentMethodKind.BANK_DEBIT}),
    amount_rules=amount_rules(),
    off_session=True,
    refunds=True,
    decides_later=True,
    webhooks=True,
)
_LIVE_MANDATES = frozenset({"pending_submission", "submitted", "active"})
_PENDING = frozenset({"pending_customer_approval", "pending_submission", "submitted"})
_PAID = frozenset({"confirmed", "paid_out"})
_CANCELLED = "cancelled"
_DECIDED = Declined("dispute_is_decided", hard=True)
_REFUND_FAILED = frozenset({"cancelled", "bounced", "funds_returned", "failed"})


class BankDebitProvider:
    """Speaks to GoCardless, or to what looks like it."""

    def __init__(
        self,
        http: HttpClient,
        base_url: str,
        access_token: str,
        limits: RequestLimits | None = None,
    ) -> None:
        """Without limits, it is asked as often as there is something to ask."""
        self._api = BankDebitApi(http, base_url, access_token, limits)

    @property
    def name(self) -> str:
        """As its webhooks are called too."""
        return BANK_DEBIT

    @property
    def capabilities(self) -> Capabilities:
        """What the schemes allow."""
        return _CAPABILITIES

    def turns_within(self, seconds: float) -> int | None:
        """As the rate of its requests allows."""
        return self._api.turns_within(seconds)

    async def turn(self) -> None:
        """As the rate of its requests allows."""
        await self._api.turn()

    async def charge(self, attempt: Attempt, token: str) -> Outcome:
        """Create a payment under the mandate, to be collected as soon as the scheme can."""
        payment = {
            "amount": attempt.amount_minor,
            "currency": attempt.currency,
            "links": {"mandate": token},
            "metadata": {"charge": attempt.charge_key.name, "attempt": attempt.idempotency_key},
        }
        answer = await self._api.ask(
            *CHARGE, json={"payments": payment}, key=attempt.idempotency_key
        )
        return answer if isinstance(answer, Unknown) else await self._created(answer, attempt)

    async def _created(self, answer: Answer, attempt: Attempt) -> Outcome:
        if answer.conflicting:
            return await self._payment(answer.conflicting, attempt) or Unknown("the key was used")
        if answer.status == CREATED:
            return await self._outcome(answer.shown("payments"), attempt)
        if answer.status == UNPROCESSABLE:
            return Declined(answer.reason, hard=True)
        return Unknown(f"status {answer.status}")

    async def find(self, attempt: Attempt) -> Outcome | None:
        """Retrieve the payment, or look for the attempt's key in the list of those made then."""
        if attempt.provider_payment:
            return await self._payment(attempt.provider_payment, attempt)
        for sent in filter(None, (attempt.start_time, attempt.resend_time)):
            query = {
                "created_at[gte]": (sent - SENT_WITHIN).isoformat(),
                "created_at[lte]": (sent + SENT_WITHIN).isoformat(),
            }
            async for listed in self._api.listed("payments", query):
                if isinstance(listed, Unknown):
                    return listed
                if _metadata(listed).get("attempt") == attempt.idempotency_key:
                    return await self._outcome(listed, attempt)
        return None

    async def close(self, attempt: Attempt, token: str, now: datetime) -> Outcome:
        """Use the attempt's key for the least payment of a far day, and cancel it.

        A key creates one payment: if ours had come before, the provider names it, and whatever of ours
        comes later is refused. Nothing gentler takes a key: a request that is refused leaves it free,
        and nothing published says that other resources share the keys of payments; the provider's own
        libraries look for what a conflict names among payments. An ended mandate takes none at all.
        """
        payment = {
            "amount": LEAST_MINOR[attempt.currency],
            "currency": attempt.currency,
            "description": CLOSING_DESCRIPTION,
            "charge_date": (now + CLOSING_AHEAD).date().isoformat(),
            "links": {"mandate": token},
            "metadata": {"closes": attempt.idempotency_key},
        }
        answer = await self._api.ask(
            "POST", "/payments", json={"payments": payment}, key=attempt.idempotency_key
        )
        if isinstance(answer, Unknown):
            return answer
        if answer.reason == "mandate_is_inactive":
            return NotMade()
        name = answer.conflicting or str(answer.shown("payments").get("id") or "")
        if not name:
            return Unknown(f"closing the key was answered {answer.status}")
        found = await self._api.ask("GET", f"/payments/{name}")
        if isinstance(found, Unknown):
            return found
        if _metadata(found.shown("payments")).get("closes") != attempt.idempotency_key:
            return await self._outcome(found.shown("payments"), attempt)
        is_cancelled = found.shown("payments").get("status") == _CANCELLED
        return NotMade() if is_cancelled or await self._cancel(name) else Unknown("not closed yet")

    async def give_up(self, attempt: Attempt) -> Outcome | None:
        """Cancel the payment, if it was not submitted to the bank yet."""
        await self._cancel(attempt.provider_payment)
        return await self.find(attempt)

    async def _cancel(self, payment: str) -> bool:
        answer = await self._api.ask("POST", f"/payments/{payment}/actions/cancel", json={})
        return not isinstance(answer, Unknown) and answer.status == OK

    async def refund(self, refund: Refund) -> Outcome:
        """Create a refund of a payment; the provider wants to hear what all come to with it."""
        paid = await self._api.ask("GET", f"/payments/{refund.provider_payment}")
        if isinstance(paid, Unknown):
            return paid
        refunded = paid.shown("payments").get("amount_refunded")
        if type(refunded) is not int:
            return Unknown(f"the payment was answered {paid.status}")
        wanted = {
            "amount": refund.method_minor,
            "total_amount_confirmation": refunded + refund.method_minor,
            "links": {"payment": refund.provider_payment},
            "metadata": {"refund": refund.key.name},
        }
        answer = await self._api.ask(
            "POST", "/refunds", json={"refunds": wanted}, key=refund.idempotency_key
        )
        if isinstance(answer, Unknown):
            return answer
        if answer.conflicting:
            answer = await self._api.ask("GET", f"/refunds/{answer.conflicting}")
            if isinstance(answer, Unknown):
                return answer
        if answer.status in {OK, CREATED}:
            return _refund_outcome(answer.shown("refunds"), refund)
        # Another refund of the payment was made meanwhile: the total is another one next time.
        is_final = answer.status == UNPROCESSABLE and "total_amount" not in answer.reason
        return Declined(answer.reason, hard=True) if is_final else Unknown(answer.reason)

    async def find_refund(self, refund: Refund) -> Outcome | None:
        """Look for the refund in the list of those of its payment."""
        async for listed in self._api.listed("refunds", {"payment": refund.provider_payment}):
            if isinstance(listed, Unknown):
                return listed
            if _metadata(listed).get("refund") == refund.key.name:
                return _refund_outcome(listed, refund)
        return None

    async def dispute(self, provider_dispute: str) -> DisputeReport | NotDisputed | Unknown | None:
        """Read what the bank took back of a payment, whose id stands for the dispute."""
        answer = await self._api.ask("GET", f"/payments/{provider_dispute}")
        if isinstance(answer, Unknown):
            return answer
        if answer.status == NOT_FOUND:
            return None
        if answer.status != OK:
            return Unknown(f"the payment was answered {answer.status}")
        events = []
        async for event in self._api.listed("events", {"payment": provider_dispute}):
            if isinstance(event, Unknown):
                return event
            events.append(event)
        return read_dispute(BANK_DEBIT, answer.shown("payments"), events[::-1])

    async def disputes_since(self, since: datetime) -> AsyncIterator[list[ListedDispute] | Unknown]:
        """List the events by which banks take back; most that fail had never come."""
        for action in (CHARGED_BACK, CHARGEBACK_CANCELLED, FAILED):
            query = {
                "resource_type": "payments",
                "action": action,
                "created_at[gte]": since.isoformat(),
            }
            async for page in self._api.pages("events", query):
                if isinstance(page, Unknown):
                    yield page
                    return
                payments = [str((event.get("links") or {}).get("payment")) for event in page]
                yield [ListedDispute(it, action == CHARGEBACK_CANCELLED) for it in payments]

    async def answer_dispute(
        self, _dispute: Dispute, _evidence: Mapping[str, str]
    ) -> DisputeReport | Declined | Unknown:
        """Nothing is to be answered: the bank has decided."""
        return _DECIDED

    async def accept_dispute(self, _dispute: Dispute) -> DisputeReport | Declined | Unknown:
        """Nothing is to be accepted, neither."""
        return _DECIDED

    async def card(self, token: str) -> Card | None:
        """Look a mandate and its bank account up; one that has ended stands for nothing."""
        mandate = await self._shown("mandates", token)
        if mandate is None or mandate.get("status") not in _LIVE_MANDATES:
            return None
        links = mandate.get("links") or {}
        account = await self._shown(
            "customer_bank_accounts", str(links.get("customer_bank_account"))
        )
        scheme = str(mandate.get("scheme"))
        if scheme not in SCHEMES or account is None:
            return None
        ending = str(account.get("account_number_ending") or "")
        customer = str(links.get("customer") or "")
        return Card(scheme, ending, PaymentMethodKind.BANK_DEBIT, customer=customer)

    async def _shown(self, name: str, token: str) -> Mapping[str, Any] | None:
        answer = await self._api.ask("GET", f"/{name}/{token}")
        if isinstance(answer, Unknown):
            raise ProviderUnreachable(answer.why)
        if answer.status == NOT_FOUND and answer.reason == "resource_not_found":
            return None
        if answer.status != OK:
            raise ProviderUnreachable(f"the provider answered {answer.status}")
        return answer.shown(name)

    async def _payment(self, name: str, attempt: Attempt) -> Outcome | None:
        answer = await self._api.ask("GET", f"/payments/{name}")
        if isinstance(answer, Unknown):
            return answer
        if answer.status == NOT_FOUND:
            return None
        if answer.status != OK:
            return Unknown(f"the payment was answered {answer.status}")
        return await self._outcome(answer.shown("payments"), attempt)

    async def _outcome(self, payment: Mapping[str, Any], attempt: Attempt) -> Outcome:
        """What a payment, as it stands, says of its attempt; Unknown if it differs."""
        if difference := _difference(payment, attempt):
            return Unknown("the answer differs from the request", mismatch=difference)
        name, status = str(payment["id"]), payment.get("status")
        if status in _PENDING:
            return Pending(name)
        if status in _PAID:
            return Succeeded(name)
        if status == FAILED:
            return await self._failed(name)
        if status in {_CANCELLED, "customer_approval_denied"}:
            return Declined(str(status), hard=False, provider_id=name)
        # `charged_back`: the money came and went. It is settled as paid; the dispute tells the rest.
        return Succeeded(name) if status == "charged_back" else Unknown(f"the payment is {status}")

    async def _failed(self, name: str) -> Outcome:
        """Why a bank sent a payment back: its last event says it."""
        query = {"payment": name, "action": FAILED}
        async for event in self._api.listed("events", query):
            if isinstance(event, Unknown):
                return event
            details = event.get("details") or {}
            return Declined(str(details.get("cause") or "failed"), hard=False, provider_id=name)
        return Unknown("the payment has failed, and no event says why")


def _metadata(shown: Mapping[str, Any]) -> Mapping[str, Any]:
    metadata = shown.get("metadata")
    return metadata if isinstance(metadata, dict) else {}


def _difference(payment: Mapping[str, Any], attempt: Attempt) -> str:
    """How a payment differs from its request; empty if it does not."""
    name = payment.get("id")
    if not isinstance(name, str) or _metadata(payment).get("attempt") != attempt.idempotency_key:
        return f"{name} is another payment"
    if (payment.get("amount"), payment.get("currency")) != (attempt.amount_minor, attempt.currency):
        return f"{name} is over {payment.get('amount')} {payment.get('currency')}"
    return ""


def _refund_outcome(shown: Mapping[str, Any], refund: Refund) -> Outcome:
    """What the provider's refund, as it stands, says of ours; Unknown if it differs."""
    name, status = str(shown.get("id")), shown.get("status")
    links = shown.get("links") or {}
    answered = (shown.get("amount"), shown.get("currency"), links.get("payment"))
    if answered != (refund.method_minor, refund.currency, refund.provider_payment):
        return Unknown(
            "the answer differs from the request", mismatch=f"{name} is over {answered[:2]}"
        )
    if status in _REFUND_FAILED:
        return Declined(str(status), hard=True, provider_id=name)
    return Succeeded(name) if status == "paid" else Unknown(f"the refund is {status}")
