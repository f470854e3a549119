"""Requests about webhooks, read into the domain, noting everything that is wrong with them."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from recurring.notify.v1 import notify_pb2

from services.notify.application.webhooks import EVENT_TYPES
from services.notify.domain.addresses import names_private, read_url
from services.notify.domain.notices import MerchantId
from services.notify.domain.webhooks import (
    PREVIOUS_SECRET_TTL,
    DisableReason,
    EndpointId,
    EndpointKey,
    WebhookEndpoint,
    WebhookState,
)
from services.notify.names import MERCHANT, WEBHOOK_ENDPOINT
from services.notify.store.webhooks import Span
from services.runtime.errors import Violations
from services.runtime.rpc.conversions import read_bound
from services.runtime.rpc.names import read_name

# What callers may change.
_PATHS = ("url", "event_types", "description", "disabled")
_MESSAGE = "webhook_endpoint"


def read_new_endpoint(
    request: notify_pb2.CreateWebhookEndpointRequest, test_hosts: Collection[str], now: datetime
) -> WebhookEndpoint:
    """An endpoint to register."""
    merchant = MerchantId(read_name(MERCHANT, request.parent))
    message = request.webhook_endpoint
    violations = Violations()
    _check_url(violations, message.url, test_hosts)
    _check_event_types(violations, message.event_types)
    violations.check()
    return WebhookEndpoint(
        merchant,
        EndpointId(request.webhook_endpoint_id),
        url=message.url,
        event_types=tuple(message.event_types),
        description=message.description,
        disable_reason=DisableReason.BY_CALLER if message.disabled else None,
        disable_time=now if message.disabled else None,
        previous_secret_expire_time=None,
        failing_since_time=None,
        create_time=now,
        version=1,
    )


def read_endpoint_name(message: notify_pb2.WebhookEndpoint) -> EndpointKey:
    """Which endpoint is to be changed."""
    violations = Violations()
    violations.require(f"{_MESSAGE}.name", "must be given", met=bool(message.name))
    violations.check()
    return read_name(WEBHOOK_ENDPOINT, message.name)


def read_change(
    request: notify_pb2.UpdateWebhookEndpointRequest, test_hosts: Collection[str], now: datetime
) -> Callable[[WebhookEndpoint], WebhookEndpoint]:
    """What a change makes of an endpoint."""
    message = request.webhook_endpoint
    paths = set(request.update_mask.paths) or {name for name in _PATHS if getattr(message, name)}
    if "*" in paths:
        paths = set(_PATHS)
    violations = Violations()
    for path in sorted(paths - set(_PATHS)):
        violations.add("update_mask", f"{path!r} cannot be changed here")
    if "url" in paths:
        _check_url(violations, message.url, test_hosts)
    _check_event_types(violations, message.event_types)
    violations.check()

    def change(endpoint: WebhookEndpoint) -> WebhookEndpoint:
        if "url" in paths:
            endpoint = replace(endpoint, url=message.url)
        if "event_types" in paths:
            endpoint = replace(endpoint, event_types=tuple(message.event_types))
        if "description" in paths:
            endpoint = replace(endpoint, description=message.description)
        if "disabled" in paths and message.disabled != (endpoint.disable_reason is not None):
            endpoint = _disabled(endpoint, now) if message.disabled else _enabled(endpoint)
        return endpoint

    return change


def _disabled(endpoint: WebhookEndpoint, now: datetime) -> WebhookEndpoint:
    return replace(endpoint, disable_reason=DisableReason.BY_CALLER, disable_time=now)


def _enabled(endpoint: WebhookEndpoint) -> WebhookEndpoint:
    # It gets as much time to work as a new one.
    return replace(endpoint, disable_reason=None, disable_time=None, failing_since_time=None)


def _check_url(violations: Violations, url: str, test_hosts: Collection[str]) -> None:
    parts = read_url(url, test_hosts)
    field = f"{_MESSAGE}.url"
    if parts is None or parts.hostname is None:
        rule = "must be an HTTPS address with a host, without a user and without a fragment"
        violations.add(field, rule, "WEBHOOK_URL_INVALID")
    elif names_private(parts.hostname) and parts.hostname not in test_hosts:
        violations.add(field, "must lead to the public internet", "WEBHOOK_ADDRESS_NOT_ALLOWED")


def _check_event_types(violations: Violations, event_types: Sequence[str]) -> None:
    for index, event_type in enumerate(event_types):
        if event_type not in EVENT_TYPES:
            field = f"{_MESSAGE}.event_types[{index}]"
            violations.add(field, "is no event of the suite", "EVENT_TYPE_UNKNOWN")


def read_previous_ttl(request: notify_pb2.RotateWebhookSecretRequest) -> timedelta:
    """How long the secret before is used as well."""
    if not request.HasField("previous_secret_ttl"):
        return PREVIOUS_SECRET_TTL
    return request.previous_secret_ttl.ToTimedelta()


def read_state(number: int) -> WebhookState | None:
    """The state to list; None: all."""
    if not number:
        return None
    return WebhookState(
        notify_pb2.WebhookDelivery.State.Name(notify_pb2.WebhookDelivery.State.ValueType(number))
    )


def read_replay(request: notify_pb2.ReplayWebhookDeliveriesRequest, now: datetime) -> UUID | Span:
    """The event to send again, or the time of which events are."""
    has_span = request.HasField("start_time") or request.HasField("end_time")
    violations = Violations()
    if request.event_id:
        rule = "must be left out where event_id is given"
        violations.require("start_time", rule, met=not has_span and not request.undelivered_only)
        violations.check()
        return UUID(request.event_id)
    violations.require(
        "start_time", "must be given, or event_id", met=request.HasField("start_time")
    )
    start = read_bound(violations, "start_time", request.start_time)
    # What happens at this moment is included.
    end = now + timedelta.resolution
    if request.HasField("end_time"):
        end = read_bound(violations, "end_time", request.end_time)
        violations.require("end_time", "must be after start_time", met=start < end)
    violations.check()
    return Span(start, end, request.undelivered_only)
