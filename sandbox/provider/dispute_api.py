"""The endpoints of disputes: the merchant's below `/v1`, and those of the payer and their bank."""

import re
import sqlite3
from collections.abc import Callable, Mapping
from functools import partial

from aiohttp import web

from sandbox.clock import Clock
from sandbox.endpoint import Endpoint, RefusedError, Reply
from sandbox.provider.books import Row
from sandbox.provider.disputes import (
    EVIDENCE_CHARACTERS_MAX,
    EVIDENCE_TEXTS,
    REASONS,
    as_reply,
    close,
    decide,
    describe_dispute,
    open_dispute,
    present,
    submit,
)
from sandbox.provider.forms import (
    created_condition,
    invalid,
    missing,
    read_form,
    read_limit,
    split_metadata,
)
from sandbox.provider.webhooks import Webhooks
from sandbox.record import Record, bad_request

_EVIDENCE = re.compile(r"evidence\[([a-z_]+)\]")
_EXPAND = re.compile(r"expand\[[0-9]*\]")
_EXPANDABLE = frozenset({"payment_intent", "data.payment_intent"})


class Disputes:
    """What merchants ask of disputes, and what payers and banks do about them."""

    def __init__(
        self, record: Record, clock: Clock, endpoint: Endpoint, webhooks: Webhooks
    ) -> None:
        self._record = record
        self._clock = clock
        self._endpoint = endpoint
        self._webhooks = webhooks

    def routes(self) -> list[web.RouteDef]:
        """Routes below `/v1`."""
        return [
            web.get("/disputes", self.list),
            web.get("/disputes/{id}", self.get),
            web.post("/disputes/{id}", self.update),
            web.post("/disputes/{id}/close", self.close),
        ]

    def bank_routes(self) -> list[web.RouteDef]:
        """Routes by which a payer disputes a payment, and their bank decides."""
        return [
            web.post("/provider/disputes", self.open),
            web.post("/provider/disputes/{id}", self.decide),
        ]

    # The merchant's

    async def get(self, request: web.Request) -> web.Response:
        """Return one dispute; with `expand[]=payment_intent`, its payment in full."""
        name = request.match_info["id"]
        rows = self._record.read("SELECT * FROM disputes WHERE id = ?", name)
        if not rows:
            raise missing("dispute", name, status=404)
        expands = bool(_read_expand(request))
        return web.json_response(self._described(rows[0], expands=expands))

    async def list(self, request: web.Request) -> web.Response:
        """List disputes, newest first."""
        clauses, values = created_condition(request)
        if (intent := request.query.get("payment_intent")) is not None:
            clauses.append("payment_intent = ?")
            values.append(intent)
        if (after := request.query.get("starting_after")) is not None:
            clauses.append("seq < (SELECT seq FROM disputes WHERE id = ?)")
            values.append(after)
        where, limit = " AND ".join(clauses) or "1 = 1", read_limit(request)
        # The clauses are fixed words; all that a caller sent is among the values.
        statement = f"SELECT * FROM disputes WHERE {where} ORDER BY seq DESC LIMIT ?"  # noqa: S608
        rows = self._record.read(statement, *values, limit + 1)
        expands = bool(_read_expand(request))
        data = [self._described(row, expands=expands) for row in rows[:limit]]
        return web.json_response(
            {"object": "list", "url": request.path, "has_more": len(rows) > limit, "data": data}
        )

    async def update(self, request: web.Request) -> web.Response:
        """Keep evidence; the bank gets it once, with `submit`, which is true unless it says false."""
        form = await read_form(request)
        evidence = {}
        for name, value in form.items():
            match = _EVIDENCE.fullmatch(name)
            if match is None:
                continue
            if match[1] not in EVIDENCE_TEXTS:
                raise invalid(f"Received unknown parameter: {name}", param=name)
            if len(value) > EVIDENCE_CHARACTERS_MAX:
                raise invalid(f"At most {EVIDENCE_CHARACTERS_MAX} characters.", param=name)
            evidence[match[1]] = value
        others = {name: value for name, value in form.items() if not _EVIDENCE.fullmatch(name)}
        parameters, _ = split_metadata(others, frozenset({"submit"}))
        final = parameters.get("submit", "true")
        if final not in {"true", "false"}:
            raise invalid(f"Invalid boolean: {final}", param="submit")
        name, now = request.match_info["id"], self._unix_time()
        change = partial(submit, name=name, evidence=evidence, now=now, final=final == "true")
        return await self._answer(request, form, change)

    async def close(self, request: web.Request) -> web.Response:
        """Accept a dispute: it is lost."""
        form = await read_form(request) if request.body_exists else {}
        split_metadata(form, frozenset())
        change = partial(close, name=request.match_info["id"], now=self._unix_time())
        return await self._answer(request, form, change)

    async def _answer(
        self,
        request: web.Request,
        form: Mapping[str, str],
        change: Callable[[sqlite3.Connection], Row],
    ) -> web.Response:
        now = self._unix_time()

        def perform(db: sqlite3.Connection, _: int) -> Reply:
            return as_reply(self._changed(db, request.match_info["id"], change), now)

        try:
            return await self._endpoint.answer_once(request, form, perform)
        finally:
            self._webhooks.wake()

    # The payer's and the bank's

    async def open(self, request: web.Request) -> web.Response:
        """A payer disputes a payment, or only inquires about it."""
        wanted = await _read_object(request)
        intent, reason = wanted.get("payment_intent"), wanted.get("reason", "fraudulent")
        amount, inquiry = wanted.get("amount"), wanted.get("inquiry", False)
        if (
            not isinstance(intent, str)
            or reason not in REASONS
            or not (amount is None or type(amount) is int)
            or type(inquiry) is not bool
        ):
            raise bad_request(
                'body: give {"payment_intent": "pi_…"}, and any of reason, amount, inquiry'
            )
        now = self._unix_time()

        def perform(db: sqlite3.Connection) -> Row:
            row = open_dispute(
                db, intent, now, reason=str(reason), amount=amount, inquiry=bool(inquiry)
            )
            self._webhooks.enter_new_dispute(db, row)
            return row

        return await self._by_hand(perform)

    async def decide(self, request: web.Request) -> web.Response:
        """The bank decides, or makes a chargeback of an inquiry."""
        status = (await _read_object(request)).get("status")
        if not isinstance(status, str):
            raise bad_request('body: give {"status": "won"}, or "lost", "needs_response" …')
        name = request.match_info["id"]
        change = partial(decide, name=name, status=status, now=self._unix_time())
        return await self._by_hand(lambda db: self._changed(db, name, change))

    async def _by_hand(self, perform: Callable[[sqlite3.Connection], Row]) -> web.Response:
        try:
            row = await self._record.write(perform)
        except RefusedError as refused:
            raise bad_request(refused.message) from None
        self._webhooks.wake()
        return web.json_response(describe_dispute(row, self._unix_time()))

    def _changed(
        self, db: sqlite3.Connection, name: str, change: Callable[[sqlite3.Connection], Row]
    ) -> Row:
        """Change a dispute, and enter what the provider says of it by itself."""
        now = self._unix_time()
        before = present(db, name, now)
        after = change(db)
        self._webhooks.enter_dispute_change(db, before, after, now)
        return after

    def _described(self, row: Row, *, expands: bool) -> Mapping[str, object]:
        intent = None
        if expands:
            statement = "SELECT * FROM payment_intents WHERE id = ?"
            [intent] = self._record.read(statement, row["payment_intent"])
        return describe_dispute(row, self._unix_time(), intent)

    def _unix_time(self) -> int:
        return int(self._clock.now.timestamp())


def _read_expand(request: web.Request) -> frozenset[str]:
    wanted = frozenset(value for name, value in request.query.items() if _EXPAND.fullmatch(name))
    if unknown := sorted(wanted - _EXPANDABLE):
        raise invalid(f"This property cannot be expanded ({unknown[0]}).", param="expand")
    return wanted


async def _read_object(request: web.Request) -> dict[str, object]:
    try:
        return dict(await request.json())
    except (ValueError, TypeError):
        raise bad_request("body: give an object of JSON") from None
