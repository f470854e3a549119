"""Notices that operators have sent again."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.notify.application import contacts
from services.notify.application.notices import pending_delivery
from services.notify.application.phones import notice_key
from services.notify.domain.notices import (
    DELIVERY_LIFETIME,
    EMAIL_ONLY,
    WAITING_QUIET_HOURS,
    WITH_ATTACHMENT,
    Channel,
    Contact,
    CustomerKey,
    Delivery,
    Notice,
    NoticeKey,
)
from services.notify.domain.planning import can_carry, contact_by
from services.notify.domain.quiet_hours import before_expiry, send_time
from services.notify.domain.resending import (
    RESENDS_DAY_MAX,
    RESENDS_PERIOD,
    Resend,
    ResendProblem,
    problem,
    wait_until,
)
from services.notify.names import NOTICE
from services.notify.store import attempts, deliveries, notices, resends, settings, superseding
from services.runtime.db.pool import Connection
from services.runtime.errors import not_found, wrong_state
from services.runtime.mutations import Applied
from services.runtime.observability import tracing
from services.runtime.rpc.limits import exhausted

_MESSAGES = {
    ResendProblem.NOTICE_NOT_RESENDABLE: "a code, a link, a notice about a phone, or of a customer who"
    " was erased",
    ResendProblem.NOTICE_UNTRUE: "a later fact, or time, has made untrue what it says",
    ResendProblem.NOTICE_UNDER_WAY: "it, or a copy of it, is still to arrive on this channel",
}


@dataclass(frozen=True, slots=True)
class WantedCopy:
    """A caller's wish to have a notice sent again."""

    key: NoticeKey
    # None: the channel that it started with.
    channel: Channel | None
    request_id: str


async def resend(tx: Connection, wanted: WantedCopy, now: datetime) -> Applied[Notice]:
    """Send a notice again, as a notice of its own in the words that it had on the channel.

    Raises NOT_FOUND NOTICE_NOT_FOUND or CONTACT_NOT_FOUND, FAILED_PRECONDITION NOTICE_NOT_RESENDABLE,
    NOTICE_UNTRUE, NOTICE_UNDER_WAY or CHANNEL_UNAVAILABLE, RESOURCE_EXHAUSTED RESENDS_TOO_MANY.
    """
    given = await notices.one(tx, wanted.key)
    if given is None:
        raise not_found("NOTICE_NOT_FOUND", NOTICE.format(*wanted.key))
    # The contact's lock lets one copy at a time be made.
    found = await contacts.existing(tx, wanted.key.customer_key, lock=True)
    contact = contact_by(found, await settings.get(tx, wanted.key.merchant))
    [asked] = await wishes(tx, [(given, wanted.channel or _first_channel(given))], now)
    _require(asked, contact, now)
    reached = {contact.key: contact}
    [copy] = await send_copies(tx, [asked], reached, wanted.request_id, now)
    return Applied(copy)


async def wishes(
    tx: Connection, wanted: Sequence[tuple[Notice, Channel]], now: datetime
) -> list[Resend]:
    """Notices to be sent again by channels, with what decides whether they are."""
    originals = [
        notice.key._replace(notice=notice.original_notice or notice.notice) for notice, _ in wanted
    ]
    copies = await resends.copies(tx, originals, now - RESENDS_PERIOD)
    untrue = await superseding.superseded(tx, originals)
    return [
        Resend(notice, channel, copies[original], original in untrue)
        for (notice, channel), original in zip(wanted, originals, strict=True)
    ]


async def send_copies(
    tx: Connection,
    asked: Collection[Resend],
    reached: Mapping[CustomerKey, Contact],
    request_id: str,
    now: datetime,
) -> list[Notice]:
    """Store copies of notices, to be sent to contacts as notices use them; one of each."""
    waiting = await attempts.last(tx, {it.notice.customer_key for it in asked})
    made = [
        _copy(it, _delivery(it, reached[it.notice.customer_key], waiting, now), request_id, now)
        for it in asked
    ]
    new = await notices.insert(tx, made)
    await deliveries.store_words(tx, new)
    return new


def _copy(asked: Resend, delivery: Delivery, request_id: str, now: datetime) -> Notice:
    notice, original = asked.notice, asked.original
    key = notice_key("resend", original.customer_key, f"{request_id}/{original.notice}")
    return notice._replace(
        notice=key.notice,
        # No charge depends on a copy: an order whose notice failed is announced again.
        promise=None,
        price_notice=None if asked.is_delivered else notice.price_notice,
        due_time=None,
        traceparent=tracing.current_traceparent(),
        occur_time=now,
        create_time=now,
        deliveries=(delivery,),
        original_notice=original.notice,
    )


def _first_channel(notice: Notice) -> Channel:
    """The channel that a notice started with, or would have."""
    otherwise = Channel.EMAIL if notice.kind in EMAIL_ONLY else Channel.SMS
    return next((delivery.channel for delivery in notice.deliveries if delivery.main), otherwise)


def _require(asked: Resend, contact: Contact, now: datetime) -> None:
    if (found := problem(asked, now)) is not None:
        raise wrong_state(found, _MESSAGES[found])
    if not can_carry(asked.notice.kind, asked.channel, contact):
        message = f"channel: no {asked.channel} of this kind reaches the customer now"
        raise wrong_state("CHANNEL_UNAVAILABLE", message)
    if (until := wait_until(asked, now)) is not None:
        message = (
            f"a notice is sent once in ten minutes, and at most {RESENDS_DAY_MAX} copies a day are"
        )
        raise exhausted("RESENDS_TOO_MANY", message, (until - now) / timedelta(seconds=1))


def _delivery(
    asked: Resend,
    contact: Contact,
    waiting: Mapping[tuple[CustomerKey, Channel], datetime],
    now: datetime,
) -> Delivery:
    """The delivery of a copy: in its turn, not in the night, with the words that the channel had."""
    kind, channel, customer = asked.notice.kind, asked.channel, asked.notice.customer_key
    expire_time = next((it.expire_time for it in asked.notice.deliveries if it.main), None)
    until = None if expire_time is None else before_expiry(expire_time)
    send = send_time(kind, channel, now, contact.time_zone, until)
    attempt = max(send, waiting.get((customer, channel), send))
    words = asked.delivery
    return pending_delivery(channel, attempt, send + DELIVERY_LIFETIME, main=True)._replace(
        subject=words.subject if words else "",
        text=words.text if words else "",
        locale=words.locale if words else "",
        template=words.template if words else "",
        expire_time=expire_time,
        failure_code=WAITING_QUIET_HOURS if send > now else "",
        has_attachment=kind in WITH_ATTACHMENT,
    )
