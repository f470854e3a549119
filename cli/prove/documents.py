"""Documents have no gap in their numbers, and are over what is booked."""

from cli.prove.clauses import LocalClause

DOCUMENTS_WITHOUT_GAPS = LocalClause(
    "documents-without-gaps",
    "The numbers of a series of documents begin with 1 and have no gap, in each year.",
    ("payments",),
    "SELECT count(*) FROM audit_v1.document_series WHERE $1 IN ('', merchant)",
    """
    SELECT merchant, format('%s%s has %s documents up to number %s, and the last number given is %s',
                            prefix, year, coalesce(found_count, 0), coalesce(highest, 0),
                            coalesce(last_number, 0)) AS what
    FROM audit_v1.document_series
    FULL JOIN (
        SELECT merchant, prefix, year, count(*) AS found_count, max(number) AS highest
        FROM audit_v1.documents WHERE $1 IN ('', merchant)
        GROUP BY merchant, prefix, year
    ) AS found USING (merchant, prefix, year)
    WHERE $1 IN ('', merchant)
      AND (last_number, last_number) IS DISTINCT FROM (found_count, highest)
    """,
)
DOCUMENTS_AS_BOOKED = LocalClause(
    "documents-as-booked",
    "Every document is over what is booked of its payment or refund, to the cent.",
    ("payments",),
    "SELECT count(*) FROM audit_v1.documents WHERE $1 IN ('', merchant)",
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
    WHERE $1 IN ('', merchant) AND amount_minor <> booked_minor
    """,
)
LOCAL = (DOCUMENTS_WITHOUT_GAPS, DOCUMENTS_AS_BOOKED)
