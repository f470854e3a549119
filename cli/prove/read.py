"""Reading the records: each database in one read-only snapshot, then the outside world's records."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import chain
from typing import TypeVar

import asyncpg

from cli.connect import Session
from cli.errors import CommandError
from cli.prove import views
from cli.prove.records import Backlog, Message, Payment, Records, Waiting
from cli.prove.views import ViewQuery
from cli.sandbox import Sandbox
from cli.values import minor_digits

CONNECT_TIMEOUT_SECONDS = 10.0
QUERY_TIMEOUT_SECONDS = 120.0
# Where the provider counts in other decimals than ISO 4217 (https://docs.stripe.com/currencies).
_PROVIDER_DIGITS = {"ISK": 2, "UGX": 2, "MGA": 0}

R = TypeVar("R")


class Snapshot:
    """The views of one service's database, all at one moment."""

    def __init__(self, service: str, connection: asyncpg.Connection) -> None:
        self._service = service
        self._connection = connection

    async def read(self, query: ViewQuery[R]) -> tuple[R, ...]:
        """All rows that a query gives."""
        return await self._rows(query)

    async def due_work(self) -> tuple[Waiting, ...]:
        """What the service is to do at a time."""
        return await self._rows(views.DUE_WORK, self._service)

    async def backlog(self) -> tuple[Backlog, ...]:
        """How many events wait to be published, and how many could not be handled."""
        return await self._rows(views.BACKLOG, self._service)

    async def _rows(self, query: ViewQuery[R], *arguments: str) -> tuple[R, ...]:
        rows = await self._connection.fetch(query.sql, *arguments)
        return tuple(query.record(**row) for row in rows)


async def read_records(session: Session) -> Records:
    """Read everything; the sandbox's clock stands still meanwhile.

    Raises CommandError if a database or the sandbox is out of reach.
    """
    sandbox = session.sandbox
    # What is under way comes to rest first: a message in flight is no discrepancy.
    await sandbox.settle()
    provider_key = session.stack.provider_api_key
    async with (
        _snapshot(session, "catalog") as catalog,
        _snapshot(session, "scheduler") as scheduler,
        _snapshot(session, "payments") as payments,
        _snapshot(session, "notify") as notify,
    ):
        services = (catalog, scheduler, payments, notify)
        return Records(
            now=await sandbox.now(),
            standing_orders=await scheduler.read(views.STANDING_ORDERS),
            orders=await scheduler.read(views.ORDERS),
            brought_forward=await scheduler.read(views.CYCLES_BROUGHT_FORWARD),
            date_chosen=frozenset(await scheduler.read(views.CYCLES_MOVED_BY_CUSTOMERS)),
            charges=await payments.read(views.CHARGES),
            attempts=await payments.read(views.ATTEMPTS),
            refunds=await payments.read(views.REFUNDS),
            ledger_entries=await payments.read(views.LEDGER_ENTRIES),
            mandates=await payments.read(views.MANDATES),
            deliveries=await notify.read(views.DELIVERIES),
            holds=await catalog.read(views.HOLDS),
            stocks=await catalog.read(views.STOCK),
            waiting=tuple(chain.from_iterable([await each.due_work() for each in services])),
            backlogs=tuple(chain.from_iterable([await each.backlog() for each in services])),
            payments=await _provider(sandbox, "/v1/payment_intents", provider_key),
            provider_refunds=await _provider(sandbox, "/v1/refunds", provider_key),
            messages=(*await _short_messages(sandbox), *await _mail(sandbox, provider_key)),
        )


@asynccontextmanager
async def _snapshot(session: Session, service: str) -> AsyncIterator[Snapshot]:
    """A service's database as it is at one moment; nothing can be changed meanwhile."""
    url = session.stack.database_urls.get(service)
    if not url:
        raise CommandError(
            f"an audit reads the database of {service}:"
            f" set RECURRING_{service.upper()}_DATABASE_URL"
        )
    try:
        connection = await asyncpg.connect(
            url,
            timeout=CONNECT_TIMEOUT_SECONDS,
            command_timeout=QUERY_TIMEOUT_SECONDS,
            server_settings={"default_transaction_read_only": "on"},
        )
    except (OSError, TimeoutError, asyncpg.PostgresError) as error:
        raise CommandError(f"the database of {service} does not answer: {error!r}") from error
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            yield Snapshot(service, connection)
    finally:
        await connection.close()


async def _provider(sandbox: Sandbox, path: str, api_key: str) -> tuple[Payment, ...]:
    """The provider's own list of payments or refunds."""
    listed = sandbox.listed(path, {}, cursor=("starting_after", "id"), api_key=api_key)
    return tuple(
        [
            Payment(
                id=entry["id"],
                key=entry["metadata"].get("attempt", ""),
                state=entry["status"].upper(),
                amount_minor=provider_minor(entry["amount"], entry["currency"].upper()),
                currency=entry["currency"].upper(),
            )
            async for entry in listed
        ]
    )


def provider_minor(amount: int, currency: str) -> int:
    """The provider's amount in minor units of ISO 4217."""
    digits = minor_digits(currency)
    theirs = _PROVIDER_DIGITS.get(currency, digits)
    return amount * int(10**digits) // int(10**theirs)


async def _short_messages(sandbox: Sandbox) -> list[Message]:
    """Every SMS that the gateway took; a repeated key that it answered as before is none."""
    requests = sandbox.listed("/record/requests", {"part": "sms"}, cursor=("after", "seq"))
    return [
        Message("SMS", request["key"])
        async for request in requests
        if request["outcome"] in {"201", "201 dropped"}
    ]


async def _mail(sandbox: Sandbox, api_key: str) -> list[Message]:
    """Every mail; its Message-ID is <key@domain>."""
    listed = sandbox.listed("/mail/v1/messages", {}, api_key=api_key)
    return [
        Message("EMAIL", message["message_id"].strip("<>").partition("@")[0])
        async for message in listed
    ]
