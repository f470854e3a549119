"""What is taken instead of a product that cannot be had: only what the customer agreed to. Pure."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from services.scheduler.domain.conditions import (
    Action,
    Condition,
    InStock,
    Outcome,
    UnitPriceCeiling,
)
from services.scheduler.domain.order import (
    QUANTITY_MAX,
    Decision,
    Item,
    Order,
    OrderReason,
    Quote,
    Substitute,
)


@dataclass(frozen=True, slots=True)
class Unpriced:
    """Why items have no price."""

    reasons: tuple[OrderReason, ...]
    # Product (id) -> its title, empty where there is no such product: those that have none.
    titles: Mapping[str, str]
    # What is off sale for good: of them, and of what was tried instead.
    discontinued: frozenset[str] = frozenset()
    # Product (id) -> why it has none, as the catalog names it.
    problems: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Missing:
    """Products (ids) that an order cannot have, with their titles, and why, in words and as data."""

    titles: Mapping[str, str]
    words: str
    data: Mapping[str, object]
    # Which conditions name what may be taken instead.
    kinds: tuple[type, ...] = (InStock, UnitPriceCeiling)


def missing(order: Order, answer: Quote | Unpriced, outcome: Outcome) -> Missing | None:
    """What an order cannot have and its customer may want something else for; None if nothing."""
    if isinstance(answer, Unpriced):
        names = ", ".join(title or product for product, title in answer.titles.items())
        data = {"reasons": [str(reason) for reason in answer.reasons]}
        return Missing(answer.titles, f"Not to be had: {names}.", data)
    if outcome.action is not Action.SUBSTITUTE:
        return None
    decisive = outcome.decisive
    titles = {
        item.product: line.title for item, line in zip(order.items, answer.lines, strict=True)
    }
    return Missing(
        {product: titles[product] for product in decisive.products},
        decisive.words,
        decisive.data,
        (type(decisive.condition.kind),),
    )


def substituted(
    order: Order,
    lacking: Missing,
    conditions: Sequence[Condition],
    refused: Collection[str],
    now: datetime,
) -> Order | None:
    """An order with what its customer wants most instead of what is missing; None: nothing is left.

    `refused` are products (ids) that were tried and could not be taken.
    """
    taken: dict[str, str] = {}
    substitutes = dict(order.substitutes)
    for product, title in lacking.titles.items():
        origins = [one for one, other in order.substitutes.items() if other.product == product]
        for origin in origins or [product]:
            candidates = _consented(conditions, origin, lacking.kinds)
            left = [one for one in candidates if one not in {origin, *lacking.titles, *refused}]
            if not left:
                return None
            known = order.substitutes.get(origin)
            substitutes[origin] = Substitute(left[0], known.title if known else title)
            taken[product] = left[0]
    quantities: dict[str, int] = {}
    for item in order.items:
        product = taken.get(item.product, item.product)
        quantities[product] = quantities.get(product, 0) + item.quantity
    if max(quantities.values()) > QUANTITY_MAX:
        return None
    instead = ", ".join(f"{other} instead of {product}" for product, other in taken.items())
    decision = Decision(
        now,
        "SUBSTITUTED",
        f"{lacking.words} It takes {instead}.",
        {**lacking.data, "substitutes": taken},
    )
    return replace(
        order,
        items=tuple(Item(product, quantity) for product, quantity in quantities.items()),
        substitutes=substitutes,
        decisions=(*order.decisions, decision),
    )


def takable(order: Order, quote: Quote) -> bool:
    """Whether substitutes may be taken at a price: never above what the customer was told."""
    told = order.notified_minor
    return told is None or (quote.currency == order.currency and quote.amount_minor <= told)


def is_discontinued(order: Order, answer: Unpriced, conditions: Sequence[Condition]) -> bool:
    """Whether an order lacks a product for good, with nothing that its customer agreed to instead."""
    for product in answer.discontinued.intersection(item.product for item in order.items):
        origins = [one for one, other in order.substitutes.items() if other.product == product]
        for origin in origins or [product]:
            left = set(_consented(conditions, origin, (InStock, UnitPriceCeiling)))
            if not left - answer.discontinued:
                return True
    return False


def _consented(conditions: Sequence[Condition], product: str, kinds: tuple[type, ...]) -> list[str]:
    """What may be taken instead of a product, in the customer's order."""
    return [
        one.otherwise.substitute
        for one in conditions
        if one.otherwise.action is Action.SUBSTITUTE
        and isinstance(one.kind, kinds)
        and (not isinstance(one.kind, UnitPriceCeiling) or one.kind.product == product)
    ]
