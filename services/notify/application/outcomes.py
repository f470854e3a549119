"""How notices end, counted."""

from collections.abc import Iterable

from services.notify.domain.notices import NoticeKind
from services.notify.domain.transitions import DeliveryState
from services.notify.store.outcomes import Ended
from services.runtime.observability import metrics

OUTCOMES = (DeliveryState.DELIVERED, DeliveryState.FAILED, DeliveryState.VOIDED)

_notices_counter = metrics.counter(
    "recurring.notices",
    "{notice}",
    "Notices that were delivered, failed, or were voided before they went out",
    [{"kind": kind, "outcome": outcome} for kind in NoticeKind for outcome in OUTCOMES],
)


def count(ended: Iterable[Ended]) -> None:
    """Count notices that have ended."""
    for notice in ended:
        _notices_counter.add(1, {"kind": notice.notice.kind, "outcome": notice.outcome})
