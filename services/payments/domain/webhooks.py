"""What a provider reports by itself: a hint at one of its objects, which is then looked up.

A webhook comes once, often, late, out of order or never. So none of them says what became of an attempt
or a refund: it says which to look up now. Polling and webhooks take the same way to the same outcome.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from services.payments.domain.keys import ChargeId, CustomerId, MerchantId, RefundId

# Kept so long, so that an event that comes again is known: Stripe repeats for 3 days by itself, and for
# 30 when it is asked to (https://docs.stripe.com/webhooks, read on 2026-11-29).
KEPT = timedelta(days=30)
# What nobody here knows is kept longer, for people to look at.
UNKNOWN_KEPT = timedelta(days=90)


class WebhookState(StrEnum):
    """What became of an event."""

    RECEIVED = "RECEIVED"
    # What it is about was, or is, looked up.
    HANDLED = "HANDLED"
    # It is about something that payments does not follow.
    IGNORED = "IGNORED"
    # It is about a payment or refund that payments did not make.
    UNKNOWN_OBJECT = "UNKNOWN_OBJECT"
    # The provider says that money moved by what counts as not paid here.
    CONTRADICTED = "CONTRADICTED"


# What people have to look at.
OPEN_STATES = (WebhookState.UNKNOWN_OBJECT, WebhookState.CONTRADICTED)


# States of a payment by which its bank took the money back, or let the merchant have it all the same.
TAKEN_BACK = frozenset(
    {"charged_back", "chargeback_cancelled", "chargeback_settled", "late_failure_settled"}
)
# By this one it did so if the money had come.
FAILED = "failed"


class WebhookSubject(StrEnum):
    """What an event is about."""

    PAYMENT = "PAYMENT"
    REFUND = "REFUND"
    # A dispute names neither its charge nor its merchant: its look-up says.
    DISPUTE = "DISPUTE"
    OTHER = "OTHER"


class WebhookKey(NamedTuple):
    """Which event: each provider has ids of its own."""

    provider: str
    event: str


NO_MERCHANT, NO_CUSTOMER, NO_CHARGE = MerchantId(""), CustomerId(""), ChargeId("")
NO_REFUND = RefundId("")


@dataclass(frozen=True, slots=True)
class WebhookEvent:
    """An event as it is kept: names and states, and nothing personal of the provider's."""

    provider: str
    # The provider's id of it.
    event: str
    # As the provider names it, as `payment_intent.succeeded`.
    type: str
    subject: WebhookSubject
    # The provider's id of the payment or refund, and its state there.
    object: str
    object_state: str
    # Whether that state says that the money moved.
    moved: bool
    # Of ours, as the object names them; empty if it names none.
    merchant: MerchantId = NO_MERCHANT
    customer: CustomerId = NO_CUSTOMER
    charge: ChargeId = NO_CHARGE
    # Of a payment.
    idempotency_key: str = ""
    refund: RefundId = NO_REFUND

    @property
    def key(self) -> WebhookKey:
        """Which it is."""
        return WebhookKey(self.provider, self.event)


def kept_until(state: WebhookState, now: datetime) -> datetime:
    """When an event that was handled is forgotten."""
    return now + (UNKNOWN_KEPT if state in OPEN_STATES else KEPT)
