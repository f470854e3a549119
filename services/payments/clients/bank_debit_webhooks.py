"""Webhooks of the bank debit provider: are they its own, and what are they about.

Source: https://developer.gocardless.com/api-reference#webhooks and #events, read on 2026-11-30. It
signs the bytes alone, without a time: one that is sent again is known by the ids of its events.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime

import orjson

from services.payments.clients.bank_debit import BANK_DEBIT
from services.payments.clients.webhook_forms import (
    WebhookRefusedError,
    check_signatures,
    read_metadata,
    read_name,
)
from services.payments.domain.webhooks import WebhookEvent, WebhookSubject

PROVIDER = BANK_DEBIT
SIGNATURE_HEADER = "webhook-signature"
# As the provider documents it.
EVENTS_MAX = 250
_SUBJECTS = {"payments": WebhookSubject.PAYMENT, "refunds": WebhookSubject.REFUND}
# By these the money came, or is to stay.
_MOVED = frozenset({"confirmed", "paid_out", "chargeback_cancelled", "paid"})


def verify(body: bytes, header: str | None, secrets: Sequence[bytes], _now: datetime) -> None:
    """Check that one of the secrets has signed these bytes. Raises WebhookRefusedError."""
    check_signatures(body, [(header or "").encode()], secrets)


def read_events(body: bytes, provider: str = PROVIDER) -> list[WebhookEvent]:
    """What a verified webhook is about. Raises WebhookRefusedError if it has no events."""
    try:
        webhook = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise WebhookRefusedError("the body is not JSON") from None
    events = webhook.get("events") if isinstance(webhook, dict) else None
    if not isinstance(events, list) or len(events) > EVENTS_MAX:
        raise WebhookRefusedError("the body has no events")
    return [*_read(events, provider)]


def _read(events: Sequence[object], provider: str) -> Iterator[WebhookEvent]:
    for event in events:
        if not isinstance(event, dict):
            raise WebhookRefusedError("an event is none")
        kind, action = read_name(event.get("resource_type"), "type"), event.get("action")
        subject = _SUBJECTS.get(kind, WebhookSubject.OTHER)
        links = event.get("links")
        about = (links if isinstance(links, dict) else {}).get(kind.removesuffix("s"), "")
        yield WebhookEvent(
            provider=provider,
            event=read_name(event.get("id"), "id"),
            type=read_name(f"{kind}.{action}", "type"),
            subject=subject,
            object=read_name(about, "object"),
            object_state=read_name(action, "action"),
            moved=action in _MOVED,
            **read_metadata(subject, event.get("resource_metadata")),
        )
