"""Price versions of a product, and which of them a subscriber pays by. Pure functions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import pairwise
from operator import attrgetter
from typing import NamedTuple

from services.catalog.domain.products import MerchantId, PriceId, PriceKey, ProductId

BASIS_POINTS = 10_000
# By currency in which anything can be charged at all, of how many minor units an amount is a multiple.
AmountSteps = Mapping[str, int]
QUANTITY_MAX = 10_000


class TierMode(StrEnum):
    """How tiers count."""

    # All units cost what the tier of their number says.
    VOLUME = "VOLUME"
    # Each unit costs what its own tier says.
    GRADUATED = "GRADUATED"


class Tier(NamedTuple):
    """What one unit costs from a number of units on."""

    first_quantity: int
    unit_price_minor: int


@dataclass(frozen=True, slots=True)
class Price:
    """What a product costs from an instant on: one version of its price."""

    merchant: MerchantId
    product: ProductId
    price: PriceId
    unit_price_minor: int
    currency: str
    effective_time: datetime
    announce_time: datetime
    # Set: it never took effect.
    withdraw_time: datetime | None = None
    # Set with tiers.
    tier_mode: TierMode | None = None
    # Above the units that cost the unit price, in order.
    tiers: tuple[Tier, ...] = ()
    # What a standing order is given off.
    subscriber_discount_bps: int = 0
    version: int = 1

    @property
    def key(self) -> PriceKey:
        """Which it is."""
        return PriceKey(self.merchant, self.product, self.price)

    def list_minor(self, quantity: int) -> int:
        """What so many units cost at the price of one."""
        return self.unit_price_minor * quantity

    def tiered_minor(self, quantity: int) -> int:
        """What so many units cost by their tiers."""
        if self.tier_mode is TierMode.VOLUME:
            reached = [tier for tier in self.tiers if tier.first_quantity <= quantity]
            return (reached[-1].unit_price_minor if reached else self.unit_price_minor) * quantity
        total_minor, left = 0, quantity
        # From the last tier down, each has the units from its first on that are not counted yet.
        for tier in reversed(self.tiers):
            if tier.first_quantity <= left:
                total_minor += tier.unit_price_minor * (left - tier.first_quantity + 1)
                left = tier.first_quantity - 1
        return total_minor + self.unit_price_minor * left

    def discount_minor(self, tiered_minor: int) -> int:
        """What a standing order is given off an amount, rounded down."""
        return tiered_minor * self.subscriber_discount_bps // BASIS_POINTS

    def subscriber_minor(self, quantity: int) -> int:
        """What so many units cost in a standing order."""
        tiered_minor = self.tiered_minor(quantity) if self.tiers else self.list_minor(quantity)
        return tiered_minor - self.discount_minor(tiered_minor)


_EFFECTIVE_TIME = attrgetter("effective_time")


def in_force(prices: Sequence[Price], at: datetime) -> list[Price]:
    """The prices that have taken effect by an instant, the oldest first."""
    return sorted([p for p in prices if p.effective_time <= at], key=_EFFECTIVE_TIME)


def subscriber_price(
    prices: Sequence[Price],
    quantity: int,
    notice: timedelta,
    sign_up_time: datetime | None,
    at: datetime,
    announce_times: Sequence[datetime] = (),
) -> tuple[Price, int]:
    """The price for somebody who subscribed at `sign_up_time`, and what the units cost by it.

    Drops apply at once, rises after notice.

    Of the newest price whose notice period is over (or the one that the subscriber signed up to, if
    that is newer) and all later ones in force, it is the lowest for the quantity: each of them has been
    the subscriber's right, and a rise takes none of it away before its own notice is over.

    `prices` are those in force at `at`, the oldest first, and not empty. `announce_times` are when the
    subscriber was notified of each; without them, they count from their announcements.
    """
    last = len(prices) - 1
    settled = 0
    for index in range(last, 0, -1):
        price = prices[index]
        announce_time = announce_times[index] if announce_times else price.announce_time
        signed_up_to = sign_up_time is not None and price.effective_time <= sign_up_time
        if signed_up_to or announce_time + notice <= at:
            settled = index
            break
    lowest, lowest_minor = prices[last], prices[last].subscriber_minor(quantity)
    # Of equal prices the newest is named.
    for index in range(last - 1, settled - 1, -1):
        amount_minor = prices[index].subscriber_minor(quantity)
        if amount_minor < lowest_minor:
            lowest, lowest_minor = prices[index], amount_minor
    return lowest, lowest_minor


def is_dearer(price: Price, previous: Price) -> bool:
    """Whether a standing order of any quantity pays more by a price than by the one before."""
    return any(
        price.subscriber_minor(quantity) > previous.subscriber_minor(quantity)
        for quantity in _bounds(price) | _bounds(previous)
    )


def increase_since(prices: Sequence[Price], since: datetime) -> Price | None:
    """The first version that takes effect after an instant and is dearer than one before it."""
    earlier: dict[str, list[Price]] = {}
    for price in sorted(prices, key=lambda p: p.effective_time):
        before = earlier.setdefault(price.currency, [])
        if price.effective_time > since and any(is_dearer(price, other) for other in before):
            return price
        before.append(price)
    return None


def _bounds(price: Price) -> set[int]:
    """The first and the last quantity of each tier: between them, amounts are proportional."""
    firsts = [1, *(tier.first_quantity for tier in price.tiers), QUANTITY_MAX + 1]
    return {bound for first, following in pairwise(firsts) for bound in (first, following - 1)}


def subscriber_effective_time(price: Price, previous: Price | None, notice_days: int) -> datetime:
    """When a new price reaches all of those who have subscribed already."""
    if previous is None or not is_dearer(price, previous):
        return price.effective_time
    return max(price.effective_time, price.announce_time + timedelta(days=notice_days))
