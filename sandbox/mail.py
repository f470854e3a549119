"""An SMTP server that keeps what it is sent, and the inbox of every address.

Mail has no idempotency key: a sender that is not sure sends the same Message-ID again. So a message
is kept once for each of its recipients, with the number of times that it was delivered.
"""

import asyncio
import hashlib
import json
import secrets
import sqlite3
from email import message_from_bytes
from email.message import EmailMessage, Message
from email.policy import default as modern_policy
from typing import Any, cast

from aiohttp import web
from aiosmtpd.smtp import SMTP, Envelope

from sandbox.clock import Clock, format_time
from sandbox.guard import Guard
from sandbox.outages import Outage, Outages, delay
from sandbox.record import ReceivedRequest, Record, bad_request, note_request, page_size

MESSAGE_BYTES_MAX = 1_048_576


class Mailbox:
    """The handler behind the SMTP server: takes every message, for whomever it is."""

    def __init__(self, record: Record, clock: Clock, outages: Outages) -> None:
        self._record = record
        self._clock = clock
        self._outages = outages

    async def listen(self, host: str, port: int) -> asyncio.Server:
        """Start the SMTP server on the running loop; raises OSError when the port is taken."""
        loop = asyncio.get_running_loop()
        return await loop.create_server(
            lambda: SMTP(
                self,
                data_size_limit=MESSAGE_BYTES_MAX,
                enable_SMTPUTF8=True,
                hostname="sandbox",
                loop=loop,
            ),
            host,
            port,
        )

    async def handle_DATA(self, _server: SMTP, _session: Any, envelope: Envelope) -> str:  # noqa: N802, ANN401 - aiosmtpd calls it so
        """Keep a message, and accept it only once it is on disk."""
        content = cast("bytes", envelope.content)
        message = message_from_bytes(content, policy=modern_policy)
        message_id = str(message["Message-ID"] or f"<{secrets.token_hex(12)}@sandbox>").strip()
        received = ReceivedRequest(
            "mail", "SMTP", "/mail", message_id, format_time(self._clock.now)
        )
        trouble = await self._outages.meet("mail")
        if trouble is not None and trouble.kind is Outage.UNAVAILABLE:
            self._record.submit(lambda db: note_request(db, received, "451"))
            return "451 4.3.2 An outage is switched on, try again later"
        sender, subject, text = (
            envelope.mail_from or "",
            str(message["Subject"] or ""),
            _text(message),
        )
        html = _html(message)
        attachments = json.dumps(list(map(_attachment, message.iter_attachments())))
        rows = [
            (message_id, recipient, sender, subject, text, html, attachments, received.at)
            for recipient in dict.fromkeys(envelope.rcpt_tos)
        ]

        def keep(db: sqlite3.Connection) -> None:
            db.executemany(
                "INSERT INTO mail"
                " (message_id, recipient, sender, subject, text, html, attachments, deliveries,"
                "  created) VALUES (?, ?, ?, ?, ?, ?, ?, 1, ?)"
                " ON CONFLICT (message_id, recipient) DO UPDATE SET deliveries = deliveries + 1",
                rows,
            )
            note_request(db, received, "250")

        await self._record.write(keep)
        await delay(trouble, Outage.SLOW)
        return "250 2.0.0 Accepted"


def inbox_routes(record: Record, guard: Guard) -> list[web.RouteDef]:
    """Routes of the recipients' side: what arrived, oldest first. Only the list of all takes a key."""

    async def list_messages(request: web.Request) -> web.Response:
        if "to" not in request.query:
            guard.require_key(request)
        limit = page_size(request)
        after = request.query.get("after", "mail_0").removeprefix("mail_")
        if not (after.isascii() and after.isdigit()):
            raise bad_request("after: give the id of the last message of the page before")
        rows = record.read_inbox(
            "SELECT * FROM mail WHERE seq > ?",
            int(after),
            recipient=request.query.get("to"),
            limit=limit + 1,
        )
        data = [describe(row) for row in rows[:limit]]
        return web.json_response({"data": data, "has_more": len(rows) > limit})

    return [web.get("/mail/v1/messages", list_messages)]


def _text(message: EmailMessage) -> str:
    body = message.get_body(preferencelist=("plain", "html"))
    return str(body.get_content()) if body is not None else ""


def _html(message: EmailMessage) -> str:
    body = message.get_body(preferencelist=("html",))
    return str(body.get_content()) if body is not None else ""


def _attachment(part: Message) -> dict[str, object]:
    """What a file was, without its content."""
    content = part.get_payload(decode=True)
    assert isinstance(content, bytes)  # noqa: S101 - decoded
    return {
        "file_name": part.get_filename(),
        "media_type": part.get_content_type(),
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def describe(row: sqlite3.Row) -> dict[str, object]:
    """A mail as the inbox shows it."""
    return {
        "id": f"mail_{row['seq']}",
        "message_id": row["message_id"],
        "from": row["sender"],
        "to": row["recipient"],
        "subject": row["subject"],
        "text": row["text"],
        "has_html": bool(row["html"]),
        "attachments": json.loads(row["attachments"]),
        "deliveries": row["deliveries"],
        "created": row["created"],
    }
