"""When a notice goes through another channel as well, since its own fails or is too slow. Pure."""

from datetime import datetime, timedelta

from services.notify.domain.notices import (
    ABOUT_ADDRESS,
    DELIVERY_LIFETIME,
    EMAIL_ONLY,
    FAILURE_GATEWAY_AWAY,
    Channel,
    Delivery,
    Evidence,
    Notice,
    NoticeKind,
    Progress,
)
from services.notify.domain.quiet_hours import deadline
from services.notify.domain.transitions import DeliveryState

# What has a deadline goes by the next channel so long before it, for that takes time as well.
FALL_BACK_MARGIN = timedelta(minutes=30)
# So long each channel has at least, however near the deadline is.
FALL_BACK_PATIENCE = timedelta(minutes=10)
# These are about one phone or address, and have their own ways.
_WITHOUT = EMAIL_ONLY | ABOUT_ADDRESS | {NoticeKind.REPLY}
_NEXT = {Channel.SMS: Channel.EMAIL, Channel.EMAIL: Channel.SMS}


def other_channel(kind: NoticeKind, channel: Channel) -> Channel | None:
    """The channel that stands in for one that does not bring a notice of a kind; None: none."""
    return None if kind in _WITHOUT else _NEXT[channel]


def fall_back_time(send: datetime, until: datetime | None) -> datetime | None:
    """When the next channel takes over from one that sends from an instant on, and has not arrived.

    None: nothing depends on the time, so only once the channel has failed.
    """
    return None if until is None else max(until - FALL_BACK_MARGIN, send + FALL_BACK_PATIENCE)


def next_channel(
    notice: Notice, delivery: Delivery, progress: Progress, now: datetime
) -> Channel | None:
    """The channel that a notice goes through as well, after what a delivery has come to; None: none.

    A copy that fails has the main channel beside it.
    """
    other = other_channel(notice.kind, delivery.channel)
    if not delivery.main or other is None:
        return None
    if progress.state in {DeliveryState.FAILED, DeliveryState.EXPIRED}:
        return other
    if progress.state not in {DeliveryState.PENDING, DeliveryState.ACCEPTED}:
        return None
    if progress.accept_time is not None and delivery.evidence is Evidence.ACCEPTED:
        return None
    # A gateway that takes nothing is not tried with every message.
    was_tried = progress.attempt_count > 0 or progress.failure_code == FAILURE_GATEWAY_AWAY
    take_over = fall_back_time(
        delivery.give_up_time - DELIVERY_LIFETIME,
        deadline(notice.promise, delivery.expire_time),
    )
    # The last look before that instant decides: the next one would be too late.
    is_due = take_over is not None and max(now, progress.next_attempt_time) > take_over
    return other if was_tried and is_due else None
