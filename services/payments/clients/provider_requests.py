"""A request to a provider, and what is known once it was sent."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from services.payments.clients.request_limits import RequestLimits
from services.payments.domain.outcomes import Unknown
from services.runtime.http_client import Answer, HttpError


async def send(
    request: Callable[[], Awaitable[Answer]], limits: RequestLimits | None, *, holds_back: bool
) -> tuple[int, Mapping[str, Any]] | Unknown:
    """The status and the object that a request is answered with; Unknown if it has no such answer.

    `holds_back` is for charges alone, as in `RequestLimits.send`: look-ups go on while the provider
    does not answer, so that they find out when it is back.
    """
    try:
        answer = await (limits.send(request, holds_back=holds_back) if limits else request())
        body = answer.json()
    except (HttpError, ValueError) as error:
        # Its class says enough, and holds nothing that was sent.
        return Unknown(type(error).__name__)
    if not isinstance(body, dict):
        return Unknown(f"status {answer.status} without an object")
    return answer.status, body
