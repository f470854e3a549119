import pytest
import typer

from cli.names import CHARGE, ORDER, PRODUCT, full_name, id_of, short_name


@pytest.mark.parametrize("text", ["tea", "products/tea", "merchants/demo/products/tea"])
def test_a_product_may_be_named_as_shortly_as_one_likes(text: str) -> None:
    assert full_name("demo", PRODUCT, text) == "merchants/demo/products/tea"


@pytest.mark.parametrize("text", ["tea/3", "standingOrders/tea/orders/3"])
def test_an_order_is_named_by_its_standing_order_and_cycle(text: str) -> None:
    assert full_name("demo", ORDER, text) == "merchants/demo/standingOrders/tea/orders/3"


def test_another_merchants_name_stays_what_it_is() -> None:
    assert full_name("demo", PRODUCT, "merchants/other/products/tea") == (
        "merchants/other/products/tea"
    )


@pytest.mark.parametrize("text", ["tea", "a/b/c", "ada/", ""])
def test_too_few_or_too_many_ids_are_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="CUSTOMER/CHARGE"):
        full_name("demo", CHARGE, text)


def test_a_name_is_shown_as_what_one_types() -> None:
    assert short_name("merchants/demo/standingOrders/tea/orders/3") == "tea/3"


def test_an_id_is_found_by_its_collection() -> None:
    assert id_of("merchants/demo/customers/ada/contact", "customers") == "ada"
    assert id_of("merchants/demo", "customers") == ""
