"""Webhooks of the bank debit provider: events of payments, as the days of the bank pass.

As at GoCardless a webhook has a list of events and is signed over its bytes alone, without a time, as
the hexadecimal HMAC-SHA256 in `Webhook-Signature`.
"""

import hmac
import json
import sqlite3
from hashlib import sha256

from sandbox.bank.books import Row, describe_event, history_of
from sandbox.clock import Clock
from sandbox.provider.behavior import Behavior
from sandbox.provider.webhooks import Webhooks
from sandbox.record import Record


class BankWebhooks(Webhooks):
    """The events that are to be sent; without a URL there are none."""

    part = "bank"

    def __init__(
        self, record: Record, clock: Clock, behavior: Behavior, url: str, secret: str
    ) -> None:
        """They are late, repeated and out of order as those of the other provider are."""
        super().__init__(record, clock, behavior, url, secret)

    def enter_payment(self, db: sqlite3.Connection, row: Row, since: int) -> None:
        """Enter all that becomes of a payment from a time on; what was to come of it is not sent."""
        if not self._url:
            return
        db.execute(
            "DELETE FROM webhooks WHERE part = 'bank' AND object = ? AND created > ?",
            (row["id"], since),
        )
        for at, action, cause in history_of(row):
            if at >= since:
                event = describe_event(row, at, action, cause)
                body = json.dumps(
                    {"events": [event], "meta": {"webhook_id": f"WB{event['id'][2:]}"}}
                )
                due = at + self._behavior.webhook_delay_seconds(f"payments.{action}")
                db.execute(
                    "INSERT OR IGNORE INTO webhooks"
                    " (event, type, body, due, tries, part, object, created)"
                    " VALUES (?, ?, ?, ?, 0, 'bank', ?, ?)",
                    (event["id"], f"payments.{action}", body, due, row["id"], at),
                )

    def _headers(self, body: bytes) -> dict[str, str]:
        return {
            "Content-Type": "application/json",
            "Webhook-Signature": hmac.new(self._secret, body, sha256).hexdigest(),
        }
