"""How gateways sign what they send by themselves, and what they say in it."""

import base64
import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

from services.notify.clients.sms import read_receipt
from services.notify.domain.notices import DeliveryKey
from services.notify.domain.receipts import Receipt
from services.notify.names import DELIVERY

SIGNED_LATELY = timedelta(minutes=5)


class CallbackRefusedError(Exception):
    """A callback that nobody vouches for, or that says nothing; the message says why."""


@dataclass(frozen=True, slots=True)
class SignedHeaders:
    """The headers of the Standard Webhooks form (https://www.standardwebhooks.com)."""

    message_id: str
    timestamp: str
    signature: str


def verify(body: bytes, headers: SignedHeaders, secrets: Sequence[bytes], now: datetime) -> None:
    """Raise CallbackRefusedError unless one of the secrets has signed the bytes, lately."""
    if not headers.timestamp.isascii() or not headers.timestamp.isdigit():
        raise CallbackRefusedError("webhook-timestamp: is no number of seconds")
    try:
        age = abs(now.timestamp() - int(headers.timestamp))
    except ValueError:
        raise CallbackRefusedError("webhook-timestamp: is too long") from None
    if age > SIGNED_LATELY.total_seconds():
        raise CallbackRefusedError("webhook-timestamp: is not of the last minutes")
    signed = f"{headers.message_id}.{headers.timestamp}.".encode() + body
    given = [each.removeprefix("v1,") for each in headers.signature.split(" ") if "v1," in each]
    for secret in secrets:
        expected = signature(signed, secret)
        if any(hmac.compare_digest(expected.encode(), each.encode()) for each in given):
            return
    raise CallbackRefusedError("webhook-signature: is none of ours")


def signature(signed: bytes, secret: bytes) -> str:
    """The signature of bytes, without its version."""
    return base64.b64encode(hmac.new(secret, signed, sha256).digest()).decode()


def read(body: bytes) -> tuple[DeliveryKey, Receipt]:
    """Which delivery a receipt is about, and what it says. Raises CallbackRefusedError."""
    try:
        said = json.loads(body)
        key = DELIVERY.key(str(said["reference"]))
    except (ValueError, TypeError, KeyError):
        raise CallbackRefusedError("the body has no reference of a message of ours") from None
    receipt = read_receipt(said)
    if not receipt.gateway_message:
        raise CallbackRefusedError("id: is none")
    return key, receipt
