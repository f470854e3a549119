"""What people write back on their phones: the SMS gateway brings it to where it sends receipts from.

It is signed as receipts are, and brought again until it is taken.
"""

import json
import secrets
import sqlite3
from datetime import UTC, datetime
from functools import partial

from aiohttp import web

from sandbox.clock import Clock, format_time
from sandbox.record import Record, bad_request
from sandbox.sms import BODY_CHARACTERS_MAX, NUMBER
from sandbox.sms_receipts import SmsReceipts

TYPE = "sms.reply"
# To whom a phone writes that has received nothing.
RECIPIENT = "Recurring"


class SmsReplies:
    """Takes what a phone writes; without an address to bring it to, nobody can write."""

    def __init__(self, record: Record, clock: Clock, receipts: SmsReceipts, url: str) -> None:
        self._record = record
        self._clock = clock
        self._receipts = receipts
        self._url = url

    def routes(self) -> list[web.RouteDef]:
        """Routes of the phones' side."""
        return [web.post("/inbox/v1/replies", self.reply)]

    async def reply(self, request: web.Request) -> web.Response:
        """Write to whoever has sent the last message: 202 with what the message is called."""
        try:
            said = await request.json()
            sender, text = said["from"], said["body"]
        except (ValueError, TypeError, KeyError):
            raise bad_request('Give a JSON object of "from" and "body".') from None
        if not isinstance(sender, str) or not NUMBER.fullmatch(sender):
            raise bad_request("from: give a number in E.164 form")
        if not isinstance(text, str) or not 1 <= len(text) <= BODY_CHARACTERS_MAX:
            raise bad_request(f"body: give 1 to {BODY_CHARACTERS_MAX} characters")
        if not self._url:
            raise bad_request("the sandbox has no address to bring replies to")
        reply_id = f"reply_{secrets.token_hex(12)}"
        enter = partial(self._enter, reply_id=reply_id, sender=sender, text=text)
        await self._record.write(enter)
        self._receipts.wake()
        return web.json_response({"id": reply_id}, status=202)

    def _enter(self, db: sqlite3.Connection, *, reply_id: str, sender: str, text: str) -> None:
        last = db.execute(
            "SELECT sender, seq FROM sms WHERE recipient = ? ORDER BY seq DESC LIMIT 1", (sender,)
        ).fetchone()
        to = last["sender"] if last else RECIPIENT
        content = {"id": reply_id, "from": sender, "to": to, "body": text}
        now = int(self._clock.now.timestamp())
        db.execute(
            "INSERT INTO webhooks (event, type, body, due, tries, part, object, created)"
            " VALUES (?, ?, ?, ?, 0, 'sms', ?, ?)",
            (
                reply_id,
                TYPE,
                json.dumps(
                    {"url": self._url, "content": content, "after": last["seq"] if last else 0}
                ),
                now,
                sender,
                now,
            ),
        )


def written(record: Record, phone: str, limit: int) -> list[tuple[int, dict[str, object]]]:
    """What a phone has written, the newest first, each with the number of the SMS that came before."""
    rows = record.read(
        "SELECT event, body, created FROM webhooks WHERE object = ? AND type = ?"
        " ORDER BY seq DESC LIMIT ?",
        phone,
        TYPE,
        limit,
    )
    return [_described(row, phone) for row in rows]


def _described(row: sqlite3.Row, phone: str) -> tuple[int, dict[str, object]]:
    body = json.loads(row["body"])
    return body["after"], {
        "id": row["event"],
        "from": phone,
        "body": body["content"]["body"],
        "created": format_time(datetime.fromtimestamp(row["created"], UTC)),
        "written": True,
    }
