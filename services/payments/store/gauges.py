"""What operators watch of payments."""

from services.runtime.observability.gauges import Gauge, GaugeQuery

GAUGE_QUERIES = (
    GaugeQuery(
        """
            SELECT (SELECT count(*) FROM (
                       SELECT FROM buckets CROSS JOIN LATERAL (
                           SELECT FROM charges
                           WHERE next_attempt_time <= :now AND charges.bucket = buckets.bucket
                           LIMIT :limit) AS due
                       LIMIT :limit
                   ) AS counted) AS due,
                   coalesce(greatest(extract(epoch FROM CAST(:now AS timestamptz) - (
                       SELECT min(due_time) FROM first_due WHERE kind = 'charge'
                   )), 0), 0) AS lateness,
                   (SELECT count(*) FROM (
                       SELECT FROM attempts WHERE state = 'UNKNOWN' LIMIT :limit
                   ) AS counted) AS unknown,
                   coalesce(greatest(extract(epoch FROM CAST(:now AS timestamptz) - (
                       SELECT min(start_time) FROM (
                           SELECT start_time FROM attempts WHERE state = 'UNKNOWN' LIMIT :limit
                       ) AS unknown
                   )), 0), 0) AS unknown_age,
                   (SELECT count(*) FROM (
                       SELECT FROM attempts WHERE state = 'UNKNOWN' AND mismatch <> '' LIMIT :limit
                   ) AS counted) + (SELECT count(*) FROM (
                       SELECT FROM refunds WHERE next_try_time IS NOT NULL AND mismatch <> ''
                       ORDER BY create_time LIMIT :limit
                   ) AS counted) AS mismatched,
                   (SELECT count(*) FROM (
                       SELECT FROM refunds WHERE state = 'PENDING' LIMIT :limit
                   ) AS counted) AS refunds,
                   coalesce(greatest(extract(epoch FROM CAST(:now AS timestamptz) - (
                       SELECT min(create_time) FROM (
                           SELECT create_time FROM refunds WHERE state = 'PENDING' LIMIT :limit
                       ) AS pending
                   )), 0), 0) AS refund_age
        """,
        {
            "due": Gauge("recurring.charges.due", "{charge}", "Charges that are due and not tried"),
            "lateness": Gauge(
                "recurring.charges.oldest.lateness", "s", "How late the oldest due charge is"
            ),
            "unknown": Gauge(
                "recurring.charges.unknown", "{charge}", "Charges whose outcome nobody knows"
            ),
            "unknown_age": Gauge(
                "recurring.charges.unknown.oldest.age", "s", "Age of the oldest unknown outcome"
            ),
            "mismatched": Gauge(
                "recurring.charges.mismatched",
                "{answer}",
                "Charges and refunds whose answer differs from the request",
            ),
            "refunds": Gauge("recurring.refunds.pending", "{refund}", "Refunds not yet answered"),
            "refund_age": Gauge(
                "recurring.refunds.oldest.age", "s", "Age of the oldest refund not yet answered"
            ),
        },
    ),
)
