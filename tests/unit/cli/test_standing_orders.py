import pytest
import typer

from cli.standing_orders import parse_item


@pytest.mark.parametrize(("text", "item"), [("tea", ("tea", 1)), ("tea=12", ("tea", 12))])
def test_an_item_is_a_product_and_how_many(text: str, item: tuple[str, int]) -> None:
    assert parse_item(text) == item


@pytest.mark.parametrize("text", ["", "=2", "tea=two", "tea=-1"])
def test_what_is_no_item_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_item(text)
