"""What a product costs a subscriber at an instant. Pure functions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from services.catalog.domain.products import (
    Fault,
    Item,
    ItemFault,
    MerchantId,
    PriceId,
    PriceKey,
    Product,
    ProductId,
    ProductKey,
    ProductState,
    StandingOrderId,
)
from services.runtime.money import AMOUNT_MINOR_MAX

BASIS_POINTS = 10_000


class Basis(StrEnum):
    """What decided a unit price."""

    LIST_PRICE = "LIST_PRICE"
    INCREASE_NOT_YET_NOTIFIED = "INCREASE_NOT_YET_NOTIFIED"
    PRICE_LOCK = "PRICE_LOCK"
    PRICE_CAP = "PRICE_CAP"


@dataclass(frozen=True, slots=True)
class Price:
    """What one unit costs from an instant on."""

    merchant: MerchantId
    product: ProductId
    price: PriceId
    amount_minor: int
    currency: str
    effective_time: datetime
    announce_time: datetime
    # Set: it never took effect.
    withdraw_time: datetime | None = None

    @property
    def key(self) -> PriceKey:
        """Which it is."""
        return PriceKey(self.merchant, self.product, self.price)

    @property
    def version(self) -> int:
        """A price changes once at most."""
        return 1 if self.withdraw_time is None else 2


@dataclass(frozen=True, slots=True)
class Lock:
    """Never above the sign-up price for the first cycles or until an instant, whichever holds."""

    cycle_count: int | None
    until_time: datetime | None


@dataclass(frozen=True, slots=True)
class Cap:
    """Never above the sign-up price plus a share of it, in basis points."""

    increase_limit_bps: int


class ProtectionKey(NamedTuple):
    """Which product of which standing order."""

    merchant: MerchantId
    standing_order: StandingOrderId
    product: ProductId


@dataclass(frozen=True, slots=True)
class Protection:
    """What a standing order was promised for one product when it was made."""

    sign_up_amount_minor: int
    # The price version that gave it.
    sign_up_price: PriceId
    sign_up_time: datetime
    terms: Lock | Cap | None


@dataclass(frozen=True, slots=True)
class SignUpPrice:
    """What is remembered of a product's price when a standing order is made."""

    merchant: MerchantId
    standing_order: StandingOrderId
    product: ProductId
    sign_up_amount_minor: int
    # The price version that gave it.
    sign_up_price: PriceId
    currency: str
    sign_up_time: datetime
    terms: Lock | Cap | None

    @property
    def key(self) -> ProtectionKey:
        """Which it is."""
        return ProtectionKey(self.merchant, self.standing_order, self.product)


class UnitPrice(NamedTuple):
    """What a subscriber pays for one unit, by which price version, and the list price beside it."""

    amount_minor: int
    list_amount_minor: int
    currency: str
    price: PriceId
    list_price: PriceId
    basis: Basis


@dataclass(frozen=True, slots=True)
class Line:
    """An item with its price."""

    item: Item
    title: str
    unit: UnitPrice

    @property
    def amount_minor(self) -> int:
        """What the line costs."""
        return self.unit.amount_minor * self.item.quantity


@dataclass(frozen=True, slots=True)
class Cart:
    """What to price, for whom and when."""

    standing_order: StandingOrderId
    cycle: int
    items: tuple[Item, ...]
    price_time: datetime


def in_force(prices: Sequence[Price], at: datetime) -> list[Price]:
    """The prices that have taken effect by an instant, the oldest first."""
    return sorted((p for p in prices if p.effective_time <= at), key=lambda p: p.effective_time)


def subscriber_price(
    prices: Sequence[Price], notice_days: int, sign_up_time: datetime | None, at: datetime
) -> Price:
    """The price for somebody who subscribed at `sign_up_time`: drops at once, rises after notice.

    Of the newest price whose notice period is over (or the one that the subscriber signed up to, if
    that is newer) and all later ones in force, it is the lowest: each of them has been the subscriber's
    right, and a rise takes none of it away before its own notice is over.

    `prices` are those in force at `at`, the oldest first, and not empty.
    """
    notice = timedelta(days=notice_days)
    settled = 0
    for index, price in enumerate(prices):
        signed_up_to = sign_up_time is not None and price.effective_time <= sign_up_time
        if signed_up_to or price.announce_time + notice <= at:
            settled = index
    # Of equal prices the newest is named.
    return min(reversed(prices[settled:]), key=lambda p: p.amount_minor)


def ceiling(protection: Protection, cycle: int, at: datetime) -> tuple[int, Basis] | None:
    """What the protection allows at most for one unit in a cycle; None when it does not apply."""
    terms = protection.terms
    if isinstance(terms, Cap):
        limit = protection.sign_up_amount_minor * (BASIS_POINTS + terms.increase_limit_bps)
        return limit // BASIS_POINTS, Basis.PRICE_CAP
    if isinstance(terms, Lock):
        by_cycle = terms.cycle_count is not None and cycle <= terms.cycle_count
        by_time = terms.until_time is not None and at < terms.until_time
        if by_cycle or by_time:
            return protection.sign_up_amount_minor, Basis.PRICE_LOCK
    return None


def unit_price(
    prices: Sequence[Price],
    notice_days: int,
    protection: Protection | None,
    cycle: int,
    at: datetime,
) -> UnitPrice | None:
    """What a subscriber pays for one unit in a cycle; None when no price is in force."""
    current = in_force(prices, at)
    if not current:
        return None
    listed = current[-1]
    sign_up_time = protection.sign_up_time if protection else None
    chosen = subscriber_price(current, notice_days, sign_up_time, at)
    amount, basis, price = chosen.amount_minor, Basis.LIST_PRICE, chosen.price
    if chosen.amount_minor < listed.amount_minor:
        basis = Basis.INCREASE_NOT_YET_NOTIFIED
    limit = ceiling(protection, cycle, at) if protection else None
    if protection and limit is not None and limit[0] < amount:
        (amount, basis), price = limit, protection.sign_up_price
    return UnitPrice(amount, listed.amount_minor, listed.currency, price, listed.price, basis)


def quote(
    cart: Cart,
    products: Mapping[ProductKey, Product],
    prices: Mapping[ProductKey, Sequence[Price]],
    protections: Mapping[ProtectionKey, Protection],
) -> list[Line] | list[Fault]:
    """Price a cart: its lines, or everything that is wrong with it."""
    lines: list[Line] = []
    faults: list[Fault] = []
    total_minor = 0
    for item in cart.items:
        product = products.get(item.key)
        if product is None:
            faults.append(Fault(item.key, ItemFault.PRODUCT_NOT_FOUND))
            continue
        if product.state is ProductState.DISCONTINUED:
            faults.append(Fault(item.key, ItemFault.PRODUCT_DISCONTINUED, product.title))
            continue
        unit = unit_price(
            prices.get(item.key, ()),
            product.increase_notice_days,
            protections.get(
                ProtectionKey(item.key.merchant, cart.standing_order, item.key.product)
            ),
            cart.cycle,
            cart.price_time,
        )
        if unit is None:
            faults.append(Fault(item.key, ItemFault.PRICE_NOT_FOUND, product.title))
        elif lines and unit.currency != lines[0].unit.currency:
            faults.append(Fault(item.key, ItemFault.CURRENCY_MISMATCH, product.title))
        else:
            line = Line(item, product.title, unit)
            total_minor += line.amount_minor
            if total_minor > AMOUNT_MINOR_MAX:
                faults.append(Fault(item.key, ItemFault.TOTAL_TOO_LARGE))
            lines.append(line)
    return faults or lines


def subscriber_effective_time(price: Price, previous: Price | None, notice_days: int) -> datetime:
    """When a new price reaches those who have subscribed already."""
    if previous is None or price.amount_minor <= previous.amount_minor:
        return price.effective_time
    return max(price.effective_time, price.announce_time + timedelta(days=notice_days))
