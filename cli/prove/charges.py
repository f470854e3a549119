"""Charges: each order that is to be paid has one, which ends as the order does, and one payment."""

from cli.prove.clauses import Agreement, LocalClause, Side

ORDER_HAS_ONE_CHARGE = Agreement(
    "order-has-one-charge",
    "Every order that is to be paid, and no other, has one charge, of its amount.",
    Side(
        "scheduler",
        """
        SELECT merchant, (hashtextextended(name, 0) & 255)::text AS part, name AS subject,
               ARRAY[standing_order_name, customer_name] AS about, currency, amount_minor,
               '' AS facts
        FROM audit_v1.orders WHERE amount_minor IS NOT NULL AND $1 IN ('', merchant)
        """,
    ),
    Side(
        "payments",
        """
        SELECT merchant, (hashtextextended(order_name, 0) & 255)::text AS part, order_name AS subject,
               ARRAY[split_part(order_name, '/orders/', 1), customer_name] AS about, currency,
               amount_minor, '' AS facts
        FROM audit_v1.charges WHERE $1 IN ('', merchant)
        """,
    ),
)
FINAL_STATES_AGREE = Agreement(
    "final-states-agree",
    "An order is paid if and only if its charge succeeded, and ends unpaid as its charge does.",
    Side(
        "scheduler",
        """
        SELECT merchant, (hashtextextended(name, 0) & 255)::text AS part, name AS subject,
               ARRAY[standing_order_name, customer_name] AS about, '' AS currency, 0 AS amount_minor,
               CASE state WHEN 'PAID' THEN 'paid' WHEN 'AWAITING_PAYMENT' THEN 'open' ELSE 'unpaid' END
                   AS facts
        FROM audit_v1.orders WHERE amount_minor IS NOT NULL AND $1 IN ('', merchant)
        """,
    ),
    Side(
        "payments",
        """
        SELECT merchant, (hashtextextended(order_name, 0) & 255)::text AS part, order_name AS subject,
               ARRAY[split_part(order_name, '/orders/', 1), customer_name] AS about,
               '' AS currency, 0 AS amount_minor,
               CASE state WHEN 'SUCCEEDED' THEN 'paid' WHEN 'REFUSED' THEN 'unpaid'
                          WHEN 'ABANDONED' THEN 'unpaid' ELSE 'open' END AS facts
        FROM audit_v1.charges WHERE $1 IN ('', merchant)
        """,
    ),
)
CHARGE_HAS_ONE_PAYMENT = LocalClause(
    "charge-has-one-payment",
    "A charge that succeeded has exactly one attempt that did, of its amount; any other has none.",
    ("payments",),
    "SELECT count(*) FROM audit_v1.charges WHERE $1 IN ('', merchant)",
    """
    , paid AS (
        SELECT merchant, customer, charge, count(*) AS payment_count,
               sum(amount_minor) AS amount_minor, min(currency) AS currency
        FROM audit_v1.attempts WHERE state = 'SUCCEEDED' AND $1 IN ('', merchant)
        GROUP BY merchant, customer, charge)
    SELECT merchant, format('%s is %s with %s succeeded attempts of %s %s', name, state,
                            coalesce(payment_count, 0), paid.amount_minor, paid.currency) AS what
    FROM audit_v1.charges LEFT JOIN paid USING (merchant, customer, charge)
    WHERE $1 IN ('', merchant)
      AND (coalesce(payment_count, 0) <> (state = 'SUCCEEDED')::integer
           OR paid.amount_minor <> charges.amount_minor OR paid.currency <> charges.currency)
    """,
)
NO_OUTCOME_UNKNOWN = LocalClause(
    "no-outcome-unknown",
    "What became of an attempt is known within a day.",
    ("payments",),
    "SELECT count(*) FROM audit_v1.attempts WHERE state = 'UNKNOWN' AND $1 IN ('', merchant)",
    """
    SELECT merchant, format('attempt %s of %s is UNKNOWN since %s', number, charge_name, start_time)
               AS what
    FROM audit_v1.attempts
    WHERE state = 'UNKNOWN' AND start_time <= $2 - interval '1 day' AND $1 IN ('', merchant)
    """,
)
LOCAL = (CHARGE_HAS_ONE_PAYMENT, NO_OUTCOME_UNKNOWN)
AGREEMENTS = (ORDER_HAS_ONE_CHARGE, FINAL_STATES_AGREE)
