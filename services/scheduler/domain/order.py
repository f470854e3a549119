"""Orders: what one cycle produced, and the only ways in which it can change. Pure functions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from services.scheduler.domain.charge_rules import NO_RULES, ChargeRules, RuleLead
from services.scheduler.domain.ids import CustomerId, OrderKey
from services.scheduler.domain.terms import Terms

HOLD_WINDOW = timedelta(days=3)
# Of one product in one order.
QUANTITY_MAX = 10_000
# That a customer agrees to for one item.
SUBSTITUTES_MAX = 5


class OrderState(StrEnum):
    """The state of an order; named as on the wire."""

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
    TAX_UNAVAILABLE = "TAX_UNAVAILABLE"
    NO_SLOT = "NO_SLOT"
    PAID_LATE = "PAID_LATE"


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
    OrderReason.TAX_UNAVAILABLE: "the tax service gives no answer",
    OrderReason.NO_SLOT: "a service has no free slot",
    OrderReason.PAID_LATE: "it was paid after it had lapsed",
}

# In a decision: that the order ended since its payment method was declined for good.
PAYMENT_METHOD_BLOCKED = "payment_method_blocked"

# An order that is HELD for one of these waits for the customer's confirmation.
CONFIRMABLE_REASONS = frozenset({OrderReason.PURCHASED_ELSEWHERE})
# What a customer who orders at once has confirmed by that.
CONFIRMED_BY_ORDERING_NOW = (OrderReason.PURCHASED_ELSEWHERE,)


class Stage(StrEnum):
    """What an order that is HELD goes back to when it is checked again."""

    PREPARE = "PREPARE"
    COLLECT = "COLLECT"


# Tuples, since items are made and compared more often than anything else.
class Item(NamedTuple):
    """A product (its id) and how many of it."""

    product: str
    quantity: int
    # What the customer takes instead, the best first; of the items of a standing order only.
    substitutes: tuple[str, ...] = ()


class Substitute(NamedTuple):
    """What is taken instead of a product: its id, and the title of what it is taken for."""

    product: str
    title: str


class Adjustment(NamedTuple):
    """A step from the list amount of a line to its amount, as the catalog took it."""

    kind: str
    # What it adds to the line; negative: what it takes off.
    amount_minor: int
    # The price version that it is by.
    price: str = ""
    # The promotion that it is by, and its title.
    promotion: str = ""
    promotion_title: str = ""
    # What asks for a notice that is not over yet: a rule pack, or the product.
    rule: str = ""
    # The offer that promised it, and the price version that it beat.
    offer: str = ""
    beaten_price: str = ""


# Steps that are what was promised, as the catalog names them.
PROTECTIONS = frozenset({"PRICE_LOCK", "PRICE_CAP"})


class LineTax(NamedTuple):
    """A tax on a line, as the catalog worked it out."""

    # Its resource name.
    tax_rate: str
    title: str
    rate_ppm: int
    compound: bool
    # What the customer's tax id has made of it.
    treatment: str
    # What is charged of it.
    amount_minor: int


class Line(NamedTuple):
    """One priced product of an order; amounts in minor units of the order's currency."""

    product: str
    title: str
    quantity: int
    # What one costs, rounded up.
    unit_price_minor: int
    amount_minor: int
    price: str
    list_unit_price_minor: int
    list_amount_minor: int
    # The price version of the list price.
    list_price: str = ""
    # What was made of the list amount, step by step.
    adjustments: tuple[Adjustment, ...] = ()
    # What it is taken instead of: each product's id and title.
    replaced: tuple[tuple[str, str], ...] = ()
    # Before taxes; None: no tax is on it.
    net_minor: int | None = None
    taxes: tuple[LineTax, ...] = ()

    @property
    def protection_saved_minor(self) -> int:
        """What a lock or a cap took off it."""
        return sum(-step.amount_minor for step in self.adjustments if step.kind in PROTECTIONS)

    @property
    def tax_minor(self) -> int:
        """All taxes that are charged."""
        return sum(tax.amount_minor for tax in self.taxes)

    @property
    def gross_minor(self) -> int:
        """What the customer pays."""
        net_minor = self.amount_minor if self.net_minor is None else self.net_minor
        return net_minor + self.tax_minor


@dataclass(frozen=True, slots=True)
class Quote:
    """What an order costs at an instant, in minor units, and why."""

    amount_minor: int
    currency: str
    lines: tuple[Line, ...]
    # What rule packs ask of its charge.
    rules: ChargeRules = NO_RULES
    # Of its products (ids), those that are services and need slots of a day.
    services: tuple[str, ...] = ()


class Decision(NamedTuple):
    """Something that was decided about an order, and the facts that decided it."""

    time: datetime
    # For programs.
    kind: str
    # For people.
    summary: str
    data: Mapping[str, Any] = {}


class Order(NamedTuple):
    """What one cycle of a standing order produced."""

    key: OrderKey
    customer: CustomerId
    local_date: date
    due_time: datetime
    # How long before it is charged the customer must have been notified.
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
    # The country of that address, or its part (`DE`, `US-CA`), in clear text; empty: unknown.
    region_code: str = ""
    # The customer's, where a business orders; empty: a consumer.
    tax_id: str = ""
    lines: tuple[Line, ...] = ()
    currency: str = ""
    # The amount of the last notice, a ceiling. None before there is a price.
    notified_minor: int | None = None
    # What is or was to be paid. None before it is collected.
    amount_minor: int | None = None
    charge_not_before_time: datetime | None = None
    notice_time: datetime | None = None
    # UPCOMING: when it is collected; None until the notice is delivered.
    collect_time: datetime | None = None
    pay_time: datetime | None = None
    # LAPSED: until when the customer can pay it all the same; None: it is over for good.
    late_payment_until_time: datetime | None = None
    # HELD: when it is checked again, and what for.
    recheck_time: datetime | None = None
    held_stage: Stage | None = None
    # HELD: whether the customer is asked about a condition that does not hold.
    asks_condition: bool = False
    # What was taken instead of a product, by its id; `items` has the substitutes.
    substitutes: Mapping[str, Substitute] = {}
    # What the customer has confirmed: it holds the order no more.
    confirmed_reasons: tuple[OrderReason, ...] = ()
    # How often it was announced with a price.
    announcement_count: int = 0
    # Its products (ids) that have slots booked for its date.
    services: tuple[str, ...] = ()
    # The date that it had before it was moved to one with free slots; None: it was not.
    moved_from_date: date | None = None
    traceparent: str = ""
    # Of the stored order that this one was made of.
    version: int = 1
    # The decisions that this change adds to the order's history.
    decisions: tuple[Decision, ...] = ()
    # Of what this change found out: how early rule packs have it announced, and what they ask of its
    # charge. None: it found out nothing.
    rule_lead: RuleLead | None = None
    charge_rules: ChargeRules | None = None
    # Of what this change found out: what of the amount the customer's credit pays, or has paid.
    credit_minor: int = 0
    # Of what this change found out: whether no rule pack asks for a notice before the charge.
    evidence_is_free: bool = False


def mandate_reasons(order: Order) -> Sequence[str]:
    """Why the mandate does not cover an order that was just decided about, as payments names it."""
    for decision in reversed(order.decisions):
        if "mandate_reasons" in decision.data:
            return decision.data["mandate_reasons"]  # type: ignore[no-any-return]
    return ()


def lacked_products(order: Order) -> Sequence[str]:
    """The products for whose lack an order was just left out."""
    for decision in reversed(order.decisions):
        if "left_without" in decision.data:
            return decision.data["left_without"]  # type: ignore[no-any-return]
    return ()


def in_words(reasons: Sequence[OrderReason]) -> str:
    """All reasons for people, each once."""
    return "; ".join(REASON_WORDS[reason] for reason in dict.fromkeys(reasons))


def is_ordered_now(order: Order, now: datetime) -> bool:
    """Whether an order is due since its customer wants it at once, and its payment has not begun."""
    wanted = set(CONFIRMED_BY_ORDERING_NOW).issubset(order.confirmed_reasons)
    return wanted and order.state in WITHDRAWABLE_STATES and order.due_time <= now


def can_be_paid_late(order: Order) -> bool:
    """Whether a payment is still expected for an order that ended without one."""
    return order.state is OrderState.LAPSED and order.late_payment_until_time is not None


def awaits_confirmation(order: Order) -> bool:
    """Whether an order waits for the customer's confirmation."""
    confirmable = order.asks_condition or CONFIRMABLE_REASONS.intersection(order.reasons)
    return order.state is OrderState.HELD and bool(confirmable)


def is_cheaper(order: Order, quote: Quote) -> bool:
    """Whether a quote is below the notified amount."""
    ceiling = order.notified_minor
    return ceiling is not None and quote.amount_minor < ceiling and quote.currency == order.currency


def line_of(data: Mapping[str, Any]) -> Line:
    """A line from its plain data."""
    parts = {
        "adjustments": tuple(Adjustment(*adjustment) for adjustment in data["adjustments"]),
        "replaced": tuple((product, title) for product, title in data["replaced"]),
        "taxes": tuple(LineTax(*tax) for tax in data["taxes"]),
    }
    return Line(**{**data, **parts})


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
