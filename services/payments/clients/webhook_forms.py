"""What the webhooks of all providers have in common: who signed them, and what they name."""

import hmac
from collections.abc import Iterable, Mapping, Sequence
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

# Of ids, types and states; those of providers are far shorter.
NAME_MAX_CHARACTERS = 255


class WebhookRefusedError(Exception):
    """A webhook that is not the provider's, or none at all; the message names no secret."""


def check_signatures(signed: bytes, given: Iterable[bytes], secrets: Sequence[bytes]) -> None:
    """Check that one of the signatures is of these bytes by a secret. Raises WebhookRefusedError."""
    expected = [hmac.new(secret, signed, sha256).hexdigest().encode() for secret in secrets]
    # Each in constant time.
    if not any(hmac.compare_digest(each, one) for one in given for each in expected):
        raise WebhookRefusedError("the signature is not of this body")


def read_object(body: bytes) -> Mapping[str, Any]:
    """The object that a webhook is. Raises WebhookRefusedError."""
    try:
        webhook = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise WebhookRefusedError("the body is not JSON") from None
    if not isinstance(webhook, dict):
        raise WebhookRefusedError("the body is no event")
    return webhook


def read_event(
    provider: str,
    subject: WebhookSubject,
    shown: Mapping[str, object],
    metadata: object,
    *,
    moved: bool,
) -> WebhookEvent:
    """An event by its id, type, object and state at the provider. Raises WebhookRefusedError."""
    return WebhookEvent(
        provider=provider,
        event=read_name(shown["id"], "id"),
        type=read_name(shown["type"], "type"),
        subject=subject,
        object=read_name(shown["object"], "object"),
        object_state=read_name(shown["state"], "state"),
        moved=moved,
        **read_metadata(subject, metadata),
    )


def read_name(value: object, what: str) -> str:
    """A word of the provider's that is kept. PostgreSQL has no texts with NUL."""
    if not isinstance(value, str) or len(value) > NAME_MAX_CHARACTERS or "\0" in value:
        raise WebhookRefusedError(f"the event's {what} is no name")
    return value


def read_metadata(subject: WebhookSubject, metadata: object) -> dict[str, Any]:
    """The charge, or the refund, that an object says that it was made for; nothing if it says none."""
    named: Mapping[str, Any] = metadata if isinstance(metadata, dict) else {}
    try:
        if subject is WebhookSubject.PAYMENT:
            charge: ChargeKey = CHARGE.key(str(named.get("charge")))
            key = read_name(named.get("attempt"), "attempt")
            return {**charge._asdict(), "idempotency_key": key}
        if subject is WebhookSubject.REFUND:
            refund: RefundKey = REFUND.key(str(named.get("refund")))
            return refund._asdict()
    except (ValueError, WebhookRefusedError):
        pass
    return {"merchant": NO_MERCHANT, "customer": NO_CUSTOMER, "charge": NO_CHARGE}
