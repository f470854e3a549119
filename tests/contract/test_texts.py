# ruff: noqa: RUF001 - texts in many scripts
"""What people write, as platforms send it and read it again."""

import pytest
from google.type.postal_address_pb2 import PostalAddress
from recurring.catalog.v1 import catalog_pb2
from recurring.payments.v1 import payments_pb2

from tests.contract.customer import Customer, new_customer
from tests.suite import Client, Suite, new_id, refused

CARD = "4242 4242 4242 4242"


@pytest.fixture
def shop(suite: Suite) -> Client:
    return suite.client()


async def create(shop: Client, title: str) -> catalog_pb2.Product:
    request = catalog_pb2.CreateProductRequest(
        parent=shop.name,
        product_id="tea",
        product=catalog_pb2.Product(title=title),
        request_id=new_id(),
    )
    made: catalog_pb2.Product = await shop.catalog.CreateProduct(request)
    return made


@pytest.mark.parametrize("title", ["می\u200cخواهم", "ශ්\u200dරී ලංකා", "👩🏽\u200d🚀 tea", "Café"])
async def test_a_title_of_any_script_is_kept_as_it_was_given(shop: Client, title: str) -> None:
    assert (await create(shop, title)).title == title


async def test_a_title_is_kept_in_one_form(shop: Client) -> None:
    assert (await create(shop, "Cafe\u0301")).title == "Café"


@pytest.mark.parametrize(
    ("title", "reason"),
    [
        *(
            (title, "FIELD_INVALID")
            for title in ("\u3000", "\x1b[31mTea", "Tea\u202e", "Tea\u200b")
        ),
        (CARD, "CARD_NUMBER"),
    ],
)
async def test_a_title_that_is_no_text_is_refused_without_being_repeated(
    shop: Client, title: str, reason: str
) -> None:
    refusal = await refused(create(shop, title))
    assert (refusal.code, refusal.reason) == ("INVALID_ARGUMENT", reason)
    assert refusal.fields == {"product.title": reason}
    assert title not in refusal.message


async def test_a_card_number_is_neither_token_nor_note_nor_address(suite: Suite) -> None:
    ann: Customer = await new_customer(suite)
    token = payments_pb2.CreatePaymentMethodRequest(
        parent=ann.name,
        payment_method_id="other",
        payment_method=payments_pb2.PaymentMethod(provider_token=CARD.replace(" ", "")),
        request_id=new_id(),
    )
    refusal = await refused(ann.shop.payments.CreatePaymentMethod(token))
    assert refusal.fields == {"payment_method.provider_token": "CARD_NUMBER"}
    request = await ann.ask(ship_to=PostalAddress(region_code="GB", address_lines=[CARD]))
    refusal = await refused(ann.shop.scheduler.CreateStandingOrder(request))
    assert refusal.fields == {"standing_order.ship_to.address_lines[0]": "CARD_NUMBER"}
