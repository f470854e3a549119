"""How many messages a customer gets in a day, and what is above that, in one message. Pure."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Generic, NamedTuple, TypeVar

from services.notify.domain.notices import EMAIL_ONLY, NEVER_MUTED, NoticeKind

# Any so long has at most as many messages as a merchant allows.
CAP_WINDOW = timedelta(days=1)
# More than these wait for the next message.
DIGEST_FACTS_MAX = 50
# They are about how the customer is reached, or have a file of their own.
_BY_ITSELF = EMAIL_ONLY | {
    NoticeKind.PHONE_CODE, NoticeKind.PHONE_CHANGED, NoticeKind.PHONE_CHANGE_PENDING,
    NoticeKind.PHONE_LAPSED, NoticeKind.EMAIL_LINK,
}  # fmt: skip
T = TypeVar("T")


class Allotment(NamedTuple, Generic[T]):
    """What goes out now, by the message that says it, and what waits for a later one."""

    messages: list[list[T]]
    held: list[T]


def is_mandatory(kind: NoticeKind, until: datetime | None) -> bool:
    """Whether a notice is never held back that must be out until a time; None: that does not matter."""
    return until is not None or kind in NEVER_MUTED or kind in _BY_ITSELF


def allot(
    waiting: Sequence[T], sent: Iterable[datetime], day_max: int, now: datetime, *, is_digest: bool
) -> Allotment[T]:
    """What of the notices that wait for a customer on a channel goes out now, the oldest first.

    The last message that the day allows says all that is left. What was held before is one message.
    """
    free = day_max - len(_recent(sent, now))
    if free <= 0:
        return Allotment([], list(waiting))
    alone = 0 if is_digest else min(free - 1, len(waiting))
    rest = waiting[alone:]
    messages = [[each] for each in waiting[:alone]]
    if rest:
        messages.append(list(rest[:DIGEST_FACTS_MAX]))
    return Allotment(messages, list(rest[DIGEST_FACTS_MAX:]))


def next_free(sent: Iterable[datetime], day_max: int, now: datetime) -> datetime:
    """When the next message may go out after those that were sent."""
    recent = _recent(sent, now)
    return now if len(recent) < day_max else recent[-day_max] + CAP_WINDOW


def _recent(sent: Iterable[datetime], now: datetime) -> list[datetime]:
    return sorted(time for time in sent if time > now - CAP_WINDOW)
