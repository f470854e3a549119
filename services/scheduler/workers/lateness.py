"""How late cycles are worked on."""

from collections.abc import Iterable
from datetime import datetime

from services.runtime.observability import metrics

_lateness = metrics.seconds(
    "recurring.cycle.lateness",
    metrics.LATENESS_BOUNDS_SECONDS,
    "How long after its time each cycle was worked on",
)


def record(stage: dict[str, str], due_times: Iterable[datetime | None], now: datetime) -> None:
    """Record cycles that were to be worked on at these times; None where a cycle had none."""
    for due_time in due_times:
        if due_time is not None:
            _lateness.record((now - due_time).total_seconds(), stage)
