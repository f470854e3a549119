"""A platform that receives webhooks: it verifies them as Standard Webhooks says, and shows what came.

Each name below `/webhooks/` is an endpoint. Whoever registered it at Recurring gives it the secret.
Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import binascii
import hmac
import json
from collections import deque
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from aiohttp import web

from sandbox.clock import Clock, format_time
from sandbox.record import bad_request

ENDPOINTS_MAX = 1000
EVENTS_KEPT_MAX = 1000
TOLERANCE_SECONDS = 300
_PREFIX = "whsec_"
_STATUSES = range(200, 600)


@dataclass
class _Endpoint:
    """What an endpoint knows, and how it answers."""

    secrets: list[str] = field(default_factory=list)
    status: int = HTTPStatus.NO_CONTENT
    events: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=EVENTS_KEPT_MAX))


class Platform:
    """The endpoints, as long as the process runs."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._endpoints: dict[str, _Endpoint] = {}

    def routes(self) -> list[web.RouteDef]:
        """Routes for the suite (POST), and for people and tests."""
        return [
            web.post("/webhooks/{name}", self.receive),
            web.put("/webhooks/{name}", self.configure),
            web.get("/webhooks/{name}", self.show),
        ]

    async def receive(self, request: web.Request) -> web.Response:
        """Take an event: 401 if it is not signed with a secret, else the status that was set."""
        endpoint = self._endpoint(request)
        body = await request.read()
        verified = self._is_signed(request, body, endpoint.secrets)
        entry = {
            "id": request.headers.get("webhook-id", ""),
            "verified": verified,
            "received_at": format_time(self._clock.now),
            "event": _json(body),
        }
        endpoint.events.append(entry)
        status = endpoint.status if verified else HTTPStatus.UNAUTHORIZED
        return web.Response(status=status)

    async def configure(self, request: web.Request) -> web.Response:
        """Set the secrets, and the status that events are answered with."""
        wanted = _json(await request.read())
        if not isinstance(wanted, dict):
            raise bad_request("give a JSON object")
        secrets: Any = wanted.get("secrets", [])
        status: Any = wanted.get("status", HTTPStatus.NO_CONTENT.value)
        if not isinstance(secrets, list) or not all(isinstance(one, str) for one in secrets):
            raise bad_request("secrets: give a list of strings")
        if status not in _STATUSES:
            raise bad_request("status: give 200 to 599")
        endpoint = self._endpoint(request)
        endpoint.secrets, endpoint.status = secrets, status
        return web.json_response({"status": status, "secret_count": len(secrets)})

    async def show(self, request: web.Request) -> web.Response:
        """What came, the oldest first."""
        return web.json_response({"data": list(self._endpoint(request).events), "has_more": False})

    def _endpoint(self, request: web.Request) -> _Endpoint:
        name = request.match_info["name"]
        if name not in self._endpoints and len(self._endpoints) >= ENDPOINTS_MAX:
            raise bad_request(f"more than {ENDPOINTS_MAX} endpoints")
        return self._endpoints.setdefault(name, _Endpoint())

    def _is_signed(self, request: web.Request, body: bytes, secrets: list[str]) -> bool:
        identifier = request.headers.get("webhook-id", "")
        sent_at = request.headers.get("webhook-timestamp", "")
        given = request.headers.get("webhook-signature", "").split(" ")
        if not sent_at.isdecimal():
            return False
        if abs(int(sent_at) - self._clock.now.timestamp()) > TOLERANCE_SECONDS:
            return False
        content = f"{identifier}.{sent_at}.".encode() + body
        return any(
            hmac.compare_digest(signature.encode(), _signature(secret, content))
            for secret in secrets
            for signature in given
        )


def _signature(secret: str, content: bytes) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        return b""
    return b"v1," + base64.b64encode(hmac.digest(key, content, "sha256"))


def _json(body: bytes) -> Any:  # noqa: ANN401 - any JSON
    try:
        return json.loads(body)
    except ValueError:
        return None
