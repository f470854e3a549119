"""Attempts: single tries of charges at the provider."""

from dataclasses import dataclass, replace
from datetime import datetime

from services.payments.domain.charges import Charge, settle
from services.payments.domain.dunning import STANDARD, DunningPolicy
from services.payments.domain.keys import (
    ChargeId,
    ChargeKey,
    CustomerId,
    MandateId,
    MandateKey,
    MerchantId,
    PaymentMethodId,
    PaymentMethodKey,
    derived_key,
)
from services.payments.domain.outcomes import (
    ACTION_LOOKUP_DELAY,
    ACTION_WINDOW,
    Declined,
    FinalOutcome,
    NotMade,
    Outcome,
    Pending,
    RequiresAction,
    Succeeded,
    retry_delay,
)
from services.payments.domain.transitions import ATTEMPT, AttemptEvent, AttemptState, ChargeState
from services.payments.domain.verdicts import SENDING

NO_MANDATE = MandateId("")
_EVENTS: dict[type[Outcome], AttemptEvent] = {
    Succeeded: AttemptEvent.SUCCEED,
    Declined: AttemptEvent.DECLINE,
    NotMade: AttemptEvent.CLOSE,
    Pending: AttemptEvent.SUBMIT,
    RequiresAction: AttemptEvent.ASK,
}


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try at the provider, as it is sent, sent again and looked up."""

    merchant: MerchantId
    customer: CustomerId
    charge: ChargeId
    # From 1.
    number: int
    idempotency_key: str
    amount_minor: int
    currency: str
    payment_method: PaymentMethodId
    # That it was made under; empty: the customer confirmed.
    mandate: MandateId
    start_time: datetime
    # Which of the guard's verdicts lets it be sent: there is no attempt without one.
    permit: int
    # When it was sent once more under its key, since the provider did not have it.
    resend_time: datetime | None = None
    state: AttemptState = AttemptState.UNKNOWN
    decline_code: str = ""
    # Of the policy that decided what followed the decline; None: not declined, or not automatic.
    policy_version: int | None = None
    provider_payment: str = ""
    end_time: datetime | None = None
    # How often its outcome was looked up in vain, and when it is the next time.
    lookup_count: int = 0
    next_lookup_time: datetime | None = None
    # How the provider's answer differs from the request; such an attempt is never sent again.
    mismatch: str = ""
    # REQUIRES_ACTION: where the customer confirms it, and until when they can. PENDING: since when it
    # is to be given up, if it is.
    action_url: str = ""
    action_expire_time: datetime | None = None
    # What the provider knows the payment method by; decrypted only where it is sent.
    provider_token: bytes = b""
    # Whose the payment method is at the provider; empty if nobody's.
    provider_customer: str = ""
    # Which provider that is.
    provider: str = ""

    @property
    def charge_key(self) -> ChargeKey:
        """The charge that it is for."""
        return ChargeKey(self.merchant, self.customer, self.charge)

    @property
    def method_key(self) -> PaymentMethodKey:
        """What it is made with."""
        return PaymentMethodKey(self.merchant, self.customer, self.payment_method)


def present_attempt(charge: Charge, now: datetime) -> Attempt:
    """The attempt that a charge has just begun."""
    mandate = charge.mandate_key
    return Attempt(
        *charge.key,
        number=charge.attempt_count,
        idempotency_key=derived_key(charge.key.name, str(charge.attempt_count)),
        amount_minor=charge.method_minor,
        currency=charge.currency,
        payment_method=charge.payment_method,
        mandate=mandate.mandate if mandate else NO_MANDATE,
        start_time=now,
        permit=SENDING,
        next_lookup_time=now + retry_delay(0),
    )


def state_after(attempt: Attempt, outcome: FinalOutcome | Pending | RequiresAction) -> AttemptState:
    """The state of an attempt once the provider has said something of it."""
    return ATTEMPT.to(attempt.state, _EVENTS[type(outcome)])


def ask_customer(charge: Charge, attempt: Attempt, *, wanted: bool, now: datetime) -> Attempt:
    """An attempt that its customer has to confirm: for a time, not beyond that of their request.

    What is not wanted any more is given up at once.
    """
    expire_time = min(now + ACTION_WINDOW, charge.expire_time or now + ACTION_WINDOW)
    known = attempt.action_expire_time or expire_time
    if charge.withdrawn or not wanted:
        known = min(known, now)
    return replace(
        attempt,
        action_expire_time=known,
        next_lookup_time=min(now + ACTION_LOOKUP_DELAY, known),
    )


def is_over(attempt: Attempt, now: datetime) -> bool:
    """Whether the time is over in which the customer can confirm an attempt, if there was one."""
    return attempt.action_expire_time is not None and now >= attempt.action_expire_time


def settle_attempt(
    charge: Charge,
    attempt: Attempt,
    outcome: FinalOutcome,
    now: datetime,
    policy: DunningPolicy = STANDARD,
    fallback: PaymentMethodId | None = None,
) -> Charge:
    """As `settle`; a payment keeps the mandate that it was made under, whatever was changed since."""
    settled = settle(charge, outcome, now, policy, fallback)
    if settled.state is not ChargeState.SUCCEEDED or not attempt.mandate:
        return settled
    return settled._replace(mandate=MandateKey(*charge.customer_key, attempt.mandate).name)
