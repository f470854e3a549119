"""What operators watch of the scheduler."""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import text

from services.runtime.observability import metrics
from services.runtime.observability.gauges import Gauge, GaugeQuery, count_of, lateness_of

PREPARE = {"stage": "prepare"}
COLLECT = {"stage": "collect"}

_lateness = metrics.seconds(
    "recurring.cycle.lateness",
    metrics.LATENESS_BOUNDS_SECONDS,
    "How long after its time each cycle was worked on",
)


def worked(stage: dict[str, str], due_times: Iterable[datetime | None], now: datetime) -> None:
    """Count cycles that were due at these times and have been worked on."""
    for due_time in due_times:
        if due_time is not None:
            _lateness.record((now - due_time).total_seconds(), stage)


_DUE = "Cycles that are due and not done"
_LATENESS = "How late the oldest due cycle is"

GAUGE_QUERIES = (
    GaugeQuery(
        text(f"""
            SELECT {
            count_of('''FROM standing_orders
                                WHERE state = 'ACTIVE' AND prepare_time <= :now''')
        } AS to_prepare,
                   {
            lateness_of('''(SELECT min(prepare_time) FROM standing_orders
                                    WHERE state = 'ACTIVE')''')
        } AS prepare_lateness,
                   {
            count_of('''FROM orders
                                WHERE state = 'UPCOMING' AND collect_time <= :now''')
        } AS to_collect,
                   {
            lateness_of('''(SELECT min(collect_time) FROM orders
                                    WHERE state = 'UPCOMING')''')
        } AS collect_lateness,
                   {count_of("FROM orders WHERE state = 'HELD'")} AS held
        """),  # noqa: S608 - put together from constants
        {
            "to_prepare": Gauge("recurring.cycles.due", "{cycle}", _DUE, PREPARE),
            "prepare_lateness": Gauge("recurring.cycles.oldest.lateness", "s", _LATENESS, PREPARE),
            "to_collect": Gauge("recurring.cycles.due", "{cycle}", _DUE, COLLECT),
            "collect_lateness": Gauge("recurring.cycles.oldest.lateness", "s", _LATENESS, COLLECT),
            "held": Gauge("recurring.orders.held", "{order}", "Orders held for what is in the way"),
        },
    ),
)
