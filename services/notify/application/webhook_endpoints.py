"""Webhook endpoints: registered, changed, disabled, their secrets rotated."""

import secrets
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from services.notify.domain.webhooks import (
    CANCELLED_DISABLED,
    ENDPOINTS_MAX,
    SECRET_BYTES,
    EndpointKey,
    WebhookEndpoint,
    secret_text,
)
from services.notify.names import WEBHOOK_ENDPOINT
from services.notify.store import webhook_endpoints, webhooks
from services.runtime.db.pool import Connection
from services.runtime.errors import already_exists, not_found, wrong_state
from services.runtime.mutations import Applied
from services.runtime.rpc.conversions import check_etag


async def create(tx: Connection, endpoint: WebhookEndpoint) -> Applied[WebhookEndpoint]:
    """Register an endpoint with a secret of its own, which the result has.

    Raises ALREADY_EXISTS WEBHOOK_ENDPOINT_ALREADY_EXISTS, FAILED_PRECONDITION
    WEBHOOK_ENDPOINTS_TOO_MANY.
    """
    secret = _new_secret()
    count = await webhook_endpoints.lock_and_count(tx, endpoint.merchant)
    stored = await webhook_endpoints.insert(tx, replace(endpoint, secret=secret))
    if stored is None:
        raise already_exists(
            "WEBHOOK_ENDPOINT_ALREADY_EXISTS", WEBHOOK_ENDPOINT.format(*endpoint.key)
        )
    if count >= ENDPOINTS_MAX:
        message = f"a merchant has at most {ENDPOINTS_MAX} webhook endpoints"
        raise wrong_state("WEBHOOK_ENDPOINTS_TOO_MANY", message)
    return Applied(replace(stored, secret=secret))


async def existing(
    connection: Connection, key: EndpointKey, *, lock: bool = False
) -> WebhookEndpoint:
    """An endpoint, locked if `lock` is set. Raises NOT_FOUND WEBHOOK_ENDPOINT_NOT_FOUND."""
    endpoint = await webhook_endpoints.one(connection, key, lock=lock)
    if endpoint is None:
        raise not_found("WEBHOOK_ENDPOINT_NOT_FOUND", WEBHOOK_ENDPOINT.format(*key))
    return endpoint


async def enabled(
    connection: Connection, key: EndpointKey, *, lock: bool = False
) -> WebhookEndpoint:
    """An endpoint that is sent events.

    Raises NOT_FOUND WEBHOOK_ENDPOINT_NOT_FOUND, FAILED_PRECONDITION WEBHOOK_ENDPOINT_DISABLED.
    """
    endpoint = await existing(connection, key, lock=lock)
    if endpoint.disable_reason is not None:
        message = f"{WEBHOOK_ENDPOINT.format(*key)} is disabled; enable it first"
        raise wrong_state("WEBHOOK_ENDPOINT_DISABLED", message)
    return endpoint


async def update(
    tx: Connection,
    key: EndpointKey,
    etag: str,
    change: Callable[[WebhookEndpoint], WebhookEndpoint],
    now: datetime,
) -> Applied[WebhookEndpoint]:
    """Change an endpoint; what is queued for one that is disabled is cancelled.

    Raises NOT_FOUND WEBHOOK_ENDPOINT_NOT_FOUND, ABORTED ETAG_MISMATCH.
    """
    present = await existing(tx, key, lock=True)
    check_etag(etag, present.version, WEBHOOK_ENDPOINT.format(*key))
    changed = change(present)
    if changed == present:
        return Applied(present, present)
    stored = await webhook_endpoints.update(tx, changed, now)
    if stored.disable_reason is not None:
        await webhooks.cancel(tx, key, CANCELLED_DISABLED)
    return Applied(stored, present)


async def delete(tx: Connection, key: EndpointKey) -> Applied[None]:
    """Delete an endpoint, and cancel what is queued for it.

    Raises NOT_FOUND WEBHOOK_ENDPOINT_NOT_FOUND.
    """
    await existing(tx, key, lock=True)
    await webhook_endpoints.delete(tx, key)
    await webhooks.cancel(tx, key, CANCELLED_DISABLED)
    return Applied(None)


async def rotate_secret(
    tx: Connection, key: EndpointKey, previous_ttl: timedelta, now: datetime
) -> Applied[WebhookEndpoint]:
    """Give an endpoint a new secret, which the result has; the one before is used for a while.

    Raises NOT_FOUND WEBHOOK_ENDPOINT_NOT_FOUND.
    """
    present = await existing(tx, key, lock=True)
    secret = _new_secret()
    expire_time = now + previous_ttl if previous_ttl else None
    stored = await webhook_endpoints.rotate(tx, key, secret, expire_time)
    return Applied(replace(stored, secret=secret), present)


def _new_secret() -> str:
    return secret_text(secrets.token_bytes(SECRET_BYTES))
