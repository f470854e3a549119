"""What operators watch of notify."""

from services.runtime.observability.gauges import Gauge, GaugeQuery

_PHONE_LATENESS = "How late the oldest phone is that is to be bound, or to be proved again"

GAUGE_QUERIES = (
    GaugeQuery(
        """
            SELECT (SELECT count(*) FROM (
                       SELECT FROM deliveries WHERE state = 'PENDING' AND next_attempt_time <= :now
                       LIMIT :limit
                   ) AS counted) AS due,
                   coalesce(greatest(extract(epoch FROM CAST(:now AS timestamptz) - (
                       SELECT min(due_time) FROM first_due WHERE kind = 'delivery'
                   )), 0), 0) AS lateness,
                   coalesce(greatest(extract(epoch FROM CAST(:now AS timestamptz) - (
                       SELECT min(due_time) FROM first_due WHERE kind = 'attachment'
                   )), 0), 0) AS attachment_lateness,
                   (SELECT count(*) FROM (
                       SELECT FROM (
                           SELECT give_up_time FROM deliveries WHERE state = 'PENDING' LIMIT :limit
                       ) AS pending WHERE give_up_time <= :now
                   ) AS counted) AS past_deadline
        """,
        {
            "due": Gauge(
                "recurring.deliveries.due", "{delivery}", "Messages that are due and not sent"
            ),
            "lateness": Gauge(
                "recurring.deliveries.oldest.lateness",
                "s",
                "How late the oldest due message without a document is",
            ),
            "attachment_lateness": Gauge(
                "recurring.attachments.oldest.lateness",
                "s",
                "How late the oldest due e-mail with a document is",
            ),
            "past_deadline": Gauge(
                "recurring.notices.past_deadline",
                "{delivery}",
                "Messages not delivered by the time until which they are of use",
            ),
        },
    ),
    GaugeQuery(
        """
            SELECT (SELECT count(*) FROM (
                       SELECT FROM contacts WHERE pending_bind_time IS NOT NULL LIMIT :limit
                   ) AS counted) AS changes_waiting,
                   coalesce(greatest(extract(epoch FROM CAST(:now AS timestamptz) - (
                       SELECT min(due_time) FROM first_due WHERE kind = 'phone-change'
                   )), 0), 0) AS change_lateness,
                   coalesce(greatest(extract(epoch FROM CAST(:now AS timestamptz) - (
                       SELECT min(due_time) FROM first_due WHERE kind = 'phone-silence'
                   )), 0), 0) AS silence_lateness
        """,
        {
            "changes_waiting": Gauge(
                "recurring.phone_changes.waiting", "{phone}", "Phones that wait to replace another"
            ),
            "change_lateness": Gauge(
                "recurring.phones.oldest.lateness", "s", _PHONE_LATENESS, {"work": "change"}
            ),
            "silence_lateness": Gauge(
                "recurring.phones.oldest.lateness", "s", _PHONE_LATENESS, {"work": "silence"}
            ),
        },
    ),
    GaugeQuery(
        """
            SELECT coalesce(greatest(extract(epoch FROM CAST(:now AS timestamptz) - (
                       SELECT min(receive_time) FROM inbound_messages WHERE state <> 'DONE'
                   )), 0), 0) AS age
        """,
        {
            "age": Gauge(
                "recurring.replies.oldest.age",
                "s",
                "How long the oldest message of a customer has not been dealt with",
            ),
        },
    ),
    GaugeQuery(
        """
            SELECT (SELECT count(*) FROM (
                       SELECT FROM webhook_deliveries
                       WHERE state = 'PENDING' AND next_attempt_time <= :now LIMIT :limit
                   ) AS counted) AS due,
                   coalesce(greatest(extract(epoch FROM CAST(:now AS timestamptz) - (
                       SELECT min(due_time) FROM first_due WHERE kind = 'webhook'
                   )), 0), 0) AS lateness,
                   (SELECT count(*) FROM (
                       SELECT FROM webhook_endpoints
                       WHERE disable_reason IN ('FAILING', 'GONE') LIMIT :limit
                   ) AS counted) AS disabled
        """,
        {
            "due": Gauge("recurring.webhooks.due", "{event}", "Events for webhooks that are due"),
            "lateness": Gauge(
                "recurring.webhooks.oldest.lateness", "s", "How late the oldest of them is"
            ),
            "disabled": Gauge(
                "recurring.webhooks.disabled",
                "{endpoint}",
                "Webhook endpoints that are disabled since they take nothing",
            ),
        },
    ),
)
