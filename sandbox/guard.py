"""Who may ask the sandbox what: not the pages of a browser, nor without a key for everybody's messages.

The sandbox listens on a machine where browsers run. A page from elsewhere can post to it, and can read
its answers under a name of its own that leads to this machine (DNS rebinding). So a request must name a
host that is the sandbox's own, and what changes something must not come from a page of another origin.
"""

import hmac
import ipaddress
from collections.abc import Awaitable, Callable, Collection
from functools import lru_cache

from aiohttp import web
from aiohttp.typedefs import Middleware
from yarl import URL

HOSTS_KEPT_MAX = 64
LOOPBACK_NAMES = frozenset({"localhost"})
# Probes use the address of a pod, and get no data.
PROBED_PATH = "/healthz"
_READING = frozenset({"GET", "HEAD", "OPTIONS"})
# A page of the sandbox itself, or none: the address was typed.
_OWN_SITES = frozenset({"same-origin", "none"})

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Guard:
    """Stands before everything that the sandbox answers."""

    def __init__(self, hosts: Collection[str], api_keys: Collection[str]) -> None:
        """Loopback addresses and names are always its own; `hosts` are more."""
        self._hosts = {host.lower() for host in hosts} | LOOPBACK_NAMES
        # Clients name the same few hosts in every request.
        self._is_own = lru_cache(maxsize=HOSTS_KEPT_MAX)(self._is_own_host)
        self._api_keys = [key.encode() for key in api_keys]

    @property
    def middleware(self) -> Middleware:
        """Refuse what comes under another name or from another origin."""

        @web.middleware
        async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
            if request.path != PROBED_PATH and (why := self._why_not(request)):
                return web.json_response({"error": why}, status=web.HTTPForbidden.status_code)
            return await handler(request)

        return guarded

    def require_key(self, request: web.Request) -> None:
        """Raise HTTPUnauthorized unless the request has one of the API keys."""
        given = request.headers.getall("Authorization", [])
        token = given[0].removeprefix("Bearer ").encode() if len(given) == 1 else b""
        if not any(hmac.compare_digest(token, key) for key in self._api_keys):
            raise web.HTTPUnauthorized(
                text='{"error": "say to whom, by `to`; what came for everybody takes an API key"}',
                content_type="application/json",
            )

    def _why_not(self, request: web.Request) -> str:
        hosts = request.headers.getall("Host", [])
        if len(hosts) != 1 or not self._is_own(hosts[0]):
            return "this Host is not the sandbox's: see SANDBOX_ALLOWED_HOSTS"
        if request.method in _READING:
            return ""
        sites = request.headers.getall("Sec-Fetch-Site", [])
        origins = request.headers.getall("Origin", [])
        if not _OWN_SITES.issuperset(sites) or any(
            origin != f"{request.scheme}://{hosts[0]}" for origin in origins
        ):
            return "this comes from a page of another origin"
        return ""

    def _is_own_host(self, host: str) -> bool:
        try:
            name = (URL(f"http://{host}").host or "").rstrip(".").lower()
        except ValueError:
            return False
        try:
            return ipaddress.ip_address(name).is_loopback or name in self._hosts
        except ValueError:
            return name in self._hosts
