"""What a customer has agreed to: mandates, and what delivered notices promised."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from services.payments.domain.bank_debits import debits, debits_in
from services.payments.domain.keys import (
    ChargeId,
    ChargeKey,
    CustomerId,
    CustomerKey,
    MandateId,
    MandateKey,
    MerchantId,
    PaymentMethodId,
    PaymentMethodKey,
)
from services.payments.domain.periods import Period, days_around, days_until, month_of
from services.payments.domain.provider_amounts import (
    UnsupportedAmountError,
    UnsupportedCurrencyError,
    check_charge,
)
from services.payments.domain.transitions import MANDATE, MandateEvent, MandateState

# Where a mandate's months are unless it says otherwise.
UTC_ZONE = "UTC"
# How long after a charge its payer can say that they never agreed to it: 13 months (Article 71 of
# Directive (EU) 2015/2366), however long the months are.
DISPUTE_PERIOD = timedelta(days=397)


class BillingMode(StrEnum):
    """What a charge is allowed by: the mandate, or the customer's confirmation each time."""

    AUTOMATIC = "AUTOMATIC"
    PAY_ON_NOTICE = "PAY_ON_NOTICE"


class PauseReason(StrEnum):
    """What paused a mandate."""

    REQUESTED = "REQUESTED"
    DISPUTED = "DISPUTED"


class RefusalReason(StrEnum):
    """Why the guard does not allow a charge."""

    NOTICE_NOT_DELIVERED = "NOTICE_NOT_DELIVERED"
    ABOVE_NOTIFIED_AMOUNT = "ABOVE_NOTIFIED_AMOUNT"
    EARLIER_THAN_NOTIFIED = "EARLIER_THAN_NOTIFIED"
    MANDATE_NOT_FOUND = "MANDATE_NOT_FOUND"
    MANDATE_REVOKED = "MANDATE_REVOKED"
    MANDATE_NOT_YET_VALID = "MANDATE_NOT_YET_VALID"
    MANDATE_EXPIRED = "MANDATE_EXPIRED"
    ABOVE_CHARGE_CEILING = "ABOVE_CHARGE_CEILING"
    ABOVE_PERIOD_CEILING = "ABOVE_PERIOD_CEILING"
    CURRENCY_MISMATCH = "CURRENCY_MISMATCH"
    CURRENCY_NOT_CHARGEABLE = "CURRENCY_NOT_CHARGEABLE"
    AMOUNT_NOT_CHARGEABLE = "AMOUNT_NOT_CHARGEABLE"
    BILLING_MODE_NOT_ANNOUNCED = "BILLING_MODE_NOT_ANNOUNCED"
    PAYMENT_METHOD_BLOCKED = "PAYMENT_METHOD_BLOCKED"
    PAYMENT_METHOD_EXHAUSTED = "PAYMENT_METHOD_EXHAUSTED"
    PAYMENT_METHOD_MISSING = "PAYMENT_METHOD_MISSING"
    NOTICE_TOO_RECENT = "NOTICE_TOO_RECENT"
    CONFIRMATION_REQUIRED = "CONFIRMATION_REQUIRED"
    MANDATE_LAPSED = "MANDATE_LAPSED"
    MANDATE_WITHOUT_END = "MANDATE_WITHOUT_END"
    RULES_UNKNOWN = "RULES_UNKNOWN"
    MANDATE_PENDING = "MANDATE_PENDING"
    MANDATE_PAUSED = "MANDATE_PAUSED"
    MANDATE_DISPUTED = "MANDATE_DISPUTED"
    MANDATE_OUT_OF_SCOPE = "MANDATE_OUT_OF_SCOPE"


@dataclass(frozen=True, slots=True)
class Mandate:
    """A customer's consent to be charged."""

    merchant: MerchantId
    customer: CustomerId
    mandate: MandateId
    # None: the customer's default, or their fallbacks.
    payment_method: PaymentMethodId | None
    charge_ceiling_minor: int
    period_ceiling_minor: int | None
    currency: str
    valid_from_time: datetime
    valid_until_time: datetime | None
    # Encrypted: only who shows it opens it. Empty before the customer consents and once it is erased.
    evidence: bytes
    create_time: datetime
    revoke_time: datetime | None = None
    # The customer has not consented yet.
    is_pending: bool = False
    pause_time: datetime | None = None
    pause_reason: PauseReason | None = None
    lapse_time: datetime | None = None
    version: int = 1
    # Any so many days keep within the ceiling of the period; None: a month does.
    period_days: int | None = None
    # Where those days and months are.
    time_zone: str = UTC_ZONE
    # Ids of the standing orders that it is for; none: for all of the customer's.
    standing_orders: tuple[str, ...] = ()
    # So long before each charge its notice is delivered, as the customer was promised.
    lead_seconds: int = 0
    # A charge under it is disputed, and the merchant's policy stops charges for that.
    is_disputed: bool = False

    @property
    def key(self) -> MandateKey:
        """Which it is."""
        return MandateKey(self.merchant, self.customer, self.mandate)

    @property
    def customer_key(self) -> CustomerKey:
        """Whose it is."""
        return CustomerKey(self.merchant, self.customer)

    @property
    def method_key(self) -> PaymentMethodKey | None:
        """What is charged under it; None: the customer's default, or their fallbacks."""
        if self.payment_method is None:
            return None
        return PaymentMethodKey(self.merchant, self.customer, self.payment_method)

    def period(self, at: datetime) -> Period:
        """When charges count against the ceiling of the period together with one at an instant.

        Of days, those after it are among them: by a clock that is ahead, something was charged then.
        """
        if self.period_days is None:
            return month_of(at, self.time_zone)
        return days_around(at, self.period_days, self.time_zone)

    def planned_period(self, at: datetime) -> Period:
        """As `period`, of what is only planned: what comes later is judged when it is charged."""
        if self.period_days is None:
            return month_of(at, self.time_zone)
        return days_until(at, self.period_days, self.time_zone)

    def state(self, now: datetime) -> MandateState:
        """Where it stands; one that begins later is ACTIVE."""
        state = MandateState.PENDING if self.is_pending else MandateState.ACTIVE
        if self.pause_time is not None:
            state = MANDATE.to(state, MandateEvent.PAUSE)
        if self.lapse_time is not None:
            state = MANDATE.to(state, MandateEvent.LAPSE)
        elif self.valid_until_time is not None and now >= self.valid_until_time:
            state = MANDATE.to(state, MandateEvent.EXPIRE)
        return MANDATE.to(state, MandateEvent.REVOKE) if self.revoke_time is not None else state

    def notice_over_time(self, notice: "Notice") -> datetime:
        """From when on it lets a charge follow its notice."""
        return notice.deliver_time + timedelta(seconds=self.lead_seconds)

    def may(self, event: MandateEvent, now: datetime) -> bool:
        """Whether something may happen to it now."""
        return self.state(now) in MANDATE.sources(event)


@dataclass(frozen=True, slots=True)
class Notice:
    """What a delivered notice promised about one charge."""

    merchant: MerchantId
    customer: CustomerId
    charge: ChargeId
    # Its resource name.
    notice: str
    amount_minor: int
    currency: str
    charge_not_before_time: datetime
    deliver_time: datetime
    billing_mode: BillingMode

    @property
    def charge_key(self) -> ChargeKey:
        """The charge that it is about."""
        return ChargeKey(self.merchant, self.customer, self.charge)


def mandate_reasons(
    mandate: Mandate | None,
    standing_order: str,
    amount_minor: int,
    currency: str,
    period_minor: int,
    at: datetime,
) -> set[RefusalReason]:
    """Every reason why a mandate does not cover an amount at an instant.

    `period_minor` is what the mandate has paid, or may be paying, in the period of that instant.
    """
    if mandate is None:
        return {RefusalReason.MANDATE_NOT_FOUND}
    reasons = _state_reasons(mandate)
    if mandate.is_disputed:
        reasons.add(RefusalReason.MANDATE_DISPUTED)
    if mandate.standing_orders and standing_order not in mandate.standing_orders:
        reasons.add(RefusalReason.MANDATE_OUT_OF_SCOPE)
    if at < mandate.valid_from_time:
        reasons.add(RefusalReason.MANDATE_NOT_YET_VALID)
    if mandate.valid_until_time is not None and at >= mandate.valid_until_time:
        reasons.add(RefusalReason.MANDATE_EXPIRED)
    if currency != mandate.currency:
        return reasons | {RefusalReason.CURRENCY_MISMATCH}
    if amount_minor > mandate.charge_ceiling_minor:
        reasons.add(RefusalReason.ABOVE_CHARGE_CEILING)
    period_ceiling = mandate.period_ceiling_minor
    if period_ceiling is not None and period_minor + amount_minor > period_ceiling:
        reasons.add(RefusalReason.ABOVE_PERIOD_CEILING)
    return reasons


def _state_reasons(mandate: Mandate) -> set[RefusalReason]:
    """Why a mandate allows nothing, whatever the amount and the time."""
    stopped = {
        RefusalReason.MANDATE_REVOKED: mandate.revoke_time is not None,
        RefusalReason.MANDATE_PENDING: mandate.is_pending,
        RefusalReason.MANDATE_PAUSED: mandate.pause_time is not None,
        RefusalReason.MANDATE_LAPSED: mandate.lapse_time is not None,
    }
    return {reason for reason, holds in stopped.items() if holds}


def provider_reasons(amount_minor: int, currency: str) -> set[RefusalReason]:
    """Why the payment provider would not take a charge, however much was agreed to."""
    try:
        check_charge(amount_minor, currency)
    except UnsupportedCurrencyError:
        return {RefusalReason.CURRENCY_NOT_CHARGEABLE}
    except UnsupportedAmountError:
        return {RefusalReason.AMOUNT_NOT_CHARGEABLE}
    return set()


def scheme_reasons(brand: str, amount_minor: int, currency: str) -> set[RefusalReason]:
    """Why the scheme of a bank debit does not move an amount."""
    if not debits_in(brand, currency):
        return {RefusalReason.CURRENCY_NOT_CHARGEABLE}
    if not debits(brand, amount_minor):
        return {RefusalReason.AMOUNT_NOT_CHARGEABLE}
    return set()


def ordered(reasons: set[RefusalReason]) -> tuple[RefusalReason, ...]:
    """Reasons in the order of the contract."""
    if not reasons:
        return ()
    return tuple(reason for reason in RefusalReason if reason in reasons)
