"""Notices in the making: whom they reach, by which channels, and what they say."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from services.notify.domain.notices import (
    DELIVERY_LIFE,
    FAILURE_NO_CHANNEL,
    Channel,
    Contact,
    CustomerKey,
    Delivery,
    DeliveryState,
    Notice,
    NoticeKind,
    Promise,
    can_be_reached,
    channels,
)
from services.notify.domain.phone_codes import CODE_LIFE
from services.notify.events.facts import CUSTOMER, notice_failed
from services.notify.store import contacts, notices
from services.notify.templates.kinds import CODE_LEFT_OUT, PhoneCode
from services.notify.templates.wording import Template, Texts, render
from services.runtime import outbox, telemetry
from services.runtime.events import Event

MERGE_SECONDS = 60
_MERGED = uuid.UUID("5b0f0d0e-6c7d-4b8e-9c55-2d6b4a1f3e90")


@dataclass(frozen=True, slots=True)
class Draft:
    """A notice before it is known how the customer is reached."""

    customer: str
    subject_resource: str
    template: Template
    promise: Promise | None = None
    # Whether facts of one minute that read the same are told once.
    merges: bool = False


async def post(
    tx: AsyncConnection, drafts: Sequence[tuple[Event[Any], Draft]], now: datetime
) -> None:
    """Make a notice of each event, once, with a delivery a channel; tell of whom it cannot reach.

    The notice has the event's id, which is derived from the fact: one fact, one notice. Several changes
    at one instant that read the same are one notice.
    """
    keys = [CustomerKey(*CUSTOMER.parse(draft.customer)) for _, draft in drafts]
    found = await contacts.by_key(tx, keys)
    made = [
        _notice(event, draft, key, found.get(key), now)
        for (event, draft), key in zip(drafts, keys, strict=True)
    ]
    distinct = {(notice.key, notice.notice): notice for notice in made}
    new = await notices.insert(tx, list(distinct.values()))
    failed = [n for n in new if any(d.state is DeliveryState.FAILED for d in n.deliveries)]
    await outbox.put(tx, [notice_failed(notice, FAILURE_NO_CHANNEL, now) for notice in failed])


def _notice_id(event: Event[Any], draft: Draft) -> str:
    """The event's id, or one that facts of the same minute share which read the same."""
    if not draft.merges:
        return str(event.id)
    minute = int(event.occur_time.timestamp()) // MERGE_SECONDS
    return str(uuid.uuid5(_MERGED, f"{draft.subject_resource}|{draft.template}|{minute}"))


def _notice(
    event: Event[Any], draft: Draft, key: CustomerKey, contact: Contact | None, now: datetime
) -> Notice:
    kind = draft.template.kind
    texts = render(draft.template, contact.display_name if contact else "")
    chosen = channels(kind, contact)
    deliveries = [
        _pending(channel, texts, now, now + DELIVERY_LIFE, main=channel is chosen[0])
        for channel in chosen
    ]
    if not can_be_reached(contact):
        deliveries = [_undeliverable(texts, now)]
    return Notice(
        key=key,
        notice=_notice_id(event, draft),
        kind=kind,
        subject_resource=draft.subject_resource,
        promise=draft.promise,
        traceparent=telemetry.continued(f"notice {kind}", event.traceparent),
        create_time=now,
        deliveries=tuple(deliveries),
    )


def _pending(
    channel: Channel, texts: Texts, now: datetime, give_up_time: datetime, *, main: bool
) -> Delivery:
    """A delivery that is due at once."""
    sms = channel is Channel.SMS
    return Delivery(
        channel=channel,
        main=main,
        state=DeliveryState.PENDING,
        subject="" if sms else texts.email_subject,
        text=texts.sms if sms else texts.email,
        secret_text=None,
        next_attempt_time=now,
        give_up_time=give_up_time,
    )


def _undeliverable(texts: Texts, now: datetime) -> Delivery:
    """What would have been sent, for whoever asks why it was not."""
    return Delivery(
        channel=Channel.SMS,
        main=True,
        state=DeliveryState.FAILED,
        subject="",
        text=texts.sms,
        secret_text=None,
        next_attempt_time=now,
        give_up_time=now,
        failure_code=FAILURE_NO_CHANNEL,
    )


def code_notice(key: CustomerKey, notice_id: str, code: str, now: datetime) -> Notice:
    """The SMS with a one-time code. What is kept of it, once it is sent, leaves the code out."""
    shown = _pending(
        Channel.SMS, render(PhoneCode(CODE_LEFT_OUT), ""), now, now + CODE_LIFE, main=True
    )
    return Notice(
        key=key,
        notice=notice_id,
        kind=NoticeKind.PHONE_CODE,
        subject_resource="",
        promise=None,
        traceparent=telemetry.current_traceparent(),
        create_time=now,
        deliveries=(replace(shown, secret_text=render(PhoneCode(code), "").sms),),
    )
