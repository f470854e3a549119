"""The endpoints of the payment provider."""

import json
import sqlite3
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from sandbox.clock import Clock
from sandbox.endpoint import Endpoint, Perform, Reply
from sandbox.provider.behavior import Behavior
from sandbox.provider.books import (
    charge,
    describe_card,
    describe_intent,
    describe_refund,
    refund,
    setup,
)
from sandbox.provider.cards import Cards
from sandbox.provider.forms import (
    Condition,
    created_condition,
    invalid,
    missing,
    read_charge_amount,
    read_currency,
    read_form,
    read_limit,
    read_number,
    read_refund_amount,
    search_condition,
    split_metadata,
)
from sandbox.provider.webhooks import Webhooks
from sandbox.record import Record

CHARGE_PARAMETERS = frozenset(
    {"amount", "currency", "payment_method", "customer", "confirm", "off_session", "description"}
)
REFUND_PARAMETERS = frozenset({"payment_intent", "amount", "reason"})
REFUND_REASONS = ("duplicate", "fraudulent", "requested_by_customer")


class Provider:
    """The provider's API; every public method is one endpoint."""

    def __init__(
        self,
        record: Record,
        clock: Clock,
        endpoint: Endpoint,
        behavior: Behavior,
        cards: Cards,
        webhooks: Webhooks,
    ) -> None:
        self._record = record
        self._clock = clock
        self._endpoint = endpoint
        self._behavior = behavior
        self._cards = cards
        self._webhooks = webhooks

    def routes(self) -> list[web.RouteDef]:
        """Routes below `/v1`."""
        return [
            web.post("/payment_intents", self.create_intent),
            web.get("/payment_intents", self.list_intents),
            web.get("/payment_intents/search", self.search_intents),
            web.get("/payment_intents/{id}", self.get_intent),
            web.get("/payment_methods/{id}", self.get_payment_method),
            web.post("/setup_intents", self.create_setup_intent),
            web.post("/refunds", self.create_refund),
            web.get("/refunds", self.list_refunds),
            web.get("/refunds/{id}", self.get_refund),
        ]

    async def create_intent(self, request: web.Request) -> web.Response:
        """Create and confirm a PaymentIntent: 200 when it succeeded, 402 when declined."""
        form = await read_form(request)
        parameters, metadata = split_metadata(form, CHARGE_PARAMETERS)
        currency = read_currency(parameters)
        amount = read_charge_amount(parameters, currency)
        for flag in ("confirm", "off_session"):
            if parameters.get(flag) != "true":
                raise invalid(f"Only {flag}=true is supported here.", param=flag)
        method = parameters.get("payment_method", "")
        card = self._cards.get(method)
        if card is None:
            raise missing("PaymentMethod", method, param="payment_method")
        if card.customer not in {None, parameters.get("customer")}:
            raise invalid("The PaymentMethod is not the customer's.", param="customer")
        row = {
            "amount": amount,
            "currency": currency,
            "customer": parameters.get("customer"),
            "description": parameters.get("description"),
            "payment_method": method,
            "created": self._unix_time(),
        }

        def perform(db: sqlite3.Connection, tries: int) -> Reply:
            reply = charge(db, row, card, metadata, tries)
            self._webhooks.enter_intent(db, reply.body)
            return reply

        return await self._answer_once(request, form, perform)

    async def _answer_once(
        self, request: web.Request, form: Mapping[str, str], perform: Perform
    ) -> web.Response:
        try:
            return await self._endpoint.answer_once(request, form, perform)
        finally:
            self._webhooks.wake()

    async def get_intent(self, request: web.Request) -> web.Response:
        """Return one PaymentIntent."""
        return web.json_response(describe_intent(self._intent(request.match_info["id"], 404)))

    async def list_intents(self, request: web.Request) -> web.Response:
        """List PaymentIntents, newest first."""
        clauses, values = self._listed(request)
        if (customer := request.query.get("customer")) is not None:
            clauses.append("customer = ?")
            values.append(customer)
        if (after := request.query.get("starting_after")) is not None:
            clauses.append("seq < ?")
            values.append(self._intent(after, 400)["seq"])
        rows, has_more = self._page("payment_intents", (clauses, values), request)
        return _list(request, [describe_intent(row) for row in rows], has_more=has_more)

    async def search_intents(self, request: web.Request) -> web.Response:
        """Search PaymentIntents by metadata, status, currency or customer, newest first."""
        clauses, values = search_condition(request.query.get("query", ""))
        clauses.append("created <= ?")
        values.append(self._unix_time() - self._behavior.search_lag_seconds)
        if (page := request.query.get("page")) is not None:
            clauses.append("seq < ?")
            values.append(read_number("page", page))
        rows, has_more = self._page("payment_intents", (clauses, values), request)
        return web.json_response(
            {
                "object": "search_result",
                "url": request.path,
                "has_more": has_more,
                "next_page": str(rows[-1]["seq"]) if has_more else None,
                "data": [describe_intent(row) for row in rows],
            }
        )

    async def create_setup_intent(self, request: web.Request) -> web.Response:
        """Create a SetupIntent that nobody confirms: it moves no money, and takes its key."""
        form = await read_form(request)
        _, metadata = split_metadata(form, frozenset())
        created = self._unix_time()
        return await self._endpoint.answer_once(
            request, form, lambda _, __: setup(metadata, created)
        )

    async def get_payment_method(self, request: web.Request) -> web.Response:
        """Return what may be shown of a card."""
        name = request.match_info["id"]
        card = self._cards.get(name)
        if card is None:
            raise missing("PaymentMethod", name, status=404, param="payment_method")
        return web.json_response(describe_card(name, card))

    async def create_refund(self, request: web.Request) -> web.Response:
        """Give back part of a captured amount, or all that is left of it."""
        form = await read_form(request)
        parameters, metadata = split_metadata(form, REFUND_PARAMETERS)
        intent = parameters.get("payment_intent")
        if intent is None:
            raise invalid("Name the PaymentIntent to refund.", param="payment_intent")
        amount = read_refund_amount(parameters)
        reason = parameters.get("reason")
        if reason is not None and reason not in REFUND_REASONS:
            raise invalid(f"Give one of {', '.join(REFUND_REASONS)}.", param="reason")
        created = self._unix_time()
        row = {
            "reason": reason,
            "metadata": json.dumps(metadata),
            "created": created,
            **self._behavior.refund_times(created),
        }

        def perform(db: sqlite3.Connection, _: int) -> Reply:
            reply = refund(db, intent, amount, row)
            self._webhooks.enter_refund(db, _refund_row(db, str(reply.body["id"])))
            return reply

        return await self._answer_once(request, form, perform)

    async def get_refund(self, request: web.Request) -> web.Response:
        """Return one refund."""
        row = self._refund(request.match_info["id"], 404)
        return web.json_response(describe_refund(row, self._unix_time()))

    async def list_refunds(self, request: web.Request) -> web.Response:
        """List refunds, newest first."""
        clauses, values = self._listed(request)
        if (intent := request.query.get("payment_intent")) is not None:
            clauses.append("payment_intent = ?")
            values.append(intent)
        if (after := request.query.get("starting_after")) is not None:
            clauses.append("seq < ?")
            values.append(self._refund(after, 400)["seq"])
        rows, has_more = self._page("refunds", (clauses, values), request)
        now = self._unix_time()
        return _list(request, [describe_refund(row, now) for row in rows], has_more=has_more)

    def _listed(self, request: web.Request) -> Condition:
        """What the query says of the time of what is listed, without what is too new for the list."""
        clauses, values = created_condition(request)
        if lag_seconds := self._behavior.list_lag_seconds:
            clauses.append("created <= ?")
            values.append(self._unix_time() - lag_seconds)
        return clauses, values

    def _unix_time(self) -> int:
        return int(self._clock.now.timestamp())

    def _intent(self, name: str, status: int) -> sqlite3.Row:
        rows = self._record.read("SELECT * FROM payment_intents WHERE id = ?", name)
        if not rows:
            raise missing("payment_intent", name, status=status)
        return rows[0]

    def _refund(self, name: str, status: int) -> sqlite3.Row:
        rows = self._record.read("SELECT * FROM refunds WHERE id = ?", name)
        if not rows:
            raise missing("refund", name, status=status)
        return rows[0]

    def _page(
        self, table: str, condition: Condition, request: web.Request
    ) -> tuple[list[sqlite3.Row], bool]:
        limit = read_limit(request)
        clauses, values = condition
        where = " AND ".join(clauses) or "1 = 1"
        # Table and clauses are fixed words; all that a caller sent is among the values.
        statement = f"SELECT * FROM {table} WHERE {where} ORDER BY seq DESC LIMIT ?"  # noqa: S608
        rows = self._record.read(statement, *values, limit + 1)
        return rows[:limit], len(rows) > limit


def _refund_row(db: sqlite3.Connection, name: str) -> sqlite3.Row:
    row: sqlite3.Row = db.execute("SELECT * FROM refunds WHERE id = ?", (name,)).fetchone()
    return row


def _list(request: web.Request, data: list[dict[str, Any]], *, has_more: bool) -> web.Response:
    return web.json_response(
        {"object": "list", "url": request.path, "has_more": has_more, "data": data}
    )
