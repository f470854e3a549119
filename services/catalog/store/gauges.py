"""What operators watch of the catalog."""

from sqlalchemy import text

from services.runtime.observability.gauges import Gauge, GaugeQuery, lateness_of

GAUGE_QUERIES = (
    GaugeQuery(
        text(f"""
            SELECT {
            lateness_of('''(SELECT min(expire_time) FROM stock_holds
                                    WHERE state = 'HELD')''')
        } AS lateness
        """),  # noqa: S608 - put together from constants
        {
            "lateness": Gauge(
                "recurring.holds.oldest.lateness", "s", "How late the oldest expired hold is ended"
            )
        },
    ),
)
