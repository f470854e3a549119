"""Conditions of a standing order: what must hold for a cycle to be billed, and whether it does. Pure.

Preparing, collecting and previewing a cycle all use `outcome_of`, with inputs as they are or will be.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Any

from services.scheduler.domain import expressions
from services.scheduler.domain.cel.meter import Meter
from services.scheduler.domain.order import Order, OrderReason, Quote

CONDITIONS_MAX = 10
DEFER_MAX_DAYS = 365
SINCE_LAST_ORDER_MAX_DAYS = 3650


class Action(StrEnum):
    """What happens where a condition does not hold."""

    SKIP = "SKIP"
    HOLD_AND_ASK = "HOLD_AND_ASK"
    DEFER = "DEFER"
    SUBSTITUTE = "SUBSTITUTE"


@dataclass(frozen=True, slots=True)
class Otherwise:
    """What happens where a condition does not hold, and how."""

    action: Action
    defer_days: int = 0
    # The id of a product; for SUBSTITUTE.
    substitute: str = ""


@dataclass(frozen=True, slots=True)
class UnitPriceCeiling:
    """One unit of a product (its id) costs at most this, in minor units."""

    product: str
    ceiling_minor: int
    currency: str


@dataclass(frozen=True, slots=True)
class TotalCeiling:
    """The cycle costs at most this, in minor units."""

    ceiling_minor: int
    currency: str


@dataclass(frozen=True, slots=True)
class InStock:
    """Every item is in stock."""


@dataclass(frozen=True, slots=True)
class MonthCeiling:
    """With this cycle, the paid orders of its calendar month come to at most this, in minor units."""

    ceiling_minor: int
    currency: str


@dataclass(frozen=True, slots=True)
class DaysSinceLastOrder:
    """The last paid order with one of the products is at least so many days ago."""

    days: int


@dataclass(frozen=True, slots=True)
class Expression:
    """A CEL expression is true."""

    source: str


Kind = UnitPriceCeiling | TotalCeiling | InStock | MonthCeiling | DaysSinceLastOrder | Expression


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that must hold for a cycle to be billed."""

    kind: Kind
    otherwise: Otherwise


@dataclass(frozen=True, slots=True)
class OrderHistory:
    """What a standing order's other cycles came to, as far as conditions ask."""

    paid_order_count: int = 0
    # (year, month, currency) -> minor units.
    spent_minor: Mapping[tuple[int, int, str], int] = field(default_factory=dict)
    # Product -> the date of the last order with it.
    last_dates: Mapping[str, date] = field(default_factory=dict)

    def with_order(self, order: Order, quote: Quote) -> "OrderHistory":
        """The history once an order has been paid too."""
        month = (order.local_date.year, order.local_date.month, quote.currency)
        spent = self.spent_minor.get(month, 0) + quote.amount_minor
        dates = dict.fromkeys((item.product for item in order.items), order.local_date)
        return OrderHistory(
            self.paid_order_count + 1,
            {**self.spent_minor, month: spent},
            {**self.last_dates, **dates},
        )


@dataclass(frozen=True, slots=True)
class Inputs:
    """What conditions are evaluated with."""

    quote: Quote
    history: OrderHistory = OrderHistory()
    # Products (ids) of which there are too few.
    short: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Unmet:
    """A condition that does not hold: why, in words and as data."""

    condition: Condition
    words: str
    data: Mapping[str, Any]
    # The products (ids) that a substitute would be for.
    products: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What conditions say of an order. The first that does not hold decides."""

    unmet: tuple[Unmet, ...] = ()
    # None: the order goes on.
    action: Action | None = None
    # How many conditions were evaluated.
    condition_count: int = 0

    @property
    def decisive(self) -> Unmet:
        """The condition that decided; only where there is an action."""
        return next(
            unmet for unmet in self.unmet if unmet.condition.otherwise.action is self.action
        )


NO_OUTCOME = Outcome()


def needs_history(conditions: Sequence[Condition]) -> bool:
    """Whether the standing order's other cycles have to be known."""
    return any(
        isinstance(condition.kind, MonthCeiling | DaysSinceLastOrder) for condition in conditions
    )


def needs_stock(conditions: Sequence[Condition]) -> bool:
    """Whether the stock has to be known."""
    return any(isinstance(condition.kind, InStock) for condition in conditions)


def has_expression(conditions: Sequence[Condition]) -> bool:
    """Whether evaluation takes longer than comparing some numbers."""
    return any(isinstance(condition.kind, Expression) for condition in conditions)


def outcome_of(conditions: Sequence[Condition], order: Order, inputs: Inputs) -> Outcome:
    """Evaluate the conditions of an order. What the customer has confirmed is not asked again."""
    meter = Meter(expressions.CONDITIONS_MAX_STEPS)
    agreed = OrderReason.CONDITION_NOT_MET in order.confirmed_reasons
    unmet = [
        evaluated
        for condition in conditions
        if (evaluated := _unmet(condition, order, inputs, meter))
        and not (agreed and condition.otherwise.action is Action.HOLD_AND_ASK)
    ]
    action = unmet[0].condition.otherwise.action if unmet else None
    return Outcome(tuple(unmet), action, len(conditions))


def _unmet(condition: Condition, order: Order, inputs: Inputs, meter: Meter) -> Unmet | None:
    quote = inputs.quote
    match condition.kind:
        case UnitPriceCeiling() as kind:
            return _unmet_unit_price(condition, kind, order, quote)
        case TotalCeiling(ceiling_minor, currency):
            words = "The total is above its ceiling."
            return _above(condition, words, quote.amount_minor, quote, ceiling_minor, currency)
        case MonthCeiling(ceiling_minor, currency):
            month = (order.local_date.year, order.local_date.month, currency)
            total = inputs.history.spent_minor.get(month, 0) + quote.amount_minor
            words = "With this order, the month's orders are above their ceiling."
            return _above(condition, words, total, quote, ceiling_minor, currency)
        case InStock():
            short = tuple(sorted(inputs.short.intersection(item.product for item in order.items)))
            data = {"kind": "in_stock", "short": list(short)}
            words = f"Too few in stock: {', '.join(short)}."
            return Unmet(condition, words, data, short) if short else None
        case DaysSinceLastOrder(days):
            return _unmet_last_order(condition, days, order, inputs.history)
        case Expression(source):
            return _unmet_expression(condition, source, order, inputs, meter)


def _unmet_unit_price(
    condition: Condition, kind: UnitPriceCeiling, order: Order, quote: Quote
) -> Unmet | None:
    # What was taken instead of the product must not be dearer either.
    substitute = order.substitutes.get(kind.product)
    product = substitute.product if substitute else kind.product
    for item, line in zip(order.items, quote.lines, strict=True):
        if item.product == product:
            words = f"A unit of {product} is above its ceiling."
            price = line.unit_price_minor
            above = _above(condition, words, price, quote, kind.ceiling_minor, kind.currency)
            return above and Unmet(
                condition, above.words, {**above.data, "product": product}, (product,)
            )
    return None


def _above(
    condition: Condition,
    words: str,
    amount_minor: int,
    quote: Quote,
    ceiling_minor: int,
    currency: str,
) -> Unmet | None:
    if quote.currency == currency and amount_minor <= ceiling_minor:
        return None
    data = {
        "kind": _NAMES[type(condition.kind)],
        "amount_minor": amount_minor,
        "ceiling_minor": ceiling_minor,
        "currency": quote.currency,
        "ceiling_currency": currency,
    }
    if quote.currency != currency:
        words = "The price is in another currency than the ceiling."
    return Unmet(condition, words, data)


def _unmet_last_order(
    condition: Condition, days: int, order: Order, history: OrderHistory
) -> Unmet | None:
    dates = {
        item.product: history.last_dates[item.product]
        for item in order.items
        if item.product in history.last_dates
    }
    soon = {
        product: last for product, last in dates.items() if (order.local_date - last).days < days
    }
    if not soon:
        return None
    data = {
        "kind": "days_since_last_order",
        "days": days,
        "last_dates": {product: last.isoformat() for product, last in soon.items()},
    }
    words = f"Ordered less than {days} days before: {', '.join(sorted(soon))}."
    return Unmet(condition, words, data)


def _unmet_expression(
    condition: Condition, source: str, order: Order, inputs: Inputs, meter: Meter
) -> Unmet | None:
    day = order.local_date
    variables = expressions.variables_of(
        inputs.quote,
        order.items,
        cycle=order.key.cycle,
        month_day_weekday=(day.month, day.day, day.isoweekday()),
        paid_orders=inputs.history.paid_order_count,
    )
    value = expressions.holds(source, variables, meter)
    if value:
        return None
    words = "The expression is not true." if value is False else "The expression has no value."
    return Unmet(condition, words, {"kind": "expression", "expression": source, **variables})


_NAMES: Mapping[type, str] = {
    UnitPriceCeiling: "unit_price_ceiling",
    TotalCeiling: "total_ceiling",
    MonthCeiling: "month_ceiling",
}
