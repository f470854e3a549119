"""An SMS gateway over HTTP, and the inbox of every phone that it delivers to.

Most numbers receive at once. A few misbehave, each in the one way that its constant below says.
"""

import re
import secrets
import sqlite3

from aiohttp import web

from sandbox.clock import Clock, format_time
from sandbox.endpoint import Endpoint, RefusedError, Reply
from sandbox.guard import Guard
from sandbox.outages import Outage
from sandbox.record import Record, bad_request, page_size

BODY_CHARACTERS_MAX = 1600
INVALID_NUMBER = "+15005550001"
UNDELIVERABLE_NUMBER = "+15005550002"
UNAVAILABLE_TWICE_NUMBER = "+15005550003"
"""Answers 503 to the first two requests of each Idempotency-Key, and delivers on the third."""
DROPPED_ANSWER_NUMBER = "+15005550004"
"""Delivers, but closes the connection in place of the first answer of each Idempotency-Key."""
FALSELY_UNDELIVERED_NUMBER = "+15005550005"
"""Delivers, and answers that it did not."""
UNAVAILABLE_TRIES = 2


def refusal_body(refused: RefusedError) -> dict[str, object]:
    """Word a refusal as the gateway does."""
    return {"code": refused.code or refused.kind, "message": refused.message}


class Gateway:
    """What the merchant's side sees of the gateway, behind its API key."""

    def __init__(self, record: Record, clock: Clock, endpoint: Endpoint) -> None:
        self._record = record
        self._clock = clock
        self._endpoint = endpoint

    def routes(self) -> list[web.RouteDef]:
        """Routes below `/sms/v1`."""
        return [
            web.post("/messages", self.send),
            web.get("/messages/{id}", self.get_message),
        ]

    async def send(self, request: web.Request) -> web.Response:
        """Deliver a message: 201 with its status, delivered or undelivered."""
        message = await _read_message(request)
        created = format_time(self._clock.now)
        trouble = request["trouble"]
        outage = trouble.kind if trouble else None
        return await self._endpoint.answer_once(
            request, message, lambda db, tries: _deliver(db, message, created, tries, outage)
        )

    async def get_message(self, request: web.Request) -> web.Response:
        """Return one message."""
        rows = self._record.read("SELECT * FROM sms WHERE id = ?", request.match_info["id"])
        if not rows:
            raise RefusedError(404, "not_found", None, "There is no such message.")
        return web.json_response(_describe(rows[0]))


def inbox_routes(record: Record, guard: Guard) -> list[web.RouteDef]:
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
            "SELECT * FROM sms WHERE seq > ? AND status = ?",
            after,
            status,
            recipient=request.query.get("to"),
            limit=limit + 1,
        )
        data = [_describe(row) for row in rows[:limit]]
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
    if not re.fullmatch(r"\+[1-9][0-9]{6,14}", message["to"]):
        raise _invalid("invalid_number", "to: give a number in E.164 form.")
    if not 1 <= len(message["body"]) <= BODY_CHARACTERS_MAX:
        raise _invalid("invalid_body", f"body: give 1 to {BODY_CHARACTERS_MAX} characters.")
    return message


def _invalid(code: str, message: str) -> RefusedError:
    return RefusedError(400, "invalid_request", code, message)


def _deliver(
    db: sqlite3.Connection, message: dict[str, str], created: str, tries: int, outage: Outage | None
) -> Reply:
    to = message["to"]
    if to == INVALID_NUMBER:
        raise _invalid("invalid_number", "to: this number does not exist.")
    if to == UNAVAILABLE_TWICE_NUMBER and tries <= UNAVAILABLE_TRIES:
        body = {"code": "service_unavailable", "message": "Try again."}
        return Reply(503, body, keep=False)
    lost = to == UNDELIVERABLE_NUMBER or outage is Outage.FALSELY_DELIVERED
    status = "undelivered" if lost else "delivered"
    row = db.execute(
        "INSERT INTO sms (id, recipient, sender, body, status, created) VALUES (?, ?, ?, ?, ?, ?)"
        " RETURNING *",
        (f"sms_{secrets.token_hex(12)}", to, message["from"], message["body"], status, created),
    ).fetchone()
    answer = _describe(row)
    if to == FALSELY_UNDELIVERED_NUMBER or outage is Outage.FALSELY_UNDELIVERED:
        answer["status"] = "undelivered"
    elif outage is Outage.FALSELY_DELIVERED:
        answer["status"] = "delivered"
    return Reply(201, answer, drop=to == DROPPED_ANSWER_NUMBER)


def _describe(row: sqlite3.Row) -> dict[str, object]:
    return {
        "id": row["id"],
        "status": row["status"],
        "to": row["recipient"],
        "from": row["sender"],
        "body": row["body"],
        "created": row["created"],
    }
