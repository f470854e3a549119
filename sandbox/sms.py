"""An SMS gateway over HTTP, and the inbox of every phone that it delivers to.

Most numbers receive at once. A few misbehave, each in the one way that its constant below says.
"""

import re
import secrets
import sqlite3
from datetime import datetime

from aiohttp import web

from sandbox.clock import Clock, format_time
from sandbox.endpoint import Endpoint, RefusedError, Reply
from sandbox.guard import Guard
from sandbox.outages import Outage
from sandbox.record import Record, bad_request, page_size
from sandbox.sms_receipts import SmsReceipts

BODY_CHARACTERS_MAX = 1600
OPTIONAL_CHARACTERS_MAX = 1000
NUMBER = re.compile(r"\+[1-9][0-9]{6,14}", re.ASCII)
INVALID_NUMBER = "+15005550001"
UNDELIVERABLE_NUMBER = "+15005550002"
UNAVAILABLE_TWICE_NUMBER = "+15005550003"
"""Answers 503 to the first two requests of each Idempotency-Key, and delivers on the third."""
DROPPED_ANSWER_NUMBER = "+15005550004"
"""Delivers, but closes the connection in place of the first answer of each Idempotency-Key."""
FALSELY_UNDELIVERED_NUMBER = "+15005550005"
"""Delivers, and answers that it did not."""
DELIVERED_LATER_NUMBER = "+15005550006"
"""Takes the message, and says half a minute later that it arrived."""
UNDELIVERED_LATER_NUMBER = "+15005550007"
"""Takes the message, and says half a minute later that nobody has the number."""
SILENT_NUMBER = "+15005550008"
"""Takes the message, and never says what became of it."""
EXPIRED_NUMBER = "+15005550009"
"""Takes the message, and says half a minute later that it gave up."""
UNAVAILABLE_TRIES = 2
SETTLE_SECONDS = 30
# What the gateway says later, and why.
_OUTCOMES: dict[str, tuple[str | None, str | None]] = {
    DELIVERED_LATER_NUMBER: ("delivered", None),
    UNDELIVERED_LATER_NUMBER: ("undelivered", "unknown_destination"),
    SILENT_NUMBER: (None, None),
    EXPIRED_NUMBER: ("expired", "validity_over"),
}


def refusal_body(refused: RefusedError) -> dict[str, object]:
    """Word a refusal as the gateway does."""
    return {"code": refused.code or refused.kind, "message": refused.message}


class Gateway:
    """What the merchant's side sees of the gateway, behind its API key."""

    def __init__(
        self, record: Record, clock: Clock, endpoint: Endpoint, receipts: SmsReceipts
    ) -> None:
        self._record = record
        self._clock = clock
        self._endpoint = endpoint
        self._receipts = receipts

    def routes(self) -> list[web.RouteDef]:
        """Routes below `/sms/v1`."""
        return [
            web.post("/messages", self.send),
            web.get("/messages/{id}", self.get_message),
        ]

    async def send(self, request: web.Request) -> web.Response:
        """Deliver a message: 201 with its status, delivered, undelivered or accepted."""
        message = await _read_message(request)
        now = self._clock.now
        trouble = request["trouble"]
        outage = trouble.kind if trouble else None

        def deliver(db: sqlite3.Connection, tries: int) -> Reply:
            reply = _deliver(db, message, now, tries, outage)
            self._enter_receipt(db, message, str(reply.body.get("id", "")))
            return reply

        answer = await self._endpoint.answer_once(request, message, deliver)
        self._receipts.wake()
        return answer

    def _enter_receipt(
        self, db: sqlite3.Connection, message: dict[str, str], message_id: str
    ) -> None:
        row = db.execute("SELECT * FROM sms WHERE id = ?", (message_id,)).fetchone()
        if row is None or not message.get("receipt_url"):
            return
        said = {"id": row["id"], "reference": message["reference"], "status": row["outcome"] or ""}
        said |= {"code": row["code"]} if row["code"] else {}
        self._receipts.enter(db, row, message["receipt_url"], said)

    async def get_message(self, request: web.Request) -> web.Response:
        """Return one message."""
        rows = self._record.read("SELECT * FROM sms WHERE id = ?", request.match_info["id"])
        if not rows:
            raise RefusedError(404, "not_found", None, "There is no such message.")
        return web.json_response(describe(rows[0], self._clock.now))


def inbox_routes(record: Record, guard: Guard, clock: Clock) -> list[web.RouteDef]:
    """Routes of the phones' side: what arrived, oldest first. Only the list of all asks for a key."""

    async def list_messages(request: web.Request) -> web.Response:
        if "to" not in request.query:
            guard.require_key(request)
        limit = page_size(request)
        after = 0
        if (last := request.query.get("after")) is not None:
            rows = record.read("SELECT seq FROM sms WHERE id = ?", last)
            if not rows:
                raise bad_request("after: give the id of the last message of the page before")
            after = rows[0]["seq"]
        status = request.query.get("status", "delivered")
        rows = record.read_inbox(
            "SELECT * FROM sms WHERE seq > ?"
            " AND CASE WHEN settles <= ? THEN outcome ELSE status END = ?",
            after,
            int(clock.now.timestamp()),
            status,
            recipient=request.query.get("to"),
            limit=limit + 1,
        )
        data = [describe(row, clock.now) for row in rows[:limit]]
        return web.json_response({"data": data, "has_more": len(rows) > limit})

    return [web.get("/sms/v1/messages", list_messages)]


async def _read_message(request: web.Request) -> dict[str, str]:
    try:
        body = await request.json()
    except ValueError:
        body = None
    fields = ("to", "from", "body")
    if not isinstance(body, dict) or not all(isinstance(body.get(name), str) for name in fields):
        raise _invalid("invalid_request", 'Give a JSON object of the strings "to", "from", "body".')
    message: dict[str, str] = {name: body[name] for name in fields}
    if not NUMBER.fullmatch(message["to"]):
        raise _invalid("invalid_number", "to: give a number in E.164 form.")
    if not 1 <= len(message["body"]) <= BODY_CHARACTERS_MAX:
        raise _invalid("invalid_body", f"body: give 1 to {BODY_CHARACTERS_MAX} characters.")
    for name in ("reference", "receipt_url"):
        if name in body:
            if not isinstance(body[name], str) or len(body[name]) > OPTIONAL_CHARACTERS_MAX:
                raise _invalid("invalid_request", f"{name}: give a text.")
            message[name] = body[name]
    if ("reference" in message) != ("receipt_url" in message):
        raise _invalid("invalid_request", "Give both reference and receipt_url, or neither.")
    return message


def _invalid(code: str, message: str) -> RefusedError:
    return RefusedError(400, "invalid_request", code, message)


def _deliver(
    db: sqlite3.Connection,
    message: dict[str, str],
    now: datetime,
    tries: int,
    outage: Outage | None,
) -> Reply:
    to = message["to"]
    if to == INVALID_NUMBER:
        raise _invalid("invalid_number", "to: this number does not exist.")
    if to == UNAVAILABLE_TWICE_NUMBER and tries <= UNAVAILABLE_TRIES:
        body = {"code": "service_unavailable", "message": "Try again."}
        return Reply(503, body, keep=False)
    lost = to == UNDELIVERABLE_NUMBER or outage is Outage.FALSELY_DELIVERED
    status = "undelivered" if lost else "accepted" if to in _OUTCOMES else "delivered"
    row = keep(db, message, f"sms_{secrets.token_hex(12)}", status, now)
    answer = describe(row, now)
    if to == FALSELY_UNDELIVERED_NUMBER or outage is Outage.FALSELY_UNDELIVERED:
        answer["status"] = "undelivered"
    elif outage is Outage.FALSELY_DELIVERED:
        answer["status"] = "delivered"
    return Reply(201, answer, drop=to == DROPPED_ANSWER_NUMBER)


def keep(
    db: sqlite3.Connection,
    message: dict[str, str],
    message_id: str,
    status: str,
    now: datetime,
    *,
    is_lost: bool = False,
) -> sqlite3.Row:
    """Keep a message; one that is accepted, with what will become of it."""
    outcome, code = (None, None)
    if status == "accepted":
        outcome, code = _OUTCOMES.get(message["to"], ("delivered", None))
        if is_lost or message["to"] == UNDELIVERABLE_NUMBER:
            outcome = "undelivered"
    settles = int(now.timestamp()) + SETTLE_SECONDS if outcome else None
    row: sqlite3.Row = db.execute(
        "INSERT INTO sms (id, recipient, sender, body, status, outcome, code, settles, created)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING *",
        (message_id, message["to"], message["from"], message["body"], status, outcome, code, settles,
         format_time(now)),
    ).fetchone()  # fmt: skip
    return row


def is_settled(row: sqlite3.Row, now: datetime) -> bool:
    """Whether the gateway has said what became of a message."""
    return row["settles"] is not None and row["settles"] <= now.timestamp()


def describe(row: sqlite3.Row, now: datetime) -> dict[str, object]:
    """A message as the gateway shows it."""
    settled = is_settled(row, now)
    return {
        "id": row["id"],
        "status": row["outcome"] if settled else row["status"],
        **({"code": row["code"]} if settled and row["code"] else {}),
        "to": row["recipient"],
        "from": row["sender"],
        "body": row["body"],
        "created": row["created"],
    }
