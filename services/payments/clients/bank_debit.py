"""The adapter for bank debits in the shape of GoCardless' API.

Source: https://developer.gocardless.com/api-reference, version 2015-07-06 (mandates, customer bank
accounts, payments, refunds, events, cursors, idempotency keys, errors), read on 2026-11-30. A payment
method is a mandate there. What becomes of a payment is known days later: until then it is PENDING.
"""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from functools import partial
from http import HTTPStatus

from services.payments.clients.bank_debit_api import (
    BANK_DEBIT,
    LIST_PAGES_MAX,
    PAYMENTS,
    bank_debit_api,
    conflicting,
    object_in,
    reason_of,
    replacing,
)
from services.payments.clients.bank_debit_disputes import (
    CHARGEBACK_CANCELLED,
    CHARGED_BACK,
    FAILED,
    read_dispute,
)
from services.payments.clients.provider import Card, DecidedByBanks, HttpProvider
from services.payments.clients.provider_answers import (
    RefundAsked,
    outcome_of,
    payment_mismatch,
    read_report,
    refund_outcome,
)
from services.payments.clients.provider_api import Answer, Shown, metadata_of
from services.payments.clients.request_limits import RequestLimits
from services.payments.domain.attempts import Attempt
from services.payments.domain.bank_debits import LEAST_MINOR, SCHEMES, amount_rules
from services.payments.domain.disputes import DisputeReport, ListedDispute, NotDisputed
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
# `charged_back`: the money came and went. It is settled as paid; the dispute has the rest.
_PAID = frozenset({"confirmed", "paid_out", "charged_back"})
_CANCELLED = "cancelled"
_GIVEN_UP = frozenset({_CANCELLED, "customer_approval_denied"})
_REFUND_FAILED = frozenset({"cancelled", "bounced", "funds_returned", "failed"})


class BankDebitProvider(DecidedByBanks, HttpProvider):
    """Speaks to GoCardless, or to what looks like it."""

    def __init__(
        self,
        http: HttpClient,
        base_url: str,
        access_token: str,
        limits: RequestLimits | None = None,
    ) -> None:
        """Without limits, it is asked as often as there is something to ask."""
        api = bank_debit_api(http, base_url, access_token, limits)
        super().__init__(BANK_DEBIT, _CAPABILITIES, api)

    async def charge(self, attempt: Attempt, token: str) -> Outcome:
        """Create a payment under the mandate, to be collected as soon as the scheme can."""
        payment = {
            "amount": attempt.amount_minor,
            "currency": attempt.currency,
            "links": {"mandate": token},
            "metadata": {"charge": attempt.charge_key.name, "attempt": attempt.idempotency_key},
        }
        answer = await self._create(payment, attempt)
        if isinstance(answer, Unknown):
            return answer
        if name := conflicting(answer):
            return await self._payment(name, attempt) or Unknown("the key was used")
        if answer.ok:
            return await self._outcome(self._api.shown(PAYMENTS, answer), attempt)
        if answer.status == HTTPStatus.UNPROCESSABLE_ENTITY:
            return Declined(reason_of(answer), hard=True)
        return Unknown(f"status {answer.status}")

    async def _create(self, payment: Shown, attempt: Attempt) -> Answer | Unknown:
        """Create a payment.

        The provider gives mandates other ids when a merchant goes over to an identity of its own with
        the banks. They are the same consents: it then names the one to use.
        """
        key = attempt.idempotency_key
        answer = await self._api.ask("POST", PAYMENTS, json={"payments": payment}, key=key)
        if isinstance(answer, Unknown) or not (mandate := replacing(answer)):
            return answer
        moved = {**payment, "links": {"mandate": mandate}}
        return await self._api.ask("POST", PAYMENTS, json={"payments": moved}, key=key)

    async def find(self, attempt: Attempt) -> Outcome | None:
        """Retrieve the payment, or look for the attempt's key in the list of those made then."""
        if attempt.provider_payment:
            return await self._payment(attempt.provider_payment, attempt)

        def query(since: datetime, until: datetime) -> dict[str, str]:
            return {"created_at[gte]": since.isoformat(), "created_at[lte]": until.isoformat()}

        found = await self._api.payment_of(attempt, PAYMENTS, query, SENT_WITHIN, LIST_PAGES_MAX)
        return await self._outcome_of(found, attempt)

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
        answer = await self._create(payment, attempt)
        if isinstance(answer, Unknown):
            return answer
        if reason_of(answer) == "mandate_is_inactive":
            return NotMade()
        name = conflicting(answer) or self._api.shown(PAYMENTS, answer).get("id")
        found = await self._api.get(f"{PAYMENTS}/{name}") if name else None
        if found is None:
            return Unknown(f"closing the key was answered {answer.status}")
        if isinstance(found, Unknown):
            return found
        if metadata_of(found).get("closes") != attempt.idempotency_key:
            return await self._outcome(found, attempt)
        is_cancelled = found.get("status") == _CANCELLED or await self._cancel(str(name))
        return NotMade() if is_cancelled else Unknown("not closed yet")

    async def give_up(self, attempt: Attempt) -> Outcome | None:
        """Cancel the payment, if it was not submitted to the bank yet."""
        await self._cancel(attempt.provider_payment)
        return await self.find(attempt)

    async def _cancel(self, payment: str) -> bool:
        answer = await self._api.ask("POST", f"{PAYMENTS}/{payment}/actions/cancel", json={})
        return not isinstance(answer, Unknown) and answer.ok

    async def refund(self, refund: Refund) -> Outcome:
        """Create a refund of a payment; the provider asks what all come to with it."""
        paid = await self._api.get(f"{PAYMENTS}/{refund.provider_payment}")
        if isinstance(paid, Unknown):
            return paid
        refunded = (paid or {}).get("amount_refunded")
        if type(refunded) is not int:
            return Unknown("nothing says what was refunded of the payment")
        wanted = {
            "amount": refund.method_minor,
            "total_amount_confirmation": refunded + refund.method_minor,
            "links": {"payment": refund.provider_payment},
            "metadata": {"refund": refund.key.name},
        }
        key, json = refund.idempotency_key, {"refunds": wanted}
        answer = await self._api.ask("POST", "/refunds", json=json, key=key)
        if isinstance(answer, Unknown):
            return answer
        if name := conflicting(answer):
            found = await self._api.get(f"/refunds/{name}") or Unknown("the key was used")
            return found if isinstance(found, Unknown) else _refund_outcome(refund, found)
        if answer.ok:
            return _refund_outcome(refund, self._api.shown("/refunds", answer))
        # Another refund of the payment was made meanwhile: the total is another one next time.
        reason = reason_of(answer)
        is_final = answer.status == HTTPStatus.UNPROCESSABLE_ENTITY and "total_amount" not in reason
        return Declined(reason, hard=True) if is_final else Unknown(reason)

    async def find_refund(self, refund: Refund) -> Outcome | None:
        """Look for the refund in the list of those of its payment."""
        query = {"payment": refund.provider_payment}
        found = await self._api.refund_of(refund, "/refunds", query, LIST_PAGES_MAX)
        return outcome_of(found, partial(_refund_outcome, refund))

    async def dispute(self, provider_dispute: str) -> DisputeReport | NotDisputed | Unknown | None:
        """Read what the bank took back of a payment, whose id stands for the dispute."""
        payment = await self._api.get(f"{PAYMENTS}/{provider_dispute}")
        if payment is None or isinstance(payment, Unknown):
            return payment
        events = await self._api.all_of("/events", {"payment": provider_dispute}, LIST_PAGES_MAX)
        if isinstance(events, Unknown):
            return events
        return read_report(lambda: read_dispute(payment, events[::-1]))

    async def disputes_since(self, since: datetime) -> AsyncIterator[list[ListedDispute] | Unknown]:
        """List the events by which banks take back; most that fail had never come."""
        made = {"resource_type": "payments", "created_at[gte]": since.isoformat()}
        for action in (CHARGED_BACK, CHARGEBACK_CANCELLED, FAILED):
            async for page in self._api.pages("/events", {**made, "action": action}):
                if isinstance(page, Unknown):
                    yield page
                    return
                payments = [str(object_in(event, "links").get("payment")) for event in page]
                yield [ListedDispute(it, action == CHARGEBACK_CANCELLED) for it in payments]

    async def card(self, token: str) -> Card | None:
        """Look a mandate and its bank account up; one that has ended stands for nothing."""
        mandate = await self._registered(f"/mandates/{token}")
        if mandate is None or mandate.get("status") not in _LIVE_MANDATES:
            return None
        links, scheme = object_in(mandate, "links"), str(mandate.get("scheme"))
        path = f"/customer_bank_accounts/{links.get('customer_bank_account')}"
        account = await self._registered(path)
        if scheme not in SCHEMES or account is None:
            return None
        ending = str(account.get("account_number_ending") or "")
        customer = str(links.get("customer") or "")
        return Card(scheme, ending, PaymentMethodKind.BANK_DEBIT, customer=customer)

    async def _payment(self, name: str, attempt: Attempt) -> Outcome | None:
        return await self._outcome_of(await self._api.get(f"{PAYMENTS}/{name}"), attempt)

    async def _outcome_of(
        self, payment: Shown | Unknown | None, attempt: Attempt
    ) -> Outcome | None:
        if payment is None or isinstance(payment, Unknown):
            return payment
        return await self._outcome(payment, attempt)

    async def _outcome(self, payment: Shown, attempt: Attempt) -> Outcome:
        """What a payment, as it stands, says of its attempt; Unknown if it differs."""
        if mismatch := payment_mismatch(payment, attempt, attempt.amount_minor, attempt.currency):
            return mismatch
        name, status = str(payment["id"]), str(payment.get("status"))
        if status in _PENDING:
            return Pending(name)
        if status in _PAID:
            return Succeeded(name)
        if status == FAILED:
            return await self._failed(name)
        if status in _GIVEN_UP:
            return Declined(status, hard=False, provider_id=name)
        return Unknown(f"the payment is {status}")

    async def _failed(self, name: str) -> Outcome:
        """Why a bank sent a payment back: its last event says it."""
        query = {"payment": name, "action": FAILED}
        event = await self._api.first("/events", query, LIST_PAGES_MAX)
        if isinstance(event, Unknown):
            return event
        if event is None:
            return Unknown("the payment has failed, and no event says why")
        cause = str(object_in(event, "details").get("cause") or FAILED)
        return Declined(cause, hard=False, provider_id=name)


def _refund_outcome(refund: Refund, shown: Shown) -> Outcome:
    payment = object_in(shown, "links").get("payment")
    asked = RefundAsked(payment, refund.method_minor, refund.currency)
    return refund_outcome(shown, refund, asked, "paid", _REFUND_FAILED)
