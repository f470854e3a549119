"""Accounts at the provider: each request is answered by the one whose API key it has.

Accounts share what is the provider's: its cards, its behavior and its outages; an account may be out
of order by itself, too. All else, payments and their Idempotency-Keys above all, is in a record of an
account's own.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from aiohttp import web

from sandbox.clock import Clock
from sandbox.endpoint import Endpoint, Handler
from sandbox.outages import Outages
from sandbox.provider.api import AUTHENTICATIONS, Provider
from sandbox.provider.balance import Balance
from sandbox.provider.behavior import Behavior
from sandbox.provider.cards import Cards
from sandbox.provider.dispute_api import Disputes
from sandbox.provider.forms import refusal_body
from sandbox.provider.webhooks import Webhooks
from sandbox.record import Record

PROVIDER = "provider"


class Account:
    """One account, with a key, a record and webhooks of its own."""

    def __init__(
        self,
        api_key: str,
        record: Record,
        clock: Clock,
        outages: Outages,
        behavior: Behavior,
        cards: Cards,
        webhook_url: str,
        webhook_secret: str,
        path: str = "",
        outage_parts: Sequence[str] = (PROVIDER,),
    ) -> None:
        """`path` is what the paths of its payers and their banks begin with.

        `outage_parts` are those whose outages it has: the provider's, and its own.
        """
        self.webhooks = webhooks = Webhooks(record, clock, behavior, webhook_url, webhook_secret)
        self.endpoint = Endpoint(
            PROVIDER,
            api_key,
            record,
            clock,
            outages,
            refusal_body,
            lambda: behavior.key_retention,
            outage_parts=outage_parts,
        )
        authentications = f"{path}{AUTHENTICATIONS}"
        self._provider = Provider(
            record, clock, self.endpoint, behavior, cards, webhooks, authentications
        )
        self._disputes = Disputes(record, clock, self.endpoint, webhooks)
        self._balance = Balance(record, clock, behavior)

    def routes(self) -> Iterator[web.RouteDef]:
        """Routes below `/v1`."""
        return chain(self._provider.routes(), self._disputes.routes(), self._balance.routes())

    def outside_routes(self) -> Iterator[web.RouteDef]:
        """Routes of payers and their banks, and for people and tests."""
        return chain(
            self._provider.authentication_routes(),
            self._disputes.bank_routes(),
            self.webhooks.routes(),
        )


def build_app(accounts: Sequence[Account]) -> web.Application:
    """The provider's API. A request with the key of none of them is refused by the first."""
    middlewares = {account: account.endpoint.middleware for account in accounts}

    @web.middleware
    async def find_account(request: web.Request, handler: Handler) -> web.StreamResponse:
        found = (account for account in accounts if account.endpoint.is_authenticated(request))
        account = request["account"] = next(found, accounts[0])
        return await middlewares[account](request, handler)

    app = web.Application(middlewares=[find_account])
    app.add_routes(_routes(accounts))
    return app


def _routes(accounts: Sequence[Account]) -> Iterable[web.RouteDef]:
    for same in zip(*(account.routes() for account in accounts), strict=True):
        handlers = dict(zip(accounts, (route.handler for route in same), strict=True))

        async def answer(
            request: web.Request, handlers: dict[Account, Handler] = handlers
        ) -> web.StreamResponse:
            return await handlers[request["account"]](request)

        yield web.route(same[0].method, same[0].path, answer)
