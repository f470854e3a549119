"""Cycles: each has one outcome. Whether they are on their dates is for the calendar to say."""

from cli.prove.clauses import Clause, LocalClause

# A cycle is counted once by its number; PostgreSQL's key keeps it from having two orders.
ONE_OUTCOME_PER_CYCLE = LocalClause(
    "one-outcome-per-cycle",
    "Every cycle that was opened, left out or missed has exactly one order, without a gap.",
    ("scheduler",),
    "SELECT count(*) FROM audit_v1.orders WHERE $1 IN ('', merchant)",
    """
    , counted AS (
        SELECT merchant, standing_order, count(*) AS order_count, min(cycle) AS first_order,
               max(cycle) AS last_order
        FROM audit_v1.orders WHERE $1 IN ('', merchant)
        GROUP BY merchant, standing_order),
    expected AS (
        SELECT merchant, standing_order, first_cycle, order_count, first_order,
               coalesce(next_cycle, last_order + 1, first_cycle) AS next_cycle, last_order
        FROM audit_v1.standing_orders LEFT JOIN counted USING (merchant, standing_order)
        WHERE $1 IN ('', merchant))
    SELECT merchant,
           format('merchants/%s/standingOrders/%s has %s orders in the cycles %s to %s', merchant,
                  standing_order, coalesce(order_count, 0), first_cycle, next_cycle - 1) AS what
    FROM expected
    WHERE coalesce(order_count, 0) <> next_cycle - first_cycle
       OR first_order < first_cycle OR last_order >= next_cycle
    """,
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
