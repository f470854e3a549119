"""Orders: what one cycle produced, and the only ways in which it can change. Pure functions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from services.scheduler.domain.terms import Terms

HELD_RECHECK = timedelta(hours=6)
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

# An order that is HELD for one of these waits for the customer's yes.
ASKING_REASONS = frozenset({OrderReason.PURCHASED_ELSEWHERE})


class Stage(StrEnum):
    """What an order that is HELD goes back to when it is looked at again."""

    PREPARE = "PREPARE"
    COLLECT = "COLLECT"


# Tuples, since keys and items are made and compared more often than anything else.
class OrderKey(NamedTuple):
    """Which order: the cycle of a standing order. There cannot be two."""

    merchant: str
    standing_order: str
    cycle: int


class Item(NamedTuple):
    """A product (its id) and how many of it."""

    product: str
    quantity: int


class Substitute(NamedTuple):
    """What is taken instead of a product: its id, and the title of what it is taken for."""

    product: str
    title: str


@dataclass(frozen=True, slots=True)
class Line:
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


@dataclass(frozen=True, slots=True)
class Decision:
    """Something that was decided about an order, and the facts that decided it."""

    time: datetime
    # For programs.
    kind: str
    # For people.
    summary: str
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Order:
    """What one cycle of a standing order produced."""

    key: OrderKey
    customer: str
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


@dataclass(frozen=True, slots=True)
class Findings:
    """What other services said about an order that is to be prepared."""

    quote: Quote | None
    problems: tuple[OrderReason, ...] = ()
    # Why the mandate does not cover it, as payments names it.
    mandate_reasons: tuple[str, ...] = ()
    # Whether a product is off sale for good, with nothing that the customer agreed to instead.
    gone: bool = False


def promised_charge_time(order: Order, now: datetime) -> datetime:
    """When an order that is announced now is charged: a late start defers it, and shortens no lead."""
    return max(order.due_time, now + order.notice_lead)


def opened(order: Order, findings: Findings, now: datetime) -> Order:
    """An order after its preparation: UPCOMING with its price, or HELD for what is in the way."""
    if findings.quote is None or findings.problems:
        return held(order, findings.problems, Stage.PREPARE, now, _mandate_data(order, findings))
    quote = findings.quote
    charge_not_before = promised_charge_time(order, now)
    return replace(
        order,
        state=OrderState.UPCOMING,
        reasons=(),
        lines=quote.lines,
        currency=quote.currency,
        notified_minor=quote.amount_minor,
        charge_not_before_time=charge_not_before,
        collect_time=None,
        recheck_time=None,
        held_stage=None,
        announcement_count=order.announcement_count + 1,
        decisions=(
            Decision(
                now,
                "PREPARED",
                "Priced and announced; this amount is the most that it can cost.",
                {
                    "amount_minor": quote.amount_minor,
                    "currency": quote.currency,
                    "charge_not_before": charge_not_before.isoformat(),
                    "lines": [line_data(line) for line in quote.lines],
                },
            ),
        ),
    )


def held(
    order: Order,
    reasons: Sequence[OrderReason],
    stage: Stage,
    now: datetime,
    data: Mapping[str, Any] | None = None,
    *,
    asks_condition: bool = False,
) -> Order:
    """An order that waits for something to be put right, or LAPSED once its window is over.

    One that waits for nothing but the payment of the order before waits for as long as that takes.
    """
    only_waits = set(reasons) == {OrderReason.PREVIOUS_UNPAID}
    if now >= order.hold_until_time and not only_waits:
        return replace(
            order,
            state=OrderState.LAPSED,
            reasons=(*dict.fromkeys(reasons), OrderReason.HOLD_EXPIRED),
            recheck_time=None,
            decisions=(
                _reasoned(
                    now, "LAPSED", f"This was not put right: {in_words(reasons)}.", reasons, data
                ),
            ),
        )
    found = (tuple(dict.fromkeys(reasons)), asks_condition)
    again = order.state is OrderState.HELD and (order.reasons, order.asks_condition) == found
    return replace(
        order,
        state=OrderState.HELD,
        reasons=tuple(dict.fromkeys(reasons)),
        collect_time=None,
        recheck_time=_recheck_time(order, now),
        held_stage=stage,
        asks_condition=asks_condition,
        # Looking again and finding the same is no news.
        decisions=() if again else (_reasoned(now, "HELD", _held_summary(reasons), reasons, data),),
    )


def _mandate_data(order: Order, findings: Findings) -> Mapping[str, Any] | None:
    if not findings.mandate_reasons:
        return None
    return {"mandate": order.terms.mandate, "mandate_reasons": list(findings.mandate_reasons)}


def mandate_reasons(order: Order) -> Sequence[str]:
    """Why the mandate does not cover an order that was just decided about, as payments names it."""
    for decision in reversed(order.decisions):
        if "mandate_reasons" in decision.data:
            return decision.data["mandate_reasons"]  # type: ignore[no-any-return]
    return ()


def _recheck_time(order: Order, now: datetime) -> datetime:
    recheck = now + HELD_RECHECK
    return min(recheck, order.hold_until_time) if order.hold_until_time > now else recheck


def _held_summary(reasons: Sequence[OrderReason]) -> str:
    if ASKING_REASONS.intersection(reasons):
        return f"The customer is asked whether they want it all the same: {in_words(reasons)}."
    if set(reasons) == {OrderReason.PREVIOUS_UNPAID}:
        return "It waits for the payment of the order before."
    return f"This is in the way: {in_words(reasons)}."


def in_words(reasons: Sequence[OrderReason]) -> str:
    """All reasons for people, each once."""
    return "; ".join(REASON_WORDS[reason] for reason in dict.fromkeys(reasons))


def asks(order: Order) -> bool:
    """Whether an order waits for the customer's yes."""
    asking = order.asks_condition or ASKING_REASONS.intersection(order.reasons)
    return order.state is OrderState.HELD and bool(asking)


def confirmed(order: Order, now: datetime) -> Order:
    """An order that the customer wants all the same: it is looked at again, and not asked again."""
    asking = ASKING_REASONS | ({OrderReason.CONDITION_NOT_MET} if order.asks_condition else set())
    agreed = tuple(reason for reason in order.reasons if reason in asking)
    return replace(
        order,
        recheck_time=now,
        confirmed_reasons=(*order.confirmed_reasons, *agreed),
        decisions=(_reasoned(now, "CONFIRMED", "The customer wants it all the same.", agreed),),
    )


def brought_forward(order: Order, local_date: date, now: datetime) -> Order:
    """An announced order that the customer wants at once: it is prepared again, without a lead."""
    return replace(
        order,
        state=OrderState.HELD,
        reasons=(),
        local_date=local_date,
        due_time=now,
        notice_lead=timedelta(),
        collect_time=None,
        recheck_time=now,
        held_stage=Stage.PREPARE,
        asks_condition=False,
        decisions=(Decision(now, "ORDERED_NOW", "The customer asked for it at once."),),
    )


def restored(order: Order, now: datetime) -> Order:
    """A cycle that the customer left out and wants again: it is prepared and announced again."""
    return replace(
        order,
        state=OrderState.HELD,
        reasons=(),
        collect_time=None,
        recheck_time=now,
        held_stage=Stage.PREPARE,
        asks_condition=False,
        decisions=(Decision(now, "RESTORED", "The customer wants the cycle after all."),),
    )


def skipped(
    order: Order, reason: OrderReason, now: datetime, data: Mapping[str, Any] | None = None
) -> Order:
    """An order of a cycle that is left out."""
    summary = {
        OrderReason.SKIPPED_BY_CUSTOMER: "The customer left this cycle out.",
        OrderReason.PAUSED: "The standing order was paused.",
        OrderReason.MISSED: "The cycle passed unbilled; only the latest one is caught up.",
        OrderReason.DATE_EXCLUDED: "The schedule leaves this date out.",
        OrderReason.PURCHASED_ELSEWHERE: "The customer bought a product of it elsewhere.",
        OrderReason.PRODUCT_UNAVAILABLE: "A product is off sale, and nothing was agreed on instead.",
    }[reason]
    return replace(
        order,
        state=OrderState.SKIPPED,
        reasons=(reason,),
        collect_time=None,
        recheck_time=None,
        decisions=(_reasoned(now, "SKIPPED", summary, (reason,), data),),
    )


def cancelled(order: Order, reason: OrderReason, now: datetime) -> Order:
    """An order that ended since its standing order was cancelled or paused."""
    return replace(
        order,
        state=OrderState.CANCELLED,
        reasons=(reason,),
        collect_time=None,
        recheck_time=None,
        decisions=(
            _reasoned(
                now, "CANCELLED", f"The order was cancelled: {in_words((reason,))}.", (reason,)
            ),
        ),
    )


def collected(
    order: Order, quote: Quote | None, problems: Sequence[OrderReason], now: datetime
) -> Order:
    """An order at its due time: to be paid, never above what was notified, or HELD."""
    if quote is None or problems or order.notified_minor is None:
        return held(order, problems, Stage.COLLECT, now)
    cheaper = is_cheaper(order, quote)
    amount = quote.amount_minor if cheaper else order.notified_minor
    return replace(
        order,
        state=OrderState.AWAITING_PAYMENT,
        reasons=(),
        lines=quote.lines if cheaper else order.lines,
        amount_minor=amount,
        collect_time=None,
        recheck_time=None,
        held_stage=None,
        decisions=(
            Decision(
                now,
                "COLLECTED",
                "The price fell since the notice; the lower one is charged."
                if cheaper
                else "The notified amount is charged.",
                {
                    "amount_minor": amount,
                    "currency": order.currency,
                    "notified_minor": order.notified_minor,
                    "quoted_minor": quote.amount_minor,
                },
            ),
        ),
    )


def mandate_changed(order: Order, mandate: str, now: datetime) -> Order:
    """An order that awaits payment and is charged under another mandate from its next attempt on."""
    summary = "The mandate was changed; the next attempt is made under the new one."
    return replace(
        order,
        terms=replace(order.terms, mandate=mandate),
        decisions=(Decision(now, "MANDATE_CHANGED", summary, {"mandate": mandate}),),
    )


def under_mandate(order: Order, mandate: str, now: datetime) -> Order:
    """An announced order that is charged under another mandate than the one it was announced with."""
    decision = Decision(
        now,
        "MANDATE_REPLACED",
        "The mandate of the notice does not cover it any more; the present one is used.",
        {"announced_mandate": order.terms.mandate, "mandate": mandate},
    )
    return replace(
        order,
        terms=replace(order.terms, mandate=mandate),
        decisions=(*order.decisions, decision),
    )


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
        replace(line, replaced=tuple(replaced[item.product])) if item.product in replaced else line
        for item, line in zip(order.items, quote.lines, strict=True)
    )
    return replace(quote, lines=tuple(lines))


def line_data(line: Line) -> dict[str, Any]:
    """A line as plain data."""
    return {
        "product": line.product,
        "title": line.title,
        "quantity": line.quantity,
        "unit_price_minor": line.unit_price_minor,
        "amount_minor": line.amount_minor,
        "price": line.price,
        "list_unit_price_minor": line.list_unit_price_minor,
        "basis": line.basis,
        "list_price": line.list_price,
        "replaced": [list(one) for one in line.replaced],
    }


def _reasoned(
    now: datetime,
    kind: str,
    summary: str,
    reasons: Sequence[OrderReason],
    data: Mapping[str, Any] | None = None,
) -> Decision:
    return Decision(
        now, kind, summary, {"reasons": [str(reason) for reason in reasons], **(data or {})}
    )
