"""The ways out: an SMS gateway over HTTP, and a mail server over SMTP.

What they make of a message is a result, never an exception: outages are part of their world. Nothing
here may log an address or a text.
"""

import asyncio
import contextlib
import ssl
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.utils import parseaddr
from enum import StrEnum
from http import HTTPStatus
from typing import Any, Protocol

import aiohttp
import aiosmtplib

from services.notify.domain.notices import Attempt, Verdict

TIMEOUT_SECONDS = 5.0
SMS_CONNECTIONS_MAX = 50
EMAIL_CONNECTIONS_MAX = 4
FAILURE_CODE_MAX_CHARACTERS = 60
FAILURE_UNREACHABLE = "UNREACHABLE"

# Other answers are about us or the moment, not about the message, and are worth another attempt.
_REFUSED_FOR_GOOD = {
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.GONE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
}
_SMTP_REFUSED_FOR_GOOD = 500


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent where. The same key means the same message to the same address."""

    key: str
    address: str
    subject: str
    text: str


class Gateway(Protocol):
    """A way to send messages."""

    async def send(self, message: Message) -> Attempt:
        """Send, or send again, and say what became of it."""


class SmsGateway:
    """Posts messages as JSON; the Idempotency-Key lets one arrive once however often it is sent."""

    def __init__(self, base_url: str, api_key: str, sender: str) -> None:
        self._url = f"{base_url.rstrip('/')}/v1/messages"
        self._sender = sender
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=SMS_CONNECTIONS_MAX),
            timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS),
            headers={"Authorization": f"Bearer {api_key}"},
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    async def send(self, message: Message) -> Attempt:
        """Send an SMS."""
        body = {"to": message.address, "from": self._sender, "body": message.text}
        try:
            async with self._http.post(
                self._url, json=body, headers={"Idempotency-Key": message.key}
            ) as response:
                return _sms_attempt(response.status, await _object(response))
        except (aiohttp.ClientError, TimeoutError, OSError):
            # It may have arrived; the same key makes it safe to ask again.
            return Attempt(Verdict.TEMPORARY, FAILURE_UNREACHABLE)


async def _object(response: aiohttp.ClientResponse) -> dict[str, Any]:
    try:
        answer = await response.json(content_type=None)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _sms_attempt(status: int, answer: dict[str, Any]) -> Attempt:
    if status in {HTTPStatus.OK, HTTPStatus.CREATED}:
        if answer.get("status") == "delivered":
            return Attempt(Verdict.DELIVERED)
        return Attempt(Verdict.PERMANENT, _code(answer.get("status"), status))
    verdict = Verdict.PERMANENT if status in _REFUSED_FOR_GOOD else Verdict.TEMPORARY
    return Attempt(verdict, _code(answer.get("code"), status))


def _code(named: object, status: int) -> str:
    """The gateway's own name for a failure, or its status if it has none."""
    if isinstance(named, str) and named.isascii() and named.isprintable():
        return named[:FAILURE_CODE_MAX_CHARACTERS] or str(status)
    return str(status)


class MailTls(StrEnum):
    """How a connection to the mail server is encrypted (RFC 8314 names both ways)."""

    # From its first byte, usually on port 465.
    IMPLICIT = "implicit"
    # After a command, usually on port 587; a server that has no such command gets no mail.
    STARTTLS = "starttls"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where mail is handed in, and as whom."""

    host: str
    port: int
    tls: MailTls
    # Without a user there is no login.
    user: str = ""
    password: str = field(default="", repr=False)
    # Whose certificates are believed; by default those that the system believes.
    trust: ssl.SSLContext = field(default_factory=ssl.create_default_context)


class EmailGateway:
    """Sends through a mail server over a few connections that stay open.

    Mail has no idempotency key. A message that is sent again has the same Message-ID, by which mail
    systems show it once.
    """

    def __init__(self, server: MailServer, sender: str) -> None:
        self._server = server
        self._sender = sender
        self._domain = parseaddr(sender)[1].rpartition("@")[2]
        # The one used last is used next, so that no more are opened than are needed.
        self._idle: asyncio.LifoQueue[aiosmtplib.SMTP] = asyncio.LifoQueue()
        for _ in range(EMAIL_CONNECTIONS_MAX):
            self._idle.put_nowait(self._new_client())

    def _new_client(self) -> aiosmtplib.SMTP:
        server = self._server
        encrypted = server.tls is not MailTls.NONE
        return aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            timeout=TIMEOUT_SECONDS,
            use_tls=server.tls is MailTls.IMPLICIT,
            start_tls=server.tls is MailTls.STARTTLS,
            tls_context=server.trust if encrypted else None,
            username=server.user or None,
            password=server.password or None,
        )

    async def close(self) -> None:
        """Close the connections."""
        while not self._idle.empty():
            self._idle.get_nowait().close()

    async def send(self, message: Message) -> Attempt:
        """Send an e-mail."""
        client = await self._idle.get()
        usable = False
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                if not client.is_connected:
                    await client.connect()
                await client.send_message(self._email(message))
            usable = True
            return Attempt(Verdict.DELIVERED)
        except (aiosmtplib.SMTPRecipientsRefused, aiosmtplib.SMTPDataError) as error:
            usable = True
            return _email_attempt(error)
        except aiosmtplib.SMTPAuthenticationError as error:
            # About us, and mended without anything being lost.
            return Attempt(Verdict.TEMPORARY, str(error.code))
        except (aiosmtplib.SMTPException, TimeoutError, OSError):
            return Attempt(Verdict.TEMPORARY, FAILURE_UNREACHABLE)
        finally:
            # A connection that failed midway is in no known state: the next message gets another.
            if not usable:
                client.close()
            self._idle.put_nowait(client if usable else self._new_client())

    def _email(self, message: Message) -> EmailMessage:
        email = EmailMessage()
        email["From"] = self._sender
        email["To"] = message.address
        email["Subject"] = message.subject
        email["Message-ID"] = f"<{message.key}@{self._domain}>"
        email["Auto-Submitted"] = "auto-generated"
        email.set_content(message.text)
        return email


def _email_attempt(
    error: aiosmtplib.SMTPRecipientsRefused | aiosmtplib.SMTPDataError,
) -> Attempt:
    status = 0
    if isinstance(error, aiosmtplib.SMTPDataError):
        status = error.code
    else:
        with contextlib.suppress(IndexError):
            status = error.recipients[0].code
    verdict = Verdict.PERMANENT if status >= _SMTP_REFUSED_FOR_GOOD else Verdict.TEMPORARY
    return Attempt(verdict, str(status))
