"""At which hour a notice goes out: not in the night of its reader, unless it would be late. Pure."""

from datetime import datetime, timedelta

from services.notify.domain.notices import NEVER_MUTED, Channel, NoticeKind, Promise
from services.runtime.quiet_hours import quiet_until

# Who has to do something until a time is given as long by day.
RESPONSE_TIME = timedelta(hours=12)
# Whoever asked for a code or has written waits, and who did not change their phone has to know.
_AT_ONCE = frozenset({
    NoticeKind.PHONE_CODE, NoticeKind.PHONE_CHANGED, NoticeKind.PHONE_CHANGE_PENDING, NoticeKind.REPLY,
})  # fmt: skip


def before_charge(charge_not_before: datetime, notice_lead: timedelta) -> datetime:
    """Until when the notice before a charge must be out."""
    return charge_not_before - notice_lead


def before_expiry(expire_time: datetime) -> datetime:
    """Until when a notice must be out that asks the customer for something until a time."""
    return expire_time - RESPONSE_TIME


def deadline(promise: Promise | None, expire_time: datetime | None) -> datetime | None:
    """Until when a notice must be out; None: nothing depends on it.

    A notice before a charge has to arrive its lead before it, or else defers it.
    """
    if promise is not None:
        return before_charge(promise.charge_not_before, promise.notice_lead)
    return None if expire_time is None else before_expiry(expire_time)


def send_time(
    kind: NoticeKind,
    channel: Channel,
    now: datetime,
    time_zone: str,
    until: datetime | None,
) -> datetime:
    """When a notice that is made now goes out, to somebody in a time zone; empty: it is not known.

    A notice with a deadline never waits beyond it. One that is mandatory and has none does not wait.
    E-mail wakes nobody.
    """
    if not time_zone or channel is Channel.EMAIL or kind in _AT_ONCE:
        return now
    end = quiet_until(now, time_zone)
    if until is not None:
        return end if end <= until else now
    return now if kind in NEVER_MUTED else end
