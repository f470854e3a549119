"""Conditions of a standing order as people type and read them: "total <= 20.00 EUR, else skip"."""

import re
from collections.abc import Callable
from datetime import timedelta

import typer
from google.type import money_pb2
from recurring.scheduler.v1 import scheduler_pb2 as pb

from cli.names import last_id
from cli.values import format_money, parse_duration, parse_money

HELP = (
    'For example "total <= 20.00 EUR, else skip". A condition is `total <= MONEY`, '
    "`month <= MONEY`, `price of PRODUCT <= MONEY`, `in stock`, `14 days since last order`, or a CEL "
    "expression. An action is `skip`, `ask`, `defer 3d`, `take PRODUCT`."
)
METAVAR = "CONDITION, else ACTION"

_SEPARATOR = ", else "
_MONEY = r"(?P<money>[0-9.]+ ?[A-Z]{3})"
_TOTAL = re.compile(rf"total <= {_MONEY}")
_MONTH = re.compile(rf"month <= {_MONEY}")
_PRICE = re.compile(rf"price of (?P<product>\S+) <= {_MONEY}")
_SINCE = re.compile(r"(?P<days>[0-9]{1,5}) days since last order")
_DEFER = re.compile(r"defer (?P<length>\S+)")
_TAKE = re.compile(r"take (?P<product>\S+)")

# From what people call a product to its full name.
ProductName = Callable[[str], str]


def parse_condition(text: str, product_name: ProductName) -> pb.Condition:
    """A condition and what happens where it does not hold; the service judges whether it is sound."""
    what, separator, otherwise = text.rpartition(_SEPARATOR)
    if not separator:
        raise typer.BadParameter(
            f'{text!r} does not end in what happens else, such as ", else skip"'
        )
    if not what.strip():
        raise typer.BadParameter(f"{text!r} does not say what must hold")
    condition = _parse_what(what.strip(), product_name)
    condition.otherwise.CopyFrom(_parse_otherwise(otherwise.strip(), product_name))
    return condition


def _parse_what(text: str, product_name: ProductName) -> pb.Condition:
    if match := _TOTAL.fullmatch(text):
        return pb.Condition(total_ceiling=parse_money(match["money"]))
    if match := _MONTH.fullmatch(text):
        return pb.Condition(month_ceiling=parse_money(match["money"]))
    if match := _PRICE.fullmatch(text):
        ceiling = pb.Condition.UnitPriceCeiling(
            product=product_name(match["product"]), ceiling=parse_money(match["money"])
        )
        return pb.Condition(unit_price_ceiling=ceiling)
    if text == "in stock":
        return pb.Condition(in_stock=pb.Condition.InStock())
    if match := _SINCE.fullmatch(text):
        return pb.Condition(days_since_last_order=int(match["days"]))
    return pb.Condition(expression=text)


def _parse_otherwise(text: str, product_name: ProductName) -> pb.Otherwise:
    if text == "skip":
        return pb.Otherwise(action=pb.Otherwise.SKIP)
    if text == "ask":
        return pb.Otherwise(action=pb.Otherwise.HOLD_AND_ASK)
    if match := _DEFER.fullmatch(text):
        length = parse_duration(match["length"])
        if length % timedelta(days=1):
            raise typer.BadParameter(f"{match['length']!r} is not whole days, such as 3d")
        return pb.Otherwise(action=pb.Otherwise.DEFER, defer_days=length.days)
    if match := _TAKE.fullmatch(text):
        substitute = product_name(match["product"])
        return pb.Otherwise(action=pb.Otherwise.SUBSTITUTE, substitute=substitute)
    raise typer.BadParameter(f"{text!r} is none of skip, ask, defer 3d, take PRODUCT")


def describe_condition(condition: pb.Condition) -> str:
    """A condition in the words in which it can be typed."""
    return f"{_describe_what(condition)}{_SEPARATOR}{_describe_otherwise(condition.otherwise)}"


def _describe_what(condition: pb.Condition) -> str:
    match condition.WhichOneof("kind"):
        case "total_ceiling":
            return f"total <= {_plain(condition.total_ceiling)}"
        case "month_ceiling":
            return f"month <= {_plain(condition.month_ceiling)}"
        case "unit_price_ceiling":
            ceiling = condition.unit_price_ceiling
            return f"price of {last_id(ceiling.product)} <= {_plain(ceiling.ceiling)}"
        case "in_stock":
            return "in stock"
        case "days_since_last_order":
            return f"{condition.days_since_last_order} days since last order"
    return condition.expression


def _plain(money: money_pb2.Money) -> str:
    """An amount as it can be typed: without commas."""
    return format_money(money).replace(",", "")


def _describe_otherwise(otherwise: pb.Otherwise) -> str:
    match otherwise.action:
        case pb.Otherwise.HOLD_AND_ASK:
            return "ask"
        case pb.Otherwise.DEFER:
            return f"defer {otherwise.defer_days}d"
        case pb.Otherwise.SUBSTITUTE:
            return f"take {last_id(otherwise.substitute)}"
    return "skip"
