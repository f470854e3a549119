"""Consent: what money was taken for was announced, and the notice was kept.

The guard's promises, by the dates that payments stores. An attempt counts if it took money, or may
have. What counts of several notices about a charge is the one that the customer got last.
"""

from cli.prove.clauses import Agreement, LocalClause, Side

_CHECKED = """
    SELECT count(*) FROM audit_v1.attempts
    WHERE state IN ('SUCCEEDED', 'UNKNOWN') AND $1 IN ('', merchant)
"""
# Attempts with each notice delivered before. Which of these is the last one is asked only of what would
# break a clause: that spares a sort of all.
_ANNOUNCED = """
    , announced AS (
        SELECT merchant, customer, charge, attempts.charge_name, number, attempts.amount_minor,
               attempts.currency,
               start_time, attempts.billing_mode, evidence.amount_minor AS notice_minor,
               evidence.currency AS notice_currency, charge_not_before_time,
               evidence.billing_mode AS notice_mode, deliver_time, notice
        FROM audit_v1.attempts
        JOIN audit_v1.notice_evidence AS evidence USING (merchant, customer, charge)
        WHERE state IN ('SUCCEEDED', 'UNKNOWN') AND deliver_time <= start_time
          AND $1 IN ('', merchant))
"""

NOTICE_BEFORE_CHARGE = LocalClause(
    "notice-before-charge",
    "No automatic charge is made before a notice of it was delivered.",
    ("payments",),
    _CHECKED,
    """
    SELECT merchant, format('attempt %s of %s was made without a notice delivered before', number,
                            charge_name) AS what
    FROM audit_v1.attempts
    WHERE state IN ('SUCCEEDED', 'UNKNOWN') AND billing_mode = 'AUTOMATIC' AND $1 IN ('', merchant)
      AND NOT EXISTS (
          SELECT FROM audit_v1.notice_evidence AS evidence
          WHERE evidence.customer = attempts.customer AND evidence.merchant = attempts.merchant
            AND evidence.charge = attempts.charge AND deliver_time <= start_time)
    """,
)
CHARGE_NEVER_ABOVE_NOTICE = LocalClause(
    "charge-never-above-notice",
    "No charge is above the amount of the notice that the customer got last.",
    ("payments",),
    _CHECKED,
    """
    SELECT merchant, format('attempt %s of %s took %s %s, its notice said %s %s', number, charge_name,
                            amount_minor, currency, notice_minor, notice_currency) AS what
    FROM announced
    WHERE (amount_minor > notice_minor OR currency <> notice_currency)
      AND NOT EXISTS (
          SELECT FROM audit_v1.notice_evidence AS later
          WHERE later.customer = announced.customer AND later.merchant = announced.merchant
            AND later.charge = announced.charge AND later.deliver_time <= start_time
            AND (later.deliver_time, later.notice) > (announced.deliver_time, announced.notice))
    """,
    _ANNOUNCED,
)
LEAD_KEPT = LocalClause(
    "lead-kept",
    "No charge is made before the time that its notice promised.",
    ("payments",),
    _CHECKED,
    """
    SELECT merchant, format('attempt %s of %s was made %s, its notice promised not before %s', number,
                            charge_name, start_time, charge_not_before_time) AS what
    FROM announced
    WHERE start_time < charge_not_before_time
      AND NOT EXISTS (
          SELECT FROM audit_v1.notice_evidence AS later
          WHERE later.customer = announced.customer AND later.merchant = announced.merchant
            AND later.charge = announced.charge AND later.deliver_time <= start_time
            AND (later.deliver_time, later.notice) > (announced.deliver_time, announced.notice))
    """,
    _ANNOUNCED,
)
MODE_AS_ANNOUNCED = LocalClause(
    "mode-as-announced",
    "No charge is made without asking the customer unless its notice said so.",
    ("payments",),
    _CHECKED,
    """
    SELECT merchant, format('attempt %s of %s was made automatically, its notice said otherwise',
                            number, charge_name) AS what
    FROM announced
    WHERE billing_mode = 'AUTOMATIC' AND notice_mode <> 'AUTOMATIC'
      AND NOT EXISTS (
          SELECT FROM audit_v1.notice_evidence AS later
          WHERE later.customer = announced.customer AND later.merchant = announced.merchant
            AND later.charge = announced.charge AND later.deliver_time <= start_time
            AND (later.deliver_time, later.notice) > (announced.deliver_time, announced.notice))
    """,
    _ANNOUNCED,
)
NO_CHARGE_AFTER_WITHDRAWAL = LocalClause(
    "no-charge-after-withdrawal",
    "No attempt begins after the order's payment was withdrawn.",
    ("payments",),
    _CHECKED,
    """
    SELECT merchant, format('attempt %s of %s was made %s, it was withdrawn %s', number,
                            attempts.charge_name, start_time, withdraw_time) AS what
    FROM audit_v1.attempts JOIN audit_v1.withdrawals USING (merchant, customer, charge)
    WHERE state IN ('SUCCEEDED', 'UNKNOWN') AND start_time > withdraw_time + interval '30 seconds'
      AND $1 IN ('', merchant)
    """,
)
EVIDENCE_AS_DELIVERED = Agreement(
    "evidence-as-delivered",
    "What payments keeps of a delivered notice is what notify delivered.",
    Side(
        "notify",
        """
        SELECT merchant, (hashtextextended(customer_name, 0) & 255)::text AS part,
               customer_name || '/notices/' || notice AS subject,
               ARRAY[customer_name, split_part(subject_resource, '/orders/', 1)] AS about,
               promised_currency AS currency, promised_amount_minor AS amount_minor,
               format('%s delivered %s not before %s', billing_mode, deliver_time,
                      greatest(charge_not_before_time, deliver_time + notice_lead)) AS facts
        FROM audit_v1.notices
        WHERE kind = 'ORDER_UPCOMING' AND outcome = 'DELIVERED'
          AND promised_amount_minor IS NOT NULL AND $1 IN ('', merchant)
        """,
    ),
    Side(
        "payments",
        """
        SELECT merchant, (hashtextextended(customer_name, 0) & 255)::text AS part, notice AS subject,
               ARRAY[customer_name] AS about, currency, amount_minor,
               format('%s delivered %s not before %s', billing_mode, deliver_time,
                      charge_not_before_time) AS facts
        FROM audit_v1.notice_evidence WHERE $1 IN ('', merchant)
        """,
    ),
)
LOCAL = (
    NOTICE_BEFORE_CHARGE,
    CHARGE_NEVER_ABOVE_NOTICE,
    LEAD_KEPT,
    MODE_AS_ANNOUNCED,
    NO_CHARGE_AFTER_WITHDRAWAL,
)
AGREEMENTS = (EVIDENCE_AS_DELIVERED,)
