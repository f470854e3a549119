"""Receipts of the SMS gateway: what becomes of messages that it took, which it says by itself.

They are signed in the form of Standard Webhooks (https://www.standardwebhooks.com).
"""

import asyncio
import base64
import hmac
import json
import sqlite3
from contextlib import suppress
from hashlib import sha256

import aiohttp

from sandbox.clock import Clock
from sandbox.provider.behavior import Behavior
from sandbox.provider.webhooks import Webhooks
from sandbox.record import Record


class SmsReceipts(Webhooks):
    """The receipts that are to be sent, each to the address that its message came with."""

    part = "sms"

    def __init__(self, record: Record, clock: Clock, behavior: Behavior, secret: str) -> None:
        """Without a secret there are none."""
        super().__init__(record, clock, behavior, "of each message" if secret else "", secret)

    def enter(
        self, db: sqlite3.Connection, row: sqlite3.Row, url: str, content: dict[str, str]
    ) -> None:
        """Enter what a message will come to, if it comes to anything."""
        if not self._url or not url or row["outcome"] is None:
            return
        db.execute(
            "INSERT INTO webhooks (event, type, body, due, tries, part, object, created)"
            " VALUES (?, ?, ?, ?, 0, 'sms', ?, ?)",
            (
                f"receipt_{row['id']}",
                f"sms.{row['outcome']}",
                json.dumps({"url": url, "content": content}),
                row["settles"] + self._behavior.webhook_delay_seconds("sms"),
                row["id"],
                row["settles"],
            ),
        )

    async def _send(self, row: sqlite3.Row, limit: asyncio.Semaphore) -> bool:
        receipt = json.loads(row["body"])
        body = json.dumps(receipt["content"]).encode()
        assert self._http is not None  # noqa: S101 - started
        with suppress(aiohttp.ClientError, TimeoutError):
            headers = self._signed(f"receipt_{row['seq']}", body)
            async with limit, self._http.post(receipt["url"], data=body, headers=headers) as answer:
                return answer.ok
        return False

    def _signed(self, event: str, body: bytes) -> dict[str, str]:
        timestamp = str(int(self._clock.now.timestamp()))
        signed = f"{event}.{timestamp}.".encode() + body
        digest = base64.b64encode(hmac.new(self._secret, signed, sha256).digest()).decode()
        return {
            "Content-Type": "application/json",
            "webhook-id": event,
            "webhook-timestamp": timestamp,
            "webhook-signature": f"v1,{digest}",
        }
