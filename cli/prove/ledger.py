"""The ledger holds what was captured and given back, once each."""

from cli.prove.clauses import LocalClause, differing

# What the provider moved for charges and refunds, each by its name and under a condition, and what is
# booked of that.
_MOVED = """
        SELECT merchant, customer, charge, name, amount_minor - credit_minor AS amount_minor, currency
        FROM audit_v1.charges
        WHERE state = 'SUCCEEDED' AND amount_minor <> credit_minor AND $1 IN ('', merchant)
          AND OF_CHARGE
        UNION ALL
        SELECT merchant, customer, charge, name, credit_minor - amount_minor, currency
        FROM audit_v1.refunds
        WHERE state = 'SUCCEEDED' AND amount_minor <> credit_minor AND $1 IN ('', merchant)
          AND OF_REFUND
"""
_IS_BOOKED = """
    account = 'provider-clearing' AND kind IN ('CHARGE', 'REFUND', 'REFUND_FAILURE')
          AND $1 IN ('', merchant)
"""


def _moved(of_charge: str, of_refund: str) -> str:
    return _MOVED.replace("OF_CHARGE", of_charge).replace("OF_REFUND", of_refund)


def _moved_and_booked(
    *, of_name: str, of_source: str = "true", entries: str = "audit_v1.ledger_entries"
) -> str:
    return f"""
    , booked AS (
        SELECT merchant, source, count(*) AS leg_count, sum(amount_minor) AS amount_minor,
               min(currency) AS currency
        FROM {entries}
        WHERE {_IS_BOOKED} AND {of_source}
        GROUP BY merchant, source
        -- A refund that came back is booked back, and nothing has moved.
        HAVING (count(*), count(*) FILTER (WHERE kind = 'REFUND'),
                count(*) FILTER (WHERE kind = 'REFUND_FAILURE')) <> (2, 1, 1)
            OR sum(amount_minor) <> 0),
    moved AS ({_moved(of_name, of_name)})
    """  # noqa: S608 - fixed texts


# Of the charges that were due, the refunds that were changed and what was booked on days that are not
# settled, those of which the one is not the other: each is found by the key of its table, and all that
# is booked of it by its name.
_TOUCHED = f"""
    , touched AS MATERIALIZED (
        SELECT merchant, customer, charge, name
        FROM (
            {_moved("UNSETTLED(due_time)", "UNSETTLED(update_time)")}
            UNION ALL
            SELECT merchant, customer, split_part(source, '/', 6), source, -amount_minor, currency
            FROM audit_v1.ledger_entries
            WHERE {_IS_BOOKED} AND UNSETTLED(book_time)
        ) AS moved_and_booked
        GROUP BY merchant, customer, charge, name
        HAVING count(*) <> 2 OR sum(amount_minor) <> 0 OR min(currency) <> max(currency))
"""  # noqa: S608 - fixed texts


# Looked up, however many the planner takes them for.
_TOUCHED_ENTRIES = """
    (SELECT entry.* FROM touched
     CROSS JOIN LATERAL (
         SELECT * FROM audit_v1.ledger_entries AS of_name
         WHERE of_name.merchant = touched.merchant AND of_name.customer = touched.customer
           AND of_name.source = touched.name
         OFFSET 0) AS entry) AS entries
"""


CAPTURED_IN_LEDGER = LocalClause(
    "captured-in-ledger",
    "Every charge and refund that succeeded, and no other, is booked once, with its amount; a refund "
    "that came back is booked back.",
    ("payments",),
    """
    SELECT (SELECT count(*) FROM audit_v1.charges
            WHERE state = 'SUCCEEDED' AND UNSETTLED(due_time) AND $1 IN ('', merchant))
         + (SELECT count(*) FROM audit_v1.refunds
            WHERE state = 'SUCCEEDED' AND UNSETTLED(update_time) AND $1 IN ('', merchant))
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
    ("final-states-agree", "ledger-entries"),
    differing(
        f"""
        SELECT name AS key, audit_v1.row_hash(name, currency, amount_minor, '') AS hash
        FROM ({_moved("true", "true")}) AS moved
        """,  # noqa: S608 - fixed texts
        f"""
        SELECT source AS key, audit_v1.row_hash(source, currency, amount_minor, '') AS hash
        FROM audit_v1.ledger_entries WHERE {_IS_BOOKED}
        """,  # noqa: S608 - fixed texts
    )
    + _moved_and_booked(of_source="DIFFERING(source)", of_name="DIFFERING(name)"),
    _TOUCHED
    + _moved_and_booked(
        entries=_TOUCHED_ENTRIES,
        of_name="(merchant, customer, charge, name) IN (TABLE touched)",
    ),
)
REFUNDS_WITHIN_CHARGE = LocalClause(
    "refunds-within-charge",
    "No more is given back of a charge than it took, and no more to its payment method than that paid.",
    ("payments",),
    "SELECT count(*) FROM audit_v1.refunds WHERE UNSETTLED(update_time) AND $1 IN ('', merchant)",
    # All refunds of a charge that has one which was changed on a day that is not settled.
    """
    SELECT merchant,
           format('%s took %s %s, %s of it as credit; %s and %s as credit are given back', charges.name,
                  charges.amount_minor, charges.currency, charges.credit_minor,
                  sum(moved_minor), sum(refunds.credit_minor)) AS what
    FROM audit_v1.refunds JOIN audit_v1.charges USING (merchant, customer, charge)
    CROSS JOIN LATERAL (
        SELECT CASE refunds.state WHEN 'FAILED' THEN 0
                                  ELSE refunds.amount_minor - refunds.credit_minor END AS moved_minor
    ) AS moved
    WHERE $1 IN ('', merchant)
      AND (merchant, customer, charge) IN (
          SELECT merchant, customer, charge FROM audit_v1.refunds WHERE UNSETTLED(update_time))
    GROUP BY merchant, charges.name, charges.state, charges.amount_minor, charges.credit_minor,
             charges.currency
    HAVING charges.state <> 'SUCCEEDED'
        OR sum(moved_minor + refunds.credit_minor) > charges.amount_minor
        OR sum(moved_minor) > charges.amount_minor - charges.credit_minor
    """,
    ("final-states-agree", "ledger-entries"),
)
DISPUTES_IN_LEDGER = LocalClause(
    "disputes-in-ledger",
    "What the provider took and gave back for a dispute is booked, once each, and nothing else.",
    ("payments",),
    "SELECT count(*) FROM audit_v1.disputes WHERE $1 IN ('', merchant)",
    """
    SELECT coalesce(expected.merchant, booked.merchant) AS merchant,
           format('%s: %s %s moved, %s %s booked', coalesce(name, source),
                  coalesce(expected.amount_minor, 0), expected.currency,
                  coalesce(booked.amount_minor, 0), booked.currency) AS what
    FROM (
        SELECT merchant, name, currency, moved.amount_minor
        FROM audit_v1.disputes
        CROSS JOIN LATERAL (
            SELECT CASE WHEN withdraw_time IS NULL THEN 0 ELSE -disputes.amount_minor END
                   + CASE WHEN reinstate_time IS NULL THEN 0 ELSE disputes.amount_minor END
        ) AS moved (amount_minor)
        WHERE moved.amount_minor <> 0 AND $1 IN ('', merchant)
    ) AS expected
    FULL JOIN (
        SELECT merchant, source, currency, sum(amount_minor) AS amount_minor
        FROM audit_v1.ledger_entries
        WHERE kind LIKE 'DISPUTE%' AND account = 'provider-clearing' AND $1 IN ('', merchant)
        GROUP BY merchant, source, currency HAVING sum(amount_minor) <> 0
    ) AS booked ON booked.source = name AND booked.currency = expected.currency
    WHERE expected.amount_minor IS DISTINCT FROM booked.amount_minor::bigint
    """,
)
LEDGER_DAYS_ADD_UP = LocalClause(
    "ledger-days-add-up",
    "What is kept of a day that is closed is what was booked on it, by account and currency.",
    ("payments",),
    "SELECT count(*) FROM audit_v1.ledger_days WHERE UNSETTLED(day_time) AND $1 IN ('', merchant)",
    """
    SELECT coalesce(kept.merchant, booked.merchant) AS merchant,
           format('%s %s on %s: %s debited and %s credited, %s and %s booked',
                  coalesce(kept.account, booked.account), coalesce(kept.currency, booked.currency),
                  coalesce(kept.book_date, booked.book_date), coalesce(kept.debit_minor, 0),
                  coalesce(kept.credit_minor, 0), coalesce(booked.debit_minor, 0),
                  coalesce(booked.credit_minor, 0)) AS what
    FROM (
        SELECT merchant, account, currency, book_date, debit_minor, credit_minor
        FROM audit_v1.ledger_days
        WHERE UNSETTLED(day_time) AND $1 IN ('', merchant)
    ) AS kept
    FULL JOIN (
        SELECT merchant, account, currency, (day_time AT TIME ZONE 'UTC')::date AS book_date,
               sum(debited_minor) AS debit_minor, sum(credited_minor) AS credit_minor
        FROM (
            SELECT merchant, debit_account, credit_account, currency,
                   date_bin('1 day', book_time, '2000-01-01 00:00Z') AS day_time,
                   sum(amount_minor) AS amount_minor
            FROM audit_v1.ledger_transfers
            WHERE UNSETTLED(book_time) AND $1 IN ('', merchant)
            GROUP BY merchant, debit_account, credit_account, currency, day_time
        ) AS between_accounts
        CROSS JOIN LATERAL (
            VALUES (debit_account, amount_minor, 0), (credit_account, 0, amount_minor)
        ) AS entry (account, debited_minor, credited_minor)
        WHERE day_time < (SELECT kept_until_time FROM audit_v1.ledger_closing)
        GROUP BY merchant, account, currency, book_date
    ) AS booked USING (merchant, account, currency, book_date)
    WHERE (kept.debit_minor, kept.credit_minor)
          IS DISTINCT FROM (booked.debit_minor, booked.credit_minor)
    """,
    ("ledger-entries",),
)
CLOSED_PERIODS_STAY = LocalClause(
    "closed-periods-stay",
    "The trial balance at the end of a period that a merchant has closed is what it was then.",
    ("payments",),
    "SELECT count(*) FROM audit_v1.ledger_periods WHERE $1 IN ('', merchant)",
    """
    SELECT merchant,
           format('the balances through %s, closed at %s, are others now', through_date, close_time)
               AS what
    FROM audit_v1.ledger_periods AS period
    CROSS JOIN LATERAL (
        SELECT encode(sha256(convert_to(coalesce(string_agg(
                   format(E'%s %s %s\\n', account, currency, balance_minor), ''
                   ORDER BY account COLLATE "C", currency COLLATE "C"), ''), 'UTF8')), 'hex') AS digest
        FROM (
            SELECT account, currency, sum(debit_minor - credit_minor) AS balance_minor
            FROM audit_v1.ledger_days
            WHERE ledger_days.merchant = period.merchant AND book_date <= period.through_date
            GROUP BY account, currency) AS balance
    ) AS now
    WHERE digest <> balance_digest AND $1 IN ('', merchant)
    """,
)
# Balances have no day, and are few: all are compared with their transactions. What the ledger has is
# added up of the customers whose credit was changed on a day that is not settled.
_CREDIT = """
    , compared AS (
        SELECT merchant, customer, currency, balance_minor, added_minor, booked_minor,
               OF_CUSTOMER AS is_booked_read
        FROM (
            SELECT merchant, customer, currency, balance_minor FROM audit_v1.credit_balances
            WHERE $1 IN ('', merchant)
        ) AS kept
        FULL JOIN (
            SELECT merchant, customer, currency, sum(amount_minor) AS added_minor
            FROM audit_v1.credit_transactions WHERE $1 IN ('', merchant)
            GROUP BY merchant, customer, currency
        ) AS added USING (merchant, customer, currency)
        FULL JOIN (
            SELECT merchant, customer, currency, -sum(amount_minor) AS booked_minor
            FROM audit_v1.ledger_entries
            WHERE account = 'customer-credit' AND $1 IN ('', merchant) AND OF_CUSTOMER
            GROUP BY merchant, customer, currency
        ) AS booked USING (merchant, customer, currency))
"""
_CREDITED = """
    , credited AS MATERIALIZED (
        SELECT merchant, customer FROM audit_v1.credit_transactions
        WHERE UNSETTLED(create_time) AND $1 IN ('', merchant)
        UNION
        SELECT merchant, customer FROM audit_v1.ledger_entries
        WHERE account = 'customer-credit' AND UNSETTLED(book_time) AND $1 IN ('', merchant))
"""
CREDIT_ADDS_UP = LocalClause(
    "credit-adds-up",
    "A customer has of credit what was given less what was used, as the ledger has it.",
    ("payments",),
    "SELECT count(*) FROM audit_v1.credit_balances WHERE $1 IN ('', merchant)",
    """
    SELECT merchant,
           format('%s has %s %s of credit, its transactions come to %s and the ledger to %s',
                  'merchants/' || merchant || '/customers/' || customer, coalesce(balance_minor, 0),
                  currency, coalesce(added_minor, 0), coalesce(booked_minor, 0)) AS what
    FROM compared
    WHERE coalesce(balance_minor, 0) <> coalesce(added_minor, 0)
       OR is_booked_read AND coalesce(balance_minor, 0) <> coalesce(booked_minor, 0)
    UNION ALL
    SELECT merchant, format('merchants/%s/customers/%s has %s %s of credit reserved, its charges %s',
                            merchant, customer, coalesce(reserved_minor, 0), currency,
                            coalesce(waiting_minor, 0))
    FROM (
        SELECT merchant, customer, currency, reserved_minor FROM audit_v1.credit_balances
        WHERE reserved_minor <> 0 AND $1 IN ('', merchant)
    ) AS kept
    FULL JOIN (
        SELECT merchant, customer, currency, sum(credit_minor) AS waiting_minor FROM audit_v1.charges
        WHERE state = 'IN_FLIGHT' AND credit_minor <> 0 AND UNSETTLED(due_time)
          AND $1 IN ('', merchant)
        GROUP BY merchant, customer, currency
    ) AS waiting USING (merchant, customer, currency)
    WHERE coalesce(reserved_minor, 0) <> coalesce(waiting_minor, 0)
    """,
    ("final-states-agree", "ledger-entries"),
    _CREDIT.replace("OF_CUSTOMER", "true"),
    _CREDITED + _CREDIT.replace("OF_CUSTOMER", "(merchant, customer) IN (TABLE credited)"),
)
SALES_IN_LEDGER = LocalClause(
    "sales-in-ledger",
    "What is booked as paid or given back is booked as sold or credited, with its taxes, to the cent.",
    ("payments",),
    """
    SELECT count(*) FROM audit_v1.ledger_transfers
    WHERE 'receivable' IN (debit_account, credit_account) AND UNSETTLED(book_time)
      AND $1 IN ('', merchant)
    """,
    """
    SELECT merchant, format('%s: %s %s are left of what is owed', source, sum(owed_minor), currency)
               AS what
    FROM (
        SELECT merchant, source, currency,
               date_bin('1 day', book_time, '2000-01-01 00:00Z') AS day_time,
               CASE debit_account WHEN 'receivable' THEN amount_minor ELSE -amount_minor END
                   AS owed_minor
        FROM audit_v1.ledger_transfers
        WHERE 'receivable' IN (debit_account, credit_account) AND UNSETTLED(book_time)
          AND $1 IN ('', merchant)
    ) AS booked
    GROUP BY merchant, source, currency, day_time HAVING sum(owed_minor) <> 0
    """,
    ("ledger-entries",),
)
DEFERRED_REVENUE_ADDS_UP = LocalClause(
    "deferred-revenue-adds-up",
    "What was sold and is not revenue yet is what the ledger has as deferred, to the cent.",
    ("payments",),
    """
    SELECT count(*) FROM audit_v1.revenue_deferrals
    WHERE next_recognize_time IS NOT NULL AND $1 IN ('', merchant)
    """,
    # What is recognized has nothing deferred any more: a constraint of the table.
    """
    SELECT merchant, format('%s %s of sales are deferred and %s are booked so',
                            coalesce(deferred_minor, 0), currency, coalesce(booked_minor, 0)) AS what
    FROM (
        SELECT merchant, currency, sum(deferred_minor) AS deferred_minor
        FROM audit_v1.revenue_deferrals
        WHERE next_recognize_time IS NOT NULL AND $1 IN ('', merchant) GROUP BY merchant, currency
    ) AS kept
    FULL JOIN (
        SELECT merchant, currency, sum(credit_minor) AS booked_minor
        FROM (
            SELECT merchant, currency, credit_minor - debit_minor AS credit_minor
            FROM audit_v1.ledger_days WHERE account = 'deferred-revenue' AND $1 IN ('', merchant)
            UNION ALL
            SELECT merchant, currency, -amount_minor FROM audit_v1.ledger_entries
            WHERE account = 'deferred-revenue' AND $1 IN ('', merchant)
              AND book_time >= (SELECT kept_until_time FROM audit_v1.ledger_closing)
        ) AS part
        GROUP BY merchant, currency
    ) AS booked USING (merchant, currency)
    WHERE coalesce(deferred_minor, 0) <> coalesce(booked_minor, 0)
    """,
)
PAYOUTS_ADD_UP = LocalClause(
    "payouts-add-up",
    "What a payout brought to a merchant is what its transactions come to, to the cent.",
    ("payments",),
    "SELECT count(*) FROM audit_v1.payouts WHERE UNSETTLED(arrive_time) AND $1 IN ('', merchant)",
    """
    SELECT merchant,
           format('%s brought %s %s in %s transactions, and %s of them come to %s', payout,
                  coalesce(amount_minor, 0), currency, coalesce(transaction_count, 0),
                  coalesce(found_count, 0), coalesce(found_minor, 0)) AS what
    FROM audit_v1.payouts
    LEFT JOIN (
        SELECT merchant, payout, currency, count(*) AS found_count,
               sum(amount_minor - fee_minor) AS found_minor
        FROM audit_v1.balance_transactions
        WHERE payout <> '' AND $1 IN ('', merchant)
          AND payout IN (SELECT payout FROM audit_v1.payouts WHERE UNSETTLED(arrive_time))
        GROUP BY merchant, payout, currency
    ) AS found USING (merchant, payout, currency)
    WHERE UNSETTLED(arrive_time) AND $1 IN ('', merchant)
      AND (transaction_count, amount_minor) IS DISTINCT FROM (found_count, found_minor)
    """,
    ("ledger-entries",),
)
PAYOUTS_IN_LEDGER = LocalClause(
    "payouts-in-ledger",
    "What payouts brought to a merchant is booked, and nothing else is booked as paid out.",
    ("payments",),
    "SELECT count(*) FROM audit_v1.payouts WHERE $1 IN ('', merchant)",
    """
    SELECT merchant, format('%s %s were paid out and %s are booked', coalesce(paid_minor, 0), currency,
                            coalesce(booked_minor, 0)) AS what
    FROM (
        SELECT merchant, currency, sum(amount_minor) AS paid_minor FROM audit_v1.payouts
        WHERE $1 IN ('', merchant) GROUP BY merchant, currency
    ) AS paid
    FULL JOIN (
        SELECT merchant, currency, sum(amount_minor) AS booked_minor FROM audit_v1.ledger_entries
        WHERE account = 'bank' AND kind LIKE 'PAYOUT %' AND $1 IN ('', merchant)
        GROUP BY merchant, currency
    ) AS booked USING (merchant, currency)
    WHERE coalesce(paid_minor, 0) <> coalesce(booked_minor, 0)
    """,
)
FEES_IN_LEDGER = LocalClause(
    "fees-in-ledger",
    "What the provider keeps of a merchant's money is booked once, and nothing else is.",
    ("payments",),
    """
    SELECT count(*) FROM audit_v1.balance_transactions
    WHERE merchant <> '' AND fee_minor <> 0 AND UNSETTLED(create_time) AND $1 IN ('', merchant)
    """,
    # A fee is booked later than it was kept, and with the time of that.
    """
    SELECT merchant,
           format('%s %s were kept and %s are booked as fees', coalesce(kept_minor, 0), currency,
                  coalesce(booked_minor, 0)) AS what
    FROM (
        SELECT merchant, currency, sum(fee_minor) AS kept_minor FROM audit_v1.balance_transactions
        WHERE merchant <> '' AND UNSETTLED(create_time) AND $1 IN ('', merchant)
        GROUP BY merchant, currency) AS kept
    FULL JOIN (
        SELECT merchant, currency, sum(amount_minor) AS booked_minor FROM audit_v1.ledger_entries
        WHERE account = 'fees' AND kind = 'FEE' AND UNSETTLED(occur_time)
          AND UNSETTLED_OR_LATER(book_time) AND $1 IN ('', merchant)
        GROUP BY merchant, currency) AS booked USING (merchant, currency)
    WHERE coalesce(kept_minor, 0) <> coalesce(booked_minor, 0)
    """,
    ("ledger-entries",),
)
LOCAL = (
    CAPTURED_IN_LEDGER,
    SALES_IN_LEDGER,
    REFUNDS_WITHIN_CHARGE,
    DISPUTES_IN_LEDGER,
    LEDGER_DAYS_ADD_UP,
    CLOSED_PERIODS_STAY,
    CREDIT_ADDS_UP,
    DEFERRED_REVENUE_ADDS_UP,
    FEES_IN_LEDGER,
    PAYOUTS_ADD_UP,
    PAYOUTS_IN_LEDGER,
)
