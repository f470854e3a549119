"""Offers of price protection: made by the merchant, accepted with a standing order."""

from datetime import timedelta
from typing import Any

import pytest
from recurring.catalog.v1 import catalog_pb2

from services.runtime.rpc.conversions import to_timestamp
from tests.contract.customer import Customer, new_customer
from tests.suite import Client, Suite, new_id, refused

Offer = catalog_pb2.PriceProtectionOffer
YEAR = catalog_pb2.PriceLock(cycle_count=12)


@pytest.fixture
async def ann(suite: Suite) -> Customer:
    return await new_customer(suite)


async def offer(
    shop: Client,
    offer_id: str = "held",
    **fields: Any,  # noqa: ANN401
) -> Offer:
    if not {"lock", "cap"} & set(fields):
        fields["lock"] = YEAR
    request = catalog_pb2.CreatePriceProtectionOfferRequest(
        parent=shop.name,
        price_protection_offer_id=offer_id,
        price_protection_offer=Offer(**{"title": offer_id.title(), **fields}),
        request_id=new_id(),
    )
    made: Offer = await shop.catalog.CreatePriceProtectionOffer(request)
    return made


async def end(shop: Client, offer_id: str = "held", etag: str = "") -> Offer:
    request = catalog_pb2.EndPriceProtectionOfferRequest(
        name=f"{shop.name}/priceProtectionOffers/{offer_id}", etag=etag, request_id=new_id()
    )
    ended: Offer = await shop.catalog.EndPriceProtectionOffer(request)
    return ended


async def get(shop: Client, offer_id: str = "held") -> Offer:
    request = catalog_pb2.GetPriceProtectionOfferRequest(
        name=f"{shop.name}/priceProtectionOffers/{offer_id}"
    )
    found: Offer = await shop.catalog.GetPriceProtectionOffer(request)
    return found


async def test_an_offer_is_as_it_was_wanted(suite: Suite) -> None:
    shop = suite.client()
    now = await suite.sandbox.now()
    wanted: dict[str, Any] = {
        "title": "Held for a year",
        "products": [f"{shop.name}/products/tea"],
        "start_time": to_timestamp(now + timedelta(days=1)),
        "end_time": to_timestamp(now + timedelta(days=9)),
        "protects_added_products": True,
        "survives_schedule_changes": True,
    }
    made = await offer(shop, lock=YEAR, **wanted)
    assert made == Offer(
        name=f"{shop.name}/priceProtectionOffers/held",
        lock=YEAR,
        state=Offer.ACTIVE,
        create_time=made.create_time,
        etag=made.etag,
        **wanted,
    )
    assert await get(shop) == made


async def test_a_cap_of_nothing_is_an_offer(suite: Suite) -> None:
    cap = catalog_pb2.PriceCap(increase_limit_bps=0)
    assert (await offer(suite.client(), cap=cap)).WhichOneof("kind") == "cap"


async def test_offers_are_listed_by_id_page_by_page(suite: Suite) -> None:
    shop = suite.client()
    made = [await offer(shop, offer_id) for offer_id in ("a", "c", "b")]
    request = catalog_pb2.ListPriceProtectionOffersRequest(parent=shop.name, page_size=2)
    first = await shop.catalog.ListPriceProtectionOffers(request)
    request.page_token = first.next_page_token
    rest = await shop.catalog.ListPriceProtectionOffers(request)
    pages = [list(page.price_protection_offers) for page in (first, rest)]
    assert (pages, rest.next_page_token) == ([[made[0], made[2]], [made[1]]], "")


async def test_an_offer_ends_for_good(suite: Suite) -> None:
    shop = suite.client()
    made = await offer(shop)
    ended = await end(shop, etag=made.etag)
    assert (ended.state, await end(shop)) == (Offer.ENDED, ended)
    stale = await refused(end(shop, etag=made.etag))
    assert (stale.code, stale.reason) == ("ABORTED", "ETAG_MISMATCH")


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"lock": None, "cap": None}, {"": "PROTECTION_MISSING"}),
        ({"lock": catalog_pb2.PriceLock()}, {"lock": "LOCK_END_MISSING"}),
        ({"lock": catalog_pb2.PriceLock(cycle_count=1001)}, {"lock.cycle_count": "FIELD_INVALID"}),
        (
            {"cap": catalog_pb2.PriceCap(increase_limit_bps=100_001)},
            {"cap.increase_limit_bps": "FIELD_INVALID"},
        ),
        (
            {"cap": catalog_pb2.PriceCap(increase_limit_bps=-1)},
            {"cap.increase_limit_bps": "FIELD_INVALID"},
        ),
        ({"title": ""}, {"title": "FIELD_INVALID"}),
        ({"products": ["merchants/other/products/tea"]}, {"products[0]": "FIELD_INVALID"}),
    ],
)
async def test_what_is_wrong_with_an_offer(
    suite: Suite, fields: dict[str, Any], why: dict[str, str]
) -> None:
    refusal = await refused(offer(suite.client(), **fields))
    expected = {f"price_protection_offer.{field}".rstrip("."): why for field, why in why.items()}
    assert refusal.fields == expected


async def test_an_offer_has_one_end_that_is_to_come(suite: Suite) -> None:
    shop, now = suite.client(), await suite.sandbox.now()
    later = to_timestamp(now + timedelta(days=9))
    both = catalog_pb2.PriceLock(cycle_count=3, until_time=later)
    past = catalog_pb2.PriceLock(until_time=to_timestamp(now - timedelta(days=1)))
    fields = [
        (await refused(offer(shop, **wrong))).fields
        for wrong in (
            {"lock": both},
            {"lock": past},
            {"end_time": to_timestamp(now)},
            {"start_time": later, "end_time": later},
        )
    ]
    assert fields == [
        {"price_protection_offer.lock": "LOCK_END_AMBIGUOUS"},
        {"price_protection_offer.lock.until_time": "FIELD_INVALID"},
        {"price_protection_offer.end_time": "FIELD_INVALID"},
        {"price_protection_offer.end_time": "FIELD_INVALID"},
    ]


async def test_an_offer_that_there_is_and_one_that_there_is_not(suite: Suite) -> None:
    shop = suite.client()
    await offer(shop)
    taken = await refused(offer(shop))
    assert taken.reason == "PRICE_PROTECTION_OFFER_ALREADY_EXISTS"
    for absent in (get(shop, "gone"), end(shop, "gone")):
        assert (await refused(absent)).reason == "PRICE_PROTECTION_OFFER_NOT_FOUND"
