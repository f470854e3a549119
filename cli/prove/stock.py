"""Stock: what is held is for live orders, what left is for paid ones, and the sums agree."""

from cli.prove.clauses import Agreement, LocalClause

HELD_UNITS_ADD_UP = LocalClause(
    "held-units-add-up",
    "The units that count as held of a product are those of its holds.",
    ("catalog",),
    "SELECT count(*) FROM audit_v1.stock WHERE $1 IN ('', merchant)",
    """
    , held AS (
        SELECT merchant, product, sum(quantity_units) AS units FROM audit_v1.stock_holds
        WHERE state = 'HELD' AND $1 IN ('', merchant) GROUP BY merchant, product)
    SELECT merchant, format('%s units of merchants/%s/products/%s count as held, its holds have %s',
                            coalesce(held_units, 0), merchant, product, coalesce(units, 0)) AS what
    FROM (SELECT * FROM audit_v1.stock WHERE $1 IN ('', merchant)) AS stock
    FULL JOIN held USING (merchant, product)
    WHERE coalesce(held_units, 0) <> coalesce(units, 0)
    """,
)
# Whether an order has reached its payment is known to catalog by the event of it. A product whose stock
# is not tracked has no holds, and its orders are left out.
STOCK_MATCHES_ORDERS = Agreement(
    "stock-matches-orders",
    "Units are held for every order that awaits payment, gone for every paid one, else free.",
    "scheduler",
    "catalog",
    products="SELECT merchant, product FROM audit_v1.stock WHERE $1 IN ('', merchant)",
    # Units are held before the order awaits its payment, and stay held if that is tried again.
    spare_facts="HELD",
    spare_subjects="""
    SELECT name AS subject FROM audit_v1.orders
    WHERE state IN ('UPCOMING', 'HELD') AND $1 IN ('', merchant)
    """,
)
LOCAL = (HELD_UNITS_ADD_UP,)
AGREEMENTS = (STOCK_MATCHES_ORDERS,)
