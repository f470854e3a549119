"""What a standing order was promised of its prices. Pure functions."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, NewType

from services.catalog.domain.increase_notices import NO_RULES, Announcement, MerchantRules
from services.catalog.domain.products import MerchantId, PriceId, ProductId, StandingOrderId

OfferId = NewType("OfferId", str)
NO_OFFER = OfferId("")


@dataclass(frozen=True, slots=True)
class Lock:
    """Never above the kept price up to a cycle, or until an instant."""

    cycle_count: int | None
    until_time: datetime | None

    def holds(self, cycle: int, at: datetime) -> bool:
        """Whether it holds in a cycle that is due at an instant."""
        by_cycle = self.cycle_count is not None and cycle <= self.cycle_count
        by_time = self.until_time is not None and at < self.until_time
        return by_cycle or by_time


@dataclass(frozen=True, slots=True)
class Cap:
    """Never above the kept price plus a share of it, in basis points."""

    increase_limit_bps: int


@dataclass(frozen=True, slots=True)
class Agreement:
    """How a standing order is protected from a cycle on."""

    # None: by an offer, or not at all.
    terms: Lock | Cap | None
    offer: OfferId
    first_cycle: int
    # The prices in force then are kept.
    agree_time: datetime


class ProtectionKey(NamedTuple):
    """Which product of which standing order."""

    merchant: MerchantId
    standing_order: StandingOrderId
    product: ProductId


@dataclass(frozen=True, slots=True)
class Protection:
    """What a standing order signed up to, and what it was promised of it."""

    merchant: MerchantId
    standing_order: StandingOrderId
    product: ProductId
    # The price version in force at sign-up, or the one that is kept in its place.
    sign_up_price: PriceId
    sign_up_time: datetime
    terms: Lock | Cap | None = None
    # What promised them; empty: the merchant's own grant.
    offer: OfferId = NO_OFFER
    # When the customer was notified of price versions.
    notified: Mapping[Announcement, datetime] = field(default_factory=dict)
    # What else asks for a notice of increases.
    rules: MerchantRules = NO_RULES

    @property
    def key(self) -> ProtectionKey:
        """Which it is."""
        return ProtectionKey(self.merchant, self.standing_order, self.product)
