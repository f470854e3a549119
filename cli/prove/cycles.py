"""Cycles: each has one outcome. Whether they are on their dates is for the calendar to say."""

from cli.prove.clauses import Clause, LocalClause

_COUNTED = """
    , counted AS (
        SELECT merchant, standing_order, count(*) AS order_count, min(cycle) AS first_order,
               max(cycle) AS last_order
        FROM ORDERS WHERE $1 IN ('', merchant)
        GROUP BY merchant, standing_order),
    expected AS (
        SELECT merchant, standing_order, first_cycle, order_count, first_order,
               coalesce(next_cycle, last_order + 1, first_cycle) AS next_cycle, last_order
        FROM audit_v1.standing_orders LEFT JOIN counted USING (merchant, standing_order)
        WHERE $1 IN ('', merchant) AND OF_STANDING_ORDER)
"""
# Standing orders without an order of the cycle before their next one, and those that have an order of a
# day which is not settled without one of the cycle before. Both are found by the key of orders.
_SUSPECTED = """
    , suspected AS MATERIALIZED (
        SELECT merchant, standing_order FROM audit_v1.standing_orders
        WHERE next_cycle > first_cycle AND $1 IN ('', merchant)
          AND (SELECT true FROM audit_v1.orders
               WHERE orders.merchant = standing_orders.merchant
                 AND orders.standing_order = standing_orders.standing_order
                 AND cycle = next_cycle - 1) IS NULL
        UNION
        SELECT merchant, standing_order
        FROM audit_v1.orders JOIN audit_v1.standing_orders USING (merchant, standing_order)
        WHERE UNSETTLED(due_time) AND $1 IN ('', merchant)
          AND (cycle < first_cycle OR cycle >= next_cycle
               OR cycle > first_cycle
                  AND (SELECT true FROM audit_v1.orders AS earlier
                       WHERE earlier.merchant = orders.merchant
                         AND earlier.standing_order = orders.standing_order
                         AND earlier.cycle = orders.cycle - 1) IS NULL))
"""
_SUSPECTED_ORDERS = """
    (SELECT suspected.*, cycle FROM suspected
     CROSS JOIN LATERAL (
         SELECT cycle FROM audit_v1.orders
         WHERE orders.merchant = suspected.merchant
           AND orders.standing_order = suspected.standing_order
         OFFSET 0) AS opened) AS orders
"""


def _counted(*, orders: str, of_standing_order: str) -> str:
    return _COUNTED.replace("ORDERS", orders).replace("OF_STANDING_ORDER", of_standing_order)


# A cycle is counted once by its number; PostgreSQL's key keeps it from having two orders.
ONE_OUTCOME_PER_CYCLE = LocalClause(
    "one-outcome-per-cycle",
    "Every cycle that was opened, left out or missed has exactly one order, without a gap.",
    ("scheduler",),
    "SELECT count(*) FROM audit_v1.orders WHERE UNSETTLED(due_time) AND $1 IN ('', merchant)",
    """
    SELECT merchant,
           format('merchants/%s/standingOrders/%s has %s orders in the cycles %s to %s', merchant,
                  standing_order, coalesce(order_count, 0), first_cycle, next_cycle - 1) AS what
    FROM expected
    WHERE coalesce(order_count, 0) <> next_cycle - first_cycle
       OR first_order < first_cycle OR last_order >= next_cycle
    """,
    ("order-has-one-charge", "receipt-sent"),
    _counted(orders="audit_v1.orders", of_standing_order="true"),
    _SUSPECTED
    + _counted(
        orders=_SUSPECTED_ORDERS,
        of_standing_order="(merchant, standing_order) IN (TABLE suspected)",
    ),
)
CYCLES_ON_CALENDAR = Clause(
    "cycles-on-calendar",
    "Every cycle that fell due has its order, due when a calendar walked day by day says.",
)
NO_DATE_BILLED_AGAIN = Clause(
    "no-date-billed-again",
    "No date is billed again after its cycle was brought forward from it.",
)
LOCAL = (ONE_OUTCOME_PER_CYCLE,)
