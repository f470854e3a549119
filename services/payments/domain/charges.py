"""The life of a charge, and the guard before each attempt.

SCHEDULED → IN_FLIGHT → SUCCEEDED, or back to SCHEDULED after a soft decline or an attempt that was not
made, or REFUSED by the guard, or ABANDONED. A charge that the customer confirms begins as REQUESTED and
returns there when declined.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from services.payments.domain.consent import (
    BillingMode,
    Mandate,
    Notice,
    RefusalReason,
    mandate_reasons,
    ordered,
    provider_reasons,
)
from services.payments.domain.declines import DAY, UNUSED, MethodUse
from services.payments.domain.keys import ChargeKey, MandateKey, PaymentMethodKey, derived_key
from services.payments.domain.outcomes import (
    ASK_AGAIN_DELAY_FIRST,
    Declined,
    NotMade,
    Succeeded,
    ask_again_delay,
)

# A soft decline is tried again this long after it; after the last one the charge is abandoned.
RETRY_DELAYS = (timedelta(days=1), timedelta(days=3), timedelta(days=5))
# How long a charge waits for word that its notice was delivered, from when it was first looked at.
NOTICE_WAIT = timedelta(hours=24)


class ChargeState(StrEnum):
    """Where a charge stands; the last three are final."""

    SCHEDULED = "SCHEDULED"
    REQUESTED = "REQUESTED"
    IN_FLIGHT = "IN_FLIGHT"
    SUCCEEDED = "SUCCEEDED"
    REFUSED = "REFUSED"
    ABANDONED = "ABANDONED"


class AttemptState(StrEnum):
    """What is known of an attempt."""

    UNKNOWN = "UNKNOWN"
    SUCCEEDED = "SUCCEEDED"
    DECLINED = "DECLINED"
    # It never reached the provider, and never will.
    NOT_MADE = "NOT_MADE"


class AbandonReason(StrEnum):
    """Why a charge ended without money."""

    DECLINED = "DECLINED"
    REQUEST_EXPIRED = "REQUEST_EXPIRED"
    WITHDRAWN = "WITHDRAWN"
    # Confirmed in time, but the provider could not be reached before the request ended.
    NOT_MADE = "NOT_MADE"


@dataclass(frozen=True, slots=True)
class Charge:
    """One payment owed for one order."""

    key: ChargeKey
    # The order's resource name.
    order: str
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
    payment_method: str = ""
    attempt_count: int = 0
    # How many of the attempts never reached the provider.
    not_made_count: int = 0
    # SCHEDULED only: when it is tried, or looked at, next.
    next_attempt_time: datetime | None = None
    # When a request to pay ends.
    expire_time: datetime | None = None
    # Set while the charge waits for word of its notice: when it stops waiting.
    notice_wait_until_time: datetime | None = None
    # Id of the payment method that is busy with another charge, while this one waits for it.
    awaited_method: str = ""
    # Name of the notice that the guard relied on.
    notice: str = ""
    refusal_reasons: tuple[RefusalReason, ...] = ()
    abandon_reason: AbandonReason | None = None
    # Of the last decline.
    decline_code: str = ""
    # The order was withdrawn; kept apart from the charge, since it can come first.
    withdrawn: bool = False

    @property
    def mandate_key(self) -> MandateKey | None:
        """The mandate, if it is one of this customer's: another's mandate allows nothing."""
        prefix = f"{self.key.owner.name}/mandates/"
        if not self.mandate.startswith(prefix):
            return None
        return MandateKey(self.key.owner, self.mandate.removeprefix(prefix))


def present_mandate(charge: Charge, changed: str) -> str:
    """The mandate that a charge is made under, after the change of its standing order's, if any.

    Only an AUTOMATIC charge that is not over has one to change: what was announced as to be confirmed
    stays so.
    """
    goes_on = charge.state in {ChargeState.SCHEDULED, ChargeState.IN_FLIGHT}
    if changed and goes_on and charge.billing_mode is BillingMode.AUTOMATIC:
        return changed
    return charge.mandate


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try at the provider, as it is sent, sent again and looked up."""

    charge: ChargeKey
    # From 1.
    number: int
    idempotency_key: str
    amount_minor: int
    currency: str
    payment_method: str
    # Id of the mandate that it was made under; empty: the customer confirmed.
    mandate: str
    start_time: datetime
    # When it was sent once more under its key, since the provider had not heard of it.
    resend_time: datetime | None = None
    state: AttemptState = AttemptState.UNKNOWN
    decline_code: str = ""
    provider_payment: str = ""
    end_time: datetime | None = None
    # How often its outcome was looked up in vain.
    lookup_count: int = 0
    # What the provider answered in place of what was asked of it; such an attempt is never sent again.
    mismatch: str = ""
    # What the provider knows the payment method by; decrypted only where it is sent.
    provider_token: bytes = b""


# --- the guard ----------------------------------------------------------------------------------


def notice_reasons(charge: Charge, notice: Notice, now: datetime) -> set[RefusalReason]:
    """Every promise of a notice that a charge at this instant would break."""
    found = set()
    if now < notice.charge_not_before_time:
        found.add(RefusalReason.EARLIER_THAN_NOTIFIED)
    automatic = charge.billing_mode is BillingMode.AUTOMATIC
    if automatic and notice.billing_mode is not BillingMode.AUTOMATIC:
        found.add(RefusalReason.BILLING_MODE_NOT_ANNOUNCED)
    if charge.currency != notice.currency:
        found.add(RefusalReason.CURRENCY_MISMATCH)
    elif charge.amount_minor > notice.amount_minor:
        found.add(RefusalReason.ABOVE_NOTIFIED_AMOUNT)
    return found


def guard(
    charge: Charge,
    notice: Notice | None,
    mandate: Mandate | None,
    month_minor: int,
    now: datetime,
    use: MethodUse = UNUSED,
) -> tuple[RefusalReason, ...]:
    """Every reason why a charge must not be made now; none at all allows it.

    A customer's own confirmation stands for the mandate, and for a notice where there was none; what a
    notice did promise holds all the same.
    """
    found = provider_reasons(charge.amount_minor, charge.currency)
    if notice is not None:
        found |= notice_reasons(charge, notice, now)
    elif charge.billing_mode is not BillingMode.PAY_ON_NOTICE:
        found.add(RefusalReason.NOTICE_NOT_DELIVERED)
    if charge.billing_mode is not BillingMode.PAY_ON_NOTICE:
        found |= mandate_reasons(mandate, charge.amount_minor, charge.currency, month_minor, now)
    if use.blocked:
        found.add(RefusalReason.PAYMENT_METHOD_BLOCKED)
    elif use.exhausted_until is not None:
        found.add(RefusalReason.PAYMENT_METHOD_EXHAUSTED)
    return ordered(found)


# --- the life of a charge -----------------------------------------------------------------------


def method_key(charge: Charge, mandates: Mapping[MandateKey, Mandate]) -> PaymentMethodKey | None:
    """What a charge would be made by now: the mandate's method, or what the customer confirmed with."""
    mandate = mandates.get(charge.mandate_key) if charge.mandate_key else None
    method = mandate.payment_method if mandate else charge.payment_method
    return PaymentMethodKey(charge.key.owner, method) if method else None


def decide(
    charge: Charge,
    notice: Notice | None,
    mandate: Mandate | None,
    month_minor: int,
    now: datetime,
    use: MethodUse = UNUSED,
) -> Charge:
    """What becomes of a SCHEDULED charge whose time has come.

    IN_FLIGHT: an attempt begins. SCHEDULED: it waits for what time alone can bring, the word that the
    notice was delivered or the instant that the notice promised. Else it is over.
    """
    if charge.withdrawn:
        return abandon(charge, AbandonReason.WITHDRAWN, now)
    if is_expired(charge, now):
        return expire(charge, now)
    charge = replace(charge, awaited_method="")
    reasons = guard(charge, notice, mandate, month_minor, now, use)
    waiting = _waiting(charge, reasons, notice, mandate, use, now)
    if waiting is not None:
        return waiting
    if not reasons:
        return begin_attempt(charge, notice, mandate, now)
    return replace(
        charge,
        state=ChargeState.REFUSED,
        refusal_reasons=reasons,
        notice=notice.notice if notice else "",
        next_attempt_time=None,
        notice_wait_until_time=None,
        update_time=now,
    )


def _waiting(
    charge: Charge,
    reasons: tuple[RefusalReason, ...],
    notice: Notice | None,
    mandate: Mandate | None,
    use: MethodUse,
    now: datetime,
) -> Charge | None:
    """The charge, if time alone can bring what it lacks; None if nothing is lacking, or more."""
    if not reasons and use.busy_until is not None:
        until = max(use.busy_until, now + ASK_AGAIN_DELAY_FIRST)
        method = mandate.payment_method if mandate else charge.payment_method
        return replace(_wait(charge, until, now), awaited_method=method)
    if notice is not None and reasons == (RefusalReason.EARLIER_THAN_NOTIFIED,):
        return _wait(charge, notice.charge_not_before_time, now)
    # The limit of a day ends soon enough to wait for; that of a month does not.
    soon, ends = use.exhausted_until, now + DAY
    if soon is not None and soon <= ends and reasons == (RefusalReason.PAYMENT_METHOD_EXHAUSTED,):
        return _wait(charge, soon, now)
    if reasons == (RefusalReason.NOTICE_NOT_DELIVERED,):
        until = charge.notice_wait_until_time or now + NOTICE_WAIT
        if now < until:
            return replace(_wait(charge, until, now), notice_wait_until_time=until)
    return None


def _wait(charge: Charge, until: datetime, now: datetime) -> Charge:
    """Look at the charge again at an instant, or when its request ends."""
    if charge.expire_time is not None:
        until = min(until, charge.expire_time)
    return replace(charge, next_attempt_time=until, update_time=now)


def begin_attempt(
    charge: Charge, notice: Notice | None, mandate: Mandate | None, now: datetime
) -> Charge:
    """The charge with one more attempt, whose outcome nobody knows yet."""
    return replace(
        charge,
        state=ChargeState.IN_FLIGHT,
        payment_method=mandate.payment_method if mandate else charge.payment_method,
        attempt_count=charge.attempt_count + 1,
        next_attempt_time=None,
        notice_wait_until_time=None,
        notice=notice.notice if notice else "",
        update_time=now,
    )


def present_attempt(charge: Charge, now: datetime) -> Attempt:
    """The attempt that a charge has just begun."""
    mandate = charge.mandate_key
    return Attempt(
        charge=charge.key,
        number=charge.attempt_count,
        idempotency_key=derived_key(charge.key.name, str(charge.attempt_count)),
        amount_minor=charge.amount_minor,
        currency=charge.currency,
        payment_method=charge.payment_method,
        mandate=mandate.mandate if mandate else "",
        start_time=now,
    )


def settle_attempt(
    charge: Charge, attempt: Attempt, outcome: Succeeded | Declined | NotMade, now: datetime
) -> Charge:
    """As `settle`; a payment keeps the mandate that it was made under, whatever was changed since."""
    settled = settle(charge, outcome, now)
    if settled.state is not ChargeState.SUCCEEDED or not attempt.mandate:
        return settled
    return replace(settled, mandate=MandateKey(charge.key.owner, attempt.mandate).name)


def settle(charge: Charge, outcome: Succeeded | Declined | NotMade, now: datetime) -> Charge:
    """What becomes of an IN_FLIGHT charge once its attempt's outcome is known."""
    if isinstance(outcome, Succeeded):
        return replace(charge, state=ChargeState.SUCCEEDED, update_time=now)
    if isinstance(outcome, NotMade):
        return _after_not_made(charge, now)
    return _after_decline(charge, outcome, now)


def _after_decline(charge: Charge, outcome: Declined, now: datetime) -> Charge:
    declined = replace(charge, decline_code=outcome.code, update_time=now)
    if charge.withdrawn:
        return abandon(declined, AbandonReason.WITHDRAWN, now)
    if charge.billing_mode is BillingMode.PAY_ON_NOTICE:
        if is_expired(charge, now):
            return abandon(declined, AbandonReason.DECLINED, now)
        return replace(declined, state=ChargeState.REQUESTED, payment_method="")
    decline_count = charge.attempt_count - charge.not_made_count
    if outcome.hard or decline_count > len(RETRY_DELAYS):
        return abandon(declined, AbandonReason.DECLINED, now)
    retry_time = now + RETRY_DELAYS[decline_count - 1]
    return replace(declined, state=ChargeState.SCHEDULED, next_attempt_time=retry_time)


def _after_not_made(charge: Charge, now: datetime) -> Charge:
    """A charge whose attempt was not made: decided again by all that holds now, or over.

    The first time at once; if the provider goes on losing attempts, later and later.
    """
    lost = replace(charge, not_made_count=charge.not_made_count + 1, update_time=now)
    if charge.withdrawn:
        return abandon(lost, AbandonReason.WITHDRAWN, now)
    if is_expired(charge, now):
        return abandon(lost, AbandonReason.NOT_MADE, now)
    pause = ask_again_delay(charge.not_made_count) if charge.not_made_count else timedelta()
    return replace(lost, state=ChargeState.SCHEDULED, next_attempt_time=now + pause)


def is_expired(charge: Charge, now: datetime) -> bool:
    """Whether a request to pay has ended."""
    return charge.expire_time is not None and now >= charge.expire_time


def expire(charge: Charge, now: datetime) -> Charge:
    """A charge whose request to pay has ended: not confirmed, declined, or confirmed and not made."""
    if charge.state is ChargeState.SCHEDULED:
        return abandon(charge, AbandonReason.NOT_MADE, now)
    declined = charge.decline_code != ""
    return abandon(
        charge, AbandonReason.DECLINED if declined else AbandonReason.REQUEST_EXPIRED, now
    )


def abandon(charge: Charge, reason: AbandonReason, now: datetime) -> Charge:
    """The charge, over without money."""
    return replace(
        charge,
        state=ChargeState.ABANDONED,
        abandon_reason=reason,
        next_attempt_time=None,
        notice_wait_until_time=None,
        update_time=now,
    )


def confirm(charge: Charge, payment_method: str, now: datetime) -> Charge | None:
    """A REQUESTED charge that the customer said yes to; None if it can't be confirmed now."""
    if charge.state is not ChargeState.REQUESTED or charge.withdrawn or is_expired(charge, now):
        return None
    return replace(
        charge,
        state=ChargeState.SCHEDULED,
        payment_method=payment_method,
        next_attempt_time=now,
        update_time=now,
    )


# --- many at once -------------------------------------------------------------------------------


class MonthTotals:
    """What mandates have paid in a month, with what is being begun in the same batch."""

    def __init__(self, spent_minor: dict[MandateKey, int]) -> None:
        self._spent_minor = dict(spent_minor)

    def of(self, mandate: MandateKey | None) -> int:
        """The total of a mandate, in minor units."""
        return self._spent_minor.get(mandate, 0) if mandate else 0

    def add(self, mandate: MandateKey | None, amount_minor: int) -> None:
        """Count an amount, or one less if it is negative, in minor units."""
        if mandate:
            self._spent_minor[mandate] = self.of(mandate) + amount_minor


def decide_all(
    charges: Iterable[Charge],
    notices: dict[ChargeKey, Notice],
    mandates: dict[MandateKey, Mandate],
    spent_minor: dict[MandateKey, int],
    now: datetime,
    uses: Mapping[PaymentMethodKey, MethodUse] | None = None,
) -> Iterator[Charge]:
    """Decide charges one after the other, each against what those before it have taken."""
    totals, present_uses = MonthTotals(spent_minor), dict(uses or {})
    for charge in charges:
        key, method = charge.mandate_key, method_key(charge, mandates)
        mandate = mandates.get(key) if key else None
        use = present_uses.get(method, UNUSED) if method else UNUSED
        decided = decide(charge, notices.get(charge.key), mandate, totals.of(key), now, use)
        if decided.state is ChargeState.IN_FLIGHT:
            totals.add(key, decided.amount_minor)
            if method in present_uses:
                present_uses[method] = replace(use, busy_until=now)
        yield decided
