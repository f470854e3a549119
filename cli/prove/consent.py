"""Consent: what money was taken for was announced and agreed to, and the notice was kept.

The guard's promises, by the dates that payments stores. An attempt counts if it took money, or may
have. What counts of several notices about a charge is the one that the customer got last.
"""

from cli.prove.clauses import Agreement, Clause, JointClauses, LocalClause

CHECKED = """
    SELECT count(*) FROM audit_v1.attempts
    WHERE state NOT IN ('DECLINED', 'NOT_MADE') AND UNSETTLED(start_time) AND $1 IN ('', merchant)
"""
SETTLED_BY = ("attempts",)
NOTICE_BEFORE_CHARGE = Clause(
    "notice-before-charge", "No automatic charge is made before a notice of it was delivered."
)
CHARGE_NEVER_ABOVE_NOTICE = Clause(
    "charge-never-above-notice",
    "No charge is above the amount of the notice that the customer got last.",
)
LEAD_KEPT = Clause(
    "lead-kept",
    "No charge is made before the time that its notice, and its mandate's lead, promised.",
)
MODE_AS_ANNOUNCED = Clause(
    "mode-as-announced", "No charge is made without asking the customer unless its notice said so."
)
MANDATE_COVERED = Clause(
    "mandate-covered",
    "Every automatic charge is made under a mandate that is valid then, for it and in its currency.",
)
CHARGE_CEILING = Clause(
    "charge-ceiling",
    "No automatic charge is above the ceiling that its mandate sets for one charge.",
)

# The terms of an attempt's mandate as its verdict read them, where the mandate was amended since.
_FORMER_TERMS = """
        LEFT JOIN audit_v1.mandate_amendments AS former
          ON former.customer = attempts.customer AND former.merchant = attempts.merchant
          AND former.mandate = attempts.mandate
          -- Few mandates are amended: the version is looked up of their attempts alone.
          AND (SELECT permitting.mandate_version FROM audit_v1.verdicts AS permitting
               WHERE permitting.customer = attempts.customer
                 AND permitting.merchant = attempts.merchant AND permitting.charge = attempts.charge
                 AND permitting.number = attempts.number AND permitting.permit = attempts.permit)
              BETWEEN former.from_version AND former.version - 1
"""
# Each attempt with every notice that was delivered before, and its mandate by the terms of then.
_ATTEMPTS = f"""
    , attempted AS (
        SELECT attempts.merchant, attempts.customer, attempts.charge, attempts.charge_name, number,
               attempts.amount_minor, attempts.currency, start_time, attempts.billing_mode,
               evidence.notice, deliver_time, evidence.amount_minor AS notice_minor,
               evidence.currency AS notice_currency, charge_not_before_time,
               evidence.billing_mode AS notice_mode, mandates.name AS found,
               mandates.currency AS mandate_currency, valid_from_time, is_pending,
               CASE WHEN former.version IS NULL THEN mandates.charge_ceiling_minor
                    ELSE former.charge_ceiling_minor END AS charge_ceiling_minor,
               CASE WHEN former.version IS NULL THEN mandates.valid_until_time
                    ELSE former.valid_until_time END AS valid_until_time,
               CASE WHEN former.version IS NULL THEN mandates.lead_seconds
                    ELSE former.lead_seconds END AS lead_seconds,
               CASE WHEN former.version IS NULL THEN mandates.standing_orders
                    ELSE former.standing_orders END AS standing_orders,
               least(revoke_time, pause_time, lapse_time) AS stop_time
        FROM audit_v1.attempts
        LEFT JOIN audit_v1.notice_evidence AS evidence
          ON evidence.customer = attempts.customer AND evidence.merchant = attempts.merchant
          AND evidence.charge = attempts.charge AND deliver_time <= start_time
        LEFT JOIN audit_v1.mandates
          ON mandates.customer = attempts.customer AND mandates.merchant = attempts.merchant
          AND mandates.mandate = attempts.mandate
        {_FORMER_TERMS}
        WHERE state NOT IN ('DECLINED', 'NOT_MADE') AND UNSETTLED(start_time)
          AND $1 IN ('', attempts.merchant))
"""  # noqa: S608 - a statement of our own
_NOT_ANNOUNCED = "billing_mode = 'AUTOMATIC' AND notice IS NULL"
_ABOVE_NOTICE = "(amount_minor > notice_minor OR currency <> notice_currency)"
# The charge is named after the standing order and the cycle.
_OUT_OF_SCOPE = """
    standing_orders <> '{}' AND regexp_replace(charge, '-[0-9]+$', '') <> ALL (standing_orders)
"""
_TOO_EARLY = """
    (start_time < charge_not_before_time
     OR billing_mode = 'AUTOMATIC' AND start_time < deliver_time + lead_seconds * interval '1 second')
"""
_ANNOUNCED_OTHERWISE = "billing_mode = 'AUTOMATIC' AND notice_mode <> 'AUTOMATIC'"
_NOT_COVERED = f"""
    billing_mode = 'AUTOMATIC' AND (
        found IS NULL OR start_time < valid_from_time OR start_time >= valid_until_time
        OR is_pending OR start_time > stop_time + interval '30 seconds'
        OR currency <> mandate_currency OR {_OUT_OF_SCOPE})
"""
_ABOVE_CEILING = "billing_mode = 'AUTOMATIC' AND amount_minor > charge_ceiling_minor"
# The attempts are read once. Which notice is the last is asked only of what would break a clause.
_VIOLATIONS = f"""
    {_ATTEMPTS}, suspected AS MATERIALIZED (
        SELECT * FROM attempted
        WHERE {_NOT_ANNOUNCED} OR {_ABOVE_NOTICE} OR {_TOO_EARLY} OR {_ANNOUNCED_OTHERWISE}
           OR {_NOT_COVERED} OR {_ABOVE_CEILING}),
    announced AS (
        SELECT * FROM suspected
        WHERE notice IS NOT NULL
          AND NOT EXISTS (
              SELECT FROM audit_v1.notice_evidence AS later
              WHERE later.customer = suspected.customer AND later.merchant = suspected.merchant
                AND later.charge = suspected.charge AND later.deliver_time <= start_time
                AND (later.deliver_time, later.notice) > (suspected.deliver_time, suspected.notice)))
    SELECT 'notice-before-charge' AS clause, merchant,
           format('attempt %s of %s was made without a notice delivered before', number, charge_name)
               AS what
    FROM suspected WHERE {_NOT_ANNOUNCED}
    UNION ALL
    SELECT 'charge-never-above-notice', merchant,
           format('attempt %s of %s took %s %s, its notice said %s %s', number, charge_name,
                  amount_minor, currency, notice_minor, notice_currency)
    FROM announced WHERE {_ABOVE_NOTICE}
    UNION ALL
    SELECT 'lead-kept', merchant,
           format('attempt %s of %s was made %s, its notice of %s promised not before %s', number,
                  charge_name, start_time, deliver_time, charge_not_before_time)
    FROM announced WHERE {_TOO_EARLY}
    UNION ALL
    SELECT 'mode-as-announced', merchant,
           format('attempt %s of %s was made automatically, its notice said otherwise', number,
                  charge_name)
    FROM announced WHERE {_ANNOUNCED_OTHERWISE}
    UNION ALL
    SELECT DISTINCT 'mandate-covered', merchant, format('attempt %s of %s %s', number, charge_name, CASE
               WHEN found IS NULL THEN 'had no mandate'
               WHEN start_time < valid_from_time THEN 'was made before its mandate was valid'
               WHEN start_time >= valid_until_time THEN 'was made after its mandate had expired'
               WHEN currency <> mandate_currency THEN 'was in another currency than its mandate'
               WHEN is_pending THEN 'was made before its mandate was confirmed'
               WHEN {_OUT_OF_SCOPE} THEN 'was made under a mandate for other standing orders'
               ELSE 'was made after its mandate was revoked, paused or lapsed' END)
    FROM suspected WHERE {_NOT_COVERED}
    UNION ALL
    SELECT DISTINCT 'charge-ceiling', merchant,
           format('attempt %s of %s took %s %s, its mandate allows %s', number, charge_name,
                  amount_minor, currency, charge_ceiling_minor)
    FROM suspected WHERE {_ABOVE_CEILING}
"""  # noqa: S608 - conditions of our own
OF_ATTEMPTS = JointClauses(
    (
        *(NOTICE_BEFORE_CHARGE, CHARGE_NEVER_ABOVE_NOTICE, LEAD_KEPT, MODE_AS_ANNOUNCED),
        *(MANDATE_COVERED, CHARGE_CEILING),
    ),
    ("payments",),
    CHECKED,
    _VIOLATIONS,
    SETTLED_BY,
)
# Each attempt by what was agreed to then and from the instant that the guard counted from, which its
# first verdict has.
_ATTEMPTS_OF_PERIODS = f"""
    , attempted AS MATERIALIZED (
        SELECT attempts.merchant, attempts.customer, attempts.mandate, attempts.amount_minor,
               attempts.currency, start_time, period_start_time,
               date_trunc('month', start_time) AS month_time,
               CASE WHEN former.version IS NULL THEN mandates.period_days ELSE former.period_days
                    END AS period_days,
               CASE WHEN former.version IS NULL THEN mandates.period_ceiling_minor
                    ELSE former.period_ceiling_minor END AS period_ceiling_minor
        FROM audit_v1.attempts
        JOIN audit_v1.mandates
          ON mandates.customer = attempts.customer AND mandates.merchant = attempts.merchant
          AND mandates.mandate = attempts.mandate
        LEFT JOIN audit_v1.verdicts AS guard
          ON guard.customer = attempts.customer AND guard.merchant = attempts.merchant
          AND guard.charge = attempts.charge AND guard.number = attempts.number AND guard.permit = 1
        {_FORMER_TERMS}
        WHERE state NOT IN ('DECLINED', 'NOT_MADE') AND attempts.mandate <> ''
          AND UNSETTLED(start_time) AND $1 IN ('', attempts.merchant))
"""  # noqa: S608 - a statement of our own
# Where settled days are left out, the other attempts of a month count by their amounts alone.
_MONTHS_OF_UNSETTLED = """
    , of_months AS (
        SELECT merchant, customer, mandate, currency, start_time,
               date_trunc('month', start_time) AS month_time, amount_minor,
               NULL::bigint AS period_ceiling_minor, NULL::timestamptz AS period_start_time
        FROM audit_v1.attempts
        WHERE state NOT IN ('DECLINED', 'NOT_MADE') AND mandate <> ''
          AND UNSETTLED_MONTH(start_time) AND $1 IN ('', merchant)
        UNION ALL
        SELECT merchant, customer, mandate, currency, start_time, month_time, 0, period_ceiling_minor,
               period_start_time
        FROM attempted)
"""
PERIOD_CEILING = LocalClause(
    "period-ceiling",
    "The automatic charges of a month, or of so many days, keep within the ceiling of their mandate.",
    ("payments",),
    CHECKED,
    # Each attempt with those before it, from the instant that the guard counted from. That must begin a
    # month, or so many days, somewhere on earth: PostgreSQL does not reckon with zones.
    #
    # An attempt whose period began within its month (UTC), or on the day before, took with those before
    # it no more than its mandate took in all of that time. Where that is within the ceiling, nothing is
    # added up for each attempt.
    """
    , counted AS NOT MATERIALIZED (
        SELECT attempted.*,
               CASE WHEN period_days IS NULL
                    THEN date_part('day', (period_start_time AT TIME ZONE 'utc') + interval '14 hours')
                             IN (1, 2)
                         AND start_time < period_start_time + interval '31 days 2 hours'
                    ELSE start_time >= period_start_time + (period_days - 1) * interval '1 day'
                                       - interval '2 hours'
                         AND start_time < period_start_time + period_days * interval '1 day'
                                          + interval '2 hours' END IS TRUE AS is_period
        FROM attempted WHERE period_ceiling_minor IS NOT NULL),
    suspected AS MATERIALIZED (
        SELECT merchant, customer, mandate, currency, month_time
        FROM (
            SELECT merchant, customer, mandate, currency, month_time, amount_minor,
                   period_ceiling_minor, period_start_time
            FROM of_months
            UNION ALL
            -- Those of the last day of a month count in the next one as well.
            SELECT merchant, customer, mandate, currency, month_time + interval '1 month', amount_minor,
                   NULL, NULL
            FROM of_months WHERE start_time >= month_time + interval '1 month - 1 day'
        ) AS counted_in
        GROUP BY merchant, customer, mandate, currency, month_time
        HAVING sum(amount_minor) > min(period_ceiling_minor)
            OR min(period_start_time) < month_time - interval '1 day')
    SELECT merchant, format('merchants/%s/customers/%s/mandates/%s was charged %s, counted from %s, '
                            'which begins no period', merchant, customer, mandate, start_time,
                            coalesce(period_start_time::text, 'no instant')) AS what
    FROM counted WHERE NOT is_period
    UNION ALL
    SELECT merchant, format('merchants/%s/customers/%s/mandates/%s paid %s %s from %s until %s, '
                            'its ceiling is %s', merchant, customer, mandate, taken_minor, currency,
                            period_start_time, start_time, period_ceiling_minor)
    FROM suspected JOIN counted USING (merchant, customer, mandate, currency, month_time)
    CROSS JOIN LATERAL (
        SELECT sum(amount_minor) AS taken_minor
        FROM (
            SELECT earlier.amount_minor, earlier.currency, earlier.start_time
            FROM audit_v1.attempts AS earlier
            WHERE earlier.customer = counted.customer AND earlier.merchant = counted.merchant
              AND earlier.mandate = counted.mandate AND earlier.state NOT IN ('DECLINED', 'NOT_MADE')
            OFFSET 0) AS of_mandate
        WHERE of_mandate.currency = counted.currency
          AND of_mandate.start_time BETWEEN period_start_time AND counted.start_time) AS taken
    WHERE is_period AND taken_minor > period_ceiling_minor
    """,
    SETTLED_BY,
    f"{_ATTEMPTS_OF_PERIODS}, of_months AS NOT MATERIALIZED (TABLE attempted)",
    f"{_ATTEMPTS_OF_PERIODS}{_MONTHS_OF_UNSETTLED}",
)
ATTEMPT_PERMITTED = LocalClause(
    "attempt-permitted",
    "Every attempt has a verdict of the guard that permits it, as it was made.",
    ("payments",),
    CHECKED,
    """
    SELECT attempts.merchant, format('attempt %s of %s %s', attempts.number, attempts.charge_name, CASE
               WHEN verdicts.charge IS NULL THEN 'has no verdict of the guard'
               WHEN verdicts.reasons <> '{}' THEN 'was made though the guard did not permit it'
               ELSE 'is not what the guard permitted' END) AS what
    FROM audit_v1.attempts
    LEFT JOIN audit_v1.verdicts
      ON verdicts.customer = attempts.customer AND verdicts.merchant = attempts.merchant
      AND verdicts.charge = attempts.charge AND verdicts.number = attempts.number
      AND verdicts.permit = attempts.permit
    WHERE UNSETTLED(start_time) AND $1 IN ('', attempts.merchant)
      AND (verdicts.charge IS NULL OR verdicts.reasons <> '{}'
           OR (verdicts.amount_minor, verdicts.currency, coalesce(verdicts.mandate, ''))
              <> (attempts.amount_minor, attempts.currency, attempts.mandate))
    """,
    SETTLED_BY,
)
NO_CHARGE_AFTER_WITHDRAWAL = LocalClause(
    "no-charge-after-withdrawal",
    "No attempt begins after the order's payment was withdrawn.",
    ("payments",),
    CHECKED,
    """
    SELECT merchant, format('attempt %s of %s was made %s, it was withdrawn %s', number,
                            attempts.charge_name, start_time, withdraw_time) AS what
    FROM audit_v1.attempts JOIN audit_v1.withdrawals USING (merchant, customer, charge)
    WHERE state NOT IN ('DECLINED', 'NOT_MADE') AND start_time > withdraw_time + interval '30 seconds'
      AND UNSETTLED(start_time) AND $1 IN ('', merchant)
    """,
    SETTLED_BY,
)
EVIDENCE_AS_DELIVERED = Agreement(
    "evidence-as-delivered",
    "What payments keeps of a delivered notice is what notify delivered.",
    "notify",
    "payments",
)
LOCAL = (PERIOD_CEILING, ATTEMPT_PERMITTED, NO_CHARGE_AFTER_WITHDRAWAL)
AGREEMENTS = (EVIDENCE_AS_DELIVERED,)
