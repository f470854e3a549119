"""What operators watch of the scheduler."""

from services.runtime.observability.gauges import Gauge, GaugeQuery

PREPARE = {"stage": "prepare"}
COLLECT = {"stage": "collect"}

_DUE = "Cycles that are due and not done"
_LATENESS = "How late the oldest due cycle is"

GAUGE_QUERIES = (
    GaugeQuery(
        """
            SELECT (SELECT count(*) FROM (
                       SELECT FROM standing_orders WHERE state = 'ACTIVE' AND prepare_time <= :now
                       LIMIT :limit
                   ) AS counted) AS to_prepare,
                   coalesce(greatest(extract(epoch FROM CAST(:now AS timestamptz) - (
                       SELECT min(due_time) FROM first_due WHERE kind = 'prepare'
                   )), 0), 0) AS prepare_lateness,
                   (SELECT count(*) FROM (
                       SELECT FROM buckets CROSS JOIN LATERAL (
                           SELECT FROM orders
                           WHERE collect_time <= :now AND orders.bucket = buckets.bucket
                           LIMIT :limit) AS due
                       LIMIT :limit
                   ) AS counted) AS to_collect,
                   coalesce(greatest(extract(epoch FROM CAST(:now AS timestamptz) - (
                       SELECT min(due_time) FROM first_due WHERE kind = 'collect'
                   )), 0), 0) AS collect_lateness,
                   (SELECT count(*) FROM (
                       SELECT FROM buckets CROSS JOIN LATERAL (
                           SELECT FROM orders
                           WHERE recheck_time IS NOT NULL AND orders.bucket = buckets.bucket
                           LIMIT :limit) AS held
                       LIMIT :limit
                   ) AS counted) AS held
        """,
        {
            "to_prepare": Gauge("recurring.cycles.due", "{cycle}", _DUE, PREPARE),
            "prepare_lateness": Gauge("recurring.cycles.oldest.lateness", "s", _LATENESS, PREPARE),
            "to_collect": Gauge("recurring.cycles.due", "{cycle}", _DUE, COLLECT),
            "collect_lateness": Gauge("recurring.cycles.oldest.lateness", "s", _LATENESS, COLLECT),
            "held": Gauge("recurring.orders.held", "{order}", "Orders held for what is in the way"),
        },
    ),
    GaugeQuery(
        """
            SELECT (SELECT count(*) FROM (
                       SELECT FROM buckets CROSS JOIN LATERAL (
                           SELECT FROM standing_orders
                           WHERE lead_check_time <= :now AND standing_orders.bucket = buckets.bucket
                           LIMIT :limit) AS due
                       LIMIT :limit
                   ) AS counted) AS due,
                   coalesce(greatest(extract(epoch FROM CAST(:now AS timestamptz) - (
                       SELECT min(due_time) FROM first_due WHERE kind = 'lead-check'
                   )), 0), 0) AS lateness
        """,
        {
            "due": Gauge(
                "recurring.lead_checks.due",
                "{standing_order}",
                "Standing orders of which the lead of the notice is to be found again",
            ),
            "lateness": Gauge(
                "recurring.lead_checks.oldest.lateness", "s", "How late the oldest of them is"
            ),
        },
    ),
)
