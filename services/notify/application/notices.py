"""Notices in the making: whom they reach, by which channels, and what they say."""

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Protocol

from services.notify.domain.frequency import CAP_WINDOW
from services.notify.domain.monthly_summaries import SUMMED_UP, month_of
from services.notify.domain.notices import (
    DELIVERY_LIFETIME,
    VOID_ANSWERED,
    WAITING_QUIET_HOURS,
    WITH_ATTACHMENT,
    Channel,
    Contact,
    CustomerKey,
    Delivery,
    Evidence,
    Facts,
    Notice,
    NoticeId,
    NoticeKey,
    NoticeKind,
    PriceNotice,
    Promise,
)
from services.notify.domain.phone_codes import CODE_LIFETIME, MASK, mask_phone
from services.notify.domain.planning import (
    Circumstances,
    Plan,
    failure_code,
    plan_of,
    planned_sends,
)
from services.notify.domain.quiet_hours import deadline
from services.notify.domain.templates.phones import CODE_LEFT_OUT, PhoneCode
from services.notify.domain.templates.replies import ReplyAnswer
from services.notify.domain.transitions import DeliveryState
from services.notify.names import CUSTOMER
from services.notify.publishers import notice_failed
from services.notify.store import (
    answering,
    attempts,
    contacts,
    deliveries,
    monthly_summaries,
    notices,
    settings,
    superseding,
)
from services.notify.store.monthly_summaries import DueSummary
from services.notify.store.superseding import SubjectEvent
from services.runtime.db.pool import Connection
from services.runtime.messaging import outbox
from services.runtime.messaging.events import Event
from services.runtime.observability import tracing

MERGE_SECONDS = 60
_MERGED = uuid.UUID("5b0f0d0e-6c7d-4b8e-9c55-2d6b4a1f3e90")


class Draft(NamedTuple):
    """A notice before it is known how the customer is reached."""

    customer: str
    subject_resource: str
    # None: there is no notice, but earlier ones may be untrue now.
    facts: Facts | None
    promise: Promise | None = None
    # Whether events of one minute that read the same make one notice.
    merges: bool = False
    # What it makes untrue, by a name of SUPERSEDES; empty: what its event does by its own name.
    supersedes_as: str = ""
    # What the events have in common of which this is the one notice; empty: it is of one event.
    shared_key: str = ""
    # When what it says stops being true.
    expire_time: datetime | None = None
    # The notice (id) that it takes back: it is news only to who may have got that.
    takes_back: str = ""
    # When the order was due that it is the last word about.
    due_time: datetime | None = None
    price_notice: PriceNotice | None = None
    # Whether the merchant decides by what it counts as delivered.
    evidence_is_free: bool = False


class Origin(Protocol):
    """What a notice is made for: an event, or work that is due."""

    @property
    def occur_time(self) -> datetime:
        """When it happened."""

    @property
    def traceparent(self) -> str:
        """Its trace; empty: it has none."""


async def create_notices(
    tx: Connection, drafts: Sequence[tuple[Event[Any], Draft]], now: datetime
) -> None:
    """Make a notice of each event, once, with a delivery a channel; publish whom it cannot reach.

    The notice has the event's id, so there is one notice of each event. Several changes
    at one instant that read the same are one notice. Earlier notices that the events make untrue are
    voided; what later events have made untrue already is stored void, and so is what the answer to a
    reply says.
    """
    keys = [_notice_key(event, draft) for event, draft in drafts]
    reached = await contacts.by_key(tx, [key.customer_key for key in keys])
    waiting = await attempts.last(tx, reached)
    sent = await _sent(tx, drafts, keys)
    made = [
        notice_of_draft(event, draft, key, draft.facts, reached.get(key.customer_key), waiting, now)
        for (event, draft), key in zip(drafts, keys, strict=True)
        if draft.facts is not None and (not draft.takes_back or key in sent)
    ]
    free = {key for (_, draft), key in zip(drafts, keys, strict=True) if draft.evidence_is_free}
    made = await _with_evidence(tx, made, free)
    distinct = {notice.key: notice for notice in made}
    new = await notices.insert(tx, list(distinct.values()))
    await superseding.void(tx, await answering.said_by_answers(tx, new), VOID_ANSWERED)
    await superseding.supersede(
        tx,
        [
            SubjectEvent(
                *key,
                draft.subject_resource,
                draft.supersedes_as or event.message.DESCRIPTOR.name,
                event.occur_time,
            )
            for (event, draft), key in zip(drafts, keys, strict=True)
        ],
    )
    await _schedule_summaries(tx, new, reached, now)
    failed = [notice for notice in new if notice.is_failed]
    await outbox.put(tx, [notice_failed(n, n.deliveries[0].failure_code, now) for n in failed])


async def _schedule_summaries(
    tx: Connection, new: Sequence[Notice], reached: Mapping[CustomerKey, Contact], now: datetime
) -> None:
    """Have the month of who got one of the notices summed up, where the merchant wants that."""
    summed_up = {notice.customer_key for notice in new if notice.kind in SUMMED_UP} & set(reached)
    wanted = await settings.with_summaries(tx, {key.merchant for key in summed_up})
    due = [
        DueSummary(*key, month_of(now, reached[key].time_zone).due_time)
        for key in summed_up
        if key.merchant in wanted
    ]
    await monthly_summaries.schedule(tx, due)


async def preview(
    connection: Connection,
    key: CustomerKey,
    kind: NoticeKind,
    until: datetime | None,
    make_time: datetime,
) -> Plan:
    """What a notice would do that must be out until a time, if it were made at one; stores nothing."""
    contact = await contacts.one(connection, key)
    waiting = await attempts.last(connection, [key])
    queued = {channel: time for (_, channel), time in waiting.items()}
    rules = await settings.get(connection, key.merchant)
    addresses = [(key, channel) for channel in Channel] if rules.daily_message_max else []
    counted = await attempts.counted(connection, addresses, make_time - CAP_WINDOW)
    sent = {channel: times for (_, channel), times in counted.items()}
    given = Circumstances(contact, queued, until, make_time, sent)
    return plan_of(kind, given, rules)


async def _with_evidence(
    tx: Connection, made: Sequence[Notice], free: Collection[NoticeKey]
) -> list[Notice]:
    """The notices; of those whose evidence is free, with what their merchants let count."""
    lax = await settings.accepted_suffices(tx, {key.merchant for key in free})
    return [
        notice._replace(
            deliveries=tuple(
                delivery._replace(evidence=Evidence.ACCEPTED) for delivery in notice.deliveries
            ),
        )
        if notice.key in free and notice.merchant in lax
        else notice
        for notice in made
    ]


async def _sent(
    tx: Connection, drafts: Sequence[tuple[Event[Any], Draft]], keys: Sequence[NoticeKey]
) -> set[NoticeKey]:
    """The keys of drafts that take back a notice which was sent, or may have been."""
    taken_back = {
        key: key._replace(notice=NoticeId(draft.takes_back))
        for (_, draft), key in zip(drafts, keys, strict=True)
        if draft.takes_back
    }
    attempted = await deliveries.attempted(tx, list(taken_back.values()))
    return {key for key, former in taken_back.items() if former in attempted}


def _notice_key(event: Event[Any], draft: Draft) -> NoticeKey:
    """By the event's id, or by one that events share of which there is one notice."""
    notice = event.id
    if draft.shared_key:
        notice = uuid.uuid5(_MERGED, draft.shared_key)
    elif draft.merges:
        minute = int(event.occur_time.timestamp()) // MERGE_SECONDS
        notice = uuid.uuid5(_MERGED, f"{draft.subject_resource}|{draft.facts}|{minute}")
    return NoticeKey(*CUSTOMER.key(draft.customer), NoticeId(str(notice)))


def notice_of_draft(
    event: Origin,
    draft: Draft,
    key: NoticeKey,
    facts: Facts,
    contact: Contact | None,
    waiting: Mapping[tuple[CustomerKey, Channel], datetime],
    now: datetime,
) -> Notice:
    """The notice of an event, or of due work, to a contact, with the deliveries that it starts with."""
    kind = facts.kind
    waits = {channel: waiting.get((key.customer_key, channel)) for channel in Channel}
    queued = {channel: time for channel, time in waits.items() if time is not None}
    given = Circumstances(contact, queued, deadline(draft.promise, draft.expire_time), now)
    deliveries = [
        pending_delivery(
            send.channel,
            send.attempt_time,
            send.send_time + DELIVERY_LIFETIME,
            main=send.main,
        )._replace(
            expire_time=draft.expire_time,
            failure_code=WAITING_QUIET_HOURS if send.send_time > now else "",
            has_attachment=kind in WITH_ATTACHMENT,
        )
        for send in planned_sends(kind, given)
    ]
    if failure := failure_code(kind, contact, now):
        deliveries = [_undeliverable(now, failure)]
    return Notice(
        *key,
        kind=kind,
        subject_resource=draft.subject_resource,
        promise=draft.promise,
        traceparent=tracing.continued(f"notice {kind}", event.traceparent),
        occur_time=event.occur_time,
        create_time=now,
        deliveries=tuple(deliveries),
        due_time=draft.due_time,
        price_notice=draft.price_notice,
        facts=facts,
    )


def pending_delivery(
    channel: Channel, now: datetime, give_up_time: datetime, *, main: bool
) -> Delivery:
    """A delivery that is due at once."""
    return Delivery(
        channel=channel,
        main=main,
        state=DeliveryState.PENDING,
        subject="",
        text="",
        secret_text=None,
        next_attempt_time=now,
        give_up_time=give_up_time,
    )


def _undeliverable(now: datetime, failure_code: str) -> Delivery:
    """A delivery that there is no way for."""
    return Delivery(
        channel=Channel.SMS,
        main=True,
        state=DeliveryState.FAILED,
        subject="",
        text="",
        secret_text=None,
        next_attempt_time=now,
        give_up_time=now,
        failure_code=failure_code,
    )


def old_phone_notice(contact: Contact, facts: Facts, key: NoticeKey, now: datetime) -> Notice:
    """A notice to the phone of a contact before a change, and to the e-mail address if there is one.

    A phone that wants no messages gets none.
    """
    until = now + DELIVERY_LIFETIME
    deliveries = []
    if contact.messaged_phone:
        sms = pending_delivery(Channel.SMS, now, until, main=True)
        deliveries.append(sms._replace(address=contact.phone))
    if contact.email:
        copy = pending_delivery(Channel.EMAIL, now, until, main=not deliveries)
        deliveries.append(copy._replace(address=contact.email))
    return Notice(
        *key,
        kind=facts.kind,
        subject_resource="",
        promise=None,
        traceparent=tracing.current_traceparent(),
        occur_time=now,
        create_time=now,
        deliveries=tuple(deliveries),
        facts=facts,
    )


def email_notice(
    facts: Facts,
    email: str,
    key: NoticeKey,
    now: datetime,
    *,
    lifetime: timedelta = DELIVERY_LIFETIME,
    secret_text: str | None = None,
) -> Notice:
    """A notice about how a customer is reached, that goes to an e-mail address alone, proved or not."""
    pending = pending_delivery(Channel.EMAIL, now, now + lifetime, main=True)
    delivery = pending._replace(address=email, secret_text=secret_text)
    return Notice(
        *key,
        kind=facts.kind,
        subject_resource="",
        promise=None,
        traceparent=tracing.current_traceparent(),
        occur_time=now,
        create_time=now,
        deliveries=(delivery,),
        facts=facts,
    )


def reply_notice(
    facts: ReplyAnswer, phone: str, key: NoticeKey, subject_resource: str, now: datetime
) -> Notice:
    """The answer to a message: by SMS alone, at once, to the phone that it came from."""
    pending = pending_delivery(Channel.SMS, now, now + DELIVERY_LIFETIME, main=True)
    return Notice(
        *key,
        kind=facts.kind,
        subject_resource=subject_resource,
        promise=None,
        traceparent=tracing.current_traceparent(),
        occur_time=now,
        create_time=now,
        deliveries=(pending._replace(address=phone),),
        facts=facts,
    )


def shown_phone(phone: str) -> str:
    """A phone as messages show it: masked by what is in every SMS alphabet."""
    return mask_phone(phone).replace(MASK, "*")


def phone_code_notice(key: NoticeKey, facts: PhoneCode, now: datetime) -> Notice:
    """The SMS with a one-time code. What is kept of it, once it is sent, leaves the code out."""
    delivery = pending_delivery(Channel.SMS, now, now + CODE_LIFETIME, main=True)
    return Notice(
        *key,
        kind=NoticeKind.PHONE_CODE,
        subject_resource="",
        promise=None,
        traceparent=tracing.current_traceparent(),
        occur_time=now,
        create_time=now,
        deliveries=(delivery._replace(secret_text=facts.code),),
        facts=replace(facts, code=CODE_LEFT_OUT),
    )
