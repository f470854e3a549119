"""HTTP to what is outside the suite: pooled connections, one time-out a request, bounded answers.

libcurl does the work, for half the processor's time that a client written in Python needs. A request
goes where the settings say: redirects are not followed, and proxies of the environment are not used.
Certificates are checked against those that Python's `ssl` trusts (SSL_CERT_FILE, SSL_CERT_DIR).
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from io import BytesIO
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote_plus

import orjson
import pycurl

ANSWER_MAX_BYTES = 4 * 1024 * 1024
END_OF_HEAD = deque([b"\r\n"])
DATE_HEADER = b"date:"


class HttpError(Exception):
    """There is no answer, or no whole one: whether the request was carried out is unknown."""


class HttpTimeoutError(HttpError, TimeoutError):
    """The answer did not come in time."""


class AnswerTooLargeError(HttpError):
    """The answer has more bytes than are read."""


class UnexpectedStatusError(HttpError):
    """The answer has another status than 200."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and body of an answer."""

    status: int
    body: bytes

    def json(self) -> Any:  # noqa: ANN401 - any JSON
        """The body's JSON. Raises ValueError if it is none."""
        return orjson.loads(self.body)

    def expect_ok(self) -> Self:
        """Itself. Raises UnexpectedStatusError unless the status is 200."""
        if self.status != HTTPStatus.OK:
            raise UnexpectedStatusError(f"status {self.status}")
        return self


class HttpClient:
    """Sends requests over at most so many connections at a time."""

    def __init__(
        self,
        *,
        connections_max: int,
        timeout_seconds: float,
        answer_max_bytes: int = ANSWER_MAX_BYTES,
        headers: Mapping[str, str] | None = None,
        on_date: Callable[[str], None] | None = None,
    ) -> None:
        """The time-out is that of a request from waiting for a connection to the answer's last byte.

        `on_date` is given the `Date` header of each answer that has one.
        """
        self._timeout_seconds = timeout_seconds
        self._answer_max_bytes = answer_max_bytes
        self._headers = [*_lines(headers or {}), "Expect:"]
        self._on_date = on_date
        self._free = asyncio.Semaphore(connections_max)
        self._transfers = pycurl.AsyncCurlMulti()
        self._transfers.setopt(pycurl.M_MAXCONNECTS, connections_max)
        self._idle: list[pycurl.Curl] = []

    async def request(
        self,
        method: str,
        url: str,
        *,
        form: Mapping[str, str] | None = None,
        json: Any = None,  # noqa: ANN401 - any JSON
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a request, whatever the answer's status. Raises HttpError."""
        lines = [*self._headers, *_lines(headers or {})]
        body = None
        if form is not None:
            body = _encoded(form).encode()
            lines.append("Content-Type: application/x-www-form-urlencoded")
        elif json is not None:
            body = orjson.dumps(json)
            lines.append("Content-Type: application/json")
        target = f"{url}?{_encoded(query)}" if query else url
        try:
            async with asyncio.timeout(self._timeout_seconds), self._free:
                return await self._perform(method, target, lines, body)
        except TimeoutError:
            raise HttpTimeoutError(f"no answer within {self._timeout_seconds:g} s") from None

    async def _perform(
        self, method: str, url: str, lines: Sequence[str], body: bytes | None
    ) -> Answer:
        head: deque[bytes] = deque(maxlen=1)
        answer = bytearray()
        date = b""

        def take(chunk: bytes) -> int | None:
            answer.extend(chunk)
            # libcurl ends the transfer when less is taken than it gives.
            return None if len(answer) <= self._answer_max_bytes else 0

        def note(line: bytes) -> None:
            nonlocal date
            head.append(line)
            if line[:5].lower() == DATE_HEADER:
                date = line[5:]

        curl = self._idle.pop() if self._idle else _handle()
        curl.setopt(pycurl.URL, url)
        curl.setopt(pycurl.HTTPHEADER, lines)
        curl.setopt(pycurl.HEADERFUNCTION, head.append if self._on_date is None else note)
        curl.setopt(pycurl.WRITEFUNCTION, take)
        if body is None:
            curl.setopt(pycurl.HTTPGET, 1)
        else:
            # A body that libcurl can read once only. It would send it again where a kept connection is
            # closed before the answer, though the request may have been carried out.
            curl.setopt(pycurl.POST, 1)
            curl.setopt(pycurl.POSTFIELDSIZE, len(body))
            curl.setopt(pycurl.READFUNCTION, BytesIO(body).read)
        curl.setopt(pycurl.CUSTOMREQUEST, method)
        try:
            await self._transfers.perform(curl)
            # libcurl takes the end of the connection for that of the headers.
            if head != END_OF_HEAD:
                raise HttpError("the connection was closed within the headers")
            if date and self._on_date is not None:
                self._on_date(date.decode("latin-1").strip())
            return Answer(curl.getinfo(pycurl.RESPONSE_CODE), bytes(answer))
        except pycurl.error as error:
            if len(answer) > self._answer_max_bytes:
                raise AnswerTooLargeError(f"more than {self._answer_max_bytes} bytes") from None
            raise HttpError(*error.args) from None
        finally:
            curl.unsetopt(pycurl.READFUNCTION)
            self._idle.append(curl)

    async def close(self) -> None:
        """Close the connections."""
        await self._transfers.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        await self.close()


def _handle() -> pycurl.Curl:
    curl = pycurl.Curl()
    curl.setopt(pycurl.NOSIGNAL, 1)
    curl.setopt(pycurl.PROXY, "")
    curl.setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
    trusted = ssl.get_default_verify_paths()
    if trusted.cafile:
        curl.setopt(pycurl.CAINFO, trusted.cafile)
    if trusted.capath:
        curl.setopt(pycurl.CAPATH, trusted.capath)
    return curl


# A few names come again and again; values can be tokens, and are not kept.
_quoted_name = lru_cache(maxsize=256)(quote_plus)


def _encoded(fields: Mapping[str, str]) -> str:
    """Fields as `application/x-www-form-urlencoded`."""
    return "&".join(f"{_quoted_name(name)}={quote_plus(value)}" for name, value in fields.items())


def _lines(headers: Mapping[str, str]) -> list[str]:
    return [f"{name}: {value}" for name, value in headers.items()]
