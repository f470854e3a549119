"""The endpoints of the bank debit provider."""

import json
import sqlite3
from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any

from aiohttp import web

from sandbox.bank.books import (
    LISTED_ACTIONS,
    as_reply,
    cancel_payment,
    create_payment,
    describe_payment,
    describe_refund,
    events_of,
    first_charge_date,
    moves_of,
    refund,
)
from sandbox.bank.errors import invalid, missing, misused, replaced, wrong_state
from sandbox.bank.mandates import (
    LEAST,
    REPLACEMENT,
    describe_account,
    describe_mandate,
    mandate_of,
)
from sandbox.bank.payouts import catch_up, describe_item, describe_payout, read_items_query
from sandbox.bank.webhooks import BankWebhooks
from sandbox.clock import Clock
from sandbox.endpoint import Endpoint, Handler, Reply
from sandbox.record import Record, bad_request, page_size

VERSION = "2015-07-06"
PAGE_SIZE_DEFAULT = 50
PAGE_SIZE_MAX = 500
METADATA_KEYS_MAX = 3
METADATA_NAME_CHARACTERS_MAX = 50
METADATA_VALUE_CHARACTERS_MAX = 500
_PAYMENT_FIELDS = frozenset(
    {"amount", "currency", "charge_date", "description", "links", "metadata", "retry_if_possible"}
)
_REFUND_FIELDS = frozenset({"amount", "total_amount_confirmation", "links", "metadata"})
_EVENT_PARAMETERS = frozenset({"resource_type", "action", "created_at[gte]", "limit", "after"})
_COMPARISONS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}


class Bank:
    """The provider's API; every public method is one endpoint."""

    def __init__(
        self, record: Record, clock: Clock, endpoint: Endpoint, webhooks: BankWebhooks
    ) -> None:
        self._record = record
        self._clock = clock
        self._endpoint = endpoint
        self._webhooks = webhooks

    def routes(self) -> list[web.RouteDef]:
        """Routes below the address of the provider."""
        return [
            web.get("/mandates/{id}", _versioned(self.get_mandate)),
            web.get("/customer_bank_accounts/{id}", _versioned(self.get_account)),
            web.post("/payments", _versioned(self.create_payment)),
            web.get("/payments", _versioned(self.list_payments)),
            web.get("/payments/{id}", _versioned(self.get_payment)),
            web.post("/payments/{id}/actions/cancel", _versioned(self.cancel_payment)),
            web.post("/refunds", _versioned(self.create_refund)),
            web.get("/refunds", _versioned(self.list_refunds)),
            web.get("/refunds/{id}", _versioned(self.get_refund)),
            web.get("/events", _versioned(self.list_events)),
            web.get("/payouts", _versioned(self.list_payouts)),
            web.get("/payouts/{id}", _versioned(self.get_payout)),
            web.get("/payout_items", _versioned(self.list_payout_items)),
        ]

    def record_routes(self) -> list[web.RouteDef]:
        """Routes over all that the provider has moved, for audits."""

        async def debits(request: web.Request) -> web.Response:
            rows, has_more = self._recorded(request, "bank_payments")
            now = self._now()
            data = [{"seq": row["seq"], "moved": moves_of(row, now)} for row in rows]
            return web.json_response({"data": data, "has_more": has_more})

        async def refunds(request: web.Request) -> web.Response:
            rows, has_more = self._recorded(request, "bank_refunds")
            data = [
                {
                    "seq": row["seq"],
                    "moved": {
                        "id": row["id"], "metadata": {}, "amount": row["amount"],
                        "currency": row["currency"], "status": "succeeded", "created": row["paid"],
                    } if self._now() >= row["paid"] else None,
                }
                for row in rows
            ]  # fmt: skip
            return web.json_response({"data": data, "has_more": has_more})

        return [
            web.get("/record/bank-debits", debits),
            web.get("/record/bank-refunds", refunds),
        ]

    def _recorded(self, request: web.Request, table: str) -> tuple[list[sqlite3.Row], bool]:
        limit, after = page_size(request), request.query.get("after", "0")
        if not (after.isascii() and after.isdigit()):
            raise bad_request("after: give the `seq` of the last one of the page before")
        # The table is a fixed word.
        statement = f"SELECT * FROM {table} WHERE seq > ? ORDER BY seq LIMIT ?"  # noqa: S608
        rows = self._record.read(statement, int(after), limit + 1)
        return rows[:limit], len(rows) > limit

    async def get_mandate(self, request: web.Request) -> web.Response:
        """Return one mandate."""
        name = request.match_info["id"]
        mandate = mandate_of(name)
        if mandate is None:
            raise missing()
        shown = {
            **describe_mandate(name, mandate, self._now()),
            "next_possible_charge_date": first_charge_date(self._now()).isoformat(),
        }
        return web.json_response({"mandates": shown})

    async def get_account(self, request: web.Request) -> web.Response:
        """Return the bank account of a mandate."""
        name = request.match_info["id"]
        mandate = mandate_of(name.replace("BA_", "MD_", 1))
        if mandate is None:
            raise missing()
        return web.json_response({"customer_bank_accounts": describe_account(name, mandate)})

    async def create_payment(self, request: web.Request) -> web.Response:
        """Take a payment, to be submitted to the bank."""
        wanted = await _read_body(request, "payments", _PAYMENT_FIELDS)
        name = str((wanted.get("links") or {}).get("mandate"))
        mandate = mandate_of(name)
        if mandate is None:
            raise invalid("mandate not found", "payments.links.mandate")
        if wanted.get("currency") != mandate.currency:
            raise invalid(f"must be {mandate.currency}", "payments.currency")
        amount, least = _read_amount(wanted, "payments.amount"), LEAST.get(mandate.currency, 1)
        if amount < least:
            raise invalid(f"must be greater than or equal to {least}", "payments.amount")
        metadata = _read_metadata(wanted, "payments")
        charge_date = _read_date(wanted)
        now = self._now()
        if mandate.is_replaced(now):
            raise replaced(REPLACEMENT)
        row = {
            "mandate": name,
            "amount": amount,
            "currency": mandate.currency,
            "description": wanted.get("description"),
            "created": now,
        }

        def perform(db: sqlite3.Connection, _: int) -> Reply:
            if mandate.status != "active":
                raise wrong_state("mandate_is_inactive", f"Mandate is {mandate.status}")
            if charge_date is not None and charge_date < first_charge_date(now):
                raise invalid("must be on or after the first day", "payments.charge_date")
            payment = create_payment(db, row, charge_date, mandate, metadata)
            self._webhooks.enter_payment(db, payment, now)
            return as_reply("payments", describe_payment(payment, 0, now))

        return await self._answer_once(request, perform)

    async def cancel_payment(self, request: web.Request) -> web.Response:
        """Give up a payment that was not submitted."""
        now = self._now()

        def perform(db: sqlite3.Connection, _: int) -> Reply:
            payment = cancel_payment(db, request.match_info["id"], now)
            self._webhooks.enter_payment(db, payment, now)
            return Reply(200, {"payments": describe_payment(payment, 0, now)})

        return await self._answer_once(request, perform)

    async def get_payment(self, request: web.Request) -> web.Response:
        """Return one payment."""
        return web.json_response({"payments": self._payment(request.match_info["id"])})

    async def list_payments(self, request: web.Request) -> web.Response:
        """List payments, newest first."""
        rows = self._page(request, "bank_payments", ("mandate",))
        shown = [self._payment(row["id"]) for row in rows]
        return _list(request, "payments", shown)

    async def create_refund(self, request: web.Request) -> web.Response:
        """Give back part of a confirmed payment, or all of it."""
        wanted = await _read_body(request, "refunds", _REFUND_FIELDS)
        payment = str((wanted.get("links") or {}).get("payment"))
        amount = _read_amount(wanted, "refunds.amount")
        total = wanted.get("total_amount_confirmation")
        if type(total) is not int:
            raise invalid("must be a number", "refunds.total_amount_confirmation")
        now = self._now()
        row = {"metadata": json.dumps(_read_metadata(wanted, "refunds")), "created": now}

        def perform(db: sqlite3.Connection, _: int) -> Reply:
            entered = refund(db, payment, amount, total, row)
            return as_reply("refunds", describe_refund(entered, now))

        return await self._answer_once(request, perform)

    async def get_refund(self, request: web.Request) -> web.Response:
        """Return one refund."""
        rows = self._record.read(
            "SELECT * FROM bank_refunds WHERE id = ?", request.match_info["id"]
        )
        if not rows:
            raise missing()
        return web.json_response({"refunds": describe_refund(rows[0], self._now())})

    async def list_refunds(self, request: web.Request) -> web.Response:
        """List refunds, newest first."""
        rows = self._page(request, "bank_refunds", ("payment",))
        now = self._now()
        return _list(request, "refunds", [describe_refund(row, now) for row in rows])

    async def list_payouts(self, request: web.Request) -> web.Response:
        """List payouts, newest first."""
        await self._paid_out()
        rows = self._page(request, "bank_payouts", ("currency",))
        return _list(request, "payouts", [describe_payout(row) for row in rows])

    async def get_payout(self, request: web.Request) -> web.Response:
        """Return one payout."""
        await self._paid_out()
        rows = self._record.read(
            "SELECT * FROM bank_payouts WHERE id = ?", request.match_info["id"]
        )
        if not rows:
            raise missing()
        return web.json_response({"payouts": describe_payout(rows[0])})

    async def list_payout_items(self, request: web.Request) -> web.Response:
        """List what a payout is made of; a cursor stands for items, which have no ids."""
        await self._paid_out()
        payout, after = read_items_query(request)
        limit = _limit(request)
        rows = self._record.read(
            "SELECT * FROM bank_payout_items WHERE payout = ? AND seq > ? ORDER BY seq LIMIT ?",
            payout,
            after,
            limit + 1,
        )
        page = rows[:limit]
        cursor = f"PI{page[-1]['seq']}" if len(rows) > limit else None
        meta = {"cursors": {"before": None, "after": cursor}, "limit": limit}
        items = [describe_item(row) for row in page]
        return web.json_response({"payout_items": items, "meta": meta})

    async def _paid_out(self) -> None:
        now = self._now()
        await self._record.write(lambda db: catch_up(db, now))

    async def list_events(self, request: web.Request) -> web.Response:
        """List what has become of one payment, or of all by one action; newest first."""
        name, action = request.query.get("payment"), request.query.get("action")
        if name is None:
            return _list(request, "events", self._events_by(request, action))
        rows = self._record.read("SELECT * FROM bank_payments WHERE id = ?", name)
        if not rows:
            raise missing()
        events = events_of(rows[0], self._now())
        return _list(
            request, "events", [event for event in events if action in {None, event["action"]}]
        )

    def _events_by(self, request: web.Request, action: str | None) -> list[dict[str, Any]]:
        """The events of an action since a time, after the one that the page before ended with."""
        if action not in LISTED_ACTIONS or request.query.get("resource_type") != "payments":
            raise misused(f"Give a payment, or resource_type payments and one of {LISTED_ACTIONS}.")
        if unknown := request.query.keys() - _EVENT_PARAMETERS:
            raise misused(f"unknown parameters {sorted(unknown)}")
        since = _read_time("created_at[gte]", request.query.get("created_at[gte]", ""))
        column = LISTED_ACTIONS[action]
        # The column is a fixed word.
        statement = (
            f"SELECT * FROM bank_payments WHERE {column} BETWEEN ? AND ?"  # noqa: S608
            f" AND cancelled IS NULL ORDER BY {column} DESC, seq DESC"
        )
        now = self._now()
        rows = self._record.read(statement, since, now)
        events = [e for row in rows for e in events_of(row, now) if e["action"] == action]
        names = [event["id"] for event in events]
        after = request.query.get("after")
        return events if after is None else events[names.index(after) + 1 :]

    def _payment(self, name: str) -> dict[str, Any]:
        rows = self._record.read(
            "SELECT p.*, (SELECT coalesce(sum(r.amount), 0) FROM bank_refunds r"
            " WHERE r.payment = p.id) AS refunded FROM bank_payments p WHERE id = ?",
            name,
        )
        if not rows:
            raise missing()
        return describe_payment(rows[0], rows[0]["refunded"], self._now())

    def _page(self, request: web.Request, table: str, fields: tuple[str, ...]) -> list[sqlite3.Row]:
        clauses = ["1 = 1"]
        values: list[object] = []
        for name, value in request.query.items():
            if name in fields:
                clauses.append(f"{name} = ?")
                values.append(value)
            elif name == "after":
                clauses.append(f"seq < (SELECT seq FROM {table} WHERE id = ?)")  # noqa: S608
                values.append(value)
            elif name.startswith("created_at[") and name[11:-1] in _COMPARISONS:
                clauses.append(f"created {_COMPARISONS[name[11:-1]]} ?")
                values.append(_read_time(name, value))
            elif name != "limit":
                raise misused(f"unknown parameter {name}")
        # Table and clauses are fixed words; all that a caller sent is among the values.
        where = " AND ".join(clauses)
        statement = f"SELECT * FROM {table} WHERE {where} ORDER BY seq DESC LIMIT ?"  # noqa: S608
        return self._record.read(statement, *values, _limit(request) + 1)

    async def _answer_once(
        self, request: web.Request, perform: Callable[[sqlite3.Connection, int], Reply]
    ) -> web.Response:
        # The provider compares no parameters: a key is one resource.
        try:
            return await self._endpoint.answer_once(request, {}, perform)
        finally:
            self._webhooks.wake()

    def _now(self) -> int:
        return int(self._clock.now.timestamp())


def _versioned(handler: Handler) -> Handler:
    """Refuse a request that does not say which version of the API it speaks."""

    async def checked(request: web.Request) -> web.StreamResponse:
        if request.headers.get("GoCardless-Version") != VERSION:
            raise misused(f"GoCardless-Version: give {VERSION}")
        return await handler(request)

    return checked


def _list(request: web.Request, name: str, shown: list[Any]) -> web.Response:
    limit = _limit(request)
    page = shown[:limit]
    after = page[-1]["id"] if len(shown) > limit else None
    meta = {"cursors": {"before": None, "after": after}, "limit": limit}
    return web.json_response({name: page, "meta": meta})


def _limit(request: web.Request) -> int:
    text = request.query.get("limit", str(PAGE_SIZE_DEFAULT))
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= PAGE_SIZE_MAX):
        raise misused(f"limit: give a number from 1 to {PAGE_SIZE_MAX}")
    return int(text)


async def _read_body(request: web.Request, name: str, fields: frozenset[str]) -> Mapping[str, Any]:
    if request.content_type != "application/json":
        raise misused("Send the parameters as application/json.")
    try:
        wanted = (await request.json())[name]
    except (ValueError, TypeError, KeyError):
        wanted = None
    if not isinstance(wanted, dict):
        raise misused(f"Send an object with {name}.")
    for field in wanted.keys() - fields:
        raise invalid("is not known", f"{name}.{field}")
    return wanted


def _read_amount(wanted: Mapping[str, Any], field: str) -> int:
    amount = wanted.get("amount")
    if type(amount) is not int or amount <= 0:
        raise invalid("must be greater than 0", field)
    return amount


def _read_metadata(wanted: Mapping[str, Any], name: str) -> dict[str, str]:
    metadata = wanted.get("metadata") or {}
    is_valid = isinstance(metadata, dict) and all(
        type(value) is str
        and len(key) <= METADATA_NAME_CHARACTERS_MAX
        and len(value) <= METADATA_VALUE_CHARACTERS_MAX
        for key, value in metadata.items()
    )
    if not is_valid or len(metadata) > METADATA_KEYS_MAX:
        raise invalid(f"must be up to {METADATA_KEYS_MAX} texts", f"{name}.metadata")
    return dict(metadata)


def _read_date(wanted: Mapping[str, Any]) -> date | None:
    text = wanted.get("charge_date")
    try:
        return None if text is None else date.fromisoformat(text)
    except (ValueError, TypeError):
        raise invalid("must be a date", "payments.charge_date") from None


def _read_time(name: str, text: str) -> int:
    try:
        return int(datetime.fromisoformat(text).timestamp())
    except ValueError:
        raise misused(f"{name}: give an ISO 8601 time") from None
