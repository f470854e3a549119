"""The life of a charge, and the guard before each attempt.

SCHEDULED → IN_FLIGHT → SUCCEEDED, or back to SCHEDULED after a soft decline or an attempt that was not
made, or REFUSED by the guard, or ABANDONED. A charge that the customer confirms begins as REQUESTED and
returns there when declined.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from services.payments.domain.consent import (
    BillingMode,
    Mandate,
    Notice,
    RefusalReason,
    mandate_reasons,
    month_of,
    ordered,
    provider_reasons,
)
from services.payments.domain.keys import ChargeKey, MandateKey, derived_key
from services.payments.domain.outcomes import Declined, NotMade, Succeeded, ask_again_delay

# A soft decline is tried again this long after it; after the last one the charge is abandoned.
RETRY_DELAYS = (timedelta(days=1), timedelta(days=3), timedelta(days=5))
# How long a charge waits for word that its notice was delivered, from when it was first looked at.
NOTICE_WAIT = timedelta(hours=24)
# So long after an attempt began its key is relied on: only so long is it sent once more under it. The
# provider remembers a key for at least 24 hours (https://docs.stripe.com/api/idempotent_requests).
KEY_RELIED_ON = timedelta(hours=23)


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
    # What the provider knows the payment method by; read only where it is sent, and sealed till then.
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
    charge: Charge, notice: Notice | None, mandate: Mandate | None, month_minor: int, now: datetime
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
    return ordered(found)


# --- the life of a charge -----------------------------------------------------------------------


def decide(
    charge: Charge, notice: Notice | None, mandate: Mandate | None, month_minor: int, now: datetime
) -> Charge:
    """What becomes of a SCHEDULED charge whose time has come.

    IN_FLIGHT: an attempt begins. SCHEDULED: it waits for what time alone can bring, the word that the
    notice was delivered or the instant that the notice promised. Else it is over.
    """
    if charge.withdrawn:
        return abandon(charge, AbandonReason.WITHDRAWN, now)
    if _is_expired(charge, now):
        return expire(charge, now)
    reasons = guard(charge, notice, mandate, month_minor, now)
    if not reasons:
        return begin_attempt(charge, notice, mandate, now)
    if notice is not None and reasons == (RefusalReason.EARLIER_THAN_NOTIFIED,):
        return _wait(charge, notice.charge_not_before_time, now)
    if reasons == (RefusalReason.NOTICE_NOT_DELIVERED,):
        until = charge.notice_wait_until_time or now + NOTICE_WAIT
        if now < until:
            return replace(_wait(charge, until, now), notice_wait_until_time=until)
    return replace(
        charge,
        state=ChargeState.REFUSED,
        refusal_reasons=reasons,
        notice=notice.notice if notice else "",
        next_attempt_time=None,
        notice_wait_until_time=None,
        update_time=now,
    )


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
        if _is_expired(charge, now):
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
    if _is_expired(charge, now):
        return abandon(lost, AbandonReason.NOT_MADE, now)
    pause = ask_again_delay(charge.not_made_count) if charge.not_made_count else timedelta()
    return replace(lost, state=ChargeState.SCHEDULED, next_attempt_time=now + pause)


def _is_expired(charge: Charge, now: datetime) -> bool:
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
    if charge.state is not ChargeState.REQUESTED or charge.withdrawn or _is_expired(charge, now):
        return None
    return replace(
        charge,
        state=ChargeState.SCHEDULED,
        payment_method=payment_method,
        next_attempt_time=now,
        update_time=now,
    )


# --- an attempt that the provider has not heard of ----------------------------------------------


def may_resend(
    charge: Charge,
    attempt: Attempt,
    notice: Notice | None,
    mandate: Mandate | None,
    month_minor: int,
    now: datetime,
) -> bool:
    """Whether an attempt that the provider has not heard of may be sent once more under its key.

    Only as the charge would be made now: still wanted, allowed by the whole guard, under the same
    mandate and method. `month_minor` leaves out the attempt itself.
    """
    present = present_attempt(begin_attempt(charge, notice, mandate, now), now)
    same_terms = (present.mandate, present.payment_method) == (
        attempt.mandate,
        attempt.payment_method,
    )
    return (
        same_terms
        and attempt.resend_time is None
        and now < attempt.start_time + KEY_RELIED_ON
        and not charge.withdrawn
        and not _is_expired(charge, now)
        and not guard(charge, notice, mandate, month_minor, now)
    )


def counted_minor(attempt: Attempt, month: tuple[datetime, datetime]) -> int:
    """What an attempt without a known outcome takes of a month's ceiling: wherever it may be made."""
    first, following = month
    sent = (attempt.start_time, attempt.resend_time or attempt.start_time)
    return attempt.amount_minor if any(first <= at < following for at in sent) else 0


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
) -> Iterator[Charge]:
    """Decide charges one after the other, each against what those before it have taken."""
    totals = MonthTotals(spent_minor)
    for charge in charges:
        key = charge.mandate_key
        mandate = mandates.get(key) if key else None
        decided = decide(charge, notices.get(charge.key), mandate, totals.of(key), now)
        if decided.state is ChargeState.IN_FLIGHT:
            totals.add(key, decided.amount_minor)
        yield decided


def resend_all(
    missing: Iterable[tuple[Charge, Attempt]],
    notices: dict[ChargeKey, Notice],
    mandates: dict[MandateKey, Mandate],
    spent_minor: dict[MandateKey, int],
    now: datetime,
) -> Iterator[bool]:
    """Whether each attempt may be sent once more, each against what those before it have taken.

    One that may not be counts in the month until it is known that it was not made.
    """
    totals, month = MonthTotals(spent_minor), month_of(now)
    for charge, attempt in missing:
        key = charge.mandate_key
        mandate = mandates.get(key) if key else None
        own_minor = counted_minor(attempt, month)
        others_minor = totals.of(key) - own_minor
        allowed = may_resend(charge, attempt, notices.get(charge.key), mandate, others_minor, now)
        if allowed:
            totals.add(key, attempt.amount_minor - own_minor)
        yield allowed
