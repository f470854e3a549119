"""The mail server, over SMTP."""

import asyncio
import contextlib
import ssl
from dataclasses import dataclass, field
from email.headerregistry import HeaderRegistry, UnstructuredHeader
from email.message import EmailMessage
from email.policy import Policy
from email.policy import default as default_policy
from email.utils import parseaddr
from enum import StrEnum

import aiosmtplib

from services.notify.clients.gateway import FAILURE_UNREACHABLE, TIMEOUT_SECONDS, Message
from services.notify.clients.html import html_of
from services.notify.domain.notices import Attempt, Verdict

EMAIL_CONNECTIONS_MAX = 4
_SMTP_REFUSED_FOR_GOOD = 500


class _OneLine(UnstructuredHeader):
    """A header with a long address, which is no address any more if it is folded or encoded."""

    name: str
    max_count = 1

    def fold(self, *, policy: Policy) -> str:
        """The header as it travels."""
        return f"{self.name}: {self}{policy.linesep}"


_HEADERS = HeaderRegistry()
_HEADERS.map_to_type("list-unsubscribe", _OneLine)  # type: ignore[arg-type]
_POLICY = default_policy.clone(header_factory=_HEADERS)


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
        email = EmailMessage(_POLICY)
        email["From"] = self._sender
        email["To"] = message.address
        email["Subject"] = message.subject
        email["Message-ID"] = f"<{message.key}@{self._domain}>"
        email["Auto-Submitted"] = "auto-generated"
        if message.unsubscribe_uri:
            # With one click, and no page between (RFC 8058).
            email["List-Unsubscribe"] = f"<{message.unsubscribe_uri}>"
            email["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
        email.set_content(message.text)
        email.add_alternative(html_of(message.text, message.locale), subtype="html")
        if message.attachment is not None:
            file_name, content = message.attachment
            email.add_attachment(content, maintype="application", subtype="pdf", filename=file_name)
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
