"""Reading the facts: each database in one read-only snapshot, then the outside world's records."""

import asyncio
import json
from collections.abc import Callable
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import asyncpg

from cli.audit.facts import (
    Attempt,
    Backlog,
    BroughtForward,
    Charge,
    Delivery,
    Facts,
    Hold,
    LedgerEntry,
    Mandate,
    Message,
    Order,
    OrderKey,
    Payment,
    Refund,
    StandingOrder,
    Stock,
    Waiting,
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
           dates_changed, next_cycle, last_cycle, title = '' AS erased,
           coalesce((
               SELECT max(occur_time) FROM outbox
               WHERE type = 'recurring.scheduler.v1.StandingOrderChanged'
                 AND partition_key = 'merchants/' || merchant || '/standingOrders/' || standing_order
           ), update_time) AS change_time
    FROM standing_orders
"""
_ORDERS = """
    SELECT merchant, standing_order, cycle, due_time, state, amount_minor, currency,
           local_date,
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
           number, idempotency_key, state, amount_minor, currency, provider_payment,
           -- The guard is asked again before it is sent once more.
           coalesce(resend_time, start_time) AS start_time,
           CASE WHEN mandate = '' THEN '' ELSE
               'merchants/' || merchant || '/customers/' || customer || '/mandates/' || mandate
           END AS mandate
    FROM attempts
"""
_MANDATES = """
    SELECT 'merchants/' || merchant || '/customers/' || customer || '/mandates/' || mandate AS name,
           charge_ceiling_minor, month_ceiling_minor, currency, valid_from_time, valid_until_time,
           revoke_time
    FROM mandates
"""
# The cycle that was next when somebody asked for it at once, and when it would have been due.
_BROUGHT_FORWARD = """
    SELECT DISTINCT ON (resource, state_before -> 'next_cycle')
           split_part(resource, '/', 2) AS merchant, split_part(resource, '/', 4) AS standing_order,
           (state_before ->> 'next_cycle')::integer AS cycle,
           (state_before ->> 'next_due_time')::timestamptz AS due_time,
           state_before -> 'schedule' ->> 'time_zone' AS time_zone
    FROM audit_entries
    WHERE method = 'OrderNow' AND state_before -> 'next_due_time' IS NOT NULL
      AND state_before IS DISTINCT FROM state_after
    ORDER BY resource, state_before -> 'next_cycle', position
"""
# Cycles whose date their customer chose.
_DATE_CHOSEN = """
    SELECT DISTINCT split_part(resource, '/', 2), split_part(resource, '/', 4),
           (change ->> 'cycle')::integer
    FROM audit_entries
    CROSS JOIN LATERAL jsonb_array_elements(state_after -> 'cycle_changes') AS change
    WHERE method = 'ChangeCycle' AND change -> 'local_date' IS NOT NULL
"""
_HOLDS = "SELECT merchant, standing_order, cycle, product, quantity, state FROM stock_holds"
_STOCK = "SELECT merchant, product, held_units FROM stock WHERE held_units <> 0"
# What is to be done at a time, by service: its name, and that time.
_WAITING = {
    "catalog": """
        SELECT 'hold of stock for' AS what,
               merchant || '/' || standing_order || '/' || cycle AS name, expire_time AS due_time
        FROM stock_holds WHERE state = 'HELD'
    """,
    "scheduler": """
        SELECT 'standing order' AS what, merchant || '/' || standing_order AS name,
               prepare_time AS due_time
        FROM standing_orders WHERE state = 'ACTIVE' AND prepare_time IS NOT NULL
        UNION ALL
        SELECT 'pause of', merchant || '/' || standing_order, resume_time
        FROM standing_orders WHERE state = 'PAUSED' AND resume_time IS NOT NULL
        UNION ALL
        SELECT 'announced order', merchant || '/' || standing_order || '/' || cycle, collect_time
        FROM orders WHERE state = 'UPCOMING' AND collect_time IS NOT NULL
        UNION ALL
        SELECT 'announced order without a delivered notice',
               merchant || '/' || standing_order || '/' || cycle, hold_until_time
        FROM orders WHERE state = 'UPCOMING' AND collect_time IS NULL
        UNION ALL
        SELECT 'held order', merchant || '/' || standing_order || '/' || cycle,
               CASE WHEN reasons = ARRAY['PREVIOUS_UNPAID'] THEN recheck_time
                    ELSE least(recheck_time, hold_until_time) END
        FROM orders WHERE state = 'HELD'
    """,
    "payments": """
        SELECT 'charge' AS what, merchant || '/' || customer || '/' || charge AS name,
               coalesce(next_attempt_time, expire_time) AS due_time
        FROM charges WHERE state IN ('SCHEDULED', 'REQUESTED')
          AND coalesce(next_attempt_time, expire_time) IS NOT NULL
        UNION ALL
        SELECT 'attempt of unknown outcome', merchant || '/' || customer || '/' || charge,
               next_lookup_time
        FROM attempts WHERE state = 'UNKNOWN'
        UNION ALL
        SELECT 'refund', merchant || '/' || customer || '/' || charge || '/' || refund, next_try_time
        FROM refunds WHERE state = 'PENDING'
    """,
    "notify": """
        SELECT channel || ' of notice' AS what, merchant || '/' || customer || '/' || notice AS name,
               least(next_attempt_time, give_up_time) AS due_time
        FROM deliveries WHERE state = 'PENDING'
    """,
}
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
    SELECT notices.merchant, notices.customer, notice, kind, subject_resource, channel, main,
           deliveries.state,
           deliver_time, promised_amount_minor, coalesce(promised_currency, '') AS promised_currency,
           coalesce(bind_count, 64) AS phone_count, charge_not_before, notice_lead
    FROM deliveries
    JOIN notices USING (customer, merchant, notice)
    -- Of a customer who was erased, and of one who came again since, it is not known how many phones
    -- they had bound by then: so many are tried as the one that a message went to.
    LEFT JOIN contacts ON contacts.customer = notices.customer
      AND contacts.merchant = notices.merchant AND contacts.create_time <= notices.create_time
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
    catalog = await _read(session, "catalog", _HOLDS, _STOCK, _WAITING["catalog"])
    scheduler = await _read(
        session, "scheduler", _STANDING_ORDERS, _ORDERS, _BROUGHT_FORWARD, _WAITING["scheduler"],
        _DATE_CHOSEN,
    )  # fmt: skip
    payments = await _read(
        session, "payments", _CHARGES, _ATTEMPTS, _REFUNDS, _LEDGER_ENTRIES, _MANDATES,
        _WAITING["payments"],
    )  # fmt: skip
    notify = await _read(session, "notify", _DELIVERIES, _WAITING["notify"])
    waiting = {"catalog": catalog[2], "scheduler": scheduler[3], "payments": payments[5],
               "notify": notify[1]}  # fmt: skip
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
        mandates=_each(payments[4], lambda row: Mandate(*row)),
        brought_forward=_each(scheduler[2], _brought_forward),
        date_chosen=frozenset(_key(row) for row in scheduler[4]),
        holds=_each(catalog[0], lambda row: Hold(_key(row), *row[3:])),
        stocks=_each(catalog[1], lambda row: Stock(*row)),
        waiting=tuple(Waiting(service, *row) for service, rows in waiting.items() for row in rows),
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


def _key(row: Any) -> OrderKey:  # noqa: ANN401 - a row
    merchant, standing_order, cycle = row[:3]
    return (merchant, standing_order, cycle)


def _brought_forward(row: Any) -> BroughtForward:  # noqa: ANN401 - a row
    day = row["due_time"].astimezone(ZoneInfo(row["time_zone"])).date()
    return BroughtForward(_key(row), day)


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
        next_cycle=row["next_cycle"],
        last_cycle=row["last_cycle"],
        erased=row["erased"],
    )


def _order(row: Any) -> Order:  # noqa: ANN401 - a row
    return Order(
        key=(row["merchant"], row["standing_order"], row["cycle"]),
        due_time=row["due_time"],
        state=row["state"],
        amount_minor=row["amount_minor"],
        currency=row["currency"],
        moved=row["moved"],
        local_date=row["local_date"],
    )


def _each(rows: list[Any], make: Callable[[Any], T]) -> tuple[T, ...]:
    return tuple(make(row) for row in rows)
