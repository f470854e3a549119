"""What a price version changes for those who have subscribed. Pure functions."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from services.catalog.domain.increase_notices import (
    NEVER,
    IncreaseNotice,
    announcement_of,
    notified_times,
)
from services.catalog.domain.offers import NO_OFFERS, Offers, agreed
from services.catalog.domain.prices import Price, in_force
from services.catalog.domain.pricing import (
    NO_REDEMPTIONS,
    AdjustmentKind,
    Cart,
    Line,
    increase_notice_of,
    quote,
    with_taxes,
)
from services.catalog.domain.products import Fault, PriceId, PriceKey, Product, ProductKey
from services.catalog.domain.promotions import Redemptions
from services.catalog.domain.protections import Lock, Protection, ProtectionKey
from services.catalog.domain.tax import TaxTable

# No price version that is stored has this id.
DRAFT = PriceId("-")


class PriceChange(NamedTuple):
    """A cart, and the price version of one of its products whose effect is asked for."""

    cart: Cart
    price: PriceKey
    # As if the customer were notified of it then, if they were not before.
    notice_time: datetime
    # The version, if it is not stored; its id is DRAFT.
    draft: Price | None = None


class Held(NamedTuple):
    """Until when an amount is kept from rising, up to a cycle and before an instant, and by what."""

    through_cycle: int = 0
    until_time: datetime | None = None
    by: AdjustmentKind | None = None


class ChangedAmount(NamedTuple):
    """What the units of a product cost with a price version, and without it."""

    currency: str
    amount_minor: int
    previous_minor: int
    held: Held
    notice: IncreaseNotice


def quote_change(
    change: PriceChange,
    products: Mapping[ProductKey, Product],
    prices: Mapping[ProductKey, Sequence[Price]],
    protections: Mapping[ProtectionKey, Protection],
    redemptions: Redemptions = NO_REDEMPTIONS,
    offers: Offers = NO_OFFERS,
    table: TaxTable | None = None,
) -> ChangedAmount | list[Fault]:
    """Price a cart and its taxes with a price version and without it, or say why there is no price."""
    cart, key = change.cart, change.price.product_key
    others = [price for price in prices.get(key, ()) if price.price != change.price.price]
    if change.draft is not None:
        prices = {**prices, key: [*others, change.draft]}
    protections = {**protections, **_with_notices(change, prices, protections)}
    amounts: list[int] = []
    kinds: set[AdjustmentKind] = set()
    currency = ""
    for known in ({**prices, key: others}, prices):
        priced = quote(cart, products, known, protections, redemptions, offers)
        result = with_taxes(cart, priced, table)
        faults = [line for line in result if isinstance(line, Fault)]
        if faults:
            return faults
        lines = [line for line in result if isinstance(line, Line) and line.item.key == key]
        amounts.append(sum(line.gross_minor for line in lines))
        currency = lines[0].currency if lines else currency
        kinds = {step.kind for line in lines for step in line.adjustments}
    previous_minor, amount_minor = amounts
    product = products[key]
    protection = protections.get(_protection_key(change))
    notice = increase_notice_of(cart, product, protection)
    own = [price for price in prices.get(key, ()) if price.currency == currency]
    if protection is not None:
        current = in_force(own, cart.price_time)
        protection = agreed(protection, cart.agreement, offers, current)
    held = _held(cart, own, protection, notice)
    if AdjustmentKind.PRICE_CAP in kinds:
        held = held._replace(by=AdjustmentKind.PRICE_CAP)
    return ChangedAmount(currency, amount_minor, previous_minor, held, notice)


def _protection_key(change: PriceChange) -> ProtectionKey:
    return ProtectionKey(change.price.merchant, change.cart.standing_order, change.price.product)


def _with_notices(
    change: PriceChange,
    prices: Mapping[ProductKey, Sequence[Price]],
    protections: Mapping[ProtectionKey, Protection],
) -> dict[ProtectionKey, Protection]:
    """What is known of the standing order if its customer has been notified of the price."""
    key = _protection_key(change)
    protection = protections.get(key)
    if protection is None:
        return {}
    versions = [p for p in prices.get(change.price.product_key, ()) if p.key == change.price]
    notified = dict.fromkeys(map(announcement_of, versions), change.notice_time)
    return {key: replace(protection, notified={**notified, **protection.notified})}


def _held(
    cart: Cart, prices: Sequence[Price], protection: Protection | None, notice: IncreaseNotice
) -> Held:
    """What ends next and lets the amount rise: the notice of an increase, then the protection.

    A lock keeps an amount from rising above that at sign-up: below it, a notice comes first.
    """
    current = in_force(prices, cart.price_time)
    announce_times = [price.announce_time for price in current]
    if protection is not None:
        signed_up = protection.sign_up_time
        times = notified_times(current, protection.notified, signed_up)
        announce_times = [
            announce_time
            for price, announce_time in zip(current, times, strict=True)
            if price.effective_time > signed_up
        ]
    ends = [announce_time + notice.period for announce_time in announce_times]
    waiting = [end for end in ends if cart.price_time < end < NEVER]
    if waiting and notice.min_days:
        return Held(until_time=min(waiting), by=AdjustmentKind.INCREASE_NOT_YET_NOTIFIED)
    match protection and protection.terms:
        case Lock(cycle_count, until_time) as lock if lock.holds(cart.cycle, cart.price_time):
            return Held(cycle_count or 0, until_time, AdjustmentKind.PRICE_LOCK)
    return Held()
