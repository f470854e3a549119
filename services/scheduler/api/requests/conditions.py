"""Conditions: from a caller's messages to the domain."""

from collections.abc import Sequence

from recurring.scheduler.v1 import scheduler_pb2 as pb

from services.runtime.errors import Violations
from services.runtime.rpc.conversions import read_money
from services.scheduler import names
from services.scheduler.application.sign_up import CONDITION_INVALID
from services.scheduler.domain import expressions
from services.scheduler.domain.conditions import (
    DEFER_MAX_DAYS,
    SINCE_LAST_ORDER_MAX_DAYS,
    Action,
    Condition,
    DaysSinceLastOrder,
    Expression,
    InStock,
    Kind,
    MonthCeiling,
    Otherwise,
    TotalCeiling,
    UnitPriceCeiling,
)
from services.scheduler.domain.expressions import CONDITIONS_MAX_STEPS
from services.scheduler.domain.ids import MerchantId
from services.scheduler.domain.order import Item

CONDITION_TOO_COSTLY = "CONDITION_TOO_COSTLY"


def read_conditions(
    violations: Violations,
    field: str,
    merchant: MerchantId,
    items: Sequence[Item],
    messages: Sequence[pb.Condition],
) -> tuple[Condition, ...]:
    """The conditions of a standing order."""
    conditions: list[Condition] = []
    steps = 0
    for place, message in enumerate(messages):
        path = f"{field}[{place}]"
        kind = _read_kind(violations, path, merchant, items, message)
        if isinstance(kind, Expression):
            steps = _read_cost(violations, f"{path}.expression", kind, len(items), steps)
        otherwise = _read_otherwise(violations, f"{path}.otherwise", merchant, message)
        if kind is not None and otherwise is not None:
            conditions.append(Condition(kind, otherwise))
    return tuple(conditions)


def _read_kind(
    violations: Violations,
    path: str,
    merchant: MerchantId,
    items: Sequence[Item],
    message: pb.Condition,
) -> Kind | None:
    match message.WhichOneof("kind"):
        case "unit_price_ceiling" | "total_ceiling" | "month_ceiling":
            return _read_ceiling(violations, path, merchant, items, message)
        case "in_stock":
            return InStock()
        case "days_since_last_order":
            days = message.days_since_last_order
            violations.require_range(
                f"{path}.days_since_last_order", days, 1, SINCE_LAST_ORDER_MAX_DAYS
            )
            return DaysSinceLastOrder(days)
        case "expression":
            fault = expressions.verdict(message.expression, len(items)).fault
            if fault is not None:
                violations.add(f"{path}.expression", f"it {fault}", CONDITION_INVALID)
            return Expression(message.expression)
    violations.add(path, "must be of one kind", CONDITION_INVALID)
    return None


def _read_cost(
    violations: Violations, field: str, kind: Expression, item_count: int, before: int
) -> int:
    """The steps of the expressions so far; the one with which they are too many is refused."""
    steps = before + expressions.verdict(kind.source, item_count).steps
    if steps <= CONDITIONS_MAX_STEPS:
        return steps
    together = f", with {before} of the expressions before it" if before else ""
    violations.add(
        field,
        f"it takes up to {steps - before} steps for an order of {item_count} items{together}; the "
        f"expressions of a standing order may take {CONDITIONS_MAX_STEPS} together",
        CONDITION_TOO_COSTLY,
    )
    return before


def _read_ceiling(
    violations: Violations,
    path: str,
    merchant: MerchantId,
    items: Sequence[Item],
    message: pb.Condition,
) -> UnitPriceCeiling | TotalCeiling | MonthCeiling:
    if message.WhichOneof("kind") == "total_ceiling":
        ceiling = read_money(violations, f"{path}.total_ceiling", message.total_ceiling)
        return TotalCeiling(ceiling.amount_minor, ceiling.currency)
    if message.WhichOneof("kind") == "month_ceiling":
        ceiling = read_money(violations, f"{path}.month_ceiling", message.month_ceiling)
        return MonthCeiling(ceiling.amount_minor, ceiling.currency)
    field, given = f"{path}.unit_price_ceiling", message.unit_price_ceiling
    product = _read_product(violations, f"{field}.product", merchant, given.product)
    if product and all(item.product != product for item in items):
        violations.add(f"{field}.product", "must be one of the items")
    ceiling = read_money(violations, f"{field}.ceiling", given.ceiling)
    return UnitPriceCeiling(product, ceiling.amount_minor, ceiling.currency)


def _read_otherwise(
    violations: Violations, field: str, merchant: MerchantId, message: pb.Condition
) -> Otherwise | None:
    given = message.otherwise
    known = given.action in pb.Otherwise.Action.values() and given.action != 0
    if not known:
        violations.add(f"{field}.action", "must be SKIP, HOLD_AND_ASK, DEFER or SUBSTITUTE")
        return None
    action = Action(pb.Otherwise.Action.Name(given.action))
    if action is Action.DEFER:
        violations.require_range(f"{field}.defer_days", given.defer_days, 1, DEFER_MAX_DAYS)
        return Otherwise(action, defer_days=given.defer_days)
    if action is not Action.SUBSTITUTE:
        return Otherwise(action)
    violations.require(
        f"{field}.action",
        "must not be SUBSTITUTE but for unit_price_ceiling and in_stock",
        met=message.WhichOneof("kind") in {"unit_price_ceiling", "in_stock"},
    )
    product = _read_product(violations, f"{field}.substitute", merchant, given.substitute)
    if product and given.substitute == message.unit_price_ceiling.product:
        violations.add(f"{field}.substitute", "must be another product")
    return Otherwise(action, substitute=product)


def _read_product(violations: Violations, field: str, merchant: MerchantId, name: str) -> str:
    owner, product = names.PRODUCT.read(violations, field, name)
    if product and owner != merchant:
        violations.add(field, "must be a product of the parent merchant")
    return product
