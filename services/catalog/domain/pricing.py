"""What an item costs a subscriber at an instant, step by step. Pure functions.

The list price comes first. Each step then looks at what the line has come to, and says what it adds or
takes off. The list amount and all adjustments are the amount of the line.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from services.catalog.domain.increase_notices import NO_RULES, IncreaseNotice, notified_times
from services.catalog.domain.offers import NO_OFFERS, Offers, agreed
from services.catalog.domain.prices import BASIS_POINTS, Price, in_force, subscriber_price
from services.catalog.domain.products import (
    STANDARD_CATEGORY,
    Fault,
    Item,
    ItemFault,
    PriceId,
    Product,
    ProductKey,
    ProductState,
    StandingOrderId,
    StandingOrderKey,
)
from services.catalog.domain.promotions import Discount, Redemptions
from services.catalog.domain.protections import (
    NO_OFFER,
    Agreement,
    Cap,
    Lock,
    OfferId,
    Protection,
    ProtectionKey,
)
from services.catalog.domain.rule_packs import RulePackKey
from services.catalog.domain.tax import Destination, Taxed, TaxTable
from services.runtime.money import AMOUNT_MINOR_MAX

NO_PRICE = PriceId("")


class AdjustmentKind(StrEnum):
    """What decided a step from the list amount of a line to its amount."""

    QUANTITY_TIER = "QUANTITY_TIER"
    SUBSCRIBER_DISCOUNT = "SUBSCRIBER_DISCOUNT"
    INCREASE_NOT_YET_NOTIFIED = "INCREASE_NOT_YET_NOTIFIED"
    PRICE_LOCK = "PRICE_LOCK"
    PRICE_CAP = "PRICE_CAP"
    PROMOTION = "PROMOTION"


# Tuples, since lines are made and compared more often than anything else.
class Adjustment(NamedTuple):
    """What a step adds to a line, or takes off it, and by which price version."""

    kind: AdjustmentKind
    amount_minor: int
    # Empty: of no other version than the step before.
    price: PriceId
    # The promotion that it is by, and its title; empty: by none.
    promotion: str = ""
    promotion_title: str = ""
    # INCREASE_NOT_YET_NOTIFIED: what asks for the notice; None: the product.
    rule: RulePackKey | None = None
    # What promised it; empty: the merchant's own grant. And the price version that it beat.
    offer: OfferId = NO_OFFER
    beaten_price: PriceId = NO_PRICE


class Line(NamedTuple):
    """An item with what it costs, and why."""

    item: Item
    title: str
    currency: str
    amount_minor: int
    price: PriceId
    list_amount_minor: int
    list_unit_price_minor: int
    list_price: PriceId
    adjustments: tuple[Adjustment, ...] = ()
    tax_category: str = STANDARD_CATEGORY
    # None: no tax is on it.
    taxed: Taxed | None = None
    # A service, which needs slots of a day.
    capacity_by_day: bool = False

    @property
    def net_minor(self) -> int:
        """What it costs before taxes."""
        return self.taxed.net_minor if self.taxed else self.amount_minor

    @property
    def gross_minor(self) -> int:
        """What the customer pays."""
        return self.taxed.gross_minor if self.taxed else self.amount_minor

    @property
    def unit_price_minor(self) -> int:
        """What one unit costs, rounded up to the minor unit."""
        return -(-self.amount_minor // self.item.quantity)


@dataclass(frozen=True, slots=True)
class Cart:
    """What to price, for whom and when."""

    standing_order: StandingOrderId
    cycle: int
    items: tuple[Item, ...]
    price_time: datetime
    # When the standing order is made, where its prices are not protected yet.
    sign_up_time: datetime | None = None
    # Where it goes: a country or its part, such as `DE` or `US-CA`; empty: unknown.
    region_code: str = ""
    # Empty: the one that all its products have a price in.
    currency: str = ""
    # The customer's; empty: a consumer.
    tax_id: str = ""
    # How it is protected; None: not.
    agreement: Agreement | None = None


class Facts(NamedTuple):
    """What decides the amount of a line."""

    quantity: int
    # The price versions of its currency in force, the oldest first; not empty.
    prices: Sequence[Price]
    increase_notice: timedelta
    protection: Protection | None
    sign_up_time: datetime | None
    cycle: int
    at: datetime
    # What the standing order has redeemed that is on in the cycle and for the product.
    discount: Discount | None = None
    # Of the amount that the promotion takes off the order, what it has not taken off a line before.
    amount_off_minor: int = 0
    # What asks for the notice of an increase; None: the product.
    notice_rule: RulePackKey | None = None
    # When the subscriber was notified of each price version; empty: when it was announced.
    announce_times: Sequence[datetime] = ()


# What a step makes of the amount that a line has come to; None: it changes nothing.
Step = Callable[[Facts, int], Adjustment | None]


def quantity_tier(facts: Facts, amount_minor: int) -> Adjustment | None:
    """So many units cost less each."""
    listed = facts.prices[-1]
    if not listed.tiers:
        return None
    tiered_minor = listed.tiered_minor(facts.quantity)
    return _at_most(amount_minor, tiered_minor, AdjustmentKind.QUANTITY_TIER, listed.price)


def subscriber_discount(facts: Facts, amount_minor: int) -> Adjustment | None:
    """A standing order is given something off the list price."""
    listed = facts.prices[-1]
    left_minor = amount_minor - listed.discount_minor(amount_minor)
    return _at_most(amount_minor, left_minor, AdjustmentKind.SUBSCRIBER_DISCOUNT, listed.price)


def increase_notice(facts: Facts, amount_minor: int) -> Adjustment | None:
    """An increase applies to those who have subscribed only after its notice."""
    if len(facts.prices) == 1:
        # The steps before have come to its amount.
        return None
    price, limit_minor = subscriber_price(
        facts.prices,
        facts.quantity,
        facts.increase_notice,
        facts.sign_up_time,
        facts.at,
        facts.announce_times,
    )
    kind = AdjustmentKind.INCREASE_NOT_YET_NOTIFIED
    held = _at_most(amount_minor, limit_minor, kind, price.price)
    return held and held._replace(rule=facts.notice_rule)


def price_protection(facts: Facts, amount_minor: int) -> Adjustment | None:
    """What the standing order was promised at sign-up is the most that it pays."""
    protection = facts.protection
    if protection is None or protection.terms is None:
        return None
    signed_up = next((p for p in facts.prices if p.price == protection.sign_up_price), None)
    if signed_up is None:
        # The instant lies before sign-up.
        return None
    sign_up_minor = signed_up.subscriber_minor(facts.quantity)
    match protection.terms:
        case Cap(increase_limit_bps):
            limit_minor = sign_up_minor * (BASIS_POINTS + increase_limit_bps) // BASIS_POINTS
            step = _at_most(amount_minor, limit_minor, AdjustmentKind.PRICE_CAP, signed_up.price)
        case Lock() as lock if lock.holds(facts.cycle, facts.at):
            step = _at_most(amount_minor, sign_up_minor, AdjustmentKind.PRICE_LOCK, signed_up.price)
        case _:
            return None
    return step and step._replace(offer=protection.offer)


def promotion(facts: Facts, amount_minor: int) -> Adjustment | None:
    """What the standing order has redeemed takes something off; a unit of money is left to pay."""
    redeemed = facts.discount
    if redeemed is None:
        return None
    share_minor = amount_minor * redeemed.percent_off_bps // BASIS_POINTS
    off_minor = min(share_minor + facts.amount_off_minor, amount_minor - 1)
    if not off_minor:
        return None
    kind = AdjustmentKind.PROMOTION
    return Adjustment(kind, -off_minor, NO_PRICE, redeemed.promotion, redeemed.title)


def _at_most(
    amount_minor: int, limit_minor: int, kind: AdjustmentKind, price: PriceId
) -> Adjustment | None:
    """What brings an amount down to a limit."""
    if limit_minor >= amount_minor:
        return None
    return Adjustment(kind, limit_minor - amount_minor, price)


STEPS: Sequence[Step] = (
    quantity_tier,
    subscriber_discount,
    increase_notice,
    price_protection,
    promotion,
)


def price_line(item: Item, title: str, facts: Facts) -> Line:
    """What an item costs: the list price, and what each step makes of it."""
    listed = facts.prices[-1]
    amount_minor = list_amount_minor = listed.list_minor(facts.quantity)
    price = listed.price
    adjustments: list[Adjustment] = []
    for step in STEPS:
        adjustment = step(facts, amount_minor)
        if adjustment is not None:
            if step is price_protection:
                adjustment = adjustment._replace(beaten_price=price)
            adjustments.append(adjustment)
            amount_minor += adjustment.amount_minor
            price = adjustment.price or price
    return Line(
        item,
        title,
        listed.currency,
        amount_minor,
        price,
        list_amount_minor,
        listed.unit_price_minor,
        listed.price,
        tuple(adjustments),
    )


NO_REDEMPTIONS: Redemptions = {}
# By product, its price versions in all currencies.
Prices = Mapping[ProductKey, Sequence[Price]]
# By currency, the price versions of a product that are in force, the oldest first.
Current = Mapping[str, Sequence[Price]]


def quote(
    cart: Cart,
    products: Mapping[ProductKey, Product],
    prices: Prices,
    protections: Mapping[ProtectionKey, Protection],
    redemptions: Redemptions = NO_REDEMPTIONS,
    offers: Offers = NO_OFFERS,
) -> list[Line] | list[Fault]:
    """Price a cart: its lines, or everything that is wrong with it."""
    current = {item.key: _current(prices.get(item.key, ()), cart.price_time) for item in cart.items}
    faults = [fault for item in cart.items if (fault := _fault(item, products, current[item.key]))]
    currency = cart.currency
    if not currency:
        priced = {item.key: current[item.key] for item in cart.items if current[item.key]}
        currency, lacking = _only_currency(priced)
        faults += [Fault(key, fault, _title(products, key)) for key, fault in lacking]
    off_sale = {
        fault.key: at
        for at, fault in enumerate(faults)
        if fault.fault is ItemFault.PRODUCT_DISCONTINUED
    }
    redeemed = _redeemed(cart, redemptions)
    amount_off_minor = redeemed.amount_off_minor if redeemed else 0
    lines: list[Line] = []
    total_minor = 0
    for item in cart.items:
        in_currency = current[item.key].get(currency)
        if in_currency is None:
            if cart.currency and current[item.key]:
                title = _title(products, item.key)
                faults.append(Fault(item.key, ItemFault.CURRENCY_MISMATCH, title))
            continue
        product = products.get(item.key)
        if product is None:
            continue
        is_discounted = redeemed is not None and redeemed.is_for(item.key.product)
        discount = redeemed if is_discounted else None
        facts = _facts(
            cart, item, product, in_currency, protections, offers, discount, amount_off_minor
        )
        line = _line_of(product, item, facts)
        if amount_off_minor:
            amount_off_minor -= min(amount_off_minor, _taken_off_minor(line))
        if item.key in off_sale:
            at = off_sale[item.key]
            faults[at] = replace(faults[at], amount_minor=line.amount_minor, currency=line.currency)
            continue
        total_minor += line.amount_minor
        if total_minor > AMOUNT_MINOR_MAX:
            faults.append(Fault(item.key, ItemFault.TOTAL_TOO_LARGE))
        lines.append(line)
    return faults or lines


def _line_of(product: Product, item: Item, facts: Facts) -> Line:
    line = price_line(item, product.title, facts)
    if product.tax_category != STANDARD_CATEGORY or product.capacity_by_day:
        return line._replace(
            tax_category=product.tax_category, capacity_by_day=product.capacity_by_day
        )
    return line


def _current(prices: Sequence[Price], at: datetime) -> Current:
    current: dict[str, list[Price]] = {}
    for price in in_force(prices, at):
        current.setdefault(price.currency, []).append(price)
    return current


def _fault(item: Item, products: Mapping[ProductKey, Product], current: Current) -> Fault | None:
    """What is wrong with an item in any currency."""
    product = products.get(item.key)
    if product is None:
        return Fault(item.key, ItemFault.PRODUCT_NOT_FOUND)
    if product.state is ProductState.DISCONTINUED:
        return Fault(item.key, ItemFault.PRODUCT_DISCONTINUED, product.title)
    return None if current else Fault(item.key, ItemFault.PRICE_NOT_FOUND, product.title)


def _only_currency(
    priced: Mapping[ProductKey, Current],
) -> tuple[str, list[tuple[ProductKey, ItemFault]]]:
    """The one currency that all products have a price in, or what is wrong with them."""
    common: frozenset[str] = frozenset()
    lacking: list[tuple[ProductKey, ItemFault]] = []
    for key, current in priced.items():
        narrowed = common.intersection(current) if common else frozenset(current)
        if narrowed:
            common = narrowed
        else:
            lacking.append((key, ItemFault.CURRENCY_MISMATCH))
    if len(common) > 1:
        lacking.append((next(iter(priced)), ItemFault.CURRENCY_NEEDED))
        return "", lacking
    return next(iter(common), ""), lacking


def _title(products: Mapping[ProductKey, Product], key: ProductKey) -> str:
    product = products.get(key)
    return product.title if product else ""


def _redeemed(cart: Cart, redemptions: Redemptions) -> Discount | None:
    """What the promotion of a cart's standing order takes off, while it is on."""
    merchant = cart.items[0].key.merchant
    redeemed = redemptions.get(StandingOrderKey(merchant, cart.standing_order))
    if redeemed is None or not redeemed.is_on(cart.cycle, cart.price_time):
        return None
    return redeemed.discount


def _taken_off_minor(line: Line) -> int:
    return sum(-a.amount_minor for a in line.adjustments if a.kind is AdjustmentKind.PROMOTION)


def increase_notice_of(
    cart: Cart, product: Product, protection: Protection | None
) -> IncreaseNotice:
    """What is asked of the notice of an increase where the cart goes, on the day it is due."""
    rules = protection.rules if protection else NO_RULES
    return rules.increase_notice(product, cart.region_code, cart.price_time.date())


def _facts(
    cart: Cart,
    item: Item,
    product: Product,
    current: Sequence[Price],
    protections: Mapping[ProtectionKey, Protection],
    offers: Offers,
    discount: Discount | None,
    amount_off_minor: int,
) -> Facts:
    key = ProtectionKey(item.key.merchant, cart.standing_order, item.key.product)
    protection = protections.get(key)
    if protection is not None:
        protection = agreed(protection, cart.agreement, offers, current)
    notice = increase_notice_of(cart, product, protection)
    announce_times: Sequence[datetime] = ()
    if protection is not None and notice.min_days and len(current) > 1:
        announce_times = notified_times(current, protection.notified, protection.sign_up_time)
    return Facts(
        item.quantity,
        current,
        notice.period,
        protection,
        protection.sign_up_time if protection else cart.sign_up_time,
        cart.cycle,
        cart.price_time,
        discount,
        amount_off_minor if discount else 0,
        notice.rule_pack,
        announce_times,
    )


def with_taxes(
    cart: Cart, result: list[Line] | list[Fault], table: TaxTable | None
) -> list[Line] | list[Fault]:
    """The lines of a cart with their taxes, or what is wrong with it: it can be too dear with them."""
    lines = [line for line in result if isinstance(line, Line)]
    if table is None or len(lines) < len(result):
        return result
    destination = Destination(cart.region_code, cart.tax_id)
    rates = [table.applying(destination, line.tax_category, cart.price_time) for line in lines]
    if not any(rates):
        return lines
    amounts_minor = [line.amount_minor for line in lines]
    taxes = table.taxed(amounts_minor, rates)
    if sum(line.gross_minor for line in taxes) > AMOUNT_MINOR_MAX:
        last = lines[-1]
        return [Fault(last.item.key, ItemFault.TOTAL_TOO_LARGE, last.title)]
    return [line._replace(taxed=tax) for line, tax in zip(lines, taxes, strict=True)]
