"""Which notices an operator may have sent again, and how often. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from services.notify.domain.notices import (
    Channel,
    Contact,
    CustomerKey,
    Delivery,
    Notice,
    NoticeKey,
    NoticeKind,
    is_expired,
    sms_rests,
)
from services.notify.domain.planning import can_carry
from services.notify.domain.templates.kinds import PriceProtectionEnding, PromotionEnding
from services.notify.domain.transitions import DeliveryState

# Copies to one customer in a day, whatever of.
RESENDS_DAY_MAX = 10
RESENDS_PERIOD = timedelta(days=1)
# What was given up longer ago is not sent again with others.
REDRIVE_AGE_MAX = timedelta(days=30)
# Between a notice and its copy, or two copies: sooner, a gateway without keys could confuse them.
RESEND_PAUSE = timedelta(minutes=10)
# They have a secret that is good for once, answer something, or go to an address that may not be the
# customer's any more.
_OF_ONE_ADDRESS = frozenset({
    NoticeKind.PHONE_CODE, NoticeKind.EMAIL_LINK, NoticeKind.PHONE_CHANGED,
    NoticeKind.PHONE_CHANGE_PENDING, NoticeKind.PHONE_LAPSED, NoticeKind.REPLY,
})  # fmt: skip
_ENDINGS = (PriceProtectionEnding, PromotionEnding)
_UNDER_WAY = frozenset({DeliveryState.PENDING, DeliveryState.ACCEPTED})


class ResendProblem(StrEnum):
    """Why a notice is not sent again."""

    NOTICE_NOT_RESENDABLE = "NOTICE_NOT_RESENDABLE"
    NOTICE_UNTRUE = "NOTICE_UNTRUE"
    NOTICE_UNDER_WAY = "NOTICE_UNDER_WAY"


class Skip(StrEnum):
    """Why a notice that was given up is not sent again with others."""

    NOT_RESENDABLE = "NOT_RESENDABLE"
    UNTRUE = "UNTRUE"
    UNDER_WAY = "UNDER_WAY"
    DELIVERED = "DELIVERED"
    CHANNEL_UNAVAILABLE = "CHANNEL_UNAVAILABLE"
    TOO_MANY = "TOO_MANY"


_SKIPS = {
    ResendProblem.NOTICE_NOT_RESENDABLE: Skip.NOT_RESENDABLE,
    ResendProblem.NOTICE_UNTRUE: Skip.UNTRUE,
    ResendProblem.NOTICE_UNDER_WAY: Skip.UNDER_WAY,
}


class Copies(NamedTuple):
    """What was sent again to a customer."""

    # Of any notice, since a day ago.
    day_count: int
    oldest_time: datetime | None
    # Of the notice itself.
    last_time: datetime | None
    is_under_way: bool
    is_delivered: bool


@dataclass(frozen=True, slots=True)
class Resend:
    """A wish to send a notice again on a channel."""

    notice: Notice
    channel: Channel
    copies: Copies
    # Whether a later fact has made it untrue.
    is_superseded: bool

    @property
    def original(self) -> NoticeKey:
        """The notice that it repeats, whether it is that or a copy."""
        return self.notice.key._replace(notice=self.notice.original_notice or self.notice.notice)

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
    """Why a notice is not sent again; None: it is."""
    notice, delivery = resend.notice, resend.delivery
    if notice.kind in _OF_ONE_ADDRESS or notice.facts is None:
        return ResendProblem.NOTICE_NOT_RESENDABLE
    is_voided = any(it.state is DeliveryState.VOIDED for it in notice.deliveries)
    if resend.is_superseded or is_voided or _is_past(notice, now):
        return ResendProblem.NOTICE_UNTRUE
    if resend.copies.is_under_way or (delivery is not None and delivery.state in _UNDER_WAY):
        return ResendProblem.NOTICE_UNDER_WAY
    return None


def _is_past(notice: Notice, now: datetime) -> bool:
    """Whether time alone has made a notice untrue: its charge is not to come, or what it asks for.

    That something ends is said with what can be done before.
    """
    if isinstance(notice.facts, _ENDINGS) and notice.facts.first_due_time <= now:
        return True
    if notice.promise is not None and now >= notice.promise.charge_not_before:
        return True
    return any(is_expired(it, now) for it in notice.deliveries)


def judged(
    resends: Sequence[Resend], contacts: Mapping[CustomerKey, Contact], now: datetime
) -> list[Skip | None]:
    """Which of several notices are sent again at once, in their order; None: it is.

    Those of one customer count together. The contacts are as notices use them.
    """
    made: Counter[CustomerKey] = Counter()
    verdicts = []
    for resend in resends:
        customer = resend.notice.customer_key
        copies = resend.copies
        counted = copies._replace(
            day_count=copies.day_count + made[customer], oldest_time=copies.oldest_time or now
        )
        skip = _skip(replace(resend, copies=counted), contacts.get(customer), now)
        made[customer] += skip is None
        verdicts.append(skip)
    return verdicts


def _skip(resend: Resend, contact: Contact | None, now: datetime) -> Skip | None:
    if (found := problem(resend, now)) is not None:
        return _SKIPS[found]
    if resend.is_delivered:
        return Skip.DELIVERED
    if contact is None or not can_carry(resend.notice.kind, resend.channel, contact):
        return Skip.CHANNEL_UNAVAILABLE
    if resend.channel is Channel.SMS and sms_rests(contact, now):
        return Skip.CHANNEL_UNAVAILABLE
    return Skip.TOO_MANY if wait_until(resend, now) is not None else None


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
