"""Charges: each order that is to be paid has one, which ends as the order does, and one payment."""

from cli.prove.clauses import Agreement, LocalClause, differing

ORDER_HAS_ONE_CHARGE = Agreement(
    "order-has-one-charge",
    "Every order that is to be paid, and no other, has one charge, of its amount.",
    "scheduler",
    "payments",
)
FINAL_STATES_AGREE = Agreement(
    "final-states-agree",
    "An order is paid if and only if its charge succeeded, and ends unpaid as its charge does.",
    "scheduler",
    "payments",
)
CHARGE_HAS_ONE_PAYMENT = LocalClause(
    "charge-has-one-payment",
    "A charge that succeeded has one attempt that did, of what credit did not pay; any other has none.",
    ("payments",),
    "SELECT count(*) FROM audit_v1.charges WHERE UNSETTLED(due_time) AND $1 IN ('', merchant)",
    """
    SELECT merchant, format('%s is SUCCEEDED without a succeeded attempt', name) AS what
    FROM audit_v1.charges
    WHERE state = 'SUCCEEDED' AND UNSETTLED(due_time) AND $1 IN ('', merchant)
      AND amount_minor <> credit_minor AND DIFFERING(charge)
      AND NOT EXISTS (
          SELECT FROM audit_v1.attempts
          WHERE attempts.customer = charges.customer AND attempts.merchant = charges.merchant
            AND attempts.charge = charges.charge AND attempts.state = 'SUCCEEDED')
    UNION ALL
    SELECT merchant, format('%s is SUCCEEDED, and its %s %s of credit are not used once', name,
                            credit_minor, currency)
    FROM audit_v1.charges
    WHERE state = 'SUCCEEDED' AND UNSETTLED(due_time) AND $1 IN ('', merchant) AND credit_minor <> 0
      AND NOT EXISTS (
          SELECT FROM audit_v1.credit_transactions AS used
          WHERE used.customer = charges.customer AND used.merchant = charges.merchant
            AND used.source = charges.name AND used.amount_minor = -charges.credit_minor
            AND used.currency = charges.currency)
    UNION ALL
    SELECT merchant, format('%s is %s of %s less %s %s with a succeeded attempt of %s %s', charge_name,
                            charges.state, charges.amount_minor, credit_minor, charges.currency,
                            attempts.amount_minor, attempts.currency)
    FROM audit_v1.attempts LEFT JOIN audit_v1.charges USING (merchant, customer, charge)
    WHERE attempts.state = 'SUCCEEDED' AND UNSETTLED(start_time) AND $1 IN ('', merchant)
      AND DIFFERING(charge)
      AND (charges.state, charges.amount_minor - credit_minor, charges.currency)
          IS DISTINCT FROM ('SUCCEEDED', attempts.amount_minor, attempts.currency)
    UNION ALL
    SELECT DISTINCT merchant, format('%s has two succeeded attempts', charge_name) FROM paid_twice
    """,
    ("final-states-agree", "attempts"),
    differing(  # noqa: S608 - statements of our own
        """
        SELECT charge AS key, audit_v1.row_hash(charge, currency, amount_minor - credit_minor,
                                                merchant || '/' || customer) AS hash
        FROM audit_v1.charges
        WHERE state = 'SUCCEEDED' AND amount_minor <> credit_minor AND $1 IN ('', merchant)
        """,
        """
        SELECT charge AS key, audit_v1.row_hash(charge, currency, amount_minor,
                                                merchant || '/' || customer) AS hash
        FROM audit_v1.attempts WHERE state = 'SUCCEEDED' AND $1 IN ('', merchant)
        """,
    )
    + """
    , paid_twice AS (
        SELECT merchant, attempts.charge_name
        FROM audit_v1.attempts JOIN audit_v1.attempts AS other USING (merchant, customer, charge)
        WHERE attempts.state = 'SUCCEEDED' AND other.state = 'SUCCEEDED' AND DIFFERING(charge)
          AND other.number <> attempts.number AND $1 IN ('', merchant))
    """,
    # Those of the same charge are found by an index, however old they are.
    """
    , paid_twice AS (
        SELECT merchant, attempts.charge_name
        FROM audit_v1.attempts JOIN audit_v1.attempts AS other USING (merchant, customer, charge)
        WHERE attempts.state = 'SUCCEEDED' AND UNSETTLED(attempts.start_time)
          AND other.state = 'SUCCEEDED' AND other.number <> attempts.number AND $1 IN ('', merchant))
    """,
)
NO_OUTCOME_UNKNOWN = LocalClause(
    "no-outcome-unknown",
    "What became of an attempt is known within a day; banks decide within the days of their schemes.",
    ("payments",),
    """
    SELECT (SELECT count(*) FROM audit_v1.attempts
            WHERE state = 'UNKNOWN' AND $1 IN ('', merchant))
         + (SELECT count(*) FROM audit_v1.attempts
            WHERE state = 'PENDING' AND $1 IN ('', merchant))
    """,
    """
    SELECT merchant, format('attempt %s of %s is UNKNOWN since %s', number, charge_name, start_time)
               AS what
    FROM audit_v1.attempts
    WHERE state = 'UNKNOWN' AND start_time <= $2 - interval '1 day' AND $1 IN ('', merchant)
    UNION ALL
    SELECT merchant, format('attempt %s of %s is PENDING since %s', number, charge_name, start_time)
    FROM audit_v1.attempts
    WHERE state = 'PENDING' AND decide_deadline_time <= $2 AND $1 IN ('', merchant)
    """,
)
LOCAL = (CHARGE_HAS_ONE_PAYMENT, NO_OUTCOME_UNKNOWN)
AGREEMENTS = (ORDER_HAS_ONE_CHARGE, FINAL_STATES_AGREE)
