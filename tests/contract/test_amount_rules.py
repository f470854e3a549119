"""Prices in amounts that the payment provider takes, and nothing else."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from google.protobuf import field_mask_pb2
from recurring.catalog.v1 import catalog_pb2 as pb

from services.runtime.rpc.conversions import to_money, to_timestamp
from tests.suite import Client, Suite, new_id, refused

# Ghana's cedi is a currency of ISO 4217 in which the provider does not charge.
NOT_CHARGED = "GHS"


@pytest.fixture
async def shop(suite: Suite) -> Client:
    """A merchant with tea."""
    shop = suite.client()
    await shop.catalog.CreateProduct(
        pb.CreateProductRequest(
            parent=shop.name,
            product_id="tea",
            product=pb.Product(title="Tea"),
            request_id=new_id(),
        )
    )
    return shop


def price(minor: int, currency: str, *tiers: int) -> pb.Price:
    return pb.Price(
        unit_price=to_money(minor, currency),
        tiers=[
            pb.PriceTier(first_quantity=10 * number, unit_price=to_money(tier, currency))
            for number, tier in enumerate(tiers, start=1)
        ],
        tier_mode=pb.Price.VOLUME if tiers else pb.Price.TIER_MODE_UNSPECIFIED,
    )


async def create(shop: Client, price: pb.Price, price_id: str = "first") -> pb.Price:
    request = pb.CreatePriceRequest(
        parent=f"{shop.name}/products/tea", price_id=price_id, price=price, request_id=new_id()
    )
    made: pb.Price = await shop.catalog.CreatePrice(request)
    return made


@pytest.mark.parametrize(
    ("minor", "currency"),
    [(1, "EUR"), (10, "KWD"), (100, "MGA"), (1, "ISK"), (1, "JPY"), (1_500_000_00, "IDR")],
)
async def test_a_unit_price_may_be_below_the_least_charge(
    shop: Client, minor: int, currency: str
) -> None:
    assert (await create(shop, price(minor, currency))).unit_price == to_money(minor, currency)


@pytest.mark.parametrize(("minor", "currency"), [(1_234, "KWD"), (50, "MGA")])
async def test_a_price_between_two_steps_is_refused_and_the_step_named(
    shop: Client, minor: int, currency: str
) -> None:
    refusal = await refused(create(shop, price(minor, currency)))
    assert (refusal.code, refusal.reason) == ("INVALID_ARGUMENT", "AMOUNT_NOT_CHARGEABLE")
    assert refusal.fields == {"price.unit_price": "AMOUNT_NOT_CHARGEABLE"}
    assert {"KWD": "0.010 KWD", "MGA": "1.00 MGA"}[currency] in refusal.message


async def test_a_tier_between_two_steps_is_refused(shop: Client) -> None:
    refusal = await refused(create(shop, price(1_230, "KWD", 1_220, 1_215)))
    assert refusal.fields == {"price.tiers[1].unit_price": "AMOUNT_NOT_CHARGEABLE"}


async def test_a_price_in_a_currency_that_is_never_charged_is_refused(shop: Client) -> None:
    refusal = await refused(create(shop, price(1_000, NOT_CHARGED)))
    assert refusal.fields == {"price.unit_price.currency_code": "CURRENCY_NOT_CHARGEABLE"}


async def test_every_entry_of_a_batch_that_is_not_chargeable_is_named(shop: Client) -> None:
    parent = f"{shop.name}/products/tea"
    wanted = (price(1_230, "KWD"), price(1_234, "KWD"), price(1_000, NOT_CHARGED))
    request = pb.BatchCreatePricesRequest(
        parent=shop.name,
        entries=[
            pb.NewPrice(parent=parent, price_id=f"p{number}", price=entry)
            for number, entry in enumerate(wanted)
        ],
        request_id=new_id(),
    )
    refusal = await refused(shop.catalog.BatchCreatePrices(request))
    assert refusal.fields == {
        "entries[1].price.unit_price": "AMOUNT_NOT_CHARGEABLE",
        "entries[2].price.unit_price.currency_code": "CURRENCY_NOT_CHARGEABLE",
    }


async def test_a_price_is_not_corrected_to_what_cannot_be_charged(
    suite: Suite, shop: Client
) -> None:
    later = price(1_230, "KWD")
    later.effective_time.CopyFrom(to_timestamp(await suite.sandbox.now() + timedelta(days=1)))
    made = await create(shop, later)
    request = pb.UpdatePriceRequest(
        price=pb.Price(name=made.name, unit_price=to_money(1_234, "KWD")),
        update_mask=field_mask_pb2.FieldMask(paths=["unit_price"]),
        request_id=new_id(),
    )
    refusal = await refused(shop.catalog.UpdatePrice(request))
    assert refusal.fields == {"price.unit_price": "AMOUNT_NOT_CHARGEABLE"}


async def test_a_row_that_is_not_chargeable_is_a_problem_of_an_import(shop: Client) -> None:
    async def sent() -> AsyncIterator[pb.ImportPricesRequest]:
        yield pb.ImportPricesRequest(config=pb.ImportConfig(parent=shop.name))
        row = pb.NewPrice(
            parent=f"{shop.name}/products/tea", price_id="p1", price=price(1_234, "KWD")
        )
        yield pb.ImportPricesRequest(row=row)

    response = await shop.catalog.ImportPrices(sent(), metadata=shop.metadata)
    [problem] = response.problems
    assert (problem.field, problem.reason) == ("price.unit_price", "AMOUNT_NOT_CHARGEABLE")
