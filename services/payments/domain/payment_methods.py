"""Payment methods: a provider's tokens of cards and accounts, and which of them is charged. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import MAXYEAR, MINYEAR, UTC, date, datetime, timedelta
from enum import StrEnum

from services.payments.domain.consent import scheme_reasons
from services.payments.domain.declines import UNUSED, MethodUse
from services.payments.domain.keys import (
    CustomerId,
    CustomerKey,
    MerchantId,
    PaymentMethodId,
    PaymentMethodKey,
)

MONTHS = 12


class PaymentMethodKind(StrEnum):
    """What is charged."""

    CARD = "CARD"
    BANK_DEBIT = "BANK_DEBIT"


class PaymentMethodState(StrEnum):
    """Whether it is charged."""

    ACTIVE = "ACTIVE"
    BLOCKED = "BLOCKED"
    EXPIRED = "EXPIRED"
    DETACHED = "DETACHED"


@dataclass(frozen=True, slots=True)
class PaymentMethod:
    """A provider's token of a card or account."""

    merchant: MerchantId
    customer: CustomerId
    payment_method: PaymentMethodId
    # Encrypted: only who sends it to the provider opens it. Empty once it was erased.
    provider_token: bytes
    brand: str
    last4: str
    create_time: datetime
    # When it was declined for good, and how the provider named that.
    block_time: datetime | None = None
    decline_code: str = ""
    kind: PaymentMethodKind = PaymentMethodKind.CARD
    # The first instant after the month until which it is valid; None: it does not expire.
    expire_time: datetime | None = None
    # Whose it is at the provider; empty if nobody's.
    provider_customer: str = ""
    is_default: bool = False
    # From 1; 0: it is no fallback.
    fallback_order: int = 0
    # When its use was ended.
    detach_time: datetime | None = None
    # Which provider knows the token.
    provider: str = ""

    @property
    def key(self) -> PaymentMethodKey:
        """Which it is."""
        return PaymentMethodKey(self.merchant, self.customer, self.payment_method)

    @property
    def customer_key(self) -> CustomerKey:
        """Whose it is."""
        return CustomerKey(self.merchant, self.customer)

    def state(self, now: datetime) -> PaymentMethodState:
        """Whether it is charged at an instant."""
        if self.detach_time is not None:
            return PaymentMethodState.DETACHED
        if self.block_time is not None:
            return PaymentMethodState.BLOCKED
        if self.expire_time is not None and now >= self.expire_time:
            return PaymentMethodState.EXPIRED
        return PaymentMethodState.ACTIVE

    @property
    def expire_month(self) -> date | None:
        """The first day of the last month in which it is valid."""
        if self.expire_time is None:
            return None
        return (self.expire_time.astimezone(UTC) - timedelta(days=1)).date().replace(day=1)


def end_of_month(year: int, month: int) -> datetime | None:
    """The first instant after a month (UTC); None for what is no month."""
    if not (1 <= month <= MONTHS and MINYEAR <= year < MAXYEAR):
        return None
    return datetime(year + month // MONTHS, month % MONTHS + 1, 1, tzinfo=UTC)


def first_valid(
    methods: Sequence[PaymentMethodKey],
    uses: Mapping[PaymentMethodKey, MethodUse],
    amount_minor: int,
    currency: str,
) -> PaymentMethodId | None:
    """Which of a customer's methods is charged an amount now: the first, in their order, that can be.

    If none can be, the best of what is left: what is past its month before what the provider would
    certainly not take, so that the guard's reasons are those of one method.
    """
    if not methods:
        return None

    def obstacles(method: PaymentMethodKey) -> tuple[bool, bool, bool, bool]:
        """What is against charging a method, the worst first."""
        use = uses.get(method, UNUSED)
        return (
            bool(scheme_reasons(use.brand, amount_minor, currency)),
            use.blocked or use.missing,
            use.exhausted_until is not None,
            use.expired,
        )

    return min(methods, key=obstacles).payment_method
