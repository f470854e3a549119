"""Offers of price protection, which customers accept with their standing orders. Pure functions."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple, NewType

from services.catalog.domain.products import MerchantId, ProductId
from services.catalog.domain.protections import Cap, Lock

OfferId = NewType("OfferId", str)


class OfferState(StrEnum):
    """Whether an offer goes on."""

    ACTIVE = "ACTIVE"
    ENDED = "ENDED"


class OfferFault(StrEnum):
    """Why an offer cannot be accepted."""

    OFFER_NOT_FOUND = "OFFER_NOT_FOUND"
    OFFER_NOT_STARTED = "OFFER_NOT_STARTED"
    OFFER_ENDED = "OFFER_ENDED"
    OFFER_NOT_APPLICABLE = "OFFER_NOT_APPLICABLE"


class OfferKey(NamedTuple):
    """Which offer."""

    merchant: MerchantId
    offer: OfferId


@dataclass(frozen=True, slots=True)
class Offer:
    """How prices are protected, and who can have it."""

    merchant: MerchantId
    offer: OfferId
    title: str
    # A lock counts its cycles from the first one that it applies to.
    terms: Lock | Cap
    # Empty: all.
    products: Sequence[ProductId]
    # From when on, and until when, it can be accepted; None: without a limit.
    start_time: datetime | None
    end_time: datetime | None
    protects_added_products: bool
    survives_schedule_changes: bool
    create_time: datetime
    state: OfferState = OfferState.ACTIVE
    version: int = 1

    @property
    def key(self) -> OfferKey:
        """Which it is."""
        return OfferKey(self.merchant, self.offer)

    def is_for(self, product: ProductId) -> bool:
        """Whether it protects a product."""
        return not self.products or product in self.products

    def terms_from(self, first_cycle: int) -> Lock | Cap:
        """What it promises to who accepted it for the cycles from one on, with their numbers."""
        match self.terms:
            case Lock(cycle_count, until_time) if cycle_count is not None:
                return Lock(first_cycle + cycle_count - 1, until_time)
        return self.terms


def fault_of(offer: Offer | None, products: Sequence[ProductId], at: datetime) -> OfferFault | None:
    """Why an offer cannot be accepted for products at an instant."""
    if offer is None:
        return OfferFault.OFFER_NOT_FOUND
    # A lock until an instant that has come promises nothing any more.
    lock_end = offer.terms.until_time if isinstance(offer.terms, Lock) else None
    over = any(end is not None and end <= at for end in (offer.end_time, lock_end))
    if over or offer.state is OfferState.ENDED:
        return OfferFault.OFFER_ENDED
    if offer.start_time is not None and at < offer.start_time:
        return OfferFault.OFFER_NOT_STARTED
    if not any(map(offer.is_for, products)):
        return OfferFault.OFFER_NOT_APPLICABLE
    return None
