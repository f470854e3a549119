"""Conditions as the JSON text in their column, and back; and what they ask of other cycles."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date, timedelta
from typing import Any, NamedTuple

from services.runtime.db.pool import Connection
from services.runtime.db.statements import Query
from services.scheduler.domain.conditions import (
    SINCE_LAST_ORDER_MAX_DAYS,
    Action,
    Condition,
    DaysSinceLastOrder,
    Expression,
    InStock,
    MonthCeiling,
    OrderHistory,
    Otherwise,
    TotalCeiling,
    UnitPriceCeiling,
)
from services.scheduler.domain.ids import MerchantId, OrderKey, StandingOrderId
from services.scheduler.domain.order import Order, OrderState
from services.scheduler.store.cached import cached
from services.scheduler.store.order_rows import arrays_of

_KINDS: dict[str, Any] = {
    "unit_price_ceiling": UnitPriceCeiling,
    "total_ceiling": TotalCeiling,
    "in_stock": InStock,
    "month_ceiling": MonthCeiling,
    "days_since_last_order": DaysSinceLastOrder,
    "expression": Expression,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}


class _PastRow(NamedTuple):
    merchant: MerchantId
    standing_order: StandingOrderId
    cycle: int
    # Year, month, currency, minor units.
    spent: list[tuple[int, int, str, int]] | None
    last_dates: dict[str, str] | None


# Of each order's standing order, the other cycles: what the months from the order's on came to, and
# the last date of each product.
_PAST = Query(
    """
    SELECT asked.merchant, asked.standing_order, asked.cycle, spent.total AS spent,
           last.dates AS last_dates
    FROM unnest(CAST(:merchant AS text[]), CAST(:standing_order AS text[]), CAST(:cycle AS int[]),
                CAST(:month_start AS date[]), CAST(:earliest AS date[]))
      AS asked (merchant, standing_order, cycle, month_start, earliest)
    LEFT JOIN LATERAL (
        SELECT jsonb_agg(jsonb_build_array(year, month, currency, total)) AS total
        FROM (
            SELECT CAST(extract(year FROM local_date) AS int) AS year,
                   CAST(extract(month FROM local_date) AS int) AS month, currency,
                   CAST(sum(coalesce(amount_minor, notified_minor)) AS bigint) AS total
            FROM orders
            WHERE orders.standing_order = asked.standing_order
              AND orders.merchant = asked.merchant AND orders.cycle <> asked.cycle
              AND orders.state = ANY(CAST(:states AS text[]))
              AND orders.local_date >= asked.month_start
            GROUP BY year, month, currency) AS months
    ) AS spent ON true
    LEFT JOIN LATERAL (
        SELECT jsonb_object_agg(product, day) AS dates
        FROM (
            SELECT item ->> 0 AS product, max(local_date) AS day
            FROM orders CROSS JOIN LATERAL jsonb_array_elements(orders.items) AS item
            WHERE orders.standing_order = asked.standing_order
              AND orders.merchant = asked.merchant AND orders.cycle <> asked.cycle
              AND orders.state = ANY(CAST(:states AS text[]))
              AND orders.local_date >= asked.earliest
            GROUP BY product) AS products
    ) AS last ON true
    """,
    _PastRow,
)


def dump(conditions: Sequence[Condition]) -> str:
    """Conditions as JSON."""
    return json.dumps(
        [
            {
                "kind": _NAMES[type(one.kind)],
                "of": asdict(one.kind),
                "otherwise": asdict(one.otherwise),
            }
            for one in conditions
        ]
    )


@cached
def load(data: str) -> tuple[Condition, ...]:
    """The conditions that `dump` wrote."""
    return tuple(
        Condition(
            _KINDS[one["kind"]](**one["of"]),
            Otherwise(**{**one["otherwise"], "action": Action(one["otherwise"]["action"])}),
        )
        for one in json.loads(data)
    )


async def order_histories(
    connection: Connection, orders: Sequence[Order], states: Sequence[OrderState]
) -> dict[OrderKey, OrderHistory]:
    """What the other cycles that are in one of the states came to, by order."""
    rows = await _PAST.all(
        connection,
        **arrays_of([order.key for order in orders]),
        month_start=[order.local_date.replace(day=1) for order in orders],
        earliest=[order.local_date - timedelta(days=SINCE_LAST_ORDER_MAX_DAYS) for order in orders],
        states=list(states),
    )
    return {
        OrderKey(row.merchant, row.standing_order, row.cycle): OrderHistory(
            spent_minor={
                (year, month, currency): total for year, month, currency, total in row.spent or ()
            },
            last_dates={
                product: date.fromisoformat(day) for product, day in (row.last_dates or {}).items()
            },
        )
        for row in rows
    }
