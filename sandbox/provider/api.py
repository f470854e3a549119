"""The endpoints of the payment provider."""

import json
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from aiohttp import web

from sandbox.clock import Clock
from sandbox.endpoint import Endpoint, Perform, RefusedError, Reply
from sandbox.provider.behavior import Behavior
from sandbox.provider.books import (
    authenticate,
    cancel,
    charge,
    confirm,
    describe_card,
    describe_intent,
    describe_refund,
    refund,
    setup,
)
from sandbox.provider.cards import Cards
from sandbox.provider.disputes import disputed, open_dispute
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
from sandbox.record import Record, bad_request

CHARGE_PARAMETERS = frozenset(
    {
        "amount",
        "currency",
        "payment_method",
        "customer",
        "confirm",
        "off_session",
        "description",
        "return_url",
        "automatic_payment_methods[enabled]",
        "automatic_payment_methods[allow_redirects]",
    }
)
# Where the holder of a card confirms a payment.
AUTHENTICATIONS = "/provider/authentications"
# What a customer sees there. Amounts are in units of the currency's API amount.
AUTHENTICATION_PAGE = """<!doctype html><html lang="en"><title>Your bank</title>
<p>Pay {amount} {currency}?</p>
<form method="post"><button name="succeeds" value="yes">Confirm</button>
<button name="succeeds" value="no">Refuse</button></form></html>
"""
OVER_PAGE = """<!doctype html><html lang="en"><title>Your bank</title>
<p>This payment of {amount} {currency} waits for nobody.</p></html>
"""
_NO_RETURN_URL = (
    "A `return_url` must be specified because this Payment Intent is configured to automatically accept"
    " the payment methods enabled in the Dashboard, some of which may require a full page redirect to"
    " succeed. If you do not want to accept redirect-based payment methods, set"
    " `automatic_payment_methods[enabled]` to `true` and `automatic_payment_methods[allow_redirects]`"
    " to `never` when creating Setup Intents and Payment Intents."
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
        authentications: str = AUTHENTICATIONS,
    ) -> None:
        self._record = record
        self._clock = clock
        self._endpoint = endpoint
        self._behavior = behavior
        self._cards = cards
        self._webhooks = webhooks
        self._authentications = authentications

    def routes(self) -> list[web.RouteDef]:
        """Routes below `/v1`."""
        return [
            web.post("/payment_intents", self.create_intent),
            web.get("/payment_intents", self.list_intents),
            web.get("/payment_intents/search", self.search_intents),
            web.get("/payment_intents/{id}", self.get_intent),
            web.post("/payment_intents/{id}/confirm", self.confirm_intent),
            web.post("/payment_intents/{id}/cancel", self.cancel_intent),
            web.get("/payment_methods/{id}", self.get_payment_method),
            web.post("/setup_intents", self.create_setup_intent),
            web.post("/refunds", self.create_refund),
            web.get("/refunds", self.list_refunds),
            web.get("/refunds/{id}", self.get_refund),
        ]

    def authentication_routes(self) -> list[web.RouteDef]:
        """Routes of the bank's page."""
        page = f"{AUTHENTICATIONS}/{{id}}"
        return [web.get(page, self.show_authentication), web.post(page, self.authenticate)]

    async def create_intent(self, request: web.Request) -> web.Response:
        """Create and confirm a PaymentIntent: 200 when it succeeded, 402 when declined."""
        form = await read_form(request)
        parameters, metadata = split_metadata(form, CHARGE_PARAMETERS)
        currency = read_currency(parameters)
        amount = read_charge_amount(parameters, currency)
        if parameters.get("confirm") != "true":
            raise invalid("Only confirm=true is supported here.", param="confirm")
        off_session = parameters.get("off_session", "false")
        if off_session not in {"true", "false"}:
            raise invalid(f"Invalid boolean: {off_session}", param="off_session")
        method = parameters.get("payment_method", "")
        card = self._cards.get(method)
        if card is None:
            raise missing("PaymentMethod", method, param="payment_method")
        if card.customer not in {None, parameters.get("customer")}:
            raise invalid("The PaymentMethod is not the customer's.", param="customer")
        return_url = parameters.get("return_url")
        if return_url is None and not _never_redirects(parameters):
            raise invalid(_NO_RETURN_URL)
        row = {
            "amount": amount,
            "currency": currency,
            "customer": parameters.get("customer"),
            "description": parameters.get("description"),
            "payment_method": method,
            "created": self._unix_time(),
        }

        def perform(db: sqlite3.Connection, tries: int) -> Reply:
            reply = charge(db, row, card, metadata, tries, off_session=off_session == "true")
            reply = replace(reply, body=self._with_action(request, reply.body, return_url))
            self._webhooks.enter_intent(db, reply.body)
            if card.dispute_reason and reply.body.get("status") == "succeeded":
                dispute = open_dispute(
                    db, str(reply.body["id"]), self._unix_time(),
                    reason=card.dispute_reason, inquiry=card.inquiry,
                )  # fmt: skip
                self._webhooks.enter_new_dispute(db, dispute)
            return reply

        return await self._answer_once(request, form, perform)

    async def confirm_intent(self, request: web.Request) -> web.Response:
        """Try a declined payment once more with its customer there, who can be asked by their bank."""
        form = await read_form(request)
        parameters, _ = split_metadata(form, frozenset({"payment_method", "return_url"}))
        return_url, method = parameters.get("return_url"), parameters.get("payment_method", "")

        def change(db: sqlite3.Connection, name: str) -> Reply:
            reply = confirm(db, name, method, self._cards.get)
            return replace(reply, body=self._with_action(request, reply.body, return_url))

        return await self._answer_once(request, form, self._changing(request, change))

    async def cancel_intent(self, request: web.Request) -> web.Response:
        """Give up a payment that has not been made."""
        form = await read_form(request) if request.body_exists else {}
        split_metadata(form, frozenset({"cancellation_reason"}))
        return await self._answer_once(request, form, self._changing(request, cancel))

    async def show_authentication(self, request: web.Request) -> web.Response:
        """The page of the bank on which a customer confirms a payment, or refuses."""
        intent = self._intent(request.match_info["id"], 404)
        page = AUTHENTICATION_PAGE if intent["status"] == "requires_action" else OVER_PAGE
        amount, currency = intent["amount"], str(intent["currency"]).upper()
        return web.Response(
            text=page.format(amount=amount, currency=currency), content_type="text/html"
        )

    async def authenticate(self, request: web.Request) -> web.Response:
        """Confirm a payment, or fail to, as the holder of the card does on a page of their bank."""
        try:
            if request.content_type == "application/json":
                succeeds = (await request.json())["succeeds"]
            else:
                succeeds = {"yes": True, "no": False}[str((await request.post())["succeeds"])]
        except (ValueError, TypeError, KeyError):
            succeeds = None
        if type(succeeds) is not bool:
            raise bad_request('body: give {"succeeds": true} or {"succeeds": false}')
        perform = self._changing(request, partial(authenticate, succeeds=succeeds))
        try:
            reply = await self._record.write(lambda db: perform(db, 1))
        except RefusedError as refused:
            raise bad_request(refused.message) from None
        self._webhooks.wake()
        return web.json_response(reply.body, status=reply.status)

    def _changing(
        self, request: web.Request, change: Callable[[sqlite3.Connection, str], Reply]
    ) -> Perform:
        def perform(db: sqlite3.Connection, _: int) -> Reply:
            reply = change(db, request.match_info["id"])
            self._webhooks.enter_intent(db, reply.body, int(self._unix_time()))
            return reply

        return perform

    async def _answer_once(
        self, request: web.Request, form: Mapping[str, str], perform: Perform
    ) -> web.Response:
        try:
            return await self._endpoint.answer_once(request, form, perform)
        finally:
            self._webhooks.wake()

    async def get_intent(self, request: web.Request) -> web.Response:
        """Return one PaymentIntent."""
        intent = describe_intent(self._intent(request.match_info["id"], 404))
        return web.json_response(self._with_action(request, intent))

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
            is_disputed, lost = disputed(db, intent, created)
            if is_disputed:
                message = "The charge you're attempting to refund has been charged back."
                raise invalid(message, code="charge_disputed")
            reply = refund(db, intent, amount, row, lost)
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

    def _with_action(
        self, request: web.Request, body: Mapping[str, object], return_url: str | None = None
    ) -> Mapping[str, object]:
        """A PaymentIntent with what its customer has to do, if there is something."""
        if body.get("status") != "requires_action":
            return body
        url = f"{request.url.origin()}{self._authentications}/{body['id']}"
        redirect = {"url": url, "return_url": return_url}
        return {**body, "next_action": {"type": "redirect_to_url", "redirect_to_url": redirect}}

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


def _never_redirects(parameters: Mapping[str, str]) -> bool:
    """Whether a payment takes no payment method whose payers are sent to a page of their bank.

    From version 2023-08-16 on those count that the account has switched on, unless it says so
    (https://docs.stripe.com/upgrades/manage-payment-methods).
    """
    wanted = {"enabled": "true", "allow_redirects": "never"}
    return all(
        parameters.get(f"automatic_payment_methods[{name}]") == value
        for name, value in wanted.items()
    )


def _refund_row(db: sqlite3.Connection, name: str) -> sqlite3.Row:
    row: sqlite3.Row = db.execute("SELECT * FROM refunds WHERE id = ?", (name,)).fetchone()
    return row


def _list(request: web.Request, data: list[dict[str, Any]], *, has_more: bool) -> web.Response:
    return web.json_response(
        {"object": "list", "url": request.path, "has_more": has_more, "data": data}
    )
