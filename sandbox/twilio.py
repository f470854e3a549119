"""The SMS gateway in Twilio's shape: forms, Basic login, no idempotency, signed status callbacks.

https://www.twilio.com/docs/messaging/api/message-resource. Every message is taken first and says later,
by its status callback and when it is asked for, what became of it. The numbers of `sms.py` that
misbehave do so here, in Twilio's words.
"""

import asyncio
import base64
import hmac
import json
import re
import secrets
import sqlite3
from contextlib import suppress
from datetime import datetime
from email.utils import format_datetime
from hashlib import sha1

import aiohttp
from aiohttp import web

from sandbox.clock import Clock, parse_time
from sandbox.endpoint import Endpoint, RefusedError, Reply
from sandbox.outages import Outage
from sandbox.provider.behavior import Behavior
from sandbox.provider.webhooks import Webhooks
from sandbox.record import Record
from sandbox.sms import (
    BODY_CHARACTERS_MAX,
    DROPPED_ANSWER_NUMBER,
    INVALID_NUMBER,
    UNDELIVERABLE_NUMBER,
    UNDELIVERED_LATER_NUMBER,
    is_settled,
    keep,
)

ACCOUNT = "AC00000000000000000000000000000000"
PAGE_MAX = 1000
_PARAMETERS = frozenset({"To", "From", "Body", "StatusCallback"})
# In place of the words that the other parts refuse with.
_CODES = {"unauthorized": 20003, "rate_limit": 20429, "service_unavailable": 20503}
_ERROR_CODES = {UNDELIVERED_LATER_NUMBER: 30005, UNDELIVERABLE_NUMBER: 30003}


def refusal_body(refused: RefusedError) -> dict[str, object]:
    """Word a refusal as Twilio does."""
    named = refused.code or ""
    code = int(named) if named.isdigit() else _CODES.get(named, 20500)
    return {
        "code": code,
        "message": refused.message,
        "more_info": f"https://www.twilio.com/docs/errors/{code}",
        "status": refused.status,
    }


class TwilioEndpoint(Endpoint):
    """As the others, with Twilio's login."""

    def _authenticate(self, request: web.Request) -> None:
        given = request.headers.getall("Authorization", [])
        login = base64.b64encode(f"{ACCOUNT}:{self._api_key.decode()}".encode())
        scheme, _, token = (given[0] if len(given) == 1 else "").partition(" ")
        if scheme != "Basic" or not hmac.compare_digest(token.encode(), login):
            raise RefusedError(401, "authentication", "20003", "Authenticate")


class StatusCallbacks(Webhooks):
    """The status callbacks that are to be sent, each to the address of its message."""

    part = "twilio"

    def __init__(self, record: Record, clock: Clock, behavior: Behavior, token: str) -> None:
        super().__init__(record, clock, behavior, "of each message", token)

    def enter(self, db: sqlite3.Connection, row: sqlite3.Row, url: str) -> None:
        """Enter that a message was sent, and what it comes to, if it comes to anything."""
        created = int(parse_time(row["created"]).timestamp())
        steps = [("sent", created)]
        if row["outcome"] is not None:
            steps.append((status_of(row["outcome"]), row["settles"]))
        for status, due in steps:
            form = {
                "AccountSid": ACCOUNT,
                "ApiVersion": "2010-04-01",
                "From": row["sender"],
                "MessageSid": row["id"],
                "MessageStatus": status,
                "SmsSid": row["id"],
                "SmsStatus": status,
                "To": row["recipient"],
            }
            if status == "undelivered":
                form["ErrorCode"] = str(error_code(row))
            db.execute(
                "INSERT INTO webhooks (event, type, body, due, tries, part, object, created)"
                " VALUES (?, ?, ?, ?, 0, ?, ?, ?)",
                (
                    f"{row['id']}_{status}",
                    f"sms.{status}",
                    json.dumps({"url": url, "form": form}),
                    due,
                    self.part,
                    row["id"],
                    due,
                ),
            )

    async def _send(self, row: sqlite3.Row, limit: asyncio.Semaphore) -> bool:
        callback = json.loads(row["body"])
        url, form = callback["url"], callback["form"]
        headers = {"X-Twilio-Signature": signature(url, form, self._secret)}
        assert self._http is not None  # noqa: S101 - started
        with suppress(aiohttp.ClientError, TimeoutError):
            async with limit, self._http.post(url, data=form, headers=headers) as answer:
                return answer.ok
        return False

    def _next_due(self, row: sqlite3.Row, *, taken: bool) -> int | None:
        """A status callback that fails does not come again, as Twilio has it unless it is asked to."""
        del taken
        return super()._next_due(row, taken=True)


def signature(url: str, form: dict[str, str], token: bytes) -> str:
    """What Twilio signs a request with (https://www.twilio.com/docs/usage/security)."""
    signed = url + "".join(name + form[name] for name in sorted(form))
    return base64.b64encode(hmac.new(token, signed.encode(), sha1).digest()).decode()


class Twilio:
    """The account's messages."""

    def __init__(
        self, record: Record, clock: Clock, endpoint: Endpoint, callbacks: StatusCallbacks
    ) -> None:
        self._record = record
        self._clock = clock
        self._endpoint = endpoint
        self._callbacks = callbacks

    def routes(self) -> list[web.RouteDef]:
        """Routes below `/twilio`."""
        account = f"/2010-04-01/Accounts/{ACCOUNT}"
        return [
            web.post(f"{account}/Messages.json", self.create),
            web.get(f"{account}/Messages.json", self.list_messages),
            web.get(f"{account}/Messages/{{sid}}.json", self.get_message),
        ]

    async def create(self, request: web.Request) -> web.Response:
        """Take a message: 201 with its sid, however often the same comes."""
        form = await _read_form(request)
        now, trouble = self._clock.now, request["trouble"]
        is_lost = trouble is not None and trouble.kind is Outage.FALSELY_DELIVERED

        def take(db: sqlite3.Connection, _: int) -> Reply:
            sid = f"SM{secrets.token_hex(16)}"
            message = {"to": form["To"], "from": form["From"], "body": form["Body"]}
            row = keep(db, message, sid, "accepted", now, is_lost=is_lost)
            if "StatusCallback" in form:
                self._callbacks.enter(db, row, form["StatusCallback"])
            dropped = form["To"] == DROPPED_ANSWER_NUMBER
            return Reply(201, describe(row, now), drop=dropped)

        answer = await self._endpoint.answer_once(request, form, take)
        self._callbacks.wake()
        return answer

    async def list_messages(self, request: web.Request) -> web.Response:
        """List messages, the newest first."""
        rows = self._record.read(
            "SELECT * FROM sms WHERE id LIKE 'SM%' AND recipient = coalesce(?, recipient)"
            " ORDER BY seq DESC LIMIT ?",
            request.query.get("To"),
            min(int(request.query.get("PageSize", "50")), PAGE_MAX),
        )
        messages = [describe(row, self._clock.now) for row in rows]
        return web.json_response({"messages": messages, "page": 0, "next_page_uri": None})

    async def get_message(self, request: web.Request) -> web.Response:
        """Return one message."""
        rows = self._record.read("SELECT * FROM sms WHERE id = ?", request.match_info["sid"])
        if not rows:
            raise RefusedError(404, "not_found", "20404", "The requested resource was not found")
        return web.json_response(describe(rows[0], self._clock.now))


async def _read_form(request: web.Request) -> dict[str, str]:
    if request.content_type != "application/x-www-form-urlencoded":
        raise RefusedError(415, "invalid_request", "20415", "Content-Type: give a form.")
    posted = await request.post()
    form = {name: str(value) for name, value in posted.items()}
    unknown = form.keys() - _PARAMETERS
    if unknown:
        raise _invalid("20001", f"{', '.join(sorted(unknown))}: there is no such parameter here.")
    if not form.get("To"):
        raise _invalid("21604", "A 'To' phone number is required.")
    if not form.get("From"):
        raise _invalid("21603", "A 'From' phone number is required.")
    if not form.get("Body"):
        raise _invalid("21602", "Message body is required.")
    if len(form["Body"]) > BODY_CHARACTERS_MAX:
        raise _invalid("21617", "The concatenated message body exceeds the 1600 character limit.")
    if form["To"] == INVALID_NUMBER or not re.fullmatch(r"\+[1-9][0-9]{6,14}", form["To"]):
        raise _invalid("21211", f"Invalid 'To' Phone Number: {form['To'][:5]}XXXX")
    return form


def _invalid(code: str, message: str) -> RefusedError:
    return RefusedError(400, "invalid_request", code, message)


def status_of(outcome: str) -> str:
    """Twilio's word for what became of a message; it has none for one that expired."""
    return "delivered" if outcome == "delivered" else "undelivered"


def error_code(row: sqlite3.Row) -> int:
    """Why a message did not arrive."""
    return _ERROR_CODES.get(row["recipient"], 30008)


def describe(row: sqlite3.Row, now: datetime) -> dict[str, object]:
    """A message as Twilio shows it."""
    settled = is_settled(row, now)
    status = status_of(row["outcome"]) if settled else "queued"
    return {
        "account_sid": ACCOUNT,
        "api_version": "2010-04-01",
        "body": row["body"],
        "date_created": format_datetime(parse_time(row["created"])),
        "date_sent": None,
        "direction": "outbound-api",
        "error_code": error_code(row) if status == "undelivered" else None,
        "error_message": None,
        "from": row["sender"],
        "messaging_service_sid": None,
        "num_segments": "1",
        "price": None,
        "price_unit": "USD",
        "sid": row["id"],
        "status": status,
        "to": row["recipient"],
        "uri": f"/2010-04-01/Accounts/{ACCOUNT}/Messages/{row['id']}.json",
    }
