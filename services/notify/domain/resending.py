"""Which notices an operator may have sent once more, and how often. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from services.notify.domain.notices import Channel, Delivery, Notice, NoticeKind, is_expired
from services.notify.domain.transitions import DeliveryState

# Copies to one customer in a day, whatever of.
RESENDS_DAY_MAX = 10
RESENDS_PERIOD = timedelta(days=1)
# Between a notice and its copy, or two copies: sooner, a gateway without keys could confuse them.
RESEND_PAUSE = timedelta(minutes=10)
# They have a secret that is good for once, answer something, or go to an address that may not be the
# customer's any more.
_OF_ONE_ADDRESS = frozenset({
    NoticeKind.PHONE_CODE, NoticeKind.EMAIL_LINK, NoticeKind.PHONE_CHANGED,
    NoticeKind.PHONE_CHANGE_PENDING, NoticeKind.PHONE_LAPSED, NoticeKind.REPLY,
})  # fmt: skip
_UNDER_WAY = frozenset({DeliveryState.PENDING, DeliveryState.ACCEPTED})


class ResendProblem(StrEnum):
    """Why a notice is not sent once more."""

    NOTICE_NOT_RESENDABLE = "NOTICE_NOT_RESENDABLE"
    NOTICE_UNTRUE = "NOTICE_UNTRUE"
    NOTICE_UNDER_WAY = "NOTICE_UNDER_WAY"


class Copies(NamedTuple):
    """What was sent once more to a customer."""

    # Of any notice, since a day ago.
    day_count: int
    oldest_time: datetime | None
    # Of the notice itself.
    last_time: datetime | None
    is_under_way: bool
    is_delivered: bool


@dataclass(frozen=True, slots=True)
class Resend:
    """A wish to send a notice once more on a channel."""

    notice: Notice
    channel: Channel
    copies: Copies
    # Whether a later fact has made it untrue.
    is_superseded: bool

    @property
    def delivery(self) -> Delivery | None:
        """What it said on the channel; None: it did not go there."""
        return next((it for it in self.notice.deliveries if it.channel is self.channel), None)

    @property
    def is_delivered(self) -> bool:
        """Whether the notice, or a copy of it, arrived by some channel."""
        arrived = (it.state is DeliveryState.DELIVERED for it in self.notice.deliveries)
        return any(arrived) or self.copies.is_delivered


def problem(resend: Resend, now: datetime) -> ResendProblem | None:
    """Why a notice is not sent once more; None: it is."""
    notice, delivery = resend.notice, resend.delivery
    if notice.kind in _OF_ONE_ADDRESS or notice.facts is None:
        return ResendProblem.NOTICE_NOT_RESENDABLE
    is_voided = any(it.state is DeliveryState.VOIDED for it in notice.deliveries)
    if resend.is_superseded or is_voided or any(is_expired(it, now) for it in notice.deliveries):
        return ResendProblem.NOTICE_UNTRUE
    if resend.copies.is_under_way or (delivery is not None and delivery.state in _UNDER_WAY):
        return ResendProblem.NOTICE_UNDER_WAY
    return None


def wait_until(resend: Resend, now: datetime) -> datetime | None:
    """Until when no further copy is sent; None: one is."""
    copies, delivery = resend.copies, resend.delivery
    ends = []
    if copies.day_count >= RESENDS_DAY_MAX and copies.oldest_time is not None:
        ends.append(copies.oldest_time + RESENDS_PERIOD)
    sent = [copies.last_time]
    if delivery is not None:
        sent += [delivery.accept_time, delivery.deliver_time]
    ends += [time + RESEND_PAUSE for time in sent if time is not None]
    return max((end for end in ends if end > now), default=None)
