"""The kinds of notices about orders and payments, and the facts of each. Pure.

Fields and properties are the variables of templates. A template that is stored names them: one that is
renamed or taken away is a change that merchants have to follow.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from types import MappingProxyType
from typing import ClassVar
from zoneinfo import ZoneInfo

from services.notify.domain.notices import NoticeKind
from services.notify.domain.templates.lines import (
    Line,
    MonthTotal,
    Tax,
    first_substitute,
    more_substitutes,
    tax_total,
)
from services.runtime.money import Money


@dataclass(frozen=True, slots=True)
class OrderUpcoming:
    """Before a charge: what, how much, when."""

    kind: ClassVar[NoticeKind] = NoticeKind.ORDER_UPCOMING
    title: str
    time_zone: str
    amount: Money
    # The total of the cycle before, if there was one.
    previous_amount: Money | None
    charge_not_before: datetime
    # Whether the customer confirms the payment, rather than being charged.
    pay_on_notice: bool
    lines: tuple[Line, ...]
    # Its own date; None: the day of the charge.
    due_time: datetime | None = None
    taxes: tuple[Tax, ...] = ()
    # The date that it was moved from, since that day was full; None: it was not.
    moved_from: date | None = None
    # What of the amount the customer's credit pays, as things are; None: nothing.
    credit: Money | None = None
    # Where the customer acts on it; empty: in the account.
    link_uri: str = ""

    @property
    def credit_pays_all(self) -> bool:
        """Whether nothing is left to be charged."""
        return self.credit == self.amount

    @property
    def order_time(self) -> datetime:
        """When it was due."""
        return self.due_time or self.charge_not_before

    @property
    def is_late(self) -> bool:
        """Whether it is charged on another day, as orders are that are caught up together."""
        zone = ZoneInfo(self.time_zone)
        charged = self.charge_not_before.astimezone(zone)
        return self.order_time.astimezone(zone).date() != charged.date()

    @property
    def amount_changed(self) -> bool:
        """Whether the cycle before had another total."""
        return self.previous_amount is not None and self.previous_amount != self.amount

    @property
    def substitute(self) -> Line | None:
        """The first product that comes instead of another."""
        return first_substitute(self.lines)

    @property
    def substitutes_more(self) -> int:
        """How many come beside the first."""
        return more_substitutes(self.lines)


@dataclass(frozen=True, slots=True)
class PaymentRequest:
    """Please confirm a payment."""

    kind: ClassVar[NoticeKind] = NoticeKind.PAYMENT_REQUEST
    title: str
    time_zone: str
    amount: Money
    expire_time: datetime
    # Where it is paid; empty: in the account.
    link_uri: str = ""


@dataclass(frozen=True, slots=True)
class PaymentReminder:
    """A request to pay is about to end."""

    kind: ClassVar[NoticeKind] = NoticeKind.PAYMENT_REMINDER
    title: str
    time_zone: str
    amount: Money
    expire_time: datetime
    link_uri: str = ""


@dataclass(frozen=True, slots=True)
class PaymentOverdue:
    """An order ended without payment, and can be paid late."""

    kind: ClassVar[NoticeKind] = NoticeKind.PAYMENT_OVERDUE
    title: str
    time_zone: str
    amount: Money
    expire_time: datetime
    link_uri: str = ""


@dataclass(frozen=True, slots=True)
class PaymentActionRequired:
    """Please confirm a payment with your bank."""

    kind: ClassVar[NoticeKind] = NoticeKind.PAYMENT_ACTION_REQUIRED
    title: str
    time_zone: str
    amount: Money
    expire_time: datetime
    action_uri: str


# Providers' names of declines -> our names of what the customer can put right. That a card is reported
# as stolen is not said to who uses it.
DECLINE_REASONS: Mapping[str, str] = MappingProxyType({
    "insufficient_funds": "INSUFFICIENT_FUNDS",
    "card_velocity_exceeded": "CARD_LIMIT_REACHED",
    "withdrawal_count_limit_exceeded": "CARD_LIMIT_REACHED",
    "expired_card": "CARD_EXPIRED",
    "authentication_required": "BANK_CONFIRMATION_NEEDED",
    "payment_intent_authentication_failure": "BANK_CONFIRMATION_NEEDED",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class PaymentDeclined:
    """A payment was declined."""

    kind: ClassVar[NoticeKind] = NoticeKind.PAYMENT_DECLINED
    title: str
    time_zone: str
    amount: Money
    # None when there is no further attempt without the customer.
    next_attempt_time: datetime | None
    # Where the customer can pay with another one; empty: in the account.
    link_uri: str = ""
    # Until when they can; None: they cannot, or it is tried again.
    expire_time: datetime | None = None
    # Why, if the customer can put it right.
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PaymentMethodBlocked:
    """A payment method was declined for good."""

    kind: ClassVar[NoticeKind] = NoticeKind.PAYMENT_METHOD_BLOCKED
    brand: str
    last4: str


@dataclass(frozen=True, slots=True)
class PaymentMethodExpiring:
    """A payment method is about to expire."""

    kind: ClassVar[NoticeKind] = NoticeKind.PAYMENT_METHOD_EXPIRING
    brand: str
    last4: str
    # The first day of the last month in which it is valid.
    month: date


@dataclass(frozen=True, slots=True)
class Receipt:
    """Paid."""

    kind: ClassVar[NoticeKind] = NoticeKind.RECEIPT
    title: str
    time_zone: str
    amount: Money
    pay_time: datetime
    # None when no order follows.
    next_due_time: datetime | None
    lines: tuple[Line, ...]
    # Whether none follows only because the standing order is paused.
    paused: bool = False
    taxes: tuple[Tax, ...] = ()
    # What of the amount the customer's credit paid; None: nothing.
    credit: Money | None = None
    # Where the customer acts on it; empty: in the account.
    link_uri: str = ""
    # How much less the lines cost than by their list prices; None: nothing.
    saved_amount: Money | None = None

    @property
    def credit_pays_all(self) -> bool:
        """Whether nothing is left to be charged."""
        return self.credit == self.amount

    @property
    def charged_amount(self) -> Money:
        """What credit did not pay."""
        credit_minor = self.credit.amount_minor if self.credit else 0
        return Money(self.amount.amount_minor - credit_minor, self.amount.currency)

    @property
    def tax_amount(self) -> Money | None:
        """What the taxes in the amount come to."""
        return tax_total(self.taxes)

    @property
    def substitute(self) -> Line | None:
        """The first product that comes instead of another."""
        return first_substitute(self.lines)

    @property
    def substitutes_more(self) -> int:
        """How many come beside the first."""
        return more_substitutes(self.lines)


@dataclass(frozen=True, slots=True)
class OrderSkipped:
    """A cycle brings no order."""

    kind: ClassVar[NoticeKind] = NoticeKind.ORDER_SKIPPED
    title: str
    time_zone: str
    due_time: datetime
    reasons: tuple[str, ...]
    # Of several that are left out together: the last one's, and how many they are.
    last_due_time: datetime | None = None
    order_count: int = 1


@dataclass(frozen=True, slots=True)
class OrderHeld:
    """An order waits for something to be put right."""

    kind: ClassVar[NoticeKind] = NoticeKind.ORDER_HELD
    title: str
    time_zone: str
    due_time: datetime
    reasons: tuple[str, ...]
    # Whether the customer says if it shall go on.
    customer_asked: bool = False
    # Where the customer acts on it; empty: in the account.
    link_uri: str = ""

    @property
    def customer_decides(self) -> bool:
        """Whether it waits for nothing but the customer's confirmation."""
        return self.customer_asked or bool(_CONFIRMABLE.intersection(self.reasons))

    @property
    def customer_acts(self) -> bool:
        """Whether the customer has to do something about it."""
        return bool(_FOR_THE_CUSTOMER.intersection(self.reasons))


# payments' RefusalReason of a mandate.
MANDATE_REASONS = frozenset({
    "MANDATE_NOT_FOUND", "MANDATE_REVOKED", "MANDATE_NOT_YET_VALID", "MANDATE_EXPIRED",
    "ABOVE_CHARGE_CEILING", "ABOVE_MONTH_CEILING", "CURRENCY_MISMATCH", "MANDATE_LAPSED",
    "MANDATE_WITHOUT_END", "MANDATE_PENDING", "MANDATE_DISPUTED", "MANDATE_PAUSED",
})  # fmt: skip
_FOR_THE_CUSTOMER = frozenset({
    "PHONE_NOT_BOUND", "MANDATE_NOT_COVERING", "NOTICE_UNDELIVERABLE", "PAYMENT_REFUSED",
    "PAYMENT_DECLINED", "PAYMENT_METHOD_BLOCKED", *MANDATE_REASONS,
})  # fmt: skip
# It waits for nothing but the customer's confirmation.
_CONFIRMABLE = frozenset({"PURCHASED_ELSEWHERE"})


@dataclass(frozen=True, slots=True)
class OrderLapsed:
    """An order ended without payment."""

    kind: ClassVar[NoticeKind] = NoticeKind.ORDER_LAPSED
    title: str
    time_zone: str
    due_time: datetime
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OrderCancelled:
    """An order ended since its standing order was cancelled or paused."""

    kind: ClassVar[NoticeKind] = NoticeKind.ORDER_CANCELLED
    title: str
    time_zone: str
    due_time: datetime
    by_pause: bool = False


@dataclass(frozen=True, slots=True)
class StandingOrderChanged:
    """A standing order was created, paused, resumed, cancelled or completed."""

    kind: ClassVar[NoticeKind] = NoticeKind.STANDING_ORDER_CHANGED
    title: str
    time_zone: str
    # The name of scheduler's StandingOrderChanged.Change.
    change: str
    next_due_time: datetime | None
    # When a pause ends by itself.
    resume_time: datetime | None = None
    # Why it was paused by itself; empty if somebody paused it.
    reasons: tuple[str, ...] = ()
    # Where the customer acts on it; empty: in the account.
    link_uri: str = ""

    @property
    def goes_on(self) -> bool:
        """Whether orders follow."""
        return self.change not in {"PAUSED", "CANCELLED", "COMPLETED"}


@dataclass(frozen=True, slots=True)
class ItemDiscontinued:
    """A product of a standing order is not sold any more."""

    kind: ClassVar[NoticeKind] = NoticeKind.ITEM_DISCONTINUED
    title: str
    product_title: str
    # Empty: nothing.
    substitute_title: str


@dataclass(frozen=True, slots=True)
class PriceChange:
    """A price changes what orders cost from a cycle on."""

    kind: ClassVar[NoticeKind] = NoticeKind.PRICE_CHANGE
    product_title: str
    title: str
    time_zone: str
    # Of the units of the product in an order: from that cycle on, and without the change.
    amount: Money
    previous_amount: Money
    first_due_time: datetime
    # Further standing orders that it concerns.
    others: int = 0
    # Where the customer acts on it; empty: in the account.
    link_uri: str = ""

    @property
    def is_cheaper(self) -> bool:
        """Whether the price falls."""
        return self.amount.amount_minor < self.previous_amount.amount_minor


@dataclass(frozen=True, slots=True)
class PriceChangeWithdrawn:
    """A price change that the customer was notified of will not take place."""

    kind: ClassVar[NoticeKind] = NoticeKind.PRICE_CHANGE_WITHDRAWN
    product_title: str
    title: str
    # What the units of the product cost in an order without the change.
    previous_amount: Money
    others: int = 0


@dataclass(frozen=True, slots=True)
class PriceProtectionEnding:
    """The protection of a standing order's prices is about to end."""

    kind: ClassVar[NoticeKind] = NoticeKind.PRICE_PROTECTION_ENDING
    title: str
    time_zone: str
    # When the first order is due that is not protected.
    first_due_time: datetime


@dataclass(frozen=True, slots=True)
class PromotionEnding:
    """The promotion of a standing order is about to end."""

    kind: ClassVar[NoticeKind] = NoticeKind.PROMOTION_ENDING
    title: str
    time_zone: str
    promotion_title: str
    # When the first order is due that it takes nothing off.
    first_due_time: datetime
    # What that one costs as things are, and the one before; None: it is not known.
    amount: Money | None
    previous_amount: Money | None
    # Where the customer acts on it; empty: in the account.
    link_uri: str = ""


@dataclass(frozen=True, slots=True)
class Refund:
    """Money was given back."""

    kind: ClassVar[NoticeKind] = NoticeKind.REFUND
    title: str
    refund_amount: Money
    paid_amount: Money
    # What of it the customer has as credit now; None: nothing.
    credit: Money | None = None

    @property
    def credit_is_all(self) -> bool:
        """Whether all of it is credit, and no account shows it."""
        return self.credit == self.refund_amount

    @property
    def is_part(self) -> bool:
        """Whether it is less than what was paid."""
        return self.refund_amount != self.paid_amount


@dataclass(frozen=True, slots=True)
class DocumentIssued:
    """An invoice, receipt, credit note or debit note was issued."""

    kind: ClassVar[NoticeKind] = NoticeKind.DOCUMENT_ISSUED
    title: str
    # The name of payments' Document.Type.
    document_type: str
    number: str
    amount: Money
    # Whether the file comes with it; it does not if it is too large for an e-mail.
    attached: bool = True


@dataclass(frozen=True, slots=True)
class DisputeOpened:
    """The customer disputes a payment at their bank."""

    kind: ClassVar[NoticeKind] = NoticeKind.DISPUTE_OPENED
    title: str
    dispute_amount: Money
    paid_amount: Money
    # The bank only asks, and has taken nothing.
    inquiry: bool
    # Whether nothing is charged under the customer's consent until it is over.
    paused: bool

    @property
    def is_part(self) -> bool:
        """Whether it is about less than what was paid."""
        return self.dispute_amount != self.paid_amount


@dataclass(frozen=True, slots=True)
class DisputeClosed:
    """What became of a dispute, or of a payment that the bank took back."""

    kind: ClassVar[NoticeKind] = NoticeKind.DISPUTE_CLOSED
    title: str
    dispute_amount: Money
    paid_amount: Money
    # Whether the payment stands.
    won: bool
    # The bank sent it back by itself, and the customer disputed nothing.
    late_failure: bool
    # Whether nothing is charged under the customer's consent until it is resumed.
    paused: bool

    @property
    def is_part(self) -> bool:
        """Whether it is about less than what was paid."""
        return self.dispute_amount != self.paid_amount


# A summary says no more of them, so that it fits an SMS.
CURRENCIES_MAX = 2


@dataclass(frozen=True, slots=True)
class MonthlySummary:
    """What happened in a month, and what comes next."""

    kind: ClassVar[NoticeKind] = NoticeKind.MONTHLY_SUMMARY
    # Its first day.
    month: date
    # That of the next order.
    time_zone: str
    # By currency.
    totals: tuple[MonthTotal, ...]
    # Orders that were left out.
    skip_count: int = 0
    # Whether there are further currencies.
    has_more: bool = False
    # When the next order is due, as far as messages have said, and its title; None: none is.
    next_due_time: datetime | None = None
    next_title: str = ""
    # Standing orders whose next order is due after it.
    next_more: int = 0
