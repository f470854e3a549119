"""The slots of a week, as people type them."""

import pytest
import typer

from cli.capacity import parse_weekday_slots


def test_the_slots_of_a_week_are_seven_numbers() -> None:
    assert parse_weekday_slots("5,5,5,5,5,0,0") == [5, 5, 5, 5, 5, 0, 0]


@pytest.mark.parametrize("text", ["5", "5,5,5,5,5,0", "5,5,5,5,5,0,0,0", "5,5,5,5,5,0,-1", "a" * 7])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_weekday_slots(text)
