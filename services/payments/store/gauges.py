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
                       SELECT FROM attempts
                       WHERE next_lookup_time IS NOT NULL AND mismatch <> '' LIMIT :limit
                   ) AS counted) + (SELECT count(*) FROM (
                       SELECT FROM refunds WHERE next_try_time IS NOT NULL AND mismatch <> ''
                       ORDER BY create_time LIMIT :limit
                   ) AS counted) AS mismatched,
                   (SELECT count(*) FROM (
                       SELECT FROM attempts JOIN payment_methods
                         USING (customer, merchant, payment_method)
                       WHERE attempts.state = 'PENDING'
                         -- By the index of what is pending: no scheme has fewer days.
                         AND start_time <= CAST(:now AS timestamptz) - interval '9 days'
                         AND start_time <= CAST(:now AS timestamptz)
                             - days_to_decide(payment_methods.brand) * interval '1 day'
                       LIMIT :limit
                   ) AS counted) AS pending_overdue,
                   coalesce(greatest(extract(epoch FROM CAST(:now AS timestamptz) - (
                       SELECT min(due_time) FROM first_due WHERE kind = 'request-reminder'
                   )), 0), 0) AS reminder_lateness,
                   (SELECT count(*) FROM (
                       SELECT FROM refunds WHERE state = 'PENDING' LIMIT :limit
                   ) AS counted) AS refunds,
                   coalesce(greatest(extract(epoch FROM CAST(:now AS timestamptz) - (
                       SELECT min(create_time) FROM (
                           SELECT create_time FROM refunds WHERE state = 'PENDING' LIMIT :limit
                       ) AS pending
                   )), 0), 0) AS refund_age,
                   coalesce(greatest(extract(epoch FROM CAST(:now AS timestamptz) - (
                       SELECT min(due_time) FROM first_due WHERE kind = 'webhook'
                   )), 0), 0) AS webhook_age,
                   coalesce(greatest(extract(epoch FROM CAST(:now AS timestamptz) - (
                       SELECT min(due_time) FROM first_due WHERE kind = 'document'
                   )), 0), 0) AS document_age,
                   coalesce(greatest(extract(epoch FROM CAST(:now AS timestamptz) - (
                       SELECT min(due_time) FROM first_due WHERE kind = 'revenue'
                   )), 0), 0) AS revenue_lateness,
                   (SELECT count(*) FROM (
                       SELECT FROM owed_documents WHERE failures > 0 LIMIT :limit
                   ) AS counted) AS documents_failed,
                   (SELECT count(*) FROM (
                       SELECT FROM webhook_events WHERE state = 'UNKNOWN_OBJECT' LIMIT :limit
                   ) AS counted) AS webhooks_unknown,
                   (SELECT count(*) FROM (
                       SELECT FROM webhook_events WHERE state = 'CONTRADICTED' LIMIT :limit
                   ) AS counted) AS webhooks_contradicted,
                   (SELECT count(*) FROM (
                       SELECT FROM provider_payouts WHERE state = 'MISMATCHED' LIMIT :limit
                   ) AS counted) AS payouts_mismatched,
                   coalesce(greatest(extract(epoch FROM CAST(:now AS timestamptz) - (
                       SELECT min(find_time) FROM reconciliation_findings
                       WHERE resolve_time IS NULL
                   )), 0), 0) AS finding_age,
                   (SELECT count(*) FROM (
                       SELECT FROM disputes
                       WHERE response = 'NONE' AND close_time IS NULL
                         AND state IN ('NEEDS_RESPONSE', 'INQUIRY_NEEDS_RESPONSE')
                         AND evidence_due_time <= CAST(:now AS timestamptz) + interval '2 days'
                       LIMIT :limit
                   ) AS counted) AS disputes_due,
                   (SELECT count(*) FROM (
                       SELECT FROM dispute_lookups WHERE finding <> '' LIMIT :limit
                   ) AS counted) AS disputes_found
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
            "pending_overdue": Gauge(
                "recurring.charges.pending.overdue",
                "{charge}",
                "Charges that a bank has not decided within the days of its scheme",
            ),
            "reminder_lateness": Gauge(
                "recurring.reminders.oldest.lateness",
                "s",
                "How late the oldest due reminder of a request to pay is",
            ),
            "refunds": Gauge("recurring.refunds.pending", "{refund}", "Refunds not yet answered"),
            "refund_age": Gauge(
                "recurring.refunds.oldest.age", "s", "Age of the oldest refund not yet answered"
            ),
            "webhook_age": Gauge(
                "recurring.webhooks.oldest.age", "s", "Age of the oldest webhook not yet handled"
            ),
            "document_age": Gauge(
                "recurring.documents.oldest.age", "s", "Age of the oldest document not yet issued"
            ),
            "documents_failed": Gauge(
                "recurring.documents.failed",
                "{fact}",
                "Payments and refunds whose documents could not be made and wait for another try",
            ),
            "revenue_lateness": Gauge(
                "recurring.revenue.oldest.lateness",
                "s",
                "How late the oldest day is whose revenue is not recognized",
            ),
            "webhooks_unknown": Gauge(
                "recurring.webhooks.unknown_objects",
                "{webhook}",
                "Webhooks about payments and refunds that payments did not make",
            ),
            "webhooks_contradicted": Gauge(
                "recurring.webhooks.contradicted",
                "{webhook}",
                "Webhooks by which money moved that is not booked",
            ),
            "payouts_mismatched": Gauge(
                "recurring.payouts.mismatched",
                "{payout}",
                "Payouts that are not what their transactions come to",
            ),
            "finding_age": Gauge(
                "recurring.reconciliation.oldest.age",
                "s",
                "Since when books and the provider's list disagree on something that is open",
            ),
            "disputes_due": Gauge(
                "recurring.disputes.unanswered",
                "{dispute}",
                "Disputes without an answer, which is due within two days",
            ),
            "disputes_found": Gauge(
                "recurring.disputes.findings",
                "{dispute}",
                "Disputes of payments that payments did not make, or that contradict what was known",
            ),
        },
    ),
)
