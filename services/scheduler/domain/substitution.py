"""What is taken instead of a product that cannot be had: only what the customer agreed to. Pure."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from services.scheduler.domain.conditions import (
    Action,
    Condition,
    InStock,
    Outcome,
    UnitPriceCeiling,
)
from services.scheduler.domain.ids import MerchantId
from services.scheduler.domain.order import (
    QUANTITY_MAX,
    Decision,
    Item,
    Order,
    OrderReason,
    Quote,
    Substitute,
)


class ItemAmount(NamedTuple):
    """What so many units of a product cost, in minor units."""

    amount_minor: int
    quantity: int
    currency: str

    def is_above(self, other: "ItemAmount") -> bool:
        """Whether a unit costs more than one of another product, or cannot be compared."""
        if self.currency != other.currency:
            return True
        return self.amount_minor * other.quantity > other.amount_minor * self.quantity


class DiscontinuedProduct(NamedTuple):
    """A product that went off sale for good."""

    merchant: MerchantId
    product: str
    title: str
    discontinue_time: datetime
    # The last standing order (its id) whose customer was notified.
    after: str = ""
    # The standing order (its id) that failed alone and is tried again; empty: all with the product.
    only: str = ""

    @property
    def walk(self) -> tuple[str, str, str]:
        """Whose customers are notified: the merchant, the product, and the one standing order."""
        return self.merchant, self.product, self.only


class Consent(NamedTuple):
    """That a customer takes a product instead of another one, and where."""

    substitute: str
    # Where a condition of this kind does not hold; `Item`: where the product of an item is missing.
    kind: type
    # Instead of which product; empty: of any.
    product: str = ""


@dataclass(frozen=True, slots=True)
class Unpriced:
    """Why items have no price."""

    reasons: tuple[OrderReason, ...]
    # Product (id) -> its title, empty where there is no such product: those that have none.
    titles: Mapping[str, str]
    # What is off sale for good, of them and of what was tried instead, or was dearer than agreed.
    ruled_out: frozenset[str] = frozenset()
    # Product (id) -> what is off sale for good would have cost.
    amounts: Mapping[str, ItemAmount] = field(default_factory=dict)
    # Product (id) -> why it has none, as the catalog names it.
    problems: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Missing:
    """Products (ids) that an order cannot have, with their titles, and why, in words and as data."""

    titles: Mapping[str, str]
    words: str
    data: Mapping[str, object]
    # Which consents count.
    kinds: tuple[type, ...] = (Item, InStock, UnitPriceCeiling)


def consents_of(conditions: Sequence[Condition], items: Sequence[Item] = ()) -> list[Consent]:
    """What the customer of a standing order agreed to take instead of something, in their order."""
    of_items = [
        Consent(substitute, Item, item.product) for item in items for substitute in item.substitutes
    ]
    return of_items + [
        Consent(condition.otherwise.substitute, type(kind), getattr(kind, "product", ""))
        for condition in conditions
        if condition.otherwise.action is Action.SUBSTITUTE
        for kind in (condition.kind,)
    ]


def missing(
    order: Order,
    answer: Quote | Unpriced,
    outcome: Outcome,
    short: Collection[str] = (),
    consents: Sequence[Consent] = (),
) -> Missing | None:
    """What an order cannot have and its customer may want something else for; None if nothing.

    `short` are the products of which there are too few.
    """
    if isinstance(answer, Unpriced):
        if OrderReason.TAX_UNAVAILABLE in answer.reasons:
            # It has a price; nothing else would be taxed now either.
            return None
        names = ", ".join(title or product for product, title in answer.titles.items())
        data = {"reasons": [str(reason) for reason in answer.reasons]}
        return Missing(answer.titles, f"Not to be had: {names}.", data)
    titles = {
        item.product: line.title for item, line in zip(order.items, answer.lines, strict=True)
    }
    if outcome.action is None:
        return _short_items(order, titles, short, consents)
    if outcome.action is not Action.SUBSTITUTE:
        return None
    decisive = outcome.decisive
    kind = type(decisive.condition.kind)
    return Missing(
        {product: titles[product] for product in decisive.products},
        decisive.words,
        decisive.data,
        (Item, kind) if kind is InStock else (kind,),
    )


def _short_items(
    order: Order, titles: Mapping[str, str], short: Collection[str], consents: Sequence[Consent]
) -> Missing | None:
    """Items that are out of stock, where each has something that was agreed on instead."""
    lacking = sorted(short)
    for product in lacking:
        if not all(_consented(consents, origin, (Item,)) for origin in _origins(order, product)):
            return None
    if not lacking:
        return None
    words = f"Too few in stock: {', '.join(lacking)}."
    data = {"kind": "in_stock", "short": lacking}
    return Missing({product: titles[product] for product in lacking}, words, data, (Item,))


def substituted(
    order: Order,
    lacking: Missing,
    consents: Sequence[Consent],
    refused: Collection[str],
    now: datetime,
) -> Order | None:
    """An order with what its customer wants most instead of what is missing; None: nothing is left.

    `refused` are products (ids) that were tried and could not be taken.
    """
    taken: dict[str, str] = {}
    substitutes = dict(order.substitutes)
    for product, title in lacking.titles.items():
        for origin in _origins(order, product):
            candidates = _consented(consents, origin, lacking.kinds)
            excluded = {origin, *lacking.titles, *refused}
            left = [candidate for candidate in candidates if candidate not in excluded]
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
    instead = ", ".join(
        f"{substitute} instead of {product}" for product, substitute in taken.items()
    )
    decision = Decision(
        now,
        "SUBSTITUTED",
        f"{lacking.words} It takes {instead}.",
        {**lacking.data, "substitutes": taken},
    )
    return order._replace(
        items=tuple(Item(product, quantity) for product, quantity in quantities.items()),
        substitutes=substitutes,
        decisions=(*order.decisions, decision),
    )


def takable(order: Order, quote: Quote) -> bool:
    """Whether substitutes may be taken at a price: never above the notified amount."""
    notified_minor = order.notified_minor
    return notified_minor is None or (
        quote.currency == order.currency and quote.amount_minor <= notified_minor
    )


def amounts_of(order: Order, answer: Quote | Unpriced) -> Mapping[str, ItemAmount]:
    """By product (id), what the items of an order cost, as far as it is known."""
    if isinstance(answer, Unpriced):
        return answer.amounts
    return {
        item.product: ItemAmount(line.amount_minor, line.quantity, answer.currency)
        for item, line in zip(order.items, answer.lines, strict=True)
    }


def dearer(
    before: Order,
    amounts: Mapping[str, ItemAmount],
    order: Order,
    quote: Quote,
    consents: Sequence[Consent],
) -> set[str]:
    """The substitutes of an order that cost more a unit than what they are taken for may.

    `before` is the order as it was first, and `amounts` what its items cost then. Those that only a
    condition names have the ceilings of conditions.
    """
    found = amounts_of(order, quote)
    above = set()
    for origin, (substitute, _) in order.substitutes.items():
        first = before.substitutes.get(origin)
        product = first.product if first else origin
        agreed = [c.kind for c in consents if c.substitute == substitute and c.product == origin]
        if product == substitute or Item not in agreed:
            continue
        if product not in amounts or found[substitute].is_above(amounts[product]):
            above.add(substitute)
    return above


def left_without(order: Order, answer: Unpriced, consents: Sequence[Consent]) -> tuple[str, ...]:
    """The products that an order lacks for good, with nothing that its customer agreed to instead."""
    gone = answer.ruled_out.intersection(item.product for item in order.items)
    return tuple(
        origin
        for product in sorted(gone)
        for origin in _origins(order, product)
        if answer.ruled_out.issuperset(
            _consented(consents, origin, (Item, InStock, UnitPriceCeiling))
        )
    )


def _origins(order: Order, product: str) -> list[str]:
    """The products that one is taken for in an order; itself if it is not taken for another."""
    taken_for = [origin for origin, taken in order.substitutes.items() if taken.product == product]
    return taken_for or [product]


def _consented(consents: Sequence[Consent], product: str, kinds: tuple[type, ...]) -> list[str]:
    """What may be taken instead of a product, in the customer's order."""
    return [
        consent.substitute
        for consent in consents
        if consent.kind in kinds and consent.product in {"", product}
    ]
