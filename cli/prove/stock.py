"""Stock and slots: what is held is for live orders, what is used for paid ones; the sums agree."""

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
# Whether an order has reached its payment is known to catalog by the event of it. One that was paid
# when its units were gone is owed them: catalog has that as a back-order, or as waived. A product whose
# stock is not tracked has no holds, and its orders are left out.
STOCK_MATCHES_ORDERS = Agreement(
    "stock-matches-orders",
    "Units are held for each order that awaits payment, gone for or owed to each paid one, else free.",
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
BOOKED_SLOTS_ADD_UP = LocalClause(
    "booked-slots-add-up",
    "The slots that count as booked of a day are those of its bookings, and never more than it has.",
    ("catalog",),
    "SELECT count(*) FROM audit_v1.booked_days WHERE $1 IN ('', merchant)",
    """
    , booked AS (
        SELECT merchant, product, day, sum(slots) AS slots,
               coalesce(sum(slots) FILTER (WHERE state = 'COMMITTED'), 0) AS committed
        FROM audit_v1.slot_bookings
        WHERE state IN ('HELD', 'COMMITTED') AND $1 IN ('', merchant)
        GROUP BY merchant, product, day)
    SELECT merchant,
           format('%s slots of merchants/%s/products/%s on %s count as booked, %s of them as paid; '
                  'its bookings have %s and %s, and the day %s',
                  coalesce(booked_slots, 0), merchant, product, day, coalesce(committed_slots, 0),
                  coalesce(booked.slots, 0), coalesce(booked.committed, 0), coalesce(days.slots, 0))
               AS what
    FROM (SELECT * FROM audit_v1.booked_days WHERE $1 IN ('', merchant)) AS days
    FULL JOIN booked USING (merchant, product, day)
    WHERE coalesce(booked_slots, 0) <> coalesce(booked.slots, 0)
       OR coalesce(committed_slots, 0) <> coalesce(booked.committed, 0)
       OR coalesce(booked.slots, 0) > coalesce(days.slots, 0)
    """,
)
LOCAL = (HELD_UNITS_ADD_UP, BOOKED_SLOTS_ADD_UP)
# An order that is held keeps the slots that it was announced with.
SLOTS_MATCH_ORDERS = Agreement(
    "slots-match-orders",
    "Every announced order of a service has its slots, on its date; used if it is paid, else held.",
    "scheduler",
    "catalog",
    spare_facts="HELD",
    spare_subjects="""
    SELECT name AS subject FROM audit_v1.orders WHERE state = 'HELD' AND $1 IN ('', merchant)
    """,
)
AGREEMENTS = (STOCK_MATCHES_ORDERS, SLOTS_MATCH_ORDERS)
