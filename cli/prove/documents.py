"""Documents have no gap in their numbers, and are over what is booked."""

from cli.prove.clauses import LocalClause

# Series that end with another number than was given last, and those that have a document of a day which
# is not settled without the one before. Both are found by their numbers.
_SUSPECTED = """
    , suspected AS MATERIALIZED (
        SELECT merchant, prefix, year FROM audit_v1.document_series
        WHERE $1 IN ('', merchant)
          AND (SELECT true FROM audit_v1.documents
               WHERE documents.merchant = document_series.merchant
                 AND documents.prefix = document_series.prefix
                 AND documents.year = document_series.year AND number = last_number) IS NULL
        UNION
        SELECT merchant, prefix, year
        FROM audit_v1.documents LEFT JOIN audit_v1.document_series USING (merchant, prefix, year)
        WHERE UNSETTLED(issue_time) AND $1 IN ('', merchant)
          AND ((number <= last_number) IS NOT TRUE
               OR number > 1
                  AND (SELECT true FROM audit_v1.documents AS earlier
                       WHERE earlier.merchant = documents.merchant
                         AND earlier.prefix = documents.prefix AND earlier.year = documents.year
                         AND earlier.number = documents.number - 1) IS NULL))
"""
_COUNTED = """
    , series AS (
        SELECT merchant, prefix, year, last_number FROM audit_v1.document_series
        WHERE $1 IN ('', merchant) AND OF_SERIES),
    found AS (
        SELECT merchant, prefix, year, count(*) AS found_count, max(number) AS highest
        FROM audit_v1.documents WHERE $1 IN ('', merchant) AND OF_SERIES
        GROUP BY merchant, prefix, year)
"""
DOCUMENTS_WITHOUT_GAPS = LocalClause(
    "documents-without-gaps",
    "The numbers of a series of documents begin with 1 and have no gap, in each year.",
    ("payments",),
    "SELECT count(*) FROM audit_v1.document_series WHERE $1 IN ('', merchant)",
    """
    SELECT merchant, format('%s%s has %s documents up to number %s, and the last number given is %s',
                            prefix, year, coalesce(found_count, 0), coalesce(highest, 0),
                            coalesce(last_number, 0)) AS what
    FROM series FULL JOIN found USING (merchant, prefix, year)
    WHERE (last_number, last_number) IS DISTINCT FROM (found_count, highest)
    """,
    ("ledger-entries",),
    _COUNTED.replace("OF_SERIES", "true"),
    _SUSPECTED + _COUNTED.replace("OF_SERIES", "(merchant, prefix, year) IN (TABLE suspected)"),
)
DOCUMENTS_AS_BOOKED = LocalClause(
    "documents-as-booked",
    "Every document is over what is booked of its payment or refund, to the cent.",
    ("payments",),
    "SELECT count(*) FROM audit_v1.documents WHERE UNSETTLED(issue_time) AND $1 IN ('', merchant)",
    """
    SELECT merchant, format('%s is over %s %s, of which %s are booked', name, amount_minor, currency,
                            booked_minor) AS what
    FROM audit_v1.documents
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(abs(entry.amount_minor)), 0) AS booked_minor
        FROM audit_v1.ledger_entries AS entry
        WHERE entry.merchant = documents.merchant AND entry.customer = documents.customer
          AND entry.source = CASE cause WHEN 'PAYMENT' THEN charge_name
                                        ELSE charge_name || '/refunds/' || refund END
          AND account = 'receivable'
          AND CASE cause
                  WHEN 'PAYMENT' THEN kind LIKE 'SALE%'
                  WHEN 'REFUND_TO_CREDIT' THEN kind LIKE 'CREDIT\\_NOTE\\_TO\\_CREDIT%'
                  WHEN 'REFUND_FAILURE' THEN kind LIKE 'CREDIT\\_NOTE%\\_FAILURE'
                  ELSE kind LIKE 'CREDIT\\_NOTE%' AND kind NOT LIKE 'CREDIT\\_NOTE\\_TO\\_CREDIT%'
                       AND kind NOT LIKE '%\\_FAILURE'
              END
        OFFSET 0) AS booked
    WHERE UNSETTLED(issue_time) AND $1 IN ('', merchant) AND amount_minor <> booked_minor
    """,
    ("ledger-entries",),
)
LOCAL = (DOCUMENTS_WITHOUT_GAPS, DOCUMENTS_AS_BOOKED)
