"""The adapter for bank debits in the shape of GoCardless' API.

Source: https://developer.gocardless.com/api-reference, version 2015-07-06 (mandates, customer bank
accounts, payments, refunds, events, cursors, idempotency keys, errors), read on 2026-11-30. A payment
method is a mandate there. What becomes of a payment is known days later: until then it is PENDING.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from services.payments.clients.provider import Card, ProviderUnreachable
from services.payments.clients.provider_requests import send
from services.payments.clients.request_limits import RequestLimits
from services.payments.domain.attempts import Attempt
from services.payments.domain.bank_debits import SCHEME_CURRENCIES, amount_rules
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
VERSION = "2015-07-06"
# A payment was made this long before or after we said that we send it: clocks differ, requests queue.
SENT_WITHIN = timedelta(minutes=2)
LIST_PAGE_SIZE = 500
LIST_PAGES_MAX = 10
# A payment that only takes a key is cancelled long before it would be submitted.
CLOSING_AHEAD = timedelta(days=60)
CLOSING_AMOUNT_MINOR = 1
_CHARGE = ("POST", "/payments")
_OK, _CREATED, _NOT_FOUND, _CONFLICT, _UNPROCESSABLE = 200, 201, 404, 409, 422
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
_REFUND_FAILED = frozenset({"cancelled", "bounced", "funds_returned", "failed"})


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: Mapping[str, Any]

    def shown(self, name: str) -> Mapping[str, Any]:
        shown = self.body.get(name)
        return shown if isinstance(shown, dict) else {}

    @property
    def error(self) -> Mapping[str, Any]:
        errors = self.shown("error").get("errors")
        first = errors[0] if isinstance(errors, list) and errors else None
        return first if isinstance(first, dict) else {}

    @property
    def reason(self) -> str:
        return str(self.error.get("reason") or self.shown("error").get("type") or "refused")

    @property
    def conflicting(self) -> str:
        """What was created with the same key before; empty if nothing was."""
        name = (self.error.get("links") or {}).get("conflicting_resource_id")
        return str(name or "") if self.status == _CONFLICT else ""


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
        self._http = http
        self._limits = limits
        self._base_url = base_url.rstrip("/")
        self._headers = {
            "Authorization": f"Bearer {access_token}",
            "GoCardless-Version": VERSION,
        }

    @property
    def name(self) -> str:
        """As its webhooks are called too."""
        return BANK_DEBIT

    @property
    def capabilities(self) -> Capabilities:
        """What the schemes allow."""
        return _CAPABILITIES

    async def turn(self) -> None:
        """As the rate of its requests allows."""
        if self._limits is not None:
            await self._limits.turn()

    async def charge(self, attempt: Attempt, token: str) -> Outcome:
        """Create a payment under the mandate, to be collected as soon as the scheme can."""
        payment = {
            "amount": attempt.amount_minor,
            "currency": attempt.currency,
            "links": {"mandate": token},
            "metadata": {"charge": attempt.charge_key.name, "attempt": attempt.idempotency_key},
        }
        answer = await self._ask(*_CHARGE, json={"payments": payment}, key=attempt.idempotency_key)
        return answer if isinstance(answer, Unknown) else await self._created(answer, attempt)

    async def _created(self, answer: _Answer, attempt: Attempt) -> Outcome:
        if answer.conflicting:
            return await self._payment(answer.conflicting, attempt) or Unknown("the key was used")
        if answer.status == _CREATED:
            return await self._outcome(answer.shown("payments"), attempt)
        if answer.status == _UNPROCESSABLE:
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
            async for listed in self._listed("payments", query):
                if isinstance(listed, Unknown):
                    return listed
                if _metadata(listed).get("attempt") == attempt.idempotency_key:
                    return await self._outcome(listed, attempt)
        return None

    async def close(self, attempt: Attempt, token: str, now: datetime) -> Outcome:
        """Use the attempt's key for a payment of a far day, and cancel it.

        A key creates one payment: if ours had come before, the provider names it, and whatever of ours
        comes later is refused. An ended mandate takes none at all.
        """
        payment = {
            "amount": CLOSING_AMOUNT_MINOR,
            "currency": attempt.currency,
            "charge_date": (now + CLOSING_AHEAD).date().isoformat(),
            "links": {"mandate": token},
            "metadata": {"closes": attempt.idempotency_key},
        }
        answer = await self._ask(
            "POST", "/payments", json={"payments": payment}, key=attempt.idempotency_key
        )
        if isinstance(answer, Unknown):
            return answer
        if answer.reason == "mandate_is_inactive":
            return NotMade()
        name = answer.conflicting or str(answer.shown("payments").get("id") or "")
        if not name:
            return Unknown(f"closing the key was answered {answer.status}")
        found = await self._ask("GET", f"/payments/{name}")
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
        answer = await self._ask("POST", f"/payments/{payment}/actions/cancel", json={})
        return not isinstance(answer, Unknown) and answer.status == _OK

    async def refund(self, refund: Refund) -> Outcome:
        """Create a refund of a payment; the provider wants to hear what all come to with it."""
        paid = await self._ask("GET", f"/payments/{refund.provider_payment}")
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
        answer = await self._ask(
            "POST", "/refunds", json={"refunds": wanted}, key=refund.idempotency_key
        )
        if isinstance(answer, Unknown):
            return answer
        if answer.conflicting:
            answer = await self._ask("GET", f"/refunds/{answer.conflicting}")
            if isinstance(answer, Unknown):
                return answer
        if answer.status in {_OK, _CREATED}:
            return _refund_outcome(answer.shown("refunds"), refund)
        # Another refund of the payment was made meanwhile: the total is another one next time.
        is_final = answer.status == _UNPROCESSABLE and "total_amount" not in answer.reason
        return Declined(answer.reason, hard=True) if is_final else Unknown(answer.reason)

    async def find_refund(self, refund: Refund) -> Outcome | None:
        """Look for the refund in the list of those of its payment."""
        async for listed in self._listed("refunds", {"payment": refund.provider_payment}):
            if isinstance(listed, Unknown):
                return listed
            if _metadata(listed).get("refund") == refund.key.name:
                return _refund_outcome(listed, refund)
        return None

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
        if scheme not in SCHEME_CURRENCIES or account is None:
            return None
        ending = str(account.get("account_number_ending") or "")
        customer = str(links.get("customer") or "")
        return Card(scheme, ending, PaymentMethodKind.BANK_DEBIT, customer=customer)

    async def _shown(self, name: str, token: str) -> Mapping[str, Any] | None:
        answer = await self._ask("GET", f"/{name}/{token}")
        if isinstance(answer, Unknown):
            raise ProviderUnreachable(answer.why)
        if answer.status == _NOT_FOUND and answer.reason == "resource_not_found":
            return None
        if answer.status != _OK:
            raise ProviderUnreachable(f"the provider answered {answer.status}")
        return answer.shown(name)

    async def _payment(self, name: str, attempt: Attempt) -> Outcome | None:
        answer = await self._ask("GET", f"/payments/{name}")
        if isinstance(answer, Unknown):
            return answer
        if answer.status == _NOT_FOUND:
            return None
        if answer.status != _OK:
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
        if status == "failed":
            return await self._failed(name)
        if status in {_CANCELLED, "customer_approval_denied"}:
            return Declined(str(status), hard=False, provider_id=name)
        # `charged_back`: the money came and went. It is settled as paid; the webhook tells the rest.
        return Succeeded(name) if status == "charged_back" else Unknown(f"the payment is {status}")

    async def _failed(self, name: str) -> Outcome:
        """Why a bank sent a payment back: its last event says it."""
        query = {"payment": name, "action": "failed"}
        async for event in self._listed("events", query):
            if isinstance(event, Unknown):
                return event
            details = event.get("details") or {}
            return Declined(str(details.get("cause") or "failed"), hard=False, provider_id=name)
        return Unknown("the payment has failed, and no event says why")

    async def _listed(
        self, name: str, query: Mapping[str, str]
    ) -> AsyncIterator[Mapping[str, Any] | Unknown]:
        """What a list has, page by page; Unknown where the provider fails."""
        page = {**query, "limit": str(LIST_PAGE_SIZE)}
        for _ in range(LIST_PAGES_MAX):
            answer = await self._ask("GET", f"/{name}", query=page)
            if isinstance(answer, Unknown):
                yield answer
                return
            listed = answer.body.get(name)
            if answer.status != _OK or not isinstance(listed, list):
                yield Unknown(f"the list of {name} was answered {answer.status}")
                return
            for item in listed:
                yield item
            after = ((answer.body.get("meta") or {}).get("cursors") or {}).get("after")
            if after is None:
                return
            page["after"] = str(after)
        yield Unknown(f"more {name} are there than are looked through")

    async def _ask(
        self,
        method: str,
        path: str,
        *,
        json: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
        key: str | None = None,
    ) -> _Answer | Unknown:
        headers = {**self._headers, **({"Idempotency-Key": key} if key is not None else {})}
        request = partial(
            self._http.request,
            method,
            self._base_url + path,
            json=json,
            query=query,
            headers=headers,
        )
        sent = await send(request, self._limits, holds_back=(method, path) == _CHARGE)
        return sent if isinstance(sent, Unknown) else _Answer(*sent)


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
