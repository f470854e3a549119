"""What operators watch of the catalog."""

from services.runtime.observability.gauges import Gauge, GaugeQuery

GAUGE_QUERIES = (
    GaugeQuery(
        """
            SELECT coalesce(greatest(extract(epoch FROM CAST(:now AS timestamptz) - (
                       SELECT min(due_time) FROM first_due
                       WHERE kind IN ('hold-expiry', 'booking-expiry')
                   )), 0), 0) AS lateness,
                   (SELECT count(*) FROM (
                       SELECT FROM stock_holds WHERE state || '' = 'BACKORDERED' LIMIT :limit
                   ) AS counted) AS backordered
        """,
        {
            "backordered": Gauge(
                "recurring.orders.backordered", "{order}", "Paid orders that are owed units"
            ),
            "lateness": Gauge(
                "recurring.holds.oldest.lateness", "s", "How late the oldest expired hold is ended"
            ),
        },
    ),
)
