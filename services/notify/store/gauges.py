"""What operators watch of notify."""

from collections.abc import Iterable

from sqlalchemy import text

from services.notify.domain.notices import NoticeKind
from services.notify.domain.phone_codes import CodeCheck
from services.notify.domain.transitions import DeliveryState
from services.runtime.observability import metrics
from services.runtime.observability.gauges import Gauge, GaugeQuery, count_of, lateness_of

_notices = metrics.counter(
    "recurring.notices",
    "{notice}",
    "Notices that were delivered, failed, or were voided before they went out",
    [{"kind": k, "outcome": o} for k in NoticeKind for o in ("DELIVERED", "FAILED", "VOIDED")],
)
_codes = metrics.counter(
    "recurring.phone_codes",
    "{code}",
    "One-time codes: asked for, verified, given wrongly, or refused since there were too many",
    [{"outcome": o} for o in ("SENT", "VERIFIED", CodeCheck.CODE_WRONG, "REFUSED")],
)


def ended(notices: Iterable[tuple[NoticeKind, DeliveryState]]) -> None:
    """Count notices with what became of them."""
    for kind, state in notices:
        _notices.add(1, {"kind": kind, "outcome": state})


def code(outcome: str) -> None:
    """Count a one-time code."""
    _codes.add(1, {"outcome": outcome})


GAUGE_QUERIES = (
    GaugeQuery(
        text(f"""
            SELECT {
            count_of('''FROM deliveries
                                WHERE state = 'PENDING' AND next_attempt_time <= :now''')
        } AS due,
                   {
            lateness_of('''(SELECT min(next_attempt_time) FROM deliveries
                                    WHERE state = 'PENDING')''')
        } AS lateness,
                   {
            count_of('''FROM (SELECT give_up_time FROM deliveries
                                      WHERE state = 'PENDING' LIMIT :limit) AS pending
                                WHERE give_up_time <= :now''')
        } AS past_deadline
        """),  # noqa: S608 - put together from constants
        {
            "due": Gauge(
                "recurring.deliveries.due", "{delivery}", "Messages that are due and not sent"
            ),
            "lateness": Gauge(
                "recurring.deliveries.oldest.lateness", "s", "How late the oldest due message is"
            ),
            "past_deadline": Gauge(
                "recurring.notices.past_deadline",
                "{delivery}",
                "Messages not delivered by the time until which they are of use",
            ),
        },
    ),
)
