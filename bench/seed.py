"""A book of standing orders and all that they need, put straight into the four databases.

Sign-up through the API is not what is measured, so one statement a table does it. What the rows hold
is what sign-up would have stored: contacts with a bound phone, mandates, prices, protections.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any

import asyncpg

from bench.measure import WrongResultError
from bench.stack import Stack
from services.notify.domain.notices import CustomerId, CustomerKey, MerchantId
from services.notify.store import contacts
from services.payments.domain import keys as payments_keys
from services.payments.store.encrypted import token_aad
from services.runtime.auth.call_context import act_for_all
from services.runtime.crypto.encryption import Keyring
from services.runtime.db.pool import Database, Pool
from services.runtime.quiet_hours import NOTICE_HEADROOM
from services.scheduler.domain import ids
from services.scheduler.domain.schedule import Monthly, Recurrence, Schedule, Weekly
from services.scheduler.domain.standing_order import (
    NOTICE_LEAD_DEFAULT,
    PAYMENT_WINDOW_DEFAULT,
    StandingOrder,
    at_cycle,
)
from services.scheduler.domain.terms import BillingMode
from services.scheduler.store import sign_ups

PRODUCTS = 100
TIME_ZONE = "Europe/Berlin"
DUE_AT = time(9)
SIGNED_UP = timedelta(days=30)
# Customers have phones of New York City: the country of a number that nobody has takes longer to find.
FIRST_LINE = 2_000_000
RECURRENCES: Sequence[Recurrence] = (
    *(Weekly(every) for every in range(1, 9)),
    *(Monthly(every) for every in range(1, 13)),
)


@dataclass(frozen=True, slots=True)
class Book:
    """So many standing orders of one merchant, each with its first cycle due at the same instant.

    One in two has two products; one in three has a locked price. All are charged automatically.
    """

    merchant: str
    count: int
    due_date: date
    due_time: datetime
    now: datetime


_CLEAR = "TRUNCATE standing_orders, orders, order_decisions, outbox, inbox"
_REMOVE = (
    "DELETE FROM order_decisions WHERE merchant = $1",
    "DELETE FROM orders WHERE merchant = $1",
    "DELETE FROM outbox WHERE tenants = ARRAY[$1]",
    "DELETE FROM standing_orders WHERE merchant = $1",
)
_REST = "UPDATE standing_orders SET state = 'PAUSED' WHERE state = 'ACTIVE'"
# Every standing order is a copy of one of a few patterns, which the scheduler's own store has written.
_COPY_PATTERNS = """
    INSERT INTO standing_orders ({columns})
    SELECT {columns} FROM (SELECT copy.* FROM generate_series(1, $3) AS n
    JOIN standing_orders AS pattern
      ON pattern.merchant = $1 AND pattern.standing_order = 'pattern-' || n % $4
    CROSS JOIN jsonb_populate_record(pattern, jsonb_build_object(
        'standing_order', 'so-' || n,
        'customer', 'customer-' || n,
        'mandate', format('merchants/%s/customers/customer-%s/mandates/main', $1::text, n),
        'items', (SELECT jsonb_agg(jsonb_build_array('product-' || (n + item) % $2, 1 + n % 3))
                  FROM generate_series(0, n % 2) AS item))) AS copy) AS copies
"""
# What PostgreSQL generates cannot be copied.
_COLUMNS = """
    SELECT string_agg(attname, ', ' ORDER BY attnum) FROM pg_attribute
    WHERE attrelid = 'standing_orders'::regclass AND attnum > 0
      AND NOT attisdropped AND attgenerated = ''
"""
# Each is to be announced so long ahead that so many preparations begin each second, from an instant on.
_SPREAD = """
    UPDATE standing_orders
    SET prepare_time = begin.time, notice_lead = next_due_time - begin.time - $4::interval
    FROM (SELECT standing_order,
                 $2::timestamptz + make_interval(secs => substr(standing_order, 4)::int / $3) AS time
          FROM standing_orders WHERE merchant = $1) AS begin
    WHERE standing_orders.merchant = $1 AND standing_orders.standing_order = begin.standing_order
"""
_DROP_PATTERNS = "DELETE FROM standing_orders WHERE standing_order LIKE 'pattern-%'"

_STATEMENTS = {
    "catalog": (
        """
        INSERT INTO products (merchant, product, title, increase_notice_days, stock_tracked,
                              low_stock_threshold, state, create_time)
        SELECT $1, 'product-' || n, 'Product ' || n, 30, false, 0, 'ACTIVE', $4
        FROM generate_series(0, $2 - 1) AS n
        WHERE $3::int > 0
        """,
        """
        INSERT INTO prices (merchant, product, price, unit_price_minor, currency,
                            effective_time, announce_time)
        SELECT $1, 'product-' || n, 'price-' || version, 1000 + n + 50 * version, 'EUR',
               $4::timestamptz - make_interval(days => 100 - version),
               $4::timestamptz - make_interval(days => 100 - version)
        FROM generate_series(0, $2 - 1) AS n, generate_series(1, 2) AS version
        WHERE $3::int > 0
        """,
    ),
    "payments": (
        """
        INSERT INTO mandates (merchant, customer, mandate, payment_method, charge_ceiling_minor,
                              period_ceiling_minor, currency, valid_from_time, evidence,
                              create_time)
        SELECT $1, 'customer-' || n, 'main', 'card', 100000, 1000000, 'EUR', $3, '', $3
        FROM generate_series(1, $2) AS n
        """,
    ),
}

_CARDS = """
    INSERT INTO payment_methods (merchant, customer, payment_method, provider_token, brand, last4,
                                 create_time, provider)
    SELECT $1, 'customer-' || n, 'card', token, 'visa', '4242', $3, 'stripe'
    FROM unnest($2::bytea[]) WITH ORDINALITY AS encrypted (token, n)
"""

_CONTACTS = """
    INSERT INTO contacts (merchant, customer, display_name, email, phone, bind_time, bind_count,
                          sms_receipts_muted, email_muted, create_time)
    SELECT $1, 'customer-' || n, display_name, '', phone, $4, 1, false, true, $4
    FROM unnest($2::bytea[], $3::bytea[]) WITH ORDINALITY AS encrypted (display_name, phone, n)
"""

_PROTECT = """
    INSERT INTO protections (merchant, standing_order, product, sign_up_price, sign_up_time)
    SELECT $1, 'so-' || n, 'product-' || (n + item) % $2, 'price-1', $4
    FROM generate_series(1, $3) AS n, generate_series(0, n % 2) AS item
"""


async def clear(stack: Stack) -> None:
    """Take away all standing orders with their orders and events. The scheduler must not run."""
    await _execute(stack.url("scheduler"), (_CLEAR,))


async def rest(stack: Stack) -> None:
    """Pause all standing orders: an earlier book's later cycles are nobody's business."""
    await _execute(stack.url("scheduler"), (_REST,))


async def remove(stack: Stack, book: Book) -> None:
    """Take away a book's standing orders with their orders and events, and leave the others."""
    await _execute(stack.url("scheduler"), *((statement, book.merchant) for statement in _REMOVE))


async def fill_world(stack: Stack, book: Book) -> None:
    """Store what a book's standing orders need, but not they themselves; the merchant must be new."""
    signed_up = book.now - SIGNED_UP
    await _execute(
        stack.url("catalog"),
        *(
            (statement, book.merchant, PRODUCTS, book.count, signed_up)
            for statement in _STATEMENTS["catalog"]
        ),
    )
    await _execute(
        stack.url("payments"),
        (_CARDS, book.merchant, _encrypted_tokens(stack.keyring("payments"), book), signed_up),
        *(
            (statement, book.merchant, book.count, signed_up)
            for statement in _STATEMENTS["payments"]
        ),
    )
    names, phones = _encrypted_contacts(stack.keyring("notify"), book)
    await _execute(stack.url("notify"), (_CONTACTS, book.merchant, names, phones, signed_up))


def _encrypted_tokens(keyring: Keyring, book: Book) -> list[bytes]:
    """The tokens of the customers' cards, as payments stores them."""
    merchant = payments_keys.MerchantId(book.merchant)
    card = payments_keys.PaymentMethodId("card")
    customers = (payments_keys.CustomerId(f"customer-{n}") for n in _numbers(book))
    methods = (payments_keys.PaymentMethodKey(merchant, customer, card) for customer in customers)
    return [keyring.encrypt(b"pm_card_visa", *token_aad(method)) for method in methods]


def _encrypted_contacts(keyring: Keyring, book: Book) -> tuple[list[bytes], list[bytes]]:
    """The names and phones of a book's customers, as notify stores them."""

    def encrypted(plain: str, column: str, number: int) -> bytes:
        key = CustomerKey(MerchantId(book.merchant), CustomerId(f"customer-{number}"))
        return keyring.encrypt(plain.encode(), *contacts.aad(key, column))

    names = [encrypted(f"Customer {n}", "display_name", n) for n in _numbers(book)]
    return names, [encrypted(phone(n), "phone", n) for n in _numbers(book)]


def phone(number: int) -> str:
    """The phone of a customer, in E.164."""
    return f"+1212{FIRST_LINE + number}"


def _numbers(book: Book) -> range:
    return range(1, book.count + 1)


async def fill(stack: Stack, book: Book) -> None:
    """Store the book, and what it needs; the merchant must be new."""
    signed_up = book.now - SIGNED_UP
    await fill_world(stack, book)
    await _execute(stack.url("catalog"), (_PROTECT, book.merchant, PRODUCTS, book.count, signed_up))
    await _insert_patterns(stack, book, signed_up)
    copy_patterns = _COPY_PATTERNS.format(columns=await _columns(stack))
    await _execute(
        stack.url("scheduler"),
        (copy_patterns, book.merchant, PRODUCTS, book.count, len(RECURRENCES)),
        (_DROP_PATTERNS,),
    )


async def spread(stack: Stack, book: Book, first: datetime, per_second: float) -> None:
    """Let so many standing orders of the book begin to be prepared each second, from then on."""
    await _execute(
        stack.url("scheduler"), (_SPREAD, book.merchant, first, per_second, NOTICE_HEADROOM)
    )


async def _columns(stack: Stack) -> str:
    connection = await asyncpg.connect(stack.url("scheduler"))
    try:
        return str(await connection.fetchval(_COLUMNS))
    finally:
        await connection.close()


async def _execute(url: str, *statements: tuple[Any, ...]) -> None:
    """Run statements, each with its arguments, and let the planner see what they left."""
    connection = await asyncpg.connect(url)
    try:
        for statement, *arguments in statements:
            await connection.execute(statement, *arguments)
        await connection.execute("ANALYZE")
    finally:
        await connection.close()


async def _insert_patterns(stack: Stack, book: Book, signed_up: datetime) -> None:
    act_for_all("bench")
    database = Database(
        Pool(
            stack.own_url("scheduler"),
            application="recurring-bench",
            size=1,
            keyring=stack.keyring("scheduler"),
        )
    )
    try:
        async with database.begin() as tx:
            for number, recurrence in enumerate(RECURRENCES):
                pattern = at_cycle(_pattern(book, number, recurrence, signed_up), 1)
                if pattern.next_due_time != book.due_time:
                    raise WrongResultError(f"{recurrence} is first due at {pattern.next_due_time}")
                await sign_ups.insert(tx, [pattern])
    finally:
        await database.close()


def _pattern(book: Book, number: int, recurrence: Recurrence, signed_up: datetime) -> StandingOrder:
    return StandingOrder(
        merchant=ids.MerchantId(book.merchant),
        standing_order=ids.StandingOrderId(f"pattern-{number}"),
        customer=ids.CustomerId(""),
        title="Breakfast",
        items=(),
        schedule=Schedule(book.due_date, DUE_AT, TIME_ZONE, recurrence),
        billing_mode=BillingMode.AUTOMATIC,
        mandate="",
        ship_to=b"",
        price_protection=None,
        notice_lead=NOTICE_LEAD_DEFAULT,
        payment_window=PAYMENT_WINDOW_DEFAULT,
        currency="EUR",
        create_time=signed_up,
        update_time=signed_up,
    )
