"""What a notice does on each channel, when, and why; for notices and for previews of them. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from services.notify.domain.fallbacks import fall_back_time, other_channel
from services.notify.domain.frequency import is_mandatory, next_free
from services.notify.domain.notices import (
    EMAIL_ONLY,
    FAILURE_NO_CHANNEL,
    FAILURE_PHONE_UNREACHABLE,
    Channel,
    Contact,
    NoticeKind,
    can_be_reached,
    channels,
    is_muted,
    sms_rests,
)
from services.notify.domain.quiet_hours import send_time
from services.notify.domain.settings import NotifySettings
from services.runtime.quiet_hours import quiet_until


class PlannedSend(NamedTuple):
    """A delivery that a notice starts with."""

    channel: Channel
    # Whether this channel decides if the notice was delivered.
    main: bool
    # When it may go out by the clock of its reader.
    send_time: datetime
    # Messages on a channel go out in their order: not before what waits there to be tried again.
    attempt_time: datetime


class Use(StrEnum):
    """What a notice uses a channel for."""

    MAIN = "MAIN"
    COPY = "COPY"
    FALL_BACK = "FALL_BACK"
    UNUSED = "UNUSED"


class Reason(StrEnum):
    """Why a channel is used at a time, or is not."""

    # Of what is sent.
    AT_ONCE = "AT_ONCE"
    TIME_ZONE_UNKNOWN = "TIME_ZONE_UNKNOWN"
    QUIET_HOURS = "QUIET_HOURS"
    DEADLINE = "DEADLINE"
    MANDATORY = "MANDATORY"
    QUEUED = "QUEUED"
    DIGEST = "DIGEST"
    # Of what another channel falls back to.
    MAIN_CHANNEL_LATE = "MAIN_CHANNEL_LATE"
    MAIN_CHANNEL_FAILED = "MAIN_CHANNEL_FAILED"
    # Of what is not used.
    NO_ADDRESS = "NO_ADDRESS"
    PHONE_LAPSED = "PHONE_LAPSED"
    PHONE_UNREACHABLE = "PHONE_UNREACHABLE"
    EMAIL_NOT_PROVED = "EMAIL_NOT_PROVED"
    MUTED = "MUTED"
    NOT_BY_SMS = "NOT_BY_SMS"
    ONE_CHANNEL = "ONE_CHANNEL"


@dataclass(frozen=True, slots=True)
class ChannelPlan:
    """What a notice does on a channel, and why."""

    channel: Channel
    use: Use
    reason: Reason
    # None: it is not used at first.
    send_time: datetime | None = None
    # When it takes over from a main channel that has not arrived; None: once that has failed.
    fall_back_time: datetime | None = None


class Plan(NamedTuple):
    """What a notice does."""

    channels: tuple[ChannelPlan, ...]
    # Why it fails as soon as it is made; empty: it does not.
    failure_code: str


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What decides about a notice, beside its kind."""

    # None: nothing is known of the customer.
    contact: Contact | None
    # When the last of what waits for the customer is tried next.
    waiting: Mapping[Channel, datetime]
    # Until when it must be out; None: nothing depends on it.
    until: datetime | None
    now: datetime
    # When messages went out lately that count among those of a day.
    sent: Mapping[Channel, Sequence[datetime]] = field(default_factory=dict)


def contact_by(contact: Contact, settings: NotifySettings) -> Contact:
    """The contact as notices use it.

    That is without an e-mail address that has to be proved first, and with the time zone of the
    merchant's settings if it names none.
    """
    is_usable = contact.email_bind_time is not None or not settings.proved_email_only
    return contact._replace(
        email=contact.email if is_usable else "",
        time_zone=contact.time_zone or settings.time_zone,
    )


def planned_sends(kind: NoticeKind, given: Circumstances) -> tuple[PlannedSend, ...]:
    """The deliveries that a notice starts with, the main one first."""
    chosen = channels(kind, given.contact, given.now)
    time_zone = given.contact.time_zone if given.contact else ""
    sends = []
    for channel in chosen:
        send = send_time(kind, channel, given.now, time_zone, given.until)
        attempt = max(send, given.waiting.get(channel, send))
        sends.append(PlannedSend(channel, channel is chosen[0], send, attempt))
    return tuple(sends)


def stand_in_send(kind: NoticeKind, channel: Channel, given: Circumstances) -> PlannedSend | None:
    """The delivery of a channel that is to stand in for another now; None: it would bring nothing.

    It keeps the night of its reader as the first one does.
    """
    if given.contact is None or not _can_stand_in(kind, channel, given.contact, given.now):
        return None
    send = send_time(kind, channel, given.now, given.contact.time_zone, given.until)
    return PlannedSend(channel, main=False, send_time=send, attempt_time=send)


def failure_code(kind: NoticeKind, contact: Contact | None, now: datetime) -> str:
    """Why a notice fails as soon as it is made; empty: it does not."""
    if kind in EMAIL_ONLY:
        # Whom no e-mail reaches misses nothing that anything depends on.
        return ""
    if not can_be_reached(contact):
        return FAILURE_NO_CHANNEL
    if not channels(kind, contact, now) and sms_rests(contact, now):
        return FAILURE_PHONE_UNREACHABLE
    return ""


def plan_of(kind: NoticeKind, given: Circumstances, settings: NotifySettings) -> Plan:
    """What a notice does on each channel: those that it starts with first."""
    whole = given
    if given.contact is not None:
        given = replace(given, contact=contact_by(given.contact, settings))
    sends = planned_sends(kind, given)
    plans = [_plan_of_send(send, kind, given, settings) for send in sends]
    for channel in Channel:
        if channel not in {send.channel for send in sends}:
            is_usable = _has(channel, given.contact)
            reason = _reason_of_unused(kind, channel, whole, is_usable=is_usable)
            unused = ChannelPlan(channel, Use.UNUSED, reason)
            plans.append(_fall_back(kind, channel, sends, given) or unused)
    return Plan(tuple(plans), failure_code(kind, given.contact, given.now))


def _plan_of_send(
    send: PlannedSend, kind: NoticeKind, given: Circumstances, settings: NotifySettings
) -> ChannelPlan:
    use = Use.MAIN if send.main else Use.COPY
    sent, most = given.sent.get(send.channel, ()), settings.daily_message_max
    if most and not is_mandatory(kind, given.until):
        free = next_free(sent, most, send.attempt_time)
        if free > send.attempt_time:
            time_zone = given.contact.time_zone if given.contact else ""
            by_day = send_time(kind, send.channel, free, time_zone, None)
            return ChannelPlan(send.channel, use, Reason.DIGEST, by_day)
    return ChannelPlan(send.channel, use, _reason_of_send(send, given), send.attempt_time)


def _reason_of_send(send: PlannedSend, given: Circumstances) -> Reason:
    if send.attempt_time > send.send_time:
        return Reason.QUEUED
    if send.send_time > given.now:
        return Reason.QUIET_HOURS
    if send.channel is Channel.EMAIL:
        return Reason.AT_ONCE
    time_zone = given.contact.time_zone if given.contact else ""
    if not time_zone:
        return Reason.TIME_ZONE_UNKNOWN
    if quiet_until(given.now, time_zone) == given.now:
        return Reason.AT_ONCE
    return Reason.MANDATORY if given.until is None else Reason.DEADLINE


def _has(channel: Channel, contact: Contact | None) -> bool:
    """Whether there is an address that messages go to."""
    if contact is None:
        return False
    return bool(contact.messaged_phone if channel is Channel.SMS else contact.email)


def _can_stand_in(kind: NoticeKind, channel: Channel, contact: Contact, now: datetime) -> bool:
    if not _has(channel, contact) or _is_muted(kind, channel, contact):
        return False
    return channel is not Channel.SMS or not sms_rests(contact, now)


def can_carry(kind: NoticeKind, channel: Channel, contact: Contact) -> bool:
    """Whether a channel takes a notice of a kind to a contact, as notices use it."""
    goes_there = channel is Channel.EMAIL or kind not in EMAIL_ONLY
    return goes_there and _has(channel, contact) and not _is_muted(kind, channel, contact)


def _is_muted(kind: NoticeKind, channel: Channel, contact: Contact) -> bool:
    is_stopped = channel is Channel.SMS and contact.sms_stop_time is not None
    return is_stopped or is_muted(kind, channel, contact)


def _fall_back(
    kind: NoticeKind, channel: Channel, sends: tuple[PlannedSend, ...], given: Circumstances
) -> ChannelPlan | None:
    """How a notice falls back to a channel; None: it does not."""
    if not sends or other_channel(kind, sends[0].channel) is not channel:
        return None
    if given.contact is None or not _can_stand_in(kind, channel, given.contact, given.now):
        return None
    take_over = fall_back_time(sends[0].send_time, given.until)
    reason = Reason.MAIN_CHANNEL_FAILED if take_over is None else Reason.MAIN_CHANNEL_LATE
    return ChannelPlan(channel, Use.FALL_BACK, reason, fall_back_time=take_over)


def _reason_of_unused(
    kind: NoticeKind, channel: Channel, given: Circumstances, *, is_usable: bool
) -> Reason:
    contact = given.contact
    if channel is Channel.SMS and kind in EMAIL_ONLY:
        return Reason.NOT_BY_SMS
    if contact is None or not (contact.phone if channel is Channel.SMS else contact.email):
        return Reason.NO_ADDRESS
    if not is_usable and not (channel is Channel.SMS and contact.proved_phone):
        return Reason.PHONE_LAPSED if channel is Channel.SMS else Reason.EMAIL_NOT_PROVED
    if _is_muted(kind, channel, contact):
        return Reason.MUTED
    if channel is Channel.SMS and sms_rests(contact, given.now):
        return Reason.PHONE_UNREACHABLE
    return Reason.ONE_CHANNEL
