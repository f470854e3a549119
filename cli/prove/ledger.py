"""The ledger: it balances, and holds what was captured and given back, once each."""

from cli.prove.clauses import LocalClause

_BOOKED = """
    , booked AS (
        SELECT merchant, source, count(*) AS leg_count, sum(amount_minor) AS amount_minor,
               min(currency) AS currency
        FROM audit_v1.ledger_entries
        WHERE account = 'provider-clearing' AND $1 IN ('', merchant)
        GROUP BY merchant, source),
    moved AS (
        SELECT merchant, name, amount_minor, currency FROM audit_v1.charges
        WHERE state = 'SUCCEEDED' AND $1 IN ('', merchant)
        UNION ALL
        SELECT merchant, name, -amount_minor, currency FROM audit_v1.refunds
        WHERE state = 'SUCCEEDED' AND $1 IN ('', merchant))
"""
CAPTURED_IN_LEDGER = LocalClause(
    "captured-in-ledger",
    "Every charge and refund that succeeded, and no other, is booked once, with its amount.",
    ("payments",),
    """
    SELECT (SELECT count(*) FROM audit_v1.charges WHERE state = 'SUCCEEDED' AND $1 IN ('', merchant))
         + (SELECT count(*) FROM audit_v1.refunds WHERE state = 'SUCCEEDED' AND $1 IN ('', merchant))
    """,
    """
    SELECT coalesce(moved.merchant, booked.merchant) AS merchant,
           format('%s: %s %s moved, %s %s booked in %s entries', coalesce(name, source),
                  coalesce(moved.amount_minor, 0), moved.currency, coalesce(booked.amount_minor, 0),
                  booked.currency, coalesce(leg_count, 0)) AS what
    FROM moved FULL JOIN booked ON booked.source = moved.name
    WHERE leg_count IS DISTINCT FROM 1
       OR (moved.amount_minor, moved.currency)
          IS DISTINCT FROM (booked.amount_minor::bigint, booked.currency)
    """,
    _BOOKED,
)
LEDGER_BALANCES = LocalClause(
    "ledger-balances",
    "The entries of every transaction sum to zero in each currency.",
    ("payments",),
    "SELECT count(*) FROM audit_v1.ledger_entries WHERE $1 IN ('', merchant)",
    """
    SELECT merchant, format('transaction %s is off by %s %s', transaction, sum(amount_minor), currency)
               AS what
    FROM audit_v1.ledger_entries WHERE $1 IN ('', merchant)
    GROUP BY merchant, transaction, currency HAVING sum(amount_minor) <> 0
    """,
)
REFUNDS_WITHIN_CHARGE = LocalClause(
    "refunds-within-charge",
    "No more is given back of a charge than it took.",
    ("payments",),
    "SELECT count(*) FROM audit_v1.refunds WHERE $1 IN ('', merchant)",
    """
    SELECT merchant,
           format('%s took %s %s, %s are given back', charges.name, charges.amount_minor,
                  charges.currency, sum(refunds.amount_minor)) AS what
    FROM audit_v1.refunds JOIN audit_v1.charges USING (merchant, customer, charge)
    WHERE refunds.state <> 'FAILED' AND $1 IN ('', merchant)
    GROUP BY merchant, charges.name, charges.state, charges.amount_minor, charges.currency
    HAVING charges.state <> 'SUCCEEDED' OR sum(refunds.amount_minor) > charges.amount_minor
    """,
)
LOCAL = (CAPTURED_IN_LEDGER, LEDGER_BALANCES, REFUNDS_WITHIN_CHARGE)
