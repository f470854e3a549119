"""The provider's balance: what each movement of money left of it, and what it has paid out.

Source: https://docs.stripe.com/api/balance_transactions and https://docs.stripe.com/api/payouts, read
on 2026-11-30. A charge costs 1.5 % and 25 units of its currency. What a day (UTC) brought is paid out
at the beginning of the second day after it, in one payout a currency, once there is something to pay.
A transaction is filed under the time of what it is about.
"""

import json
import secrets
import sqlite3
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from sandbox.clock import Clock
from sandbox.provider.behavior import Behavior
from sandbox.provider.books import Row
from sandbox.provider.disputes import FEE as DISPUTE_FEE
from sandbox.provider.forms import created_condition, invalid, missing, read_limit
from sandbox.record import Record

DAY_SECONDS = 24 * 3600
# A charge costs so many thousandths of it, and so many units of its currency.
CHARGE_FEE_PERMILLE = 15
CHARGE_FEE_FIXED = 25
_EXPANDABLE = frozenset({"data.source", "data.source.payment_intent"})

# What has moved since the last time, with what it is about. One that is entered stays as it is.
_ENTER = f"""
INSERT OR IGNORE INTO balance_transactions
    (id, type, category, source, payment_intent, amount, fee, currency, created, rate)
SELECT id, type, category, source, payment_intent, coalesce(amount * rate / 1000, amount),
       coalesce(fee * rate / 1000, fee), iif(rate IS NULL, currency, 'usd'), created, rate
FROM (SELECT *, iif(currency = 'usd', NULL, :rate) AS rate FROM (
SELECT 'txn_' || substr(id, 4) AS id, 'charge' AS type, 'charge' AS category,
       'ch_' || substr(id, 4) AS source, id AS payment_intent, amount,
       amount * {CHARGE_FEE_PERMILLE} / 1000 + {CHARGE_FEE_FIXED} AS fee, currency, created
FROM payment_intents WHERE status = 'succeeded'
UNION ALL
SELECT 'txn_' || substr(id, 4) || '_refund', 'refund', 'refund', id, payment_intent, -amount, 0,
       currency, created
FROM refunds
UNION ALL
SELECT 'txn_' || substr(id, 4) || '_refund_failure', 'refund_failure', 'refund_failure', id,
       payment_intent, amount, 0, currency, fails
FROM refunds WHERE fails <= :now
UNION ALL
SELECT 'txn_' || substr(id, 4) || '_dispute', 'adjustment', 'dispute', id, payment_intent, -amount,
       {DISPUTE_FEE}, currency, withdrawn
FROM disputes WHERE withdrawn IS NOT NULL
UNION ALL
SELECT 'txn_' || substr(id, 4) || '_dispute_reversal', 'adjustment', 'dispute_reversal', id,
       payment_intent, amount, 0, currency, reinstated
FROM disputes WHERE reinstated IS NOT NULL
)) ORDER BY created
"""  # noqa: S608 - numbers of our own
_UNPAID = """
SELECT currency, sum(amount - fee) AS net FROM balance_transactions
WHERE payout IS NULL AND created < ? GROUP BY currency HAVING sum(amount - fee) > 0
"""


class Balance:
    """What merchants ask of their balance."""

    def __init__(self, record: Record, clock: Clock, behavior: Behavior) -> None:
        self._record = record
        self._clock = clock
        self._behavior = behavior

    def routes(self) -> list[web.RouteDef]:
        """Routes below `/v1`."""
        return [
            web.get("/balance_transactions", self.list_transactions),
            web.get("/payouts", self.list_payouts),
            web.get("/payouts/{id}", self.get_payout),
        ]

    async def list_transactions(self, request: web.Request) -> web.Response:
        """List balance transactions, newest first."""
        now = await self._caught_up()
        clauses, values = created_condition(request)
        for name in ("payout", "type", "currency"):
            if (wanted := request.query.get(name)) is not None:
                clauses.append(f"{name} = ?")
                values.append(wanted)
        if self._is_gathering(request.query.get("payout"), now):
            clauses.append("type = 'payout'")
        rows, has_more = self._page("balance_transactions", clauses, values, request)
        expand = frozenset(value for name, value in request.query.items() if "expand" in name)
        if unknown := sorted(expand - _EXPANDABLE):
            raise invalid(f"This property cannot be expanded ({unknown[0]}).", param="expand")
        data = [self._described(row, now, expand) for row in rows]
        if "payout" not in request.query:
            data, ends = self._behavior.falsified(data)
            has_more = has_more and not ends
        return _list(request, data, has_more=has_more)

    async def list_payouts(self, request: web.Request) -> web.Response:
        """List payouts, newest first."""
        now = await self._caught_up()
        clauses, values = created_condition(request)
        rows, has_more = self._page("payouts", clauses, values, request)
        return _list(request, [self._payout(row, now) for row in rows], has_more=has_more)

    async def get_payout(self, request: web.Request) -> web.Response:
        """Return one payout."""
        now = await self._caught_up()
        name = request.match_info["id"]
        rows = self._record.read("SELECT * FROM payouts WHERE id = ?", name)
        if not rows:
            raise missing("payout", name, status=404)
        return web.json_response(self._payout(rows[0], now))

    def _is_gathering(self, payout: str | None, now: int) -> bool:
        rows = self._record.read("SELECT created FROM payouts WHERE id = ?", payout)
        return bool(rows) and self._behavior.is_gathering(rows[0]["created"], now)

    def _payout(self, row: Row, now: int) -> dict[str, Any]:
        is_gathering = self._behavior.is_gathering(row["created"], now)
        return {
            "id": row["id"],
            "object": "payout",
            "amount": row["amount"],
            "arrival_date": row["created"],
            "automatic": True,
            "balance_transaction": f"txn_{str(row['id']).removeprefix('po_')}",
            "created": row["created"],
            "currency": row["currency"],
            "metadata": {},
            "method": "standard",
            "livemode": False,
            "reconciliation_status": "in_progress" if is_gathering else "completed",
            "status": "paid",
            "type": "bank_account",
        }

    async def _caught_up(self) -> int:
        now = int(self._clock.now.timestamp())
        rate = self._behavior.usd_rate
        await self._record.write(lambda db: _catch_up(db, now, rate))
        return now

    def _page(
        self, table: str, clauses: list[str], values: list[object], request: web.Request
    ) -> tuple[list[sqlite3.Row], bool]:
        if (after := request.query.get("starting_after")) is not None:
            if not self._record.read(f"SELECT 1 FROM {table} WHERE id = ?", after):  # noqa: S608
                raise missing(table, after, param="starting_after")
            clauses.append(f"(created, seq) < (SELECT created, seq FROM {table} WHERE id = ?)")  # noqa: S608
            values.append(after)
        where, limit = " AND ".join(clauses) or "1 = 1", read_limit(request)
        # Table and clauses are fixed words; all that a caller sent is among the values.
        statement = f"SELECT * FROM {table} WHERE {where} ORDER BY created DESC, seq DESC LIMIT ?"  # noqa: S608
        rows = self._record.read(statement, *values, limit + 1)
        return rows[:limit], len(rows) > limit

    def _described(self, row: Row, now: int, expand: frozenset[str]) -> dict[str, Any]:
        available_on = _payout_time(row["created"])
        return {
            "id": row["id"],
            "object": "balance_transaction",
            "amount": row["amount"],
            "available_on": available_on,
            "created": row["created"],
            "currency": row["currency"],
            "exchange_rate": row["rate"] and row["rate"] / 1000,
            "fee": row["fee"],
            "net": row["amount"] - row["fee"],
            "reporting_category": row["category"],
            "source": self._source(row, expand) if expand else row["source"],
            "status": "available" if now >= available_on else "pending",
            "type": row["type"],
        }

    def _source(self, row: Row, expand: frozenset[str]) -> Mapping[str, Any]:
        """What a transaction is about, as far as it says whose it is."""
        kind = {"charge": "charge", "refund": "refund", "payout": "payout"}.get(row["type"])
        kind = kind or ("refund" if row["type"] == "refund_failure" else "dispute")
        source = {"id": row["source"], "object": kind, "metadata": {}}
        if kind == "payout":
            return source
        intent: object = row["payment_intent"]
        table, name = (
            ("refunds", row["source"]) if kind == "refund" else ("payment_intents", intent)
        )
        statement = f"SELECT metadata, amount, currency FROM {table} WHERE id = ?"  # noqa: S608 - fixed words
        [found] = self._record.read(statement, name)
        metadata = _load(found["metadata"])
        source |= {"amount": found["amount"], "currency": found["currency"]}
        if kind == "dispute" and "data.source.payment_intent" in expand:
            intent = {"id": intent, "object": "payment_intent", "metadata": metadata}
        shown = {} if kind == "dispute" else metadata
        return {**source, "payment_intent": intent, "metadata": shown}


def _load(text: str) -> dict[str, str]:
    loaded: dict[str, str] = json.loads(text)
    return loaded


def _catch_up(db: sqlite3.Connection, now: int, rate: int | None) -> None:
    """Enter what has moved until now, and pay out what is to be paid out until now."""
    db.execute(_ENTER, {"now": now, "rate": rate})
    unpaid = "SELECT min(created) FROM balance_transactions WHERE payout IS NULL"
    first = db.execute(unpaid).fetchone()[0]
    last = db.execute("SELECT max(created) FROM payouts").fetchone()[0]
    if first is None:
        return
    # A day that was looked at stays as it is.
    midnight = max(_payout_time(first), 0 if last is None else last + DAY_SECONDS)
    while midnight <= now:
        for currency, net in db.execute(_UNPAID, (midnight - DAY_SECONDS,)).fetchall():
            _pay_out(db, currency, net, midnight)
        midnight += DAY_SECONDS


def _pay_out(db: sqlite3.Connection, currency: str, net: int, midnight: int) -> None:
    day = datetime.fromtimestamp(midnight, UTC).strftime("%Y%m%d")
    # No other account has it.
    name = f"{day}{currency}{secrets.token_hex(4)}"
    payout = f"po_{name}"
    db.execute(
        "INSERT INTO payouts (id, amount, currency, created) VALUES (?, ?, ?, ?)",
        (payout, net, currency, midnight),
    )
    db.execute(
        "UPDATE balance_transactions SET payout = ?"
        " WHERE payout IS NULL AND currency = ? AND created < ?",
        (payout, currency, midnight - DAY_SECONDS),
    )
    db.execute(
        "INSERT INTO balance_transactions (id, type, category, source, payment_intent, amount, fee,"
        " currency, created, payout) VALUES (?, 'payout', 'payout', ?, NULL, ?, 0, ?, ?, ?)",
        (f"txn_{name}", payout, -net, currency, midnight, payout),
    )


def _payout_time(created: int) -> int:
    """When it is paid out what was earned at a time (unix)."""
    return (created // DAY_SECONDS + 2) * DAY_SECONDS


def _list(request: web.Request, data: list[dict[str, Any]], *, has_more: bool) -> web.Response:
    return web.json_response(
        {"object": "list", "url": request.path, "has_more": has_more, "data": data}
    )
