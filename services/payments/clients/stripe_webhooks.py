"""Webhooks of Stripe, or of what looks like it: are they its own, and what are they about.

Source: https://docs.stripe.com/webhooks (signatures, replays, order), read on 2026-11-29. The official
library does the same in `stripe.WebhookSignature`, for 21 MB of memory and by the machine's clock; a
test compares the two.
"""

import hmac
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

import orjson

from services.payments.domain.keys import ChargeKey, RefundKey
from services.payments.domain.webhooks import (
    NO_CHARGE,
    NO_CUSTOMER,
    NO_MERCHANT,
    WebhookEvent,
    WebhookSubject,
)
from services.payments.names import CHARGE, REFUND

PROVIDER = "stripe"
SIGNATURE_HEADER = "stripe-signature"
# A webhook that was signed longer ago is a replay: the provider signs each repetition anew.
TOLERANCE = timedelta(minutes=5)
# One a secret while two are in use, and as many of other schemes.
SIGNATURES_MAX = 8
SIGNATURE_HEADER_MAX_CHARACTERS = 2048
# Of ids, types and states; theirs are far shorter.
NAME_MAX_CHARACTERS = 255
_SCHEME = "v1"
_UNIX_TIME = re.compile(r"[0-9]{1,12}")


class WebhookRefusedError(Exception):
    """A webhook that is not the provider's, or none at all; the message names no secret."""


def verify(body: bytes, header: str | None, secrets: Sequence[bytes], now: datetime) -> None:
    """Check that one of the secrets has signed these bytes lately. Raises WebhookRefusedError."""
    sign_time, signatures = _parsed(header or "")
    signed = str(sign_time).encode() + b"." + body
    expected = [hmac.new(secret, signed, sha256).hexdigest().encode() for secret in secrets]
    # Each in constant time.
    if not any(hmac.compare_digest(e, s.encode()) for e in expected for s in signatures):
        raise WebhookRefusedError("the signature is not of this body")
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


def read_events(body: bytes) -> list[WebhookEvent]:
    """What a verified webhook is about. Raises WebhookRefusedError if it is no event."""
    try:
        event = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise WebhookRefusedError("the body is not JSON") from None
    if not isinstance(event, dict):
        raise WebhookRefusedError("the body is no event")
    data = event.get("data")
    shown = data.get("object") if isinstance(data, dict) else None
    if not isinstance(shown, dict):
        raise WebhookRefusedError("the event is about nothing")
    subject = _SUBJECTS.get(str(shown.get("object")), WebhookSubject.OTHER)
    metadata = shown.get("metadata")
    ours = _ours(subject, metadata if isinstance(metadata, dict) else {})
    told = WebhookEvent(
        provider=PROVIDER,
        event=read_name(event.get("id"), "id"),
        type=read_name(event.get("type"), "type"),
        subject=subject,
        object=read_name(shown.get("id", ""), "object"),
        object_state=read_name(shown.get("status") or "", "status"),
        moved=shown.get("status") == "succeeded",
        **ours,
    )
    return [told]


_SUBJECTS = {
    "payment_intent": WebhookSubject.PAYMENT,
    "refund": WebhookSubject.REFUND,
    "dispute": WebhookSubject.DISPUTE,
}


def read_name(value: object, what: str) -> str:
    """A word of the provider's that is kept. PostgreSQL has no texts with NUL."""
    if not isinstance(value, str) or len(value) > NAME_MAX_CHARACTERS or "\0" in value:
        raise WebhookRefusedError(f"the event's {what} is no name")
    return value


def _ours(subject: WebhookSubject, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The charge, or the refund, that an object says that it was made for; nothing if it says none."""
    try:
        if subject is WebhookSubject.PAYMENT:
            charge: ChargeKey = CHARGE.key(str(metadata.get("charge")))
            key = read_name(metadata.get("attempt"), "attempt")
            return {**charge._asdict(), "idempotency_key": key}
        if subject is WebhookSubject.REFUND:
            refund: RefundKey = REFUND.key(str(metadata.get("refund")))
            return refund._asdict()
    except (ValueError, WebhookRefusedError):
        pass
    return {"merchant": NO_MERCHANT, "customer": NO_CUSTOMER, "charge": NO_CHARGE}
