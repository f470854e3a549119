"""Webhooks: endpoints of platforms, how requests are signed, and when they are tried again. Pure.

Source: Standard Webhooks 1.0 (https://www.standardwebhooks.com): ids, signatures, secrets, schedule.
"""

import base64
import hmac
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from http import HTTPStatus
from typing import NamedTuple, NewType
from uuid import UUID

from services.notify.domain.notices import MerchantId
from services.runtime.transitions import Transitions

EndpointId = NewType("EndpointId", str)

ENDPOINTS_MAX = 10
SECRET_BYTES = 32
SECRET_PREFIX = "whsec_"  # noqa: S105 - what every secret begins with
PREVIOUS_SECRET_TTL = timedelta(days=1)
# What waits for an endpoint, at most; what happens beyond is kept, and can be replayed.
QUEUE_MAX_EVENTS = 10_000
REPLAY_MAX_EVENTS = 10_000
ANSWER_MAX_BYTES = 1000
ATTEMPTS_SHOWN_MAX = 20
RETENTION = timedelta(days=30)
# An endpoint that has taken nothing for so long is disabled: no event is tried for less.
DISABLE_AFTER = timedelta(hours=64)
# After each failed attempt. Together they stay below three days.
RETRY_DELAYS = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=20),
    timedelta(hours=20),
)
# Delays are shorter by up to so much, so that what failed together does not come again together.
JITTER_PERCENT = 10
# An endpoint that asks for more time is tried again after so much.
RETRY_AFTER_MAX = timedelta(hours=6)


class EndpointKey(NamedTuple):
    """Which endpoint of a merchant."""

    merchant: MerchantId
    endpoint: EndpointId


class DisableReason(StrEnum):
    """Why nothing is sent to an endpoint."""

    BY_CALLER = "BY_CALLER"
    FAILING = "FAILING"
    GONE = "GONE"


class WebhookState(StrEnum):
    """How far an event has come to an endpoint."""

    PENDING = "PENDING"
    DELIVERED = "DELIVERED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class WebhookEvent(StrEnum):
    """What happens to the delivery of an event."""

    DELIVER = "DELIVER"
    POSTPONE = "POSTPONE"
    FAIL = "FAIL"
    CANCEL = "CANCEL"
    REPLAY = "REPLAY"


WEBHOOK = Transitions(
    {
        (WebhookState.PENDING, WebhookEvent.DELIVER): WebhookState.DELIVERED,
        (WebhookState.PENDING, WebhookEvent.POSTPONE): WebhookState.PENDING,
        (WebhookState.PENDING, WebhookEvent.FAIL): WebhookState.FAILED,
        (WebhookState.PENDING, WebhookEvent.CANCEL): WebhookState.CANCELLED,
        (WebhookState.DELIVERED, WebhookEvent.REPLAY): WebhookState.PENDING,
        (WebhookState.FAILED, WebhookEvent.REPLAY): WebhookState.PENDING,
        (WebhookState.CANCELLED, WebhookEvent.REPLAY): WebhookState.PENDING,
    }
)

FAILURE_STATUS = "STATUS"
FAILURE_GONE = "GONE"
FAILURE_TIMEOUT = "TIMEOUT"
FAILURE_UNREACHABLE = "UNREACHABLE"
FAILURE_NOT_RESOLVED = "NOT_RESOLVED"
FAILURE_ADDRESS = "ADDRESS_NOT_ALLOWED"
FAILURE_UNREADABLE = "UNREADABLE"
CANCELLED_DISABLED = "ENDPOINT_DISABLED"
CANCELLED_QUEUE_FULL = "QUEUE_FULL"


@dataclass(frozen=True, slots=True)
class WebhookEndpoint:
    """Where a platform gets a merchant's events. An empty secret is none."""

    merchant: MerchantId
    endpoint: EndpointId
    url: str
    # Empty: all.
    event_types: tuple[str, ...]
    description: str
    disable_reason: DisableReason | None
    disable_time: datetime | None
    previous_secret_expire_time: datetime | None
    failing_since_time: datetime | None
    create_time: datetime
    version: int
    secret: str = field(default="", repr=False)
    previous_secret: str = field(default="", repr=False)

    @property
    def key(self) -> EndpointKey:
        """Which it is."""
        return EndpointKey(self.merchant, self.endpoint)


class WebhookDelivery(NamedTuple):
    """An event on its way to an endpoint."""

    merchant: MerchantId
    endpoint: EndpointId
    event_id: UUID
    position: UUID
    event_type: str
    occur_time: datetime
    state: WebhookState
    attempt_count: int
    # Since it was last begun to be sent, by the event or by a replay.
    tried_count: int
    next_attempt_time: datetime
    deliver_time: datetime | None
    failure_code: str
    create_time: datetime
    # What is sent; read with what is due.
    body: bytes = b""

    @property
    def endpoint_key(self) -> EndpointKey:
        """Where it goes."""
        return EndpointKey(self.merchant, self.endpoint)


class Answer(NamedTuple):
    """What came of a request to an endpoint."""

    # Of HTTP; 0 without an answer.
    status: int
    duration: timedelta
    # The first ANSWER_MAX_BYTES of it.
    text: str = ""
    # Without an answer: why.
    failure_code: str = ""
    # How long it asks to be left alone (Retry-After, RFC 9110); zero: it says nothing of that.
    retry_after: timedelta = timedelta()

    @property
    def is_taken(self) -> bool:
        """Whether the endpoint has the event."""
        return HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES

    @property
    def why(self) -> str:
        """Why the endpoint has not taken it; empty if it has."""
        if self.failure_code or self.is_taken:
            return self.failure_code
        return FAILURE_GONE if self.status == HTTPStatus.GONE else FAILURE_STATUS


def failed(failure_code: str) -> Answer:
    """No answer, for this reason."""
    return Answer(0, timedelta(), failure_code=failure_code)


class Outcome(NamedTuple):
    """What becomes of a delivery after an attempt."""

    state: WebhookState
    next_attempt_time: datetime
    deliver_time: datetime | None
    failure_code: str


def outcome(delivery: WebhookDelivery, answer: Answer, now: datetime) -> Outcome:
    """What becomes of a delivery with this answer."""
    if answer.is_taken:
        state = WEBHOOK.to(delivery.state, WebhookEvent.DELIVER)
        return Outcome(state, delivery.next_attempt_time, now, "")
    if delivery.tried_count >= len(RETRY_DELAYS):
        state = WEBHOOK.to(delivery.state, WebhookEvent.FAIL)
        return Outcome(state, delivery.next_attempt_time, None, answer.why)
    state = WEBHOOK.to(delivery.state, WebhookEvent.POSTPONE)
    asked = min(answer.retry_after, RETRY_AFTER_MAX)
    return Outcome(state, now + max(retry_delay(delivery), asked), None, answer.why)


def retry_delay(delivery: WebhookDelivery) -> timedelta:
    """How long to wait after a failed attempt; the same whenever it is asked."""
    text = f"{delivery.event_id}|{delivery.endpoint}|{delivery.tried_count}"
    drawn = int.from_bytes(sha256(text.encode()).digest()[:2], "big") % (JITTER_PERCENT + 1)
    return RETRY_DELAYS[delivery.tried_count] * (100 - drawn) / 100


def secret_text(secret: bytes) -> str:
    """A secret as platforms are given it."""
    return SECRET_PREFIX + base64.b64encode(secret).decode()


def signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """One signature of a request; those of several secrets stand side by side."""
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode()


def signed_headers(
    endpoint: WebhookEndpoint, message_id: str, body: bytes, now: datetime
) -> dict[str, str]:
    """The headers by which a receiver knows that a request is ours and new."""
    timestamp = int(now.timestamp())
    secrets = [endpoint.secret]
    expires = endpoint.previous_secret_expire_time
    if endpoint.previous_secret and expires is not None and now < expires:
        secrets.append(endpoint.previous_secret)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(
            signature(secret, message_id, timestamp, body) for secret in secrets
        ),
    }
