"""Offers of price protection: who can accept one, and what it then promises."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.catalog.domain.offers import Offer, OfferFault, OfferId, OfferState, fault_of
from services.catalog.domain.products import MerchantId, ProductId
from services.catalog.domain.protections import Cap, Lock

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
