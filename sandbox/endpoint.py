"""What every request to a part passes through: outage, API key, idempotency, record.

The payment provider and the SMS gateway share it and differ in the body of an error.
"""

import asyncio
import hashlib
import hmac
import json
import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from aiohttp import hdrs, web

from sandbox.clock import Clock, format_time, parse_time
from sandbox.outages import Outage, Outages, Trouble, delay
from sandbox.record import ReceivedRequest, Record, note_request

IDEMPOTENCY_KEY_CHARACTERS_MAX = 255
"""As Stripe documents it."""
QUEUED_MAX = timedelta(minutes=2)
"""No network and no proxy keeps a request for longer, by the simulated clock."""


@dataclass(eq=False)
class RefusedError(Exception):
    """A request turned away with nothing done. `kind` is Stripe's error `type`."""

    status: int
    kind: str
    code: str | None
    message: str
    param: str | None = None


# In Stripe's words (https://docs.stripe.com/api/errors).
_REFUSALS = {
    Outage.UNAVAILABLE: (503, "api_error", "service_unavailable", "An outage is switched on."),
    Outage.THROTTLED: (429, "invalid_request_error", "rate_limit", "Too many requests."),
    Outage.UNAUTHORIZED: (401, "invalid_request_error", "unauthorized", "Invalid API key."),
    Outage.CONFLICT: (
        409, "idempotency_error", "idempotency_key_in_use", "Another request is in progress."
    ),
    Outage.FORBIDDEN: (
        403, "invalid_request_error", None, "The API key lacks the permissions for this endpoint."
    ),
    Outage.INACTIVE: (
        400, "invalid_request_error", "testmode_charges_only",
        "Your account cannot currently make live charges.",
    ),
}  # fmt: skip
_FAILURES = frozenset({Outage.FAILED, Outage.FAILED_HALFWAY})
_PAGE = "<!doctype html><title>Bad gateway</title>"


@dataclass(frozen=True)
class Reply:
    """What carrying out a request came to.

    Unless `keep`, the next request of the same key is carried out afresh. With `drop` the
    connection is closed in place of an answer, as a network that fails at the worst moment does.
    """

    status: int
    body: Mapping[str, object]
    keep: bool = True
    drop: bool = False
    replayed: bool = False

    @property
    def outcome(self) -> str:
        """What the record of requests says about it."""
        return f"{self.status}{' replayed' * self.replayed}{' dropped' * self.drop}"


Perform = Callable[[sqlite3.Connection, int], Reply]
"""Carries out a request inside the record's transaction; the number counts the tries of its key."""

RefusalBody = Callable[[RefusedError], Mapping[str, object]]

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Endpoint:
    """The HTTP interface of one part. Its `middleware` runs before every handler of the part."""

    def __init__(
        self,
        part: str,
        api_key: str,
        record: Record,
        clock: Clock,
        outages: Outages,
        refusal_body: RefusalBody,
        key_retention: Callable[[], timedelta | None] = lambda: None,
        replayed: Callable[[Reply], Reply] = lambda reply: reply,
        outage_parts: Sequence[str] = (),
    ) -> None:
        """`replayed` says what a request is answered whose key was used before.

        `outage_parts` are those whose outages it meets; empty: those of its part.
        """
        self._part = part
        self._api_key = api_key.encode()
        self._record = record
        self._clock = clock
        self._outages = outages
        self._outage_parts = outage_parts or (part,)
        self._refusal_body = refusal_body
        self._key_retention = key_retention
        self._replayed = replayed
        self._in_flight: set[str] = set()
        # Requests on their way, whose callers may have gone.
        self._queued: set[asyncio.Task[web.StreamResponse]] = set()

    @property
    def middleware(self) -> Callable[..., Awaitable[web.StreamResponse]]:
        """Authenticate a request, turn errors into responses, and note it in the record."""

        @web.middleware
        async def check_and_record(request: web.Request, handler: Handler) -> web.StreamResponse:
            received = self._received(request)
            trouble = request["trouble"] = await self._outages.meet(*self._outage_parts)
            outage = trouble.kind if trouble else None
            try:
                _check_available(outage, request.method)
                self._authenticate(request)
                if outage is Outage.GARBAGE:
                    response: web.StreamResponse = web.Response(
                        text=_PAGE, content_type="text/html"
                    )
                elif outage is Outage.QUEUED:
                    response = await self._carry_out_later(request, handler, trouble)
                else:
                    response = await handler(request)
            except RefusedError as refused:
                response = self._refusal(refused)
            except web.HTTPException as error:  # No such route, or a method that it doesn't have.
                kind = "invalid_request_error"
                response = self._refusal(RefusedError(error.status, kind, None, error.reason))
            if not request.get("noted"):
                # Nothing was done, so the answer need not wait for the note to reach the disk.
                outcome = str(response.status)
                self._record.submit(lambda db: note_request(db, received, outcome))
            await delay(trouble, Outage.SLOW)
            if outage is Outage.LOST_ANSWERS and request.transport is not None:
                request.transport.close()
            return response

        return check_and_record

    async def _carry_out_later(
        self, request: web.Request, handler: Handler, trouble: Trouble | None
    ) -> web.StreamResponse:
        """Keep a request on its way; then it is carried out, whether its caller waits or not."""
        await request.read()
        arrived = self._clock.now

        async def later() -> web.StreamResponse:
            await delay(trouble, Outage.QUEUED)
            if self._clock.now > arrived + QUEUED_MAX:
                raise web.HTTPGatewayTimeout
            return await handler(request)

        task = asyncio.create_task(later())
        self._queued.add(task)
        task.add_done_callback(self._arrived)
        return await asyncio.shield(task)

    def _arrived(self, task: asyncio.Task[web.StreamResponse]) -> None:
        self._queued.discard(task)
        if not task.cancelled():
            # The client may have disconnected.
            task.exception()

    async def answer_once(
        self, request: web.Request, parameters: Mapping[str, str], perform: Perform
    ) -> web.Response:
        """Carry out a request once for each Idempotency-Key, and answer as often as it is received.

        The effect, the stored answer and the note of the request commit together, so that after a
        SIGKILL there are all of them or none. Raises RefusedError: 400 when the key came with other
        parameters before, 409 while another request of the same key is being carried out.
        """
        received = self._received(request)
        key = received.key
        if key is not None and not 1 <= len(key) <= IDEMPOTENCY_KEY_CHARACTERS_MAX:
            message = f"Idempotency-Key: at most {IDEMPOTENCY_KEY_CHARACTERS_MAX} characters."
            raise RefusedError(400, "idempotency_error", None, message)
        if key in self._in_flight:
            raise RefusedError(
                409,
                "idempotency_error",
                "idempotency_key_in_use",
                "Another request with this Idempotency-Key is in progress. Try again later.",
            )
        fingerprint = _fingerprint(request, parameters)
        trouble = request["trouble"]
        if trouble is not None and trouble.kind in _FAILURES:
            perform = self._failing(perform, trouble.kind)
        if key is not None:
            self._in_flight.add(key)
        try:
            reply = await self._record.write(
                lambda db: self._carry_out(db, received, fingerprint, perform)
            )
        finally:
            self._in_flight.discard(key or "")
        request["noted"] = True
        if reply.drop and request.transport is not None:
            request.transport.close()
        headers = {"Idempotent-Replayed": "true"} if reply.replayed else None
        return web.json_response(reply.body, status=reply.status, headers=headers)

    def _failing(self, perform: Perform, outage: Outage) -> Perform:
        """Break in the middle of a request, whose answer is kept as any other."""
        error = RefusedError(500, "api_error", None, "An unknown error occurred")

        def fail(db: sqlite3.Connection, tries: int) -> Reply:
            if outage is Outage.FAILED_HALFWAY:
                perform(db, tries)
            return Reply(error.status, self._refusal_body(error))

        return fail

    def _refusal(self, refused: RefusedError) -> web.Response:
        return web.json_response(self._refusal_body(refused), status=refused.status)

    def is_authenticated(self, request: web.Request) -> bool:
        """Whether a request has the API key."""
        given = request.headers.getall("Authorization", [])
        # Of two, nobody can say which counts.
        scheme, _, token = (given[0] if len(given) == 1 else "").partition(" ")
        return scheme == "Bearer" and hmac.compare_digest(token.encode(), self._api_key)

    def _authenticate(self, request: web.Request) -> None:
        if not self.is_authenticated(request):
            raise RefusedError(401, "invalid_request_error", "unauthorized", "Invalid API key.")

    def _received(self, request: web.Request) -> ReceivedRequest:
        # The query string is left out: it can hold phone numbers.
        key = request.headers.get("Idempotency-Key")
        return ReceivedRequest(
            self._part, request.method, request.path, key, format_time(self._clock.now)
        )

    def _carry_out(
        self, db: sqlite3.Connection, received: ReceivedRequest, fingerprint: str, perform: Perform
    ) -> Reply:
        if (retention := self._key_retention()) is not None:
            _forget(db, received, format_time(parse_time(received.at) - retention))
        before = db.execute(
            "SELECT fingerprint, tries, status, body FROM idempotency WHERE part = ? AND key = ?",
            (received.part, received.key),
        ).fetchone()
        # What was not carried out has bound the key to nothing.
        kept = before is not None and before["status"] is not None
        if kept and before["fingerprint"] != fingerprint:
            raise RefusedError(
                400,
                "idempotency_error",
                None,
                "This Idempotency-Key was first used with another endpoint or other parameters.",
            )
        if kept:
            kept_reply = Reply(before["status"], json.loads(before["body"]), replayed=True)
            reply = self._replayed(kept_reply)
        else:
            reply = self._try(db, perform, tries=before["tries"] + 1 if before is not None else 1)
            if received.key is not None:
                _keep(db, received, fingerprint, reply)
        note_request(db, received, reply.outcome)
        return reply

    def _try(self, db: sqlite3.Connection, perform: Perform, tries: int) -> Reply:
        try:
            return perform(db, tries)
        except RefusedError as refused:  # Decided from what is stored, so it is an answer to keep.
            return Reply(refused.status, self._refusal_body(refused))


def _check_available(outage: Outage | None, method: str) -> None:
    """Refuse requests during an outage that answers with an error."""
    if outage is Outage.INACTIVE and method == hdrs.METH_GET:
        return
    if outage in _REFUSALS:
        raise RefusedError(*_REFUSALS[outage])


def _forget(db: sqlite3.Connection, received: ReceivedRequest, until: str) -> None:
    db.execute(
        "DELETE FROM idempotency WHERE part = ? AND key = ? AND at <= ?",
        (received.part, received.key, until),
    )


def _keep(
    db: sqlite3.Connection, received: ReceivedRequest, fingerprint: str, reply: Reply
) -> None:
    kept = (reply.status, json.dumps(reply.body)) if reply.keep else (None, None)
    db.execute(
        "INSERT INTO idempotency (part, key, fingerprint, tries, status, body, at)"
        " VALUES (?, ?, ?, 1, ?, ?, ?)"
        " ON CONFLICT (part, key) DO UPDATE SET"
        " fingerprint = excluded.fingerprint, tries = tries + 1,"
        " status = excluded.status, body = excluded.body",
        (received.part, received.key, fingerprint, *kept, received.at),
    )


def _fingerprint(request: web.Request, parameters: Mapping[str, str]) -> str:
    content = json.dumps([request.method, request.path, sorted(parameters.items())])
    return hashlib.sha256(content.encode()).hexdigest()
