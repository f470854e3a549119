import pytest
import typer

from cli.dunning import parse_days


@pytest.mark.parametrize(("text", "days"), [("1,3,5", [1, 3, 5]), ("1, 3", [1, 3]), ("", [])])
def test_days_are_whole_numbers_with_commas_between_them(text: str, days: list[int]) -> None:
    assert parse_days(text) == days


@pytest.mark.parametrize("text", ["1,,3", "1,", "one", "1.5", "1_0", "\u0663", "3000000000"])
def test_what_is_no_list_of_days_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_days(text)
