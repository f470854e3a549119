"""Requests to platforms' webhook endpoints, at addresses of the public internet alone.

A host is resolved once a request. If any of its addresses is not of the public internet nothing is
sent; otherwise libcurl is given the first ones, and opens no connection to another. So a name that
leads elsewhere a moment later (DNS rebinding) leads nowhere. Redirects are not followed.
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from io import BytesIO
from ipaddress import ip_address
from typing import Any
from urllib.parse import SplitResult

import pycurl

from services.notify.domain.addresses import Address, is_public, read_url
from services.notify.domain.webhooks import (
    ANSWER_MAX_BYTES,
    FAILURE_ADDRESS,
    FAILURE_NOT_RESOLVED,
    FAILURE_TIMEOUT,
    FAILURE_UNREACHABLE,
    Answer,
    failed,
)

TIMEOUT_SECONDS = 10.0
RESOLVE_TIMEOUT_SECONDS = 5.0
CONNECTIONS_MAX = 800
# Lookups at a time; one of a host that answers slowly takes one.
LOOKUPS_MAX = 50
# Of those that a host has, so many are tried.
ADDRESSES_MAX = 4
# What a client reads of an answer; more is not waited for.
ANSWER_READ_MAX_BYTES = 64 * 1024
# Handles of requests that are over, kept for the next ones.
IDLE_MAX = 100
CONTENT_TYPE = "application/cloudevents+json; charset=UTF-8"
USER_AGENT = "Recurring-Webhooks/1.0"
_PORTS = {"https": 443, "http": 80}

# The addresses of a host. Raises OSError if it has none.
Resolve = Callable[[str, int], Awaitable[Sequence[Address]]]


class Resolver:
    """The system's resolver. Requests to a host that are made at a moment share a lookup."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(LOOKUPS_MAX, thread_name_prefix="webhook-dns")
        self._lookups: dict[tuple[str, int], asyncio.Future[Sequence[Address]]] = {}

    async def resolve(self, host: str, port: int) -> Sequence[Address]:
        """The addresses of a host. Raises OSError."""
        lookup = self._lookups.get((host, port))
        if lookup is None:
            loop = asyncio.get_running_loop()
            lookup = loop.run_in_executor(self._threads, _addresses, host, port)
            self._lookups[host, port] = lookup
            lookup.add_done_callback(lambda ended: self._forget(ended, host, port))
        # Whoever waits no longer leaves it to the others.
        return await asyncio.shield(lookup)

    def _forget(self, ended: asyncio.Future[Sequence[Address]], host: str, port: int) -> None:
        del self._lookups[host, port]
        if not ended.cancelled():
            # Perhaps nobody waits for it any more.
            ended.exception()


def _addresses(host: str, port: int) -> Sequence[Address]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    # An address of a link has its interface behind a `%`.
    return [ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]


class WebhookSender:
    """Posts events to endpoints."""

    def __init__(
        self,
        test_hosts: Collection[str] = (),
        resolve: Resolve | None = None,
        is_allowed: Callable[[Address], bool] = is_public,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        """Test hosts may have any address, and need no TLS."""
        self._test_hosts = frozenset(test_hosts)
        self._resolve = resolve or Resolver().resolve
        self._is_allowed = is_allowed
        self._timeout_seconds = timeout_seconds
        self._transfers = pycurl.AsyncCurlMulti()
        self._transfers.setopt(pycurl.M_MAXCONNECTS, CONNECTIONS_MAX)
        self._free = asyncio.Semaphore(CONNECTIONS_MAX)
        self._idle: list[pycurl.Curl] = []

    async def close(self) -> None:
        """Close the connections."""
        await self._transfers.aclose()

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Post an event. What comes of it is a result, never an exception."""
        async with self._free:
            loop = asyncio.get_running_loop()
            started = loop.time()
            answer = await self._post(url, body, headers)
            return answer._replace(duration=timedelta(seconds=loop.time() - started))

    async def _post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        parts = read_url(url, self._test_hosts)
        if parts is None or parts.hostname is None:
            return failed(FAILURE_ADDRESS)
        port = parts.port or _PORTS[parts.scheme]
        try:
            async with asyncio.timeout(RESOLVE_TIMEOUT_SECONDS):
                addresses = await self._resolve(parts.hostname, port)
        except (OSError, UnicodeError):
            # A time-out is an OSError, too.
            return failed(FAILURE_NOT_RESOLVED)
        if not self._is_exempt(parts.hostname) and not all(map(self._is_allowed, addresses)):
            return failed(FAILURE_ADDRESS)
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await self._perform(parts, port, addresses[:ADDRESSES_MAX], body, headers)
        except TimeoutError:
            return failed(FAILURE_TIMEOUT)

    def _is_exempt(self, host: str) -> bool:
        return host in self._test_hosts

    async def _perform(
        self,
        parts: SplitResult,
        port: int,
        addresses: Sequence[Address],
        body: bytes,
        headers: Mapping[str, str],
    ) -> Answer:
        answer = bytearray()

        def take(chunk: bytes) -> int | None:
            answer.extend(chunk)
            # libcurl ends the transfer when less is taken than it gives.
            return None if len(answer) <= ANSWER_READ_MAX_BYTES else 0

        listed = ",".join(f"[{one}]" if one.version == 6 else str(one) for one in addresses)  # noqa: PLR2004
        lines = [f"{name}: {value}" for name, value in headers.items()]
        curl = self._idle.pop() if self._idle else _handle()
        curl.setopt(pycurl.URL, parts.geturl())
        # A new entry takes the place of the one before.
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        curl.setopt(pycurl.RESOLVE, [f"{host}:{port}:{listed}"])
        curl.setopt(pycurl.OPENSOCKETFUNCTION, _opening_only(addresses))
        curl.setopt(pycurl.HTTPHEADER, [*lines, f"Content-Type: {CONTENT_TYPE}", "Expect:"])
        curl.setopt(pycurl.WRITEFUNCTION, take)
        curl.setopt(pycurl.POSTFIELDSIZE, len(body))
        curl.setopt(pycurl.READFUNCTION, BytesIO(body).read)
        failure_code = ""
        try:
            await self._transfers.perform(curl)
        except pycurl.error:
            failure_code = FAILURE_UNREACHABLE
        finally:
            curl.unsetopt(pycurl.READFUNCTION)
            status = curl.getinfo(pycurl.RESPONSE_CODE)
            # libcurl reads both forms, seconds and dates.
            retry_after = timedelta(seconds=curl.getinfo(pycurl.RETRY_AFTER))
            if len(self._idle) < IDLE_MAX:
                self._idle.append(curl)
        # What answered at length has answered.
        if failure_code and len(answer) <= ANSWER_READ_MAX_BYTES:
            return failed(failure_code)
        text = bytes(answer[:ANSWER_MAX_BYTES]).decode(errors="replace")
        return Answer(status, timedelta(), text, retry_after=retry_after)


def _opening_only(addresses: Sequence[Address]) -> Callable[[int, Any], Any]:
    """Opens a socket to one of these addresses, and to no other."""
    allowed = set(addresses)

    def open_socket(_purpose: int, address: Any) -> Any:  # noqa: ANN401 - of pycurl
        family, kind, protocol, target = address
        if ip_address(target[0]) not in allowed:
            return pycurl.SOCKET_BAD
        return _OpenedSocket(socket.socket(family, kind, protocol))

    return open_socket


class _OpenedSocket:
    """A socket of which libcurl keeps a copy, and which is closed with this object."""

    def __init__(self, opened: socket.socket) -> None:
        self._opened = opened

    def fileno(self) -> int:
        """Its number."""
        return self._opened.fileno()

    def __del__(self) -> None:
        self._opened.close()


def _handle() -> pycurl.Curl:
    curl = pycurl.Curl()
    curl.setopt(pycurl.NOSIGNAL, 1)
    curl.setopt(pycurl.PROXY, "")
    curl.setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
    curl.setopt(pycurl.FOLLOWLOCATION, 0)
    curl.setopt(pycurl.USERAGENT, USER_AGENT)
    curl.setopt(pycurl.POST, 1)
    trusted = ssl.get_default_verify_paths()
    if trusted.cafile:
        curl.setopt(pycurl.CAINFO, trusted.cafile)
    if trusted.capath:
        curl.setopt(pycurl.CAPATH, trusted.capath)
    return curl
