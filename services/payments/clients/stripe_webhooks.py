"""Webhooks of Stripe, or of what looks like it: are they its own, and what are they about.

Source: https://docs.stripe.com/webhooks (signatures, replays, order), read on 2026-11-29. The official
library does the same in `stripe.WebhookSignature`, for 21 MB of memory and by the machine's clock; a
test compares the two.
"""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta

from services.payments.clients.webhook_forms import (
    WebhookRefusedError,
    check_signatures,
    read_event,
    read_object,
)
from services.payments.domain.webhooks import WebhookEvent, WebhookSubject

PROVIDER = "stripe"
SIGNATURE_HEADER = "stripe-signature"
# A webhook that was signed longer ago is a replay: the provider signs each repetition again.
TOLERANCE = timedelta(minutes=5)
# One a secret while two are in use, and as many of other schemes.
SIGNATURES_MAX = 8
SIGNATURE_HEADER_MAX_CHARACTERS = 2048
_SCHEME = "v1"
_SUBJECTS = {
    "payment_intent": WebhookSubject.PAYMENT,
    "refund": WebhookSubject.REFUND,
    "dispute": WebhookSubject.DISPUTE,
}
_UNIX_TIME = re.compile(r"[0-9]{1,12}")


def verify(body: bytes, header: str | None, secrets: Sequence[bytes], now: datetime) -> None:
    """Check that one of the secrets has signed these bytes lately. Raises WebhookRefusedError."""
    sign_time, signatures = _parsed(header or "")
    signed = str(sign_time).encode() + b"." + body
    check_signatures(signed, [signature.encode() for signature in signatures], secrets)
    # After the signature: what is forged is called so, however old it is said to be.
    if now.timestamp() - sign_time > TOLERANCE.total_seconds():
        raise WebhookRefusedError("it was signed too long ago")


def _parsed(header: str) -> tuple[int, list[str]]:
    """The time and the signatures of a header like `t=1700000000,v1=5257…`."""
    if len(header) > SIGNATURE_HEADER_MAX_CHARACTERS:
        raise WebhookRefusedError("the signature's header is too long")
    parts = [part.partition("=") for part in header.split(",")]
    times = [value for name, _, value in parts if name.strip() == "t"]
    signatures = [value for name, _, value in parts if name.strip() == _SCHEME]
    if (
        len(times) != 1
        or not _UNIX_TIME.fullmatch(times[0])
        or not 0 < len(signatures) <= SIGNATURES_MAX
    ):
        raise WebhookRefusedError("there is no signature")
    return int(times[0]), signatures


def read_events(body: bytes, provider: str = PROVIDER) -> list[WebhookEvent]:
    """What a verified webhook is about. Raises WebhookRefusedError if it is no event."""
    event = read_object(body)
    data = event.get("data")
    about = data.get("object") if isinstance(data, dict) else None
    if not isinstance(about, dict):
        raise WebhookRefusedError("the event is about nothing")
    subject = _SUBJECTS.get(str(about.get("object")), WebhookSubject.OTHER)
    shown = {
        "id": event.get("id"),
        "type": event.get("type"),
        "object": about.get("id", ""),
        "state": about.get("status") or "",
    }
    moved = about.get("status") == "succeeded"
    return [read_event(provider, subject, shown, about.get("metadata"), moved=moved)]
