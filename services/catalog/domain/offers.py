"""Offers of price protection, which customers accept with their standing orders. Pure functions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from services.catalog.domain.prices import Price
from services.catalog.domain.products import MerchantId, ProductId
from services.catalog.domain.protections import Agreement, Cap, Lock, OfferId, Protection


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


Offers = Mapping[OfferKey, Offer]
NO_OFFERS: Offers = {}


def agreed(
    protection: Protection,
    agreement: Agreement | None,
    offers: Offers,
    prices: Sequence[Price],
) -> Protection:
    """What a product of a standing order signed up to, with what is promised of its price.

    `prices` are those of its currency in force when it is priced, the oldest first.
    """
    if agreement is None:
        return protection
    terms = _terms_for(protection, agreement, offers)
    if terms is None:
        return protection
    kept = protection.sign_up_price
    if agreement.agree_time > protection.sign_up_time:
        # As it was known then: a price can be added shortly after it takes effect.
        known = [
            price
            for price in prices
            if max(price.effective_time, price.announce_time) <= agreement.agree_time
        ]
        kept = known[-1].price if known else kept
    return replace(protection, terms=terms, offer=agreement.offer, sign_up_price=kept)


def _terms_for(protection: Protection, agreement: Agreement, offers: Offers) -> Lock | Cap | None:
    """What is promised of a product; nothing of one that the offer is not for, or not any more."""
    if not agreement.offer:
        return agreement.terms
    offer = offers.get(OfferKey(protection.merchant, agreement.offer))
    if offer is None or not protects(offer, protection.product, agreement, protection.sign_up_time):
        return None
    return offer.terms_from(agreement.first_cycle)


def protects(
    offer: Offer, product: ProductId, agreement: Agreement, sign_up_time: datetime
) -> bool:
    """Whether an offer that was accepted protects a product that was signed up to at an instant."""
    is_added = sign_up_time > agreement.agree_time
    return offer.is_for(product) and (offer.protects_added_products or not is_added)
