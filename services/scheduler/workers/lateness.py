"""How late cycles are worked on."""

from collections.abc import Iterable
from datetime import datetime

from services.runtime.observability import metrics
from services.scheduler.store.gauges import COLLECT, PREPARE

_lateness = metrics.seconds(
    "recurring.cycle.lateness",
    metrics.LATENESS_BOUNDS_SECONDS,
    "How long after its time each cycle was worked on",
)


def record_prepared(due_times: Iterable[datetime | None], now: datetime) -> None:
    """Record cycles that were to be prepared at these times."""
    _record(PREPARE, due_times, now)


def record_collected(due_times: Iterable[datetime | None], now: datetime) -> None:
    """Record orders that were to be collected at these times."""
    _record(COLLECT, due_times, now)


def _record(stage: dict[str, str], due_times: Iterable[datetime | None], now: datetime) -> None:
    for due_time in due_times:
        if due_time is not None:
            _lateness.record((now - due_time).total_seconds(), stage)
