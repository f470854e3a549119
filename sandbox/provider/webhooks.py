"""Webhooks of the provider: signed events that it sends by itself, and again until they are taken.

As with Stripe (https://docs.stripe.com/webhooks) each sending is signed again over its bytes and the
time. A receiver that does not answer 2xx is sent to again later and later. Nothing promises an order.
Later is by the simulated clock, which does not move while something is to be sent.
"""

import asyncio
import hmac
import json
import secrets
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from typing import Any

import aiohttp
from aiohttp import web

from sandbox.clock import Clock
from sandbox.provider.behavior import Behavior
from sandbox.provider.books import describe_refund
from sandbox.provider.disputes import NEEDS_RESPONSE, describe_dispute
from sandbox.record import Record, page_size

SENT_AT_ONCE = 20
BATCH_EVENTS = 200
TIMEOUT_SECONDS = 10.0
RETRY_FIRST_SECONDS = 60
RETRY_MAX_SECONDS = 6 * 3600
# As Stripe, which gives up after three days.
TRIES_MAX = 16

Row = Mapping[str, Any] | sqlite3.Row
_TYPES = {
    status: f"payment_intent.{status}" for status in ("succeeded", "canceled", "requires_action")
}


class Webhooks:
    """The events that are to be sent; without a URL there are none."""

    part = "provider"

    def __init__(
        self, record: Record, clock: Clock, behavior: Behavior, url: str, secret: str
    ) -> None:
        self._record = record
        self._clock = clock
        self._behavior = behavior
        self._url = url
        self._secret = secret.encode()
        self._sending = asyncio.Lock()
        self._woken = asyncio.Event()
        self._http: aiohttp.ClientSession | None = None
        self._task: asyncio.Task[None] | None = None
        # How many times anything was sent.
        self.sent_count = 0

    # What happened, entered with it

    def enter_intent(
        self, db: sqlite3.Connection, body: Mapping[str, Any], now: int | None = None
    ) -> None:
        """Enter what became of a PaymentIntent, as the answer to its request shows it.

        Without a time, it became so when it was created.
        """
        intent = body.get("error", {}).get("payment_intent") or body
        if intent.get("object") == "payment_intent":
            created = int(intent["created"]) if now is None else now
            kind = _TYPES.get(str(intent["status"]), "payment_intent.payment_failed")
            self._enter(db, kind, created, intent)

    def enter_refund(self, db: sqlite3.Connection, row: Row) -> None:
        """Enter what a refund is now, and what it will be."""
        created, settles, fails = row["created"], row["settles"], row["fails"]
        self._enter(db, "refund.created", created, describe_refund(row, created))
        if settles > created and (fails is None or settles < fails):
            self._enter(db, "refund.updated", settles, describe_refund(row, settles))
        if fails is not None:
            self._enter(db, "refund.failed", fails, describe_refund(row, fails))

    def enter_new_dispute(self, db: sqlite3.Connection, row: Row) -> None:
        """Enter that a payment is disputed, and what becomes of that if nobody answers."""
        self._enter_dispute(db, "created", row, row["created"])
        if row["withdrawn"] is not None:
            self._enter_dispute(db, "funds_withdrawn", row, row["created"])
        self._enter_dispute(db, "closed", row, row["due_by"])

    def enter_dispute_change(
        self, db: sqlite3.Connection, before: Row, after: Row, now: int
    ) -> None:
        """Enter what a dispute has become, in place of what it would have become."""
        db.execute(
            "DELETE FROM webhooks WHERE type = 'charge.dispute.closed' AND due > ?"
            " AND tries = 0 AND json_extract(body, '$.data.object.id') = ?",
            (now, after["id"]),
        )
        is_over = after["status"] in {"won", "lost", "warning_closed"}
        for kind, happened in (
            ("funds_withdrawn", after["withdrawn"] and not before["withdrawn"]),
            ("funds_reinstated", after["reinstated"] and not before["reinstated"]),
            ("closed" if is_over else "updated", True),
        ):
            if happened:
                self._enter_dispute(db, kind, after, now)
        if after["status"] in NEEDS_RESPONSE:
            self._enter_dispute(db, "closed", after, after["due_by"])

    def _enter_dispute(self, db: sqlite3.Connection, kind: str, row: Row, at: int) -> None:
        self._enter(db, f"charge.dispute.{kind}", at, describe_dispute(row, at))

    def _enter(
        self, db: sqlite3.Connection, kind: str, created: int, shown: Mapping[str, Any]
    ) -> None:
        if not self._url:
            return
        event = {
            "id": f"evt_{secrets.token_hex(12)}",
            "object": "event",
            "type": kind,
            "created": created,
            "data": {"object": shown},
            "livemode": False,
            "pending_webhooks": 1,
        }
        due = created + self._behavior.webhook_delay_seconds(kind)
        db.execute(
            "INSERT INTO webhooks (event, type, body, due, tries) VALUES (?, ?, ?, ?, 0)",
            (event["id"], kind, json.dumps(event), due),
        )

    # Sending

    def wake(self) -> None:
        """There may be something to send."""
        self._woken.set()

    async def start(self) -> None:
        """Send in the background what is to be sent at the present time."""
        if self._url:
            timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
            self._http = aiohttp.ClientSession(timeout=timeout)
            self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Send no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        if self._http is not None:
            await self._http.close()

    def next_due(self) -> datetime | None:
        """When the next event is to be sent."""
        due = self._record.read(
            "SELECT min(due) FROM webhooks WHERE due IS NOT NULL AND part = ?", self.part
        )[0][0]
        return None if due is None else datetime.fromtimestamp(due, UTC)

    async def deliver(self) -> None:
        """Send all that is due at the present time."""
        if not self._url:
            return
        await self._record.catch_up()
        async with self._sending:
            while rows := self._due():
                limit = asyncio.Semaphore(SENT_AT_ONCE)
                taken = await asyncio.gather(*(self._send(row, limit) for row in rows))
                self.sent_count += len(rows)
                updates = [
                    (self._next_due(row, taken=took), row["tries"] + 1, row["seq"])
                    for row, took in zip(rows, taken, strict=True)
                ]
                await self._record.write(partial(_update, updates=updates))

    async def _run(self) -> None:
        while True:
            self._woken.clear()
            await self.deliver()
            await self._woken.wait()

    def _due(self) -> list[sqlite3.Row]:
        return self._record.read(
            "SELECT seq, body, tries FROM webhooks WHERE part = ? AND due <= ?"
            " ORDER BY due, seq LIMIT ?",
            self.part,
            int(self._clock.now.timestamp()),
            BATCH_EVENTS,
        )

    async def _send(self, row: sqlite3.Row, limit: asyncio.Semaphore) -> bool:
        body = str(row["body"]).encode()
        headers = self._headers(body)
        assert self._http is not None  # noqa: S101 - started
        with suppress(aiohttp.ClientError, TimeoutError):
            async with limit, self._http.post(self._url, data=body, headers=headers) as answer:
                return answer.ok
        return False

    def _headers(self, body: bytes) -> dict[str, str]:
        return {
            "Content-Type": "application/json; charset=utf-8",
            "Stripe-Signature": signature(body, self._secret, self._clock.now),
        }

    def _next_due(self, row: sqlite3.Row, *, taken: bool) -> int | None:
        now, tries = int(self._clock.now.timestamp()), int(row["tries"])
        if taken:
            repeated = self._behavior.webhook_repeat_seconds
            return None if repeated is None or tries else now + repeated
        if tries + 1 >= TRIES_MAX:
            return None
        return now + min(RETRY_FIRST_SECONDS << tries, RETRY_MAX_SECONDS)

    # For people and tests

    def routes(self) -> list[web.RouteDef]:
        """Routes that show what was sent, and what is to be."""

        async def show(request: web.Request) -> web.Response:
            limit = page_size(request)
            await self._record.catch_up()
            rows = self._record.read(
                "SELECT event AS id, type, tries, due, body FROM webhooks WHERE part = ?"
                " ORDER BY seq DESC LIMIT ?",
                self.part,
                limit,
            )
            return web.json_response({"data": [dict(row) for row in rows]})

        return [web.get(f"/{self.part}/webhooks", show)]


def _update(db: sqlite3.Connection, updates: Sequence[tuple[int | None, int, int]]) -> None:
    db.executemany("UPDATE webhooks SET due = ?, tries = ? WHERE seq = ?", updates)


def signature(body: bytes, secret: bytes, now: datetime) -> str:
    """The header of a body that is signed now."""
    signed = f"{int(now.timestamp())}.".encode() + body
    digest = hmac.new(secret, signed, sha256).hexdigest()
    return f"t={int(now.timestamp())},v1={digest}"
