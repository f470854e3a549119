"""The page, and what it asks for: who received something, and what one of them received.

A request for either waits until there is something else to show than what the page has.
"""

import asyncio
import hashlib
import json
import time
from collections.abc import Callable
from importlib import resources
from typing import Any

from aiohttp import web

from sandbox import mail, sms, sms_replies
from sandbox.clock import Clock
from sandbox.guard import Guard
from sandbox.record import Record, bad_request

WAIT_SECONDS = 20.0
# Under load the record changes all the time; the page is not drawn more often than this.
REDRAW_SECONDS = 0.2
# The newest messages of a phone or an address that are shown.
MESSAGES_MAX = 200
# Of so many newest messages of each kind the recipients are listed.
RECIPIENTS_AMONG_MAX = 2000
_FILES = {"": "text/html", "page.css": "text/css", "page.js": "text/javascript"}
_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; frame-src 'self';"
    " img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# A mail may look as it likes, and run, load and send nothing.
MAIL_POLICY = (
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'"
)

State = dict[str, object]


class Inbox:
    """Serves the page. Who received anything takes a key; what one received, its number or address."""

    def __init__(self, record: Record, guard: Guard, clock: Clock) -> None:
        self._record = record
        self._guard = guard
        self._clock = clock
        self._closing = asyncio.Event()

    def routes(self) -> list[web.RouteDef]:
        """Routes below `/inbox`."""
        return [
            *(web.get(f"/inbox/{name}".rstrip("/"), self.show_file) for name in _FILES),
            web.get("/inbox/v1/recipients", self.list_recipients),
            web.get("/inbox/v1/messages", self.list_messages),
            web.get("/inbox/v1/mail/{id}", self.show_mail),
        ]

    async def close(self) -> None:
        """Answer the requests that wait."""
        self._closing.set()

    async def show_file(self, request: web.Request) -> web.Response:
        """One of the files that the page is made of."""
        name = request.path.removeprefix("/inbox").removeprefix("/")
        file = resources.files("sandbox.inbox") / (name or "page.html")
        return web.Response(
            text=file.read_text("utf-8"),
            content_type=_FILES[name],
            charset="utf-8",
            headers={**_HEADERS, "Content-Security-Policy": PAGE_POLICY},
        )

    async def list_recipients(self, request: web.Request) -> web.Response:
        """Phones and addresses, the one that received last first."""
        self._guard.require_key(request)
        return await self._answer_when_new(request, self._recipients)

    async def list_messages(self, request: web.Request) -> web.Response:
        """What a phone or an address received, the oldest first."""
        to = _recipient(request)
        return await self._answer_when_new(request, lambda: self._messages(to))

    async def show_mail(self, request: web.Request) -> web.Response:
        """The HTML of a mail, for a frame."""
        number = request.match_info["id"].removeprefix("mail_")
        if not (number.isascii() and number.isdigit()):
            raise web.HTTPNotFound
        rows = self._record.read(
            "SELECT html FROM mail WHERE seq = ? AND recipient = ?", number, _recipient(request)
        )
        if not rows:
            raise web.HTTPNotFound
        return web.Response(
            text=rows[0]["html"],
            content_type="text/html",
            charset="utf-8",
            headers={**_HEADERS, "Content-Security-Policy": MAIL_POLICY},
        )

    async def _answer_when_new(
        self, request: web.Request, read: Callable[[], State]
    ) -> web.Response:
        """Answer with a state and its version, once that is not the one that the page has."""
        known = request.query.get("version")
        until = time.monotonic() + WAIT_SECONDS
        while True:
            committed = self._record.next_commit()
            state = read()
            version = hashlib.sha256(json.dumps(state).encode()).hexdigest()[:16]
            left = until - time.monotonic()
            if version != known or left <= 0 or self._closing.is_set():
                body = {**state, "version": version}
                return web.json_response(body, headers=_HEADERS)
            closing = asyncio.create_task(self._closing.wait())
            either: list[asyncio.Future[Any]] = [committed, closing]
            try:
                await asyncio.wait(either, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            finally:
                closing.cancel()
            await asyncio.sleep(min(REDRAW_SECONDS, left))

    def _recipients(self) -> State:
        now = int(self._clock.now.timestamp())
        rows = self._record.read(
            "SELECT recipient AS 'to', count(*) AS messages, max(created) AS last FROM ("
            " SELECT recipient, created FROM (SELECT * FROM sms ORDER BY seq DESC LIMIT ?1)"
            "  WHERE CASE WHEN settles <= ?2 THEN outcome ELSE status END = 'delivered'"
            " UNION ALL"
            " SELECT recipient, created FROM (SELECT * FROM mail ORDER BY seq DESC LIMIT ?1))"
            " GROUP BY 1 ORDER BY last DESC, 1",
            RECIPIENTS_AMONG_MAX,
            now,
        )
        return {"recipients": [dict(row) for row in rows]}

    def _messages(self, to: str) -> State:
        if "@" in to:
            rows = self._record.read(
                "SELECT * FROM mail WHERE recipient = ? ORDER BY seq DESC LIMIT ?", to, MESSAGES_MAX
            )
            return {"messages": [mail.describe(row) for row in reversed(rows)]}
        now = self._clock.now
        rows = self._record.read(
            "SELECT * FROM sms WHERE recipient = ?"
            " AND CASE WHEN settles <= ? THEN outcome ELSE status END = 'delivered'"
            " ORDER BY seq DESC LIMIT ?",
            to,
            int(now.timestamp()),
            MESSAGES_MAX,
        )
        received = [(row["seq"], sms.describe(row, now)) for row in reversed(rows)]
        replied = reversed(sms_replies.written(self._record, to, MESSAGES_MAX))
        # By what had come when a reply was written: the clock may stand still. Stable.
        both = sorted([*received, *replied], key=lambda numbered: numbered[0])
        return {"messages": [message for _, message in both[-MESSAGES_MAX:]]}


def _recipient(request: web.Request) -> str:
    to = request.query.get("to")
    if not to:
        raise bad_request("to: give a phone number or a mail address")
    return to
