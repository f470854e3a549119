"""CEL expressions of conditions: checked when they are saved, bounded when they are evaluated. Pure.

An expression is short and not deep, has no loops but the macros, and no macro works on what another
one has made larger; so no value grows large. Its steps are counted, so that it ends in time.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from services.scheduler.domain.order import Item, Quote

if TYPE_CHECKING:
    from services.scheduler.domain import cel

EXPRESSION_MAX_CHARACTERS = 500
EXPRESSION_MAX_DEPTH = 160
_CACHED_FAULTS = 4096
_MACROS = frozenset({"all", "exists", "exists_one", "map", "filter"})
# The library has these, CEL has not; what `reduce` makes can double with each element.
_FOREIGN_MACROS = frozenset({"reduce", "min"})
# What does not always evaluate all of its operands.
_LAZY = frozenset({"expr", "conditionalor", "conditionaland"})
# These depend on what an order is; everything else that fails once fails always.
_DEPENDS_ON_VALUES = (ZeroDivisionError, IndexError)

Variables = Mapping[str, Any]


@lru_cache(maxsize=_CACHED_FAULTS)
def fault(source: str, item_count: int = 1) -> str | None:
    """What is wrong with an expression, in words; None if it is a sound condition of so many items."""
    if not 1 <= len(source) <= EXPRESSION_MAX_CHARACTERS:
        return f"must have 1 to {EXPRESSION_MAX_CHARACTERS} characters"
    from services.scheduler.domain import cel  # noqa: PLC0415 - few have an expression; it is slow to load

    try:
        tree = cel.compile_source(source)
    except cel.CELParseError as error:
        return f"does not parse, near column {error.column}"
    except RecursionError:
        return "is nested too deeply"
    # Only what costs little is tried.
    return (
        _shape_fault(tree)
        or next(filter(None, (_trial_fault(tree, sample) for sample in _SAMPLES)), None)
        or _cost_fault(tree, item_count)
    )


def holds(source: str, variables: Variables) -> bool | None:
    """Whether an expression that was found sound is true; None if it has no value, or not in time."""
    from services.scheduler.domain import cel  # noqa: PLC0415

    try:
        return bool(cel.program(source).evaluate(cel.values(variables)))
    except Exception:  # noqa: BLE001 - whatever it is, it must not stop the orders beside it
        return None


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


_ITEM = {"product": "tea", "quantity": 2, "unit_price": 450, "list_unit_price": 500}
_SAMPLES: tuple[Variables, ...] = tuple(
    {
        "total": total, "currency": "EUR", "cycle": cycle, "month": 2, "day": 28, "weekday": 7,
        "paid_orders": cycle - 1, "items": [_ITEM] * items,
    }
    for total, cycle, items in ((900, 1, 1), (2700, 7, 3))
)  # fmt: skip


def _shape_fault(tree: "cel.Tree") -> str | None:
    """What could make an expression cost too much."""
    if _depth(tree) > EXPRESSION_MAX_DEPTH:
        return "is nested too deeply"
    foreign = _FOREIGN_MACROS.intersection(map(_method, tree.iter_subtrees()))
    if foreign:
        return f"knows no {min(foreign)!r}"
    for macro in _macros(tree):
        if any(_is_macro(node) for node in _nodes(macro.children[2:])):
            return "must not have a macro inside a macro"
        if any(_is_macro(node, "map") for node in _nodes(macro.children[:1])):
            return "must not have a macro on what map gives"
    return None


def _trial_fault(tree: "cel.Tree", sample: Variables) -> str | None:
    """What is wrong with an expression for a made-up order, in any part: none is passed over."""
    from services.scheduler.domain import cel  # noqa: PLC0415

    variables = cel.values(sample)
    for part in (*_parts(tree, variables), _Part(tree, variables, is_bool=True)):
        try:
            value = _evaluated(part.tree, part.variables)
        except _Unsound as error:
            return str(error)
        if part.is_bool and not isinstance(value, cel.BoolType | None):
            return "must be true or false"
    return None


def _cost_fault(tree: "cel.Tree", item_count: int) -> str | None:
    """Whether an order of so many items could make an expression take too long."""
    from services.scheduler.domain import cel  # noqa: PLC0415

    sample = {**_SAMPLES[0], "items": [_ITEM] * item_count}
    try:
        cel.evaluate(tree, cel.values(sample))
    except cel.TooCostlyError:
        return f"takes over {cel.EVALUATION_MAX_STEPS} steps for an order of {item_count} items"
    except cel.CELEvalError:
        # It has no value for this order, which was seen above.
        return None
    return None


class _Unsound(Exception):
    """An expression that cannot be evaluated for any order; the message says why."""


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of an expression that another could hide, and the variables that it can speak of."""

    tree: "cel.Tree"
    variables: Any
    is_bool: bool


def _evaluated(tree: "cel.Tree", variables: Any) -> Any:  # noqa: ANN401
    """A value of CEL; None if there is none for this order. Raises _Unsound if there never is one."""
    from services.scheduler.domain import cel  # noqa: PLC0415

    try:
        return cel.evaluate(tree, variables)
    except cel.TooCostlyError as error:
        raise _Unsound(f"takes over {cel.EVALUATION_MAX_STEPS} steps") from error
    except cel.CELEvalError as error:
        kind = error.args[1] if len(error.args) > 1 else None
        if kind in _DEPENDS_ON_VALUES:
            return None
        raise _Unsound(_words(str(error.args[0]), kind)) from error
    except Exception as error:
        # What a stranger wrote is evaluated by what strangers wrote: any failure refuses it.
        raise _Unsound(_words(str(error), type(error))) from error


def _words(message: str, kind: object) -> str:
    name = message.partition("'")[2].partition("'")[0]
    if message.startswith("undeclared reference"):
        return f"knows no {name!r}"
    if message.startswith("no such member"):
        return f"has a map that knows no {name!r}"
    if kind is TypeError:
        return "uses a value as another type than it has"
    return "cannot be evaluated"


def _parts(tree: "cel.Tree", variables: Any) -> Iterator[_Part]:  # noqa: ANN401
    """The operands of ||, && and ?:, of which some may be passed over, and what macros evaluate."""
    operands = tree.data in _LAZY and len(tree.children) > 1
    for place, child in enumerate(tree.children):
        if not _is_tree(child):
            continue
        if operands and not (child.data in _LAZY and len(child.children) > 1):
            # Of a choice between two values, only the first operand is a condition.
            yield _Part(child, variables, is_bool=tree.data != "expr" or place == 0)
        if _is_macro(child):
            yield from _macro_parts(child, variables)
        else:
            yield from _parts(child, variables)


def _macro_parts(macro: "cel.Tree", variables: Any) -> Iterator[_Part]:  # noqa: ANN401
    """What a macro does with the first element of its list."""
    wrap = macro.__class__
    yield from _parts(wrap("wrapped", [macro.children[0]]), variables)
    arguments = macro.children[2:]
    try:
        listed = _evaluated(macro.children[0], variables)
    except _Unsound:
        # It is found again where the whole is evaluated.
        return
    if arguments and isinstance(listed, list) and listed:
        name, *bodies = arguments[0].children
        inner = {**variables, _identifier(name): listed[0]}
        for body in bodies:
            yield _Part(body, inner, is_bool=False)
        yield from _parts(wrap("wrapped", bodies), inner)


def _is_tree(node: Any) -> bool:  # noqa: ANN401 - a tree or a token
    return hasattr(node, "children")


def _method(node: Any) -> str:  # noqa: ANN401 - a tree or a token
    """The name of the method or macro that a node calls; empty if it calls none."""
    calls = _is_tree(node) and node.data == "member_dot_arg"
    return str(node.children[1]) if calls else ""


def _is_macro(node: Any, name: str = "") -> bool:  # noqa: ANN401 - a tree or a token
    return _method(node) in ({name} if name else _MACROS)


def _macros(tree: "cel.Tree") -> Iterator["cel.Tree"]:
    return (node for node in tree.iter_subtrees() if _is_macro(node))


def _nodes(children: Any) -> Iterator["cel.Tree"]:  # noqa: ANN401 - trees and tokens
    return (node for one in children if _is_tree(one) for node in one.iter_subtrees())


def _identifier(tree: "cel.Tree") -> str:
    """The name of the variable that a macro binds; empty if it is something else."""
    node: Any = tree
    while _is_tree(node) and len(node.children) == 1:
        node = node.children[0]
    return "" if _is_tree(node) else str(node)


def _depth(tree: "cel.Tree") -> int:
    deepest, layer = 0, [tree]
    while layer:
        deepest += 1
        layer = [child for node in layer for child in node.children if _is_tree(child)]
    return deepest
