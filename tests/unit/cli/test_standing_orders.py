import pytest
import typer
from recurring.scheduler.v1 import scheduler_pb2 as pb

from cli.standing_orders import changed_paths, parse_item
from cli.terms import TermOptions


@pytest.mark.parametrize(("text", "item"), [("tea", ("tea", 1)), ("tea=12", ("tea", 12))])
def test_an_item_is_a_product_and_how_many(text: str, item: tuple[str, int]) -> None:
    assert parse_item(text) == item


@pytest.mark.parametrize("text", ["", "=2", "tea=two", "tea=-1"])
def test_what_is_no_item_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_item(text)


def test_days_that_are_set_to_none_are_changed_too() -> None:
    wanted = pb.StandingOrder(title="Tea", slot_days_after=2)
    terms = TermOptions(slot_days_before=0, slot_days_after=2)
    assert changed_paths(wanted, terms) == ["title", "slot_days_after", "slot_days_before"]
