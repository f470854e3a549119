"""Reading the facts: each database in one read-only snapshot, then the outside world's records."""

import asyncio
import json
from collections.abc import Callable
from typing import Any, TypeVar

import asyncpg

from cli.audit.facts import (
    Attempt,
    Backlog,
    Charge,
    Delivery,
    Facts,
    LedgerEntry,
    Message,
    Order,
    Payment,
    Refund,
    StandingOrder,
)
from cli.connect import SERVICES, Session
from cli.errors import CommandError
from cli.sandbox import Sandbox
from cli.values import minor_digits

CONNECT_TIMEOUT_SECONDS = 10.0
QUERY_TIMEOUT_SECONDS = 120.0
# Where the provider counts in other decimals than ISO 4217 (https://docs.stripe.com/currencies).
_PROVIDER_DIGITS = {"ISK": 2, "UGX": 2, "MGA": 0}

T = TypeVar("T")

_STANDING_ORDERS = """
    SELECT merchant, standing_order, state, base_cycle, first_cycle, schedule::text AS schedule,
           dates_changed,
           coalesce((
               SELECT max(occur_time) FROM outbox
               WHERE type = 'recurring.scheduler.v1.StandingOrderChanged'
                 AND partition_key = 'merchants/' || merchant || '/standingOrders/' || standing_order
           ), update_time) AS change_time
    FROM standing_orders
"""
_ORDERS = """
    SELECT merchant, standing_order, cycle, due_time, state, amount_minor, currency,
           history @> '[{"kind": "ORDERED_NOW"}]' OR history @> '[{"kind": "DEFERRED"}]' AS moved
    FROM orders
"""
_CHARGES = """
    SELECT 'merchants/' || merchant || '/customers/' || customer || '/charges/' || charge AS name,
           order_name, state, billing_mode, amount_minor, currency
    FROM charges
"""
_ATTEMPTS = """
    SELECT 'merchants/' || merchant || '/customers/' || customer || '/charges/' || charge AS charge,
           number, idempotency_key, state, amount_minor, currency, provider_payment, start_time
    FROM attempts
"""
_REFUNDS = """
    SELECT 'merchants/' || merchant || '/customers/' || customer || '/charges/' || charge
               || '/refunds/' || refund AS name,
           state, amount_minor, currency, provider_refund
    FROM refunds
"""
_LEDGER_ENTRIES = """
    SELECT merchant, transaction::text, source, account, amount_minor, currency
    FROM ledger_entries JOIN ledger_transactions USING (customer, merchant, transaction)
"""
_DELIVERIES = """
    SELECT merchant, customer, notice, kind, subject_resource, channel, main, deliveries.state,
           deliver_time, promised_amount_minor, coalesce(promised_currency, '') AS promised_currency,
           bind_count
    FROM deliveries
    JOIN notices USING (customer, merchant, notice)
    JOIN contacts USING (customer, merchant)
"""
_BACKLOG = """
    SELECT (SELECT count(*) FROM outbox WHERE publish_time IS NULL) AS unpublished,
           (SELECT count(*) FROM dead_letters) AS dead
"""


async def read_facts(session: Session) -> Facts:
    """Read everything; the sandbox's clock stands still meanwhile.

    Raises CommandError if a database or the sandbox is out of reach.
    """
    sandbox = session.sandbox
    # What is under way comes to rest first: a message in flight is no discrepancy.
    await sandbox.settle()
    provider_key = session.stack.provider_api_key
    scheduler = await _read(session, "scheduler", _STANDING_ORDERS, _ORDERS)
    payments = await _read(session, "payments", _CHARGES, _ATTEMPTS, _REFUNDS, _LEDGER_ENTRIES)
    notify = await _read(session, "notify", _DELIVERIES)
    backlogs = await asyncio.gather(*(_backlog(session, service) for service in SERVICES))
    return Facts(
        now=await sandbox.now(),
        standing_orders=_each(scheduler[0], _standing_order),
        orders=_each(scheduler[1], _order),
        charges=_each(payments[0], lambda row: Charge(*row)),
        attempts=_each(payments[1], lambda row: Attempt(*row)),
        refunds=_each(payments[2], lambda row: Refund(*row)),
        ledger_entries=_each(payments[3], lambda row: LedgerEntry(*row)),
        deliveries=_each(notify[0], lambda row: Delivery(*row)),
        backlogs=tuple(backlogs),
        payments=await _provider(sandbox, "/v1/payment_intents", provider_key),
        provider_refunds=await _provider(sandbox, "/v1/refunds", provider_key),
        messages=(*await _short_messages(sandbox), *await _mail(sandbox, provider_key)),
    )


async def _read(session: Session, service: str, *queries: str) -> list[list[Any]]:
    """The rows of each query, all from one moment of a service's database."""
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
            return [list(await connection.fetch(query)) for query in queries]
    finally:
        await connection.close()


async def _backlog(session: Session, service: str) -> Backlog:
    [[row]] = await _read(session, service, _BACKLOG)
    return Backlog(service, row["unpublished"], row["dead"])


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


def _standing_order(row: Any) -> StandingOrder:  # noqa: ANN401 - a row
    return StandingOrder(
        merchant=row["merchant"],
        standing_order=row["standing_order"],
        state=row["state"],
        first_cycle=row["base_cycle"],
        schedule=json.loads(row["schedule"]),
        change_time=row["change_time"],
        billed_from_cycle=row["first_cycle"],
        dates_changed=row["dates_changed"],
    )


def _order(row: Any) -> Order:  # noqa: ANN401 - a row
    return Order(
        key=(row["merchant"], row["standing_order"], row["cycle"]),
        due_time=row["due_time"],
        state=row["state"],
        amount_minor=row["amount_minor"],
        currency=row["currency"],
        moved=row["moved"],
    )


def _each(rows: list[Any], make: Callable[[Any], T]) -> tuple[T, ...]:
    return tuple(make(row) for row in rows)
