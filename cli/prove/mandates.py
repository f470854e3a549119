"""Mandates: every charge without asking was agreed to, and kept within what was agreed."""

from cli.prove.clauses import LocalClause

_CHECKED = """
    SELECT count(*) FROM audit_v1.attempts
    WHERE state IN ('SUCCEEDED', 'UNKNOWN') AND billing_mode = 'AUTOMATIC' AND $1 IN ('', merchant)
"""
# Attempts that took money, or may have, with their mandates.
_UNDER_MANDATE = """
    , under AS (
        SELECT merchant, charge_name, number, attempts.amount_minor, attempts.currency,
               start_time, mandate_name, mandates.name AS found, charge_ceiling_minor,
               month_ceiling_minor, mandates.currency AS mandate_currency, valid_from_time,
               valid_until_time, revoke_time
        FROM audit_v1.attempts LEFT JOIN audit_v1.mandates USING (merchant, customer, mandate)
        WHERE state IN ('SUCCEEDED', 'UNKNOWN') AND billing_mode = 'AUTOMATIC'
          AND $1 IN ('', merchant))
"""

MANDATE_COVERED = LocalClause(
    "mandate-covered",
    "Every automatic charge is made under a mandate that is valid then, in its currency.",
    ("payments",),
    _CHECKED,
    """
    SELECT merchant, format('attempt %s of %s %s', number, charge_name, CASE
               WHEN found IS NULL THEN 'had no mandate'
               WHEN start_time < valid_from_time THEN 'was made before its mandate was valid'
               WHEN start_time >= valid_until_time THEN 'was made after its mandate had expired'
               WHEN currency <> mandate_currency THEN 'was in another currency than its mandate'
               ELSE 'was made after its mandate was revoked' END) AS what
    FROM under
    WHERE found IS NULL OR start_time < valid_from_time OR start_time >= valid_until_time
       OR start_time > revoke_time + interval '30 seconds' OR currency <> mandate_currency
    """,
    _UNDER_MANDATE,
)
CHARGE_CEILING = LocalClause(
    "charge-ceiling",
    "No automatic charge is above the ceiling that its mandate sets for one charge.",
    ("payments",),
    _CHECKED,
    """
    SELECT merchant, format('attempt %s of %s took %s %s, its mandate allows %s', number, charge_name,
                            amount_minor, currency, charge_ceiling_minor) AS what
    FROM under WHERE amount_minor > charge_ceiling_minor
    """,
    _UNDER_MANDATE,
)
MONTH_CEILING = LocalClause(
    "month-ceiling",
    "The automatic charges of a calendar month (UTC) keep within the ceiling of their mandate.",
    ("payments",),
    _CHECKED,
    """
    SELECT merchant, format('%s paid %s %s in the month of %s, its ceiling is %s', mandate_name,
                            sum(amount_minor), currency, min(start_time), month_ceiling_minor) AS what
    FROM under WHERE month_ceiling_minor IS NOT NULL
    GROUP BY merchant, mandate_name, currency, month_ceiling_minor,
             date_trunc('month', start_time, 'UTC')
    HAVING sum(amount_minor) > month_ceiling_minor
    """,
    _UNDER_MANDATE,
)
LOCAL = (MANDATE_COVERED, CHARGE_CEILING, MONTH_CEILING)
