"""Charges: what moves one from state to state.

A charge that is declined softly, or whose attempt was not made, is scheduled again; one that the
customer confirms is requested again. Every change of state is one of `transitions.CHARGE`.
"""

from datetime import date, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Any, NamedTuple

from services.payments.domain.consent import (
    BillingMode,
    Mandate,
    Notice,
    RefusalReason,
    provider_reasons,
)
from services.payments.domain.declines import DeclineClass
from services.payments.domain.dunning import STANDARD, DunningPolicy
from services.payments.domain.keys import (
    ChargeId,
    ChargeKey,
    CreditKey,
    CustomerId,
    CustomerKey,
    MandateId,
    MandateKey,
    MerchantId,
    PaymentMethodId,
    PaymentMethodKey,
)
from services.payments.domain.outcomes import (
    Declined,
    FinalOutcome,
    NotMade,
    Succeeded,
    retry_delay,
)
from services.payments.domain.transitions import CHARGE, ChargeEvent, ChargeState

NO_METHOD = PaymentMethodId("")
# So long at least a request can be confirmed with another method after a decline.
ANOTHER_METHOD_WINDOW = timedelta(hours=24)
# Whoever has tried so often is given no more time.
ATTEMPTS_MAX_EXTENDING = 20
# Of the batches that are decided at the same time.
_CACHED_MANDATES = 4096


class AbandonReason(StrEnum):
    """Why a charge ended without money, or is overdue."""

    DECLINED = "DECLINED"
    REQUEST_EXPIRED = "REQUEST_EXPIRED"
    WITHDRAWN = "WITHDRAWN"
    # Confirmed in time, but the provider could not be reached before the request ended.
    NOT_MADE = "NOT_MADE"


class Charge(NamedTuple):
    """One payment owed for one order."""

    merchant: MerchantId
    customer: CustomerId
    charge: ChargeId
    # The order's resource name.
    order_name: str
    # When the order was due.
    due_time: datetime
    billing_mode: BillingMode
    amount_minor: int
    currency: str
    # The mandate's resource name; empty when the customer confirms each payment.
    mandate: str
    title: str
    time_zone: str
    traceparent: str
    state: ChargeState
    create_time: datetime
    update_time: datetime
    # Id of what is charged: the mandate's, or what the customer confirmed with.
    payment_method: PaymentMethodId = NO_METHOD
    attempt_count: int = 0
    # How many of the attempts never reached the provider.
    not_made_count: int = 0
    # SCHEDULED only: when it is tried, or checked, next.
    next_attempt_time: datetime | None = None
    # When a request to pay ends.
    expire_time: datetime | None = None
    # Set while the charge waits for word of its notice: when it stops waiting.
    notice_wait_until_time: datetime | None = None
    # Id of the payment method that is busy with another charge, while this one waits for it.
    awaited_method: PaymentMethodId = NO_METHOD
    # Name of the notice that the guard relied on.
    notice: str = ""
    refusal_reasons: tuple[RefusalReason, ...] = ()
    abandon_reason: AbandonReason | None = None
    # Of the last decline.
    decline_code: str = ""
    # What rule packs ask of it, as JSON (`rules.load_rules`); None: nobody said.
    charge_rules: str | None = "[]"
    # What the rules said that bound it when it was last decided, as JSON (`rules.load_applied`).
    applied_rules: str = "[]"
    # How many retries there were or are to come: the steps of the merchant's policy.
    retry_count: int = 0
    # Id of the fallback that is tried next, after a decline of what comes before it.
    fallback_method: PaymentMethodId = NO_METHOD
    # What it is for, as JSON (`lines.load_lines`), and where that is delivered to.
    lines: str = "[]"
    region_code: str = ""
    # What credit pays of it, and no payment method: reserved while it is IN_FLIGHT, used once it has
    # SUCCEEDED, and else nothing.
    credit_minor: int = 0
    # REQUESTED: when the customer is reminded next.
    next_reminder_time: datetime | None = None
    # For so many days it can be paid late, once it was not paid in time; 0: not at all.
    late_payment_days: int = 0
    # Since when it is overdue; its order lapsed then.
    overdue_time: datetime | None = None
    # The days that it pays for, both included; None: nobody said.
    period_start_date: date | None = None
    period_end_date: date | None = None
    # Why it is, where this change made it so; not stored.
    overdue_reason: AbandonReason | None = None
    # The order was withdrawn; kept apart from the charge, since it can come first.
    withdrawn: bool = False

    @property
    def key(self) -> ChargeKey:
        """Which it is."""
        return ChargeKey(self.merchant, self.customer, self.charge)

    @property
    def standing_order(self) -> str:
        """Id of the standing order: that of the charge is followed by the cycle."""
        return self.charge.rpartition("-")[0]

    @property
    def customer_key(self) -> CustomerKey:
        """Whose it is."""
        return CustomerKey(self.merchant, self.customer)

    @property
    def credit_key(self) -> CreditKey:
        """Which credit of the customer may pay for it."""
        return CreditKey(self.merchant, self.customer, self.currency)

    @property
    def method_minor(self) -> int:
        """What a payment method pays of it."""
        return self.amount_minor - self.credit_minor

    @property
    def mandate_key(self) -> MandateKey | None:
        """The mandate, if it is one of this customer's: another's mandate allows nothing."""
        return _mandate_key(self.merchant, self.customer, self.mandate)


# Each step of a decision asks for it.
@lru_cache(maxsize=_CACHED_MANDATES)
def _mandate_key(merchant: MerchantId, customer: CustomerId, mandate: str) -> MandateKey | None:
    prefix = f"{CustomerKey(merchant, customer).name}/mandates/"
    if not mandate.startswith(prefix):
        return None
    return MandateKey(merchant, customer, MandateId(mandate.removeprefix(prefix)))


def present_mandate(charge: Charge, changed: str) -> str:
    """The mandate that a charge is made under, after the change of its standing order's, if any.

    Only an AUTOMATIC charge that is not over has one to change: what was announced as to be confirmed
    stays so.
    """
    goes_on = charge.state in {ChargeState.SCHEDULED, ChargeState.IN_FLIGHT}
    if changed and goes_on and charge.billing_mode is BillingMode.AUTOMATIC:
        return changed
    return charge.mandate


def method_key(charge: Charge, mandate: Mandate | None) -> PaymentMethodKey | None:
    """What a charge would be made by now: the mandate's method, or what the customer confirmed with."""
    method = present_method(charge, mandate)
    return PaymentMethodKey(charge.merchant, charge.customer, method) if method else None


def present_method(charge: Charge, mandate: Mandate | None) -> PaymentMethodId:
    """The id of the payment method that a charge would be made by now; empty for none."""
    return mandate.payment_method or NO_METHOD if mandate else charge.payment_method


def begin_attempt(
    charge: Charge, notice: Notice | None, mandate: Mandate | None, now: datetime
) -> Charge:
    """The charge with one more attempt, whose outcome nobody knows yet."""
    return _changed(
        charge,
        ChargeEvent.ATTEMPT,
        now,
        payment_method=present_method(charge, mandate),
        fallback_method=NO_METHOD,
        attempt_count=charge.attempt_count + 1,
        notice=notice.notice if notice else "",
    )


def pay_by_credit(charge: Charge, notice: Notice | None, now: datetime) -> Charge:
    """The charge, paid by the customer's credit alone: no attempt is made."""
    return _changed(
        charge,
        ChargeEvent.PAY_BY_CREDIT,
        now,
        fallback_method=NO_METHOD,
        notice=notice.notice if notice else "",
    )


def settle(
    charge: Charge,
    outcome: FinalOutcome,
    now: datetime,
    policy: DunningPolicy = STANDARD,
    fallback: PaymentMethodId | None = None,
) -> Charge:
    """What becomes of an IN_FLIGHT charge once its attempt's outcome is known.

    `fallback` is what the customer would have charged next, if there is anything.
    """
    if isinstance(outcome, Succeeded):
        return _changed(charge, ChargeEvent.SUCCEED, now)
    # The credit is free for whatever comes next.
    charge = charge._replace(credit_minor=0)
    if isinstance(outcome, NotMade):
        return _after_not_made(charge, now)
    return _after_decline(charge, outcome, now, policy, fallback)


def _after_decline(
    charge: Charge,
    outcome: Declined,
    now: datetime,
    policy: DunningPolicy,
    fallback: PaymentMethodId | None,
) -> Charge:
    declined = charge._replace(decline_code=outcome.code)
    if charge.withdrawn:
        return abandon(declined, AbandonReason.WITHDRAWN, now)
    if charge.billing_mode is BillingMode.PAY_ON_NOTICE:
        return _ask_again(declined, now)
    return _dun(declined, outcome.following, policy, fallback, now)


def _ask_again(declined: Charge, now: datetime) -> Charge:
    """A declined charge that its customer had confirmed in time: they can try another method."""
    expire_time = declined.expire_time
    if expire_time is not None and declined.attempt_count < ATTEMPTS_MAX_EXTENDING:
        expire_time = max(expire_time, now + ANOTHER_METHOD_WINDOW)
    declined = declined._replace(expire_time=expire_time)
    if is_expired(declined, now):
        return give_up(declined, AbandonReason.DECLINED, now)
    return _changed(declined, ChargeEvent.REQUEST, now, payment_method=NO_METHOD)


def _dun(
    declined: Charge,
    following: DeclineClass,
    policy: DunningPolicy,
    fallback: PaymentMethodId | None,
    now: datetime,
) -> Charge:
    """What the merchant's policy makes of a declined automatic charge."""
    if following is DeclineClass.NEVER:
        return abandon(declined, AbandonReason.DECLINED, now)
    if fallback is not None and policy.uses_fallbacks:
        return _changed(
            declined, ChargeEvent.RETRY, now, next_attempt_time=now, fallback_method=fallback
        )
    if following is not DeclineClass.LATER and not policy.awaits_new_method:
        return last_resort(declined, policy, now)
    return retry_later(declined, policy, now)


def last_resort(declined: Charge, policy: DunningPolicy, now: datetime) -> Charge:
    """A charge that is not tried again: over or, by the policy, a request that the customer can pay.

    It is charged by what the customer confirms with, and not under the mandate any more.
    """
    if not policy.ask_to_pay_days:
        return give_up(declined, AbandonReason.DECLINED, now)
    return _changed(
        declined,
        ChargeEvent.REQUEST,
        now,
        **_asked_to_pay(policy.ask_to_pay_days, now),
    )


def _asked_to_pay(days: int, now: datetime) -> dict[str, Any]:
    """What is different of a charge whose customer is asked to pay it within so many days."""
    return {
        "billing_mode": BillingMode.PAY_ON_NOTICE,
        "mandate": "",
        "payment_method": NO_METHOD,
        "awaited_method": NO_METHOD,
        "expire_time": now + timedelta(days=days),
    }


def retry_later(charge: Charge, policy: DunningPolicy, now: datetime) -> Charge:
    """A declined charge at the next retry of the policy; after the last one, its last resort."""
    retry_time = policy.retry_time(charge.retry_count, charge.time_zone, now)
    if retry_time is None:
        return last_resort(charge, policy, now)
    counted = charge._replace(retry_count=charge.retry_count + 1)
    if charge.state is ChargeState.SCHEDULED:
        return counted._replace(next_attempt_time=retry_time, update_time=now)
    return _changed(counted, ChargeEvent.RETRY, now, next_attempt_time=retry_time)


def _after_not_made(charge: Charge, now: datetime) -> Charge:
    """A charge whose attempt was not made: decided again by all that holds now, or over.

    The first time at once; if the provider goes on losing attempts, later and later.
    """
    lost = charge._replace(not_made_count=charge.not_made_count + 1)
    if charge.withdrawn:
        return abandon(lost, AbandonReason.WITHDRAWN, now)
    if is_expired(charge, now):
        return give_up(lost, AbandonReason.NOT_MADE, now)
    pause = retry_delay(charge.not_made_count) if charge.not_made_count else timedelta()
    return _changed(lost, ChargeEvent.RETRY, now, next_attempt_time=now + pause)


def is_expired(charge: Charge, now: datetime) -> bool:
    """Whether a request to pay has ended."""
    return charge.expire_time is not None and now >= charge.expire_time


def with_reminder(charge: Charge, policy: DunningPolicy, now: datetime) -> Charge:
    """A charge with the time at which its customer is reminded next, if it is a request to pay."""
    if charge.state is not ChargeState.REQUESTED or charge.expire_time is None:
        return charge._replace(next_reminder_time=None)
    times = [charge.expire_time - timedelta(hours=hours) for hours in policy.reminder_hours]
    return charge._replace(next_reminder_time=min((at for at in times if at > now), default=None))


def expire(charge: Charge, now: datetime) -> Charge:
    """A charge whose request to pay has ended: not confirmed, declined, or confirmed and not made."""
    if charge.state is ChargeState.SCHEDULED:
        return give_up(charge, AbandonReason.NOT_MADE, now)
    declined = charge.decline_code != ""
    return give_up(
        charge, AbandonReason.DECLINED if declined else AbandonReason.REQUEST_EXPIRED, now
    )


def give_up(charge: Charge, reason: AbandonReason, now: datetime) -> Charge:
    """A charge that was not paid in time: over or, where that is wanted, to be paid late.

    It falls overdue once. As a last resort, it is charged by what the customer confirms with.
    """
    if not charge.late_payment_days or charge.overdue_time is not None or charge.withdrawn:
        return abandon(charge, reason, now)
    return _changed(
        charge,
        ChargeEvent.FALL_OVERDUE,
        now,
        overdue_time=now,
        overdue_reason=reason,
        **_asked_to_pay(charge.late_payment_days, now),
    )


def abandon(charge: Charge, reason: AbandonReason, now: datetime) -> Charge:
    """The charge, over without money."""
    return _changed(
        charge,
        ChargeEvent.ABANDON,
        now,
        abandon_reason=reason,
    )


def refuse(
    charge: Charge, reasons: tuple[RefusalReason, ...], notice: Notice | None, now: datetime
) -> Charge:
    """The charge, over since the guard did not allow it."""
    return _changed(
        charge,
        ChargeEvent.REFUSE,
        now,
        refusal_reasons=reasons,
        notice=notice.notice if notice else "",
    )


def ask_customer(charge: Charge, expire_time: datetime | None) -> Charge:
    """A new charge that the customer confirms, until the time if there is one.

    What cannot be charged is not REQUESTED: the guard refuses it at once.
    """
    request = charge._replace(
        billing_mode=BillingMode.PAY_ON_NOTICE, mandate="", expire_time=expire_time
    )
    if provider_reasons(charge.amount_minor, charge.currency):
        return request
    return _changed(request, ChargeEvent.REQUEST, charge.update_time)


def confirm_request(
    charge: Charge, payment_method: PaymentMethodId, now: datetime
) -> Charge | None:
    """A REQUESTED charge that the customer confirmed; None if it can't be confirmed now."""
    if charge.state is not ChargeState.REQUESTED or charge.withdrawn or is_expired(charge, now):
        return None
    return _changed(
        charge, ChargeEvent.CONFIRM, now, payment_method=payment_method, next_attempt_time=now
    )


def _changed(charge: Charge, event: ChargeEvent, now: datetime, **fields: Any) -> Charge:  # noqa: ANN401
    """The charge after an event, with the fields that change by it; only a SCHEDULED one waits."""
    state = CHARGE.to(charge.state, event)
    if state is not ChargeState.SCHEDULED:
        fields |= {"next_attempt_time": None, "notice_wait_until_time": None}
    # Whoever stores it says when the customer of a request is reminded.
    fields["next_reminder_time"] = None
    return charge._replace(state=state, update_time=now, **fields)
