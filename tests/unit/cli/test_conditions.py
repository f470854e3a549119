"""Conditions read as they are typed."""

import pytest
import typer
from recurring.scheduler.v1 import scheduler_pb2 as pb

from cli.conditions import describe_condition, parse_condition
from cli.values import parse_money


def product_name(text: str) -> str:
    return f"merchants/demo/products/{text}"


@pytest.mark.parametrize(
    "text",
    [
        "total <= 20.00 EUR, else skip",
        "month <= 1250.00 EUR, else ask",
        "price of beans <= 12.50 EUR, else take chicory",
        "in stock, else defer 3d",
        "14 days since last order, else defer 7d",
        "items.all(i, i.quantity <= 3) && total <= 2000, else skip",
    ],
)
def test_a_condition_is_shown_as_it_was_typed(text: str) -> None:
    assert describe_condition(parse_condition(text, product_name)) == text


def test_a_ceiling_of_a_price_names_its_product_in_full() -> None:
    parsed = parse_condition("price of beans <= 12.50 EUR, else take chicory", product_name)
    assert parsed.unit_price_ceiling.product == "merchants/demo/products/beans"
    assert parsed.unit_price_ceiling.ceiling == parse_money("12.50 EUR")
    assert parsed.otherwise.substitute == "merchants/demo/products/chicory"


def test_what_is_no_other_condition_is_an_expression() -> None:
    parsed = parse_condition("total <= 2000, else skip", product_name)
    assert parsed.WhichOneof("kind") == "expression"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("total <= 20.00 EUR", "what happens else"),
        ("in stock, else dance", "none of skip, ask, defer 3d, take PRODUCT"),
        ("in stock, else defer 5h", "whole days"),
        ("in stock, else defer soon", "length of time"),
    ],
)
def test_what_is_no_condition_says_what_is_missing(text: str, message: str) -> None:
    with pytest.raises(typer.BadParameter) as refusal:
        parse_condition(text, product_name)
    assert message in refusal.value.message


def test_an_action_that_is_not_named_is_to_leave_the_cycle_out() -> None:
    assert parse_condition("in stock, else skip", product_name).otherwise == pb.Otherwise(
        action=pb.Otherwise.SKIP
    )
