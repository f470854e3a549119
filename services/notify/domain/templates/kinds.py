"""The kinds of notices about orders and payments: the data of each, and its words. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from types import MappingProxyType
from typing import ClassVar

from services.notify.domain.notices import NoticeKind
from services.notify.domain.templates.wording import (
    LINK_MAX_CHARACTERS,
    MANDATE_REASONS,
    Line,
    Tax,
    Wording,
    date_text,
    day_text,
    money_text,
    price_title,
    reasons_text,
    say,
    substitutes_text,
    taxes_text,
    time_text,
    title_text,
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

    def wording(self) -> Wording:
        """Names the ceiling and the earliest time, as the charge will keep them."""
        instead = substitutes_text(self.lines)
        is_moved = self.moved_from is not None
        title = title_text(self.title, short=bool(instead) or is_moved)
        when = time_text(self.charge_not_before, self.time_zone)
        # Orders that are caught up together are charged on one day, and distinguished by their own.
        day = date_text(self.due_time or self.charge_not_before, self.time_zone)
        late = is_moved or day != date_text(self.charge_not_before, self.time_zone)
        what = (
            f"Your order {title}{f' of {day}' if late else ''} comes to {money_text(self.amount)}"
        )
        changed = self.previous_amount is not None and self.previous_amount != self.amount
        if self.previous_amount is not None and changed and not (instead or late):
            what += f" (was {money_text(self.previous_amount)} last time)"
        how = f"We will charge you on {when} or later."
        if self.pay_on_notice:
            how = f"We will ask you to confirm it on {when} or later."
        return say(
            f"Coming up: {title}",
            f"{what}.",
            f"It is moved from {day_text(self.moved_from)}, which is full."
            if self.moved_from
            else "",
            instead,
            how,
            "Skip or change it in your account before then.",
            lines=self.lines,
            taxes=self.taxes,
        )


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

    def wording(self) -> Wording:
        """Says until when, and what happens otherwise."""
        title, amount = title_text(self.title), money_text(self.amount)
        until = time_text(self.expire_time, self.time_zone)
        subject = f"Please confirm your payment for {title}"
        if self.link_uri:
            return _ask_by_link("Please confirm", subject, self, self.link_uri)
        return say(
            subject,
            f"Please confirm your payment of {amount} for {title} in your account by {until}.",
            "If you do not, this order ends and nothing is charged.",
        )


@dataclass(frozen=True, slots=True)
class PaymentReminder:
    """A request to pay is about to end."""

    kind: ClassVar[NoticeKind] = NoticeKind.PAYMENT_REMINDER
    title: str
    time_zone: str
    amount: Money
    expire_time: datetime
    link_uri: str = ""

    def wording(self) -> Wording:
        """Says until when, and what happens otherwise."""
        title, amount = title_text(self.title), money_text(self.amount)
        until = time_text(self.expire_time, self.time_zone)
        subject = f"Reminder: your payment for {title}"
        if self.link_uri:
            return _ask_by_link("Reminder: confirm", subject, self, self.link_uri)
        return say(
            subject,
            f"Reminder: confirm your payment of {amount} for {title} in your account by {until}.",
            "If you do not, this order ends and nothing is charged.",
        )


@dataclass(frozen=True, slots=True)
class PaymentOverdue:
    """An order ended without payment, and can be paid late."""

    kind: ClassVar[NoticeKind] = NoticeKind.PAYMENT_OVERDUE
    title: str
    time_zone: str
    amount: Money
    expire_time: datetime
    link_uri: str = ""

    def wording(self) -> Wording:
        """Says that it ended, and until when it can be had all the same."""
        title, amount = title_text(self.title), money_text(self.amount)
        until = time_text(self.expire_time, self.time_zone)
        subject = f"Not paid: {title}"
        if self.link_uri:
            return _ask_by_link("Order ended. Still want it? Confirm", subject, self, self.link_uri)
        return say(
            subject,
            f"Your order {title} has ended without payment.",
            f"To have it all the same, pay {amount} in your account by {until}.",
            "If you do not, nothing is charged.",
        )


def _ask_by_link(
    act: str,
    subject: str,
    request: PaymentRequest | PaymentReminder | PaymentOverdue,
    link_uri: str,
) -> Wording:
    """What asks for a payment by a link; a link leaves room for little else."""
    title, amount = title_text(request.title, short=True), money_text(request.amount)
    until = time_text(request.expire_time, request.time_zone)
    return say(
        subject,
        f"{act} your payment of {amount} for {title} by {until}: {link_uri}",
        "Otherwise nothing is charged.",
        greets=False,
    )


@dataclass(frozen=True, slots=True)
class PaymentActionRequired:
    """Please confirm a payment with your bank."""

    kind: ClassVar[NoticeKind] = NoticeKind.PAYMENT_ACTION_REQUIRED
    title: str
    time_zone: str
    amount: Money
    expire_time: datetime
    action_uri: str

    def wording(self) -> Wording:
        """Says where and until when."""
        title, amount = title_text(self.title, short=True), money_text(self.amount)
        until = time_text(self.expire_time, self.time_zone)
        # A longer one would leave no room for what it is for.
        fits = len(self.action_uri) <= LINK_MAX_CHARACTERS
        where = self.action_uri if fits else "in your account"
        return say(
            f"Your bank asks you to confirm: {title}",
            f"Your bank wants you to confirm {amount} for {title} by {until}: {where}",
            greets=False,
        )


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

    def wording(self) -> Wording:
        """Says whether it is tried again."""
        title = title_text(self.title)
        if self.link_uri:
            amount, title = money_text(self.amount), title_text(self.title, short=True)
            return say(
                f"Payment declined: {title}",
                f"Your payment of {amount} for {title} was declined.",
                f"You can pay with another card: {self.link_uri}",
                greets=False,
            )
        act = "Please look at your payment method in your account."
        if self.next_attempt_time is not None:
            again = time_text(self.next_attempt_time, self.time_zone)
            act = f"We will try again on {again}. If it needs a change, please make it before."
        return say(
            f"Payment declined: {title}",
            f"Your payment of {money_text(self.amount)} for {title} was declined.",
            act,
        )


@dataclass(frozen=True, slots=True)
class PaymentMethodBlocked:
    """A payment method was declined for good."""

    kind: ClassVar[NoticeKind] = NoticeKind.PAYMENT_METHOD_BLOCKED
    brand: str
    last4: str

    def wording(self) -> Wording:
        """Says what it means for all orders, and what mends it; not why: others may see the phone."""
        card = f"Your card {self.brand} ending {self.last4}".replace("  ", " ")
        if not self.last4:
            card = "Your payment method"
        return say(
            "Please replace your payment method",
            f"{card} was declined for good, so we will not try it again.",
            "No order that uses it can be paid.",
            "Please add another one in your account for your standing orders, or ask your bank.",
        )


@dataclass(frozen=True, slots=True)
class PaymentMethodExpiring:
    """A payment method is about to expire."""

    kind: ClassVar[NoticeKind] = NoticeKind.PAYMENT_METHOD_EXPIRING
    brand: str
    last4: str
    # The first day of the last month in which it is valid.
    month: date

    def wording(self) -> Wording:
        """Says until when it is valid, and that nothing else has to change."""
        card = f"Your card {self.brand} ending {self.last4}".replace("  ", " ")
        if not self.last4:
            card = "Your payment method"
        return say(
            "Your payment method expires soon",
            f"{card} is valid until the end of {self.month:%b %Y}.",
            "Please replace it in your account before then.",
            "Your standing orders go on with the new one.",
        )


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

    def wording(self) -> Wording:
        """Says what was paid, and when the next order is due."""
        instead = substitutes_text(self.lines)
        title, amount = title_text(self.title, short=bool(instead)), money_text(self.amount)
        paid = time_text(self.pay_time, self.time_zone)
        coming = "This was the last order."
        if self.paused:
            coming = "It is paused: no order follows until it is resumed."
        if self.next_due_time is not None:
            when = time_text(self.next_due_time, self.time_zone)
            coming = f"The next one is due on {when}; change or skip it in your account."
        return say(
            f"Receipt: {title}",
            f"You paid {amount}{taxes_text(self.taxes)} for {title} on {paid}. Thank you.",
            instead,
            coming,
            lines=self.lines,
            taxes=self.taxes,
        )


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

    def wording(self) -> Wording:
        """Says why."""
        title, when = title_text(self.title), time_text(self.due_time, self.time_zone)
        which = f"Your order {title} of {when} is"
        if self.last_due_time is not None:
            last = time_text(self.last_due_time, self.time_zone)
            which = f"Your {self.order_count} orders {title} of {when} to {last} are"
        return say(
            f"Skipped: {title}",
            f"{which} left out: {reasons_text(self.reasons)}.",
            "Nothing is charged for it.",
        )


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

    def wording(self) -> Wording:
        """Says what is in the way, and who has to do something about it."""
        title, when = title_text(self.title), time_text(self.due_time, self.time_zone)
        act = "We look at it again by ourselves."
        if _FOR_THE_CUSTOMER.intersection(self.reasons):
            act = "Please put it right in your account."
        if self.customer_asked or _CONFIRMABLE.intersection(self.reasons):
            act = "Want it? Say yes in your account."
        return say(
            f"On hold: {title}",
            f"Your order {title} of {when} is on hold: {reasons_text(self.reasons)}.",
            f"{act} Nothing is charged meanwhile.",
        )


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

    def wording(self) -> Wording:
        """Says why, and that no money moved."""
        title, when = title_text(self.title), time_text(self.due_time, self.time_zone)
        why = reasons_text(self.reasons)
        return say(
            f"Not ordered: {title}",
            f"Your order {title} of {when} has ended without payment: {why}.",
            "Nothing was charged for it.",
        )


@dataclass(frozen=True, slots=True)
class OrderCancelled:
    """An order ended since its standing order was cancelled or paused."""

    kind: ClassVar[NoticeKind] = NoticeKind.ORDER_CANCELLED
    title: str
    time_zone: str
    due_time: datetime
    by_pause: bool = False

    def wording(self) -> Wording:
        """Says that no money moves."""
        why = "paused" if self.by_pause else "cancelled"
        title, when = title_text(self.title), time_text(self.due_time, self.time_zone)
        return say(
            f"Cancelled: {title}",
            f"Your order {title} of {when} is cancelled, since its standing order is {why}.",
            "Nothing is charged for it.",
        )


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

    def wording(self) -> Wording:
        """Says what it is now, and what comes next."""
        title = title_text(self.title)
        is_now, act, goes_on = _CHANGES.get(self.change, _CHANGE_UNKNOWN)
        if self.reasons:
            is_now = f"{is_now}: {reasons_text(self.reasons)}"
        if self.resume_time is not None:
            until = time_text(self.resume_time, self.time_zone)
            act = f"Nothing new is ordered until {until}, unless you resume it before."
        coming = ""
        if goes_on and self.next_due_time is not None:
            coming = f" The next order is due on {time_text(self.next_due_time, self.time_zone)}."
        return say(
            _subject_of_change(title, self.change),
            f"Your standing order {title} {is_now}.{coming}",
            act,
        )


def _subject_of_change(title: str, change: str) -> str:
    is_now, _, _ = _CHANGES.get(change, _CHANGE_UNKNOWN)
    return f"Your standing order {title} {is_now}"


# What it is now, what that means, and whether there is a next order to speak of.
_CHANGES: Mapping[str, tuple[str, str, bool]] = MappingProxyType({
    "CREATED": ("is set up", "We will tell you before each one. Pause or cancel it in your account.",
                True),
    "PAUSED": ("is paused", "Nothing new is ordered until you resume it in your account.",
               False),
    "RESUMED": ("is active again", "We will tell you before each order.", True),
    "CANCELLED": ("is cancelled", "There will be no further orders.", False),
    "COMPLETED": ("is complete", "There will be no further orders. Thank you.", False),
})  # fmt: skip
_CHANGE_UNKNOWN = ("has changed", "Your account shows what is new.", True)


@dataclass(frozen=True, slots=True)
class ItemDiscontinued:
    """A product of a standing order is not sold any more."""

    kind: ClassVar[NoticeKind] = NoticeKind.ITEM_DISCONTINUED
    title: str
    product_title: str
    # Empty: nothing.
    substitute_title: str

    def wording(self) -> Wording:
        """Says what comes instead."""
        title = title_text(self.title, short=True)
        product = title_text(self.product_title, short=True)
        instead = "Please choose something else in your account."
        if self.substitute_title:
            substitute = title_text(self.substitute_title, short=True)
            instead = (
                f"From now on you get {substitute} instead, as you agreed. "
                "We tell you its price before."
            )
        return say(
            f"Not sold any more: {product}",
            f"{product} in your standing order {title} is not sold any more.",
            instead,
        )


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

    def wording(self) -> Wording:
        """Says how much, from when, and how to leave before."""
        product, where = price_title(self.product_title), _where(self.title, self.others)
        first = date_text(self.first_due_time, self.time_zone)
        act = "To leave, cancel or change it in your account before then."
        if self.amount.amount_minor < self.previous_amount.amount_minor:
            act = "There is nothing that you have to do."
        return say(
            f"New price: {product}",
            f"{product} in {where} will cost {money_text(self.amount)} an order, not "
            f"{money_text(self.previous_amount)}, from {first} on.",
            act,
        )


@dataclass(frozen=True, slots=True)
class PriceChangeWithdrawn:
    """A price change that the customer was told of will not take place."""

    kind: ClassVar[NoticeKind] = NoticeKind.PRICE_CHANGE_WITHDRAWN
    product_title: str
    title: str
    # What the units of the product cost in an order without the change.
    previous_amount: Money
    others: int = 0

    def wording(self) -> Wording:
        """Says what it costs now."""
        product, where = price_title(self.product_title), _where(self.title, self.others)
        return say(
            f"No new price: {product}",
            f"We told you of a new price of {product} in {where}.",
            f"That is taken back: it stays at {money_text(self.previous_amount)} an order.",
        )


@dataclass(frozen=True, slots=True)
class PriceProtectionEnding:
    """The protection of a standing order's prices is about to end."""

    kind: ClassVar[NoticeKind] = NoticeKind.PRICE_PROTECTION_ENDING
    title: str
    time_zone: str
    # When the first order is due that is not protected.
    first_due_time: datetime

    def wording(self) -> Wording:
        """Says from when on the price of the day is paid, and that each order is announced."""
        title = title_text(self.title)
        first = date_text(self.first_due_time, self.time_zone)
        return say(
            f"Your price for {title} is kept until {first}",
            f"The prices that we keep for you in {title} are kept for the orders before {first}.",
            "From then on you pay the price of the day. We tell you of each order before.",
        )


def _where(title: str, others: int) -> str:
    return price_title(title) + (f" (and {others} more)" if others else "")


@dataclass(frozen=True, slots=True)
class Refund:
    """Money was given back."""

    kind: ClassVar[NoticeKind] = NoticeKind.REFUND
    title: str
    refund_amount: Money
    paid_amount: Money

    def wording(self) -> Wording:
        """Says how much of what was paid."""
        title = title_text(self.title)
        return say(
            f"Refund: {title}",
            f"We gave back {_part_of(self.refund_amount, self.paid_amount)} for {title}.",
            "It can take a few days until your account shows it.",
        )


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

    def wording(self) -> Wording:
        """Says what is disputed, whether charges go on, and how to undo it."""
        title = title_text(self.title, short=True)
        paid = _part_of(self.dispute_amount, self.paid_amount)
        what = f"Your bank tells us that you dispute {paid} for {title}."
        if self.inquiry:
            what = f"Your bank asks us about {paid} for {title}."
        return say(
            f"You dispute a payment: {title}",
            what,
            _PAUSED_MEANWHILE if self.paused else "Your orders go on meanwhile.",
            "If it is a mistake, please tell your bank.",
        )


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

    def wording(self) -> Wording:
        """Says where the money is, and whether charges go on."""
        title = title_text(self.title, short=True)
        paid = _part_of(self.dispute_amount, self.paid_amount)
        subject, what = (
            f"Given back by your bank: {title}",
            f"Your bank gave back {paid} for {title}.",
        )
        if self.late_failure:
            subject = f"Sent back by your bank: {title}"
            what = (
                f"Your bank sent {paid} for {title} back to you: it is not paid. Please contact us."
            )
        if self.won:
            subject = f"Your payment stands: {title}"
            what = f"You disputed {paid} for {title}. That is over, and the payment stands."
        return say(subject, what, _PAUSED_UNTIL_RESUMED if self.paused else "Your orders go on.")


_PAUSED_MEANWHILE = "Until that is over, we charge nothing more under your consent."
_PAUSED_UNTIL_RESUMED = "We charge nothing more under your consent until you allow it again."


def _part_of(amount: Money, paid_amount: Money) -> str:
    paid = f"your payment of {money_text(paid_amount)}"
    return paid if amount == paid_amount else f"{money_text(amount)} of {paid}"
