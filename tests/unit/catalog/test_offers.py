"""Offers of price protection: who can accept one, and what it then promises."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.catalog.domain.offers import Offer, OfferFault, OfferState, agreed, fault_of
from services.catalog.domain.prices import Price
from services.catalog.domain.products import MerchantId, PriceId, ProductId, StandingOrderId
from services.catalog.domain.protections import NO_OFFER, Agreement, Cap, Lock, OfferId, Protection

NOW = datetime(2027, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
TEA, MUG = ProductId("tea"), ProductId("mug")
Times = st.none() | st.integers(-3, 3).map(lambda days: NOW + days * DAY)


def offer(
    terms: Lock | Cap = Lock(12, None),  # noqa: B008 - a frozen value
    start_time: datetime | None = None,
    end_time: datetime | None = None,
    products: tuple[ProductId, ...] = (),
    state: OfferState = OfferState.ACTIVE,
) -> Offer:
    return Offer(
        merchant=MerchantId("acme"),
        offer=OfferId("held"),
        title="Held",
        terms=terms,
        products=products,
        start_time=start_time,
        end_time=end_time,
        protects_added_products=False,
        survives_schedule_changes=False,
        create_time=NOW,
        state=state,
    )


@given(start_time=Times, end_time=Times, until_time=Times)
def test_an_offer_is_accepted_while_it_is_open_and_promises_something(
    start_time: datetime | None, end_time: datetime | None, until_time: datetime | None
) -> None:
    terms = Lock(None, until_time) if until_time else Lock(12, None)
    is_open = (
        (start_time is None or start_time <= NOW)
        and (end_time is None or end_time > NOW)
        and (until_time is None or until_time > NOW)
    )
    assert (fault_of(offer(terms, start_time, end_time), [TEA], NOW) is None) == is_open


@pytest.mark.parametrize(
    ("present", "fault"),
    [
        (None, OfferFault.OFFER_NOT_FOUND),
        (offer(state=OfferState.ENDED), OfferFault.OFFER_ENDED),
        (offer(end_time=NOW), OfferFault.OFFER_ENDED),
        (offer(Lock(None, NOW)), OfferFault.OFFER_ENDED),
        (offer(start_time=NOW + DAY), OfferFault.OFFER_NOT_STARTED),
        (offer(products=(MUG,)), OfferFault.OFFER_NOT_APPLICABLE),
        (offer(products=(MUG, TEA)), None),
    ],
)
def test_why_an_offer_cannot_be_accepted(present: Offer | None, fault: OfferFault | None) -> None:
    assert fault_of(present, [TEA], NOW) == fault


@given(count=st.integers(1, 1000), first=st.integers(1, 1000), cycle=st.integers(1, 3000))
def test_a_lock_holds_for_so_many_cycles_from_the_first_that_it_applies_to(
    count: int, first: int, cycle: int
) -> None:
    terms = offer(Lock(count, None)).terms_from(first)
    assert isinstance(terms, Lock)
    assert terms.holds(cycle, NOW) == (cycle < first + count)


SIGN_UP = Protection(MerchantId("acme"), StandingOrderId("weekly"), TEA, PriceId("p0"), NOW)


def price(name: str, days: int, announced: int | None = None) -> Price:
    """A price version in force from a day on."""
    announce_time = NOW + (days if announced is None else announced) * DAY
    return Price(SIGN_UP.merchant, TEA, PriceId(name), 1000, "EUR", NOW + days * DAY, announce_time)


PRICES = [price("p0", -9), price("p1", 2), price("p2", 4)]


def accepted(days: int, **fields: Any) -> Protection:  # noqa: ANN401
    """What the tea that was signed up to now is promised by an offer that was accepted on a day."""
    present = replace(offer(), **fields)
    agreement = Agreement(None, present.offer, 5, NOW + days * DAY)
    return agreed(SIGN_UP, agreement, {present.key: present}, PRICES)


@pytest.mark.parametrize(("days", "kept"), [(0, "p0"), (1, "p0"), (2, "p1"), (3, "p1"), (9, "p2")])
def test_the_price_in_force_when_an_offer_is_accepted_is_kept(days: int, kept: str) -> None:
    protection = accepted(days)
    assert (protection.sign_up_price, protection.terms) == (kept, Lock(16, None))
    assert (protection.offer, protection.sign_up_time) == ("held", NOW)


def test_a_price_that_was_added_after_it_took_effect_was_not_known_before() -> None:
    agreement = Agreement(Cap(0), NO_OFFER, 1, NOW + 3 * DAY)
    late = [*PRICES[:2], price("late", 3, announced=4)]
    assert agreed(SIGN_UP, agreement, {}, late).sign_up_price == "p1"


def test_a_product_that_the_offer_is_not_for_is_promised_nothing() -> None:
    assert accepted(1, products=(MUG,)) == SIGN_UP


@pytest.mark.parametrize("protects", [True, False])
def test_a_product_that_came_later_is_promised_what_the_offer_says(*, protects: bool) -> None:
    added = accepted(-1, protects_added_products=protects)
    assert (added.sign_up_price, added.terms) == ("p0", Lock(16, None) if protects else None)
