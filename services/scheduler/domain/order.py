"""Orders: what one cycle produced, and the only ways in which it can change. Pure functions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from services.scheduler.domain.ids import CustomerId, OrderKey
from services.scheduler.domain.terms import Terms

HOLD_WINDOW = timedelta(days=3)
# Of one product in one order.
QUANTITY_MAX = 10_000


class OrderState(StrEnum):
    """Where an order is in its life."""

    UPCOMING = "UPCOMING"
    AWAITING_PAYMENT = "AWAITING_PAYMENT"
    PAID = "PAID"
    SKIPPED = "SKIPPED"
    HELD = "HELD"
    LAPSED = "LAPSED"
    CANCELLED = "CANCELLED"


# What can still be called off: nobody was asked to pay yet.
WITHDRAWABLE_STATES = (OrderState.UPCOMING, OrderState.HELD)
OPEN_STATES = (*WITHDRAWABLE_STATES, OrderState.AWAITING_PAYMENT)


class OrderReason(StrEnum):
    """Why an order is in its state; named as on the wire."""

    SKIPPED_BY_CUSTOMER = "SKIPPED_BY_CUSTOMER"
    PAUSED = "PAUSED"
    MISSED = "MISSED"
    DATE_EXCLUDED = "DATE_EXCLUDED"
    PRODUCT_UNAVAILABLE = "PRODUCT_UNAVAILABLE"
    PRICE_UNAVAILABLE = "PRICE_UNAVAILABLE"
    OUT_OF_STOCK = "OUT_OF_STOCK"
    PHONE_NOT_BOUND = "PHONE_NOT_BOUND"
    MANDATE_NOT_COVERING = "MANDATE_NOT_COVERING"
    NOTICE_UNDELIVERABLE = "NOTICE_UNDELIVERABLE"
    PAYMENT_REFUSED = "PAYMENT_REFUSED"
    PAYMENT_DECLINED = "PAYMENT_DECLINED"
    PAYMENT_REQUEST_EXPIRED = "PAYMENT_REQUEST_EXPIRED"
    STANDING_ORDER_CANCELLED = "STANDING_ORDER_CANCELLED"
    HOLD_EXPIRED = "HOLD_EXPIRED"
    CONDITION_NOT_MET = "CONDITION_NOT_MET"
    PURCHASED_ELSEWHERE = "PURCHASED_ELSEWHERE"
    PREVIOUS_UNPAID = "PREVIOUS_UNPAID"
    PAYMENT_NOT_MADE = "PAYMENT_NOT_MADE"
    PAYMENT_METHOD_BLOCKED = "PAYMENT_METHOD_BLOCKED"


# What each reason is for people; the reference says more.
REASON_WORDS: Mapping[OrderReason, str] = {
    OrderReason.SKIPPED_BY_CUSTOMER: "the customer left this cycle out",
    OrderReason.PAUSED: "the standing order was paused",
    OrderReason.MISSED: "the cycle passed unbilled",
    OrderReason.DATE_EXCLUDED: "the schedule leaves this date out",
    OrderReason.PRODUCT_UNAVAILABLE: "a product is gone",
    OrderReason.PRICE_UNAVAILABLE: "a product has no price",
    OrderReason.OUT_OF_STOCK: "a product is out of stock",
    OrderReason.PHONE_NOT_BOUND: "the customer's phone is not bound",
    OrderReason.MANDATE_NOT_COVERING: "the mandate does not cover the amount, or is not valid",
    OrderReason.NOTICE_UNDELIVERABLE: "the notice could not be delivered",
    OrderReason.PAYMENT_REFUSED: "the guard refused the charge",
    OrderReason.PAYMENT_DECLINED: "every attempt was declined",
    OrderReason.PAYMENT_REQUEST_EXPIRED: "the customer did not confirm in time",
    OrderReason.STANDING_ORDER_CANCELLED: "the standing order was cancelled",
    OrderReason.HOLD_EXPIRED: "the time to put it right is over",
    OrderReason.CONDITION_NOT_MET: "a condition of the standing order does not hold",
    OrderReason.PURCHASED_ELSEWHERE: "the customer bought a product of it elsewhere",
    OrderReason.PREVIOUS_UNPAID: "the order before is not paid",
    OrderReason.PAYMENT_NOT_MADE: "the payment could not be made before its request ended",
    OrderReason.PAYMENT_METHOD_BLOCKED: "the payment method was declined for good",
}

# In a decision: that the order ended since its payment method was declined for good.
PAYMENT_METHOD_BLOCKED = "payment_method_blocked"

# An order that is HELD for one of these waits for the customer's yes.
ASKING_REASONS = frozenset({OrderReason.PURCHASED_ELSEWHERE})


class Stage(StrEnum):
    """What an order that is HELD goes back to when it is looked at again."""

    PREPARE = "PREPARE"
    COLLECT = "COLLECT"


# Tuples, since items are made and compared more often than anything else.
class Item(NamedTuple):
    """A product (its id) and how many of it."""

    product: str
    quantity: int


class Substitute(NamedTuple):
    """What is taken instead of a product: its id, and the title of what it is taken for."""

    product: str
    title: str


class Line(NamedTuple):
    """One priced product of an order; amounts in minor units of the order's currency."""

    product: str
    title: str
    quantity: int
    unit_price_minor: int
    amount_minor: int
    price: str
    list_unit_price_minor: int
    basis: str
    # The price version of the list price.
    list_price: str = ""
    # What it is taken instead of: each product's id and title.
    replaced: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Quote:
    """What an order costs at an instant, in minor units, and why."""

    amount_minor: int
    currency: str
    lines: tuple[Line, ...]


class Decision(NamedTuple):
    """Something that was decided about an order, and the facts that decided it."""

    time: datetime
    # For programs.
    kind: str
    # For people.
    summary: str
    data: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Order:
    """What one cycle of a standing order produced."""

    key: OrderKey
    customer: CustomerId
    local_date: date
    due_time: datetime
    # How long before it is charged the customer must have heard of it.
    notice_lead: timedelta
    # It is never HELD for longer than this.
    hold_until_time: datetime
    state: OrderState
    # Those of the standing order when the order was announced; until then, when it was last prepared.
    terms: Terms
    reasons: tuple[OrderReason, ...] = ()
    items: tuple[Item, ...] = ()
    # Encrypted: only who shows it opens it. Empty: none.
    ship_to: bytes = b""
    lines: tuple[Line, ...] = ()
    currency: str = ""
    # What the customer was told: a ceiling. None before there is a price.
    notified_minor: int | None = None
    # What is or was to be paid. None before it is collected.
    amount_minor: int | None = None
    charge_not_before_time: datetime | None = None
    notice_time: datetime | None = None
    # UPCOMING: when it is collected; None until the notice is delivered.
    collect_time: datetime | None = None
    pay_time: datetime | None = None
    # HELD: when it is looked at again, and what for.
    recheck_time: datetime | None = None
    held_stage: Stage | None = None
    # HELD: whether the customer is asked about a condition that does not hold.
    asks_condition: bool = False
    # What was taken instead of a product, by its id; `items` has the substitutes.
    substitutes: Mapping[str, Substitute] = field(default_factory=dict)
    # What the customer said yes to when they were asked: it holds the order no more.
    confirmed_reasons: tuple[OrderReason, ...] = ()
    # How often the customer was told what it would cost.
    announcement_count: int = 0
    traceparent: str = ""
    # The decisions that this change adds to the order's history.
    decisions: tuple[Decision, ...] = ()


def mandate_reasons(order: Order) -> Sequence[str]:
    """Why the mandate does not cover an order that was just decided about, as payments names it."""
    for decision in reversed(order.decisions):
        if "mandate_reasons" in decision.data:
            return decision.data["mandate_reasons"]  # type: ignore[no-any-return]
    return ()


def in_words(reasons: Sequence[OrderReason]) -> str:
    """All reasons for people, each once."""
    return "; ".join(REASON_WORDS[reason] for reason in dict.fromkeys(reasons))


def asks(order: Order) -> bool:
    """Whether an order waits for the customer's yes."""
    asking = order.asks_condition or ASKING_REASONS.intersection(order.reasons)
    return order.state is OrderState.HELD and bool(asking)


def is_cheaper(order: Order, quote: Quote) -> bool:
    """Whether a quote is below what the customer was told."""
    told = order.notified_minor
    return told is not None and quote.amount_minor < told and quote.currency == order.currency


def line_of(data: Mapping[str, Any]) -> Line:
    """A line from its plain data."""
    return Line(**{**data, "replaced": tuple((one, title) for one, title in data["replaced"])})


def with_replaced(order: Order, quote: Quote) -> Quote:
    """A quote whose lines name what they are taken instead of."""
    if not order.substitutes:
        return quote
    replaced: dict[str, list[tuple[str, str]]] = {}
    for product, (substitute, title) in order.substitutes.items():
        replaced.setdefault(substitute, []).append((product, title))
    lines = (
        line._replace(replaced=tuple(replaced[item.product])) if item.product in replaced else line
        for item, line in zip(order.items, quote.lines, strict=True)
    )
    return replace(quote, lines=tuple(lines))
