"""CEL expressions of conditions: checked when they are saved, bounded when they are evaluated. Pure.

An expression is short and not deep, has no loops but the macros, and no macro works on what another
one has made larger. What it costs at most is known when it is saved, and counted when it is evaluated:
the expressions of a standing order take CONDITIONS_MAX_STEPS together, some two milliseconds, which is
about what all the rest of a cycle's preparation takes. So no merchant's conditions hold up another's
cycles.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from services.scheduler.domain.cel.check import CheckError, check
from services.scheduler.domain.cel.meter import Meter
from services.scheduler.domain.cel.program import program
from services.scheduler.domain.cel.shapes import INT, Shape, list_of, map_of, text
from services.scheduler.domain.cel.syntax import ParseError, parse
from services.scheduler.domain.order import Item, Quote

EXPRESSION_MAX_CHARACTERS = 500
# Of all expressions of a standing order, for one cycle.
CONDITIONS_MAX_STEPS = 10_000
CURRENCY_CHARACTERS = 3
PRODUCT_MAX_CHARACTERS = 63
_CACHED_VERDICTS = 4096

Variables = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether an expression is sound, which is checked before it is saved."""

    # In words, after "it"; None if it is sound.
    fault: str | None
    # At most so many for an order of so many items.
    steps: int = 0


@lru_cache(maxsize=_CACHED_VERDICTS)
def verdict(source: str, item_count: int = 1) -> Verdict:
    """Whether an expression is a sound condition, and what it costs for so many items."""
    if not 1 <= len(source) <= EXPRESSION_MAX_CHARACTERS:
        return Verdict(f"must have 1 to {EXPRESSION_MAX_CHARACTERS} characters")
    try:
        checked = check(parse(source), _shapes(item_count))
    except (ParseError, CheckError) as error:
        return Verdict(str(error))
    if checked.shape.type != "bool":
        return Verdict("must be true or false")
    return Verdict(None, checked.steps)


def holds(source: str, variables: Variables, metered: Meter) -> bool | None:
    """Whether an expression that was found sound is true; None if it has no value, or not in time."""
    try:
        value = program(source).evaluate(variables, metered)
    except Exception:  # noqa: BLE001 - whatever it is, it must not stop the orders beside it
        return None
    return value if isinstance(value, bool) else None


def variables_of(
    quote: Quote,
    items: tuple[Item, ...],
    *,
    cycle: int,
    month_day_weekday: tuple[int, int, int],
    paid_orders: int,
) -> Variables:
    """What an expression can speak of; Monday is 1."""
    month, day, weekday = month_day_weekday
    return {
        "total": quote.amount_minor,
        "currency": quote.currency,
        "cycle": cycle,
        "month": month,
        "day": day,
        "weekday": weekday,
        "paid_orders": paid_orders,
        "items": [
            {
                "product": item.product,
                "quantity": item.quantity,
                "unit_price": line.unit_price_minor,
                "list_unit_price": line.list_unit_price_minor,
            }
            for item, line in zip(items, quote.lines, strict=True)
        ],
    }


_ITEM = map_of({
    "product": text(PRODUCT_MAX_CHARACTERS),
    "quantity": INT, "unit_price": INT, "list_unit_price": INT,
})  # fmt: skip
_ORDER: Mapping[str, Shape] = {
    **dict.fromkeys(("total", "cycle", "month", "day", "weekday", "paid_orders"), INT),
    "currency": text(CURRENCY_CHARACTERS),
}


def _shapes(item_count: int) -> Mapping[str, Shape]:
    """The variables of an order of so many items, as `variables_of` gives them."""
    return {**_ORDER, "items": list_of(_ITEM, item_count)}
