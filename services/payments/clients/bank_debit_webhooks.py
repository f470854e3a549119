"""Webhooks of the bank debit provider: are they its own, and what are they about.

Source: https://developer.gocardless.com/api-reference#webhooks and #events, read on 2026-11-30. It
signs the bytes alone, without a time: one that is sent again is known by the ids of its events.
"""

from collections.abc import Sequence
from datetime import datetime

from services.payments.clients.bank_debit_api import BANK_DEBIT
from services.payments.clients.webhook_forms import (
    WebhookRefusedError,
    check_signatures,
    read_event,
    read_name,
    read_object,
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
    events = read_object(body).get("events")
    if not isinstance(events, list) or len(events) > EVENTS_MAX:
        raise WebhookRefusedError("the body has no events")
    return [_read(event, provider) for event in events]


def _read(event: object, provider: str) -> WebhookEvent:
    if not isinstance(event, dict):
        raise WebhookRefusedError("an event is none")
    kind, action = read_name(event.get("resource_type"), "type"), event.get("action")
    links = event.get("links")
    about = (links if isinstance(links, dict) else {}).get(kind.removesuffix("s"), "")
    shown = {"id": event.get("id"), "type": f"{kind}.{action}", "object": about, "state": action}
    subject = _SUBJECTS.get(kind, WebhookSubject.OTHER)
    metadata = event.get("resource_metadata")
    return read_event(provider, subject, shown, metadata, moved=action in _MOVED)
