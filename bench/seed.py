"""A book of due standing orders and all that they need, put straight into the four databases.

Sign-up through the API is not what is measured, so one statement a table does it. What the rows hold
is what sign-up would have stored: contacts with a bound phone, mandates, prices, protections.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

import asyncpg

from services.scheduler.domain.schedule import EVERY_DAY, Monthly, Recurrence, Schedule, Weekly
from services.scheduler.domain.standing_order import NOTICE_HEADROOM, NOTICE_LEAD_DEFAULT
from services.scheduler.store import schedules

PRODUCTS = 100
TIME_ZONE = "Europe/Berlin"
DUE_AT = time(9)
SIGNED_UP = timedelta(days=30)
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

    @property
    def prepare_time(self) -> datetime:
        """When they are to be prepared."""
        return self.due_time - NOTICE_LEAD_DEFAULT - NOTICE_HEADROOM


# Everything in which an earlier book could get in the way of a later one.
_CLEAR = {
    "catalog": "TRUNCATE protections, stock_holds",
    "scheduler": "TRUNCATE standing_orders, orders, outbox, inbox",
}

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
        INSERT INTO prices (merchant, product, price, amount_minor, currency, effective_time,
                            announce_time)
        SELECT $1, 'product-' || n, 'price-' || version, 1000 + n + 50 * version, 'EUR',
               $4::timestamptz - make_interval(days => 100 - version),
               $4::timestamptz - make_interval(days => 100 - version)
        FROM generate_series(0, $2 - 1) AS n, generate_series(1, 2) AS version
        WHERE $3::int > 0
        """,
        """
        INSERT INTO protections (merchant, standing_order, product, sign_up_amount_minor, currency,
                                 sign_up_time, kind, lock_cycle_count)
        SELECT $1, 'so-' || n, 'product-' || (n + item) % $2, 1000 + (n + item) % $2, 'EUR', $4,
               CASE n % 3 WHEN 0 THEN 'LOCK' ELSE 'NONE' END, CASE n % 3 WHEN 0 THEN 6 END
        FROM generate_series(1, $3) AS n, generate_series(0, n % 2) AS item
        """,
    ),
    "notify": (
        """
        INSERT INTO contacts (merchant, customer, display_name, email, phone, bind_time, bind_count,
                              sms_receipts_muted, email_muted, create_time)
        SELECT $1, 'customer-' || n, 'Customer ' || n, '', '+1555' || lpad(n::text, 7, '0'), $3, 1,
               false, true, $3
        FROM generate_series(1, $2) AS n
        """,
    ),
    "payments": (
        """
        INSERT INTO payment_methods (merchant, customer, payment_method, provider_token, brand,
                                     last4, create_time)
        SELECT $1, 'customer-' || n, 'card', 'pm_card_visa', 'visa', '4242', $3
        FROM generate_series(1, $2) AS n
        """,
        """
        INSERT INTO mandates (merchant, customer, mandate, payment_method, charge_ceiling_minor,
                              month_ceiling_minor, currency, valid_from_time, evidence_text,
                              evidence_accept_time, evidence_source, create_time)
        SELECT $1, 'customer-' || n, 'main', 'card', 100000, 1000000, 'EUR', $3,
               'I agree to be charged.', $3, 'bench', $3
        FROM generate_series(1, $2) AS n
        """,
    ),
    "scheduler": (
        """
        INSERT INTO standing_orders (
            merchant, standing_order, customer, title, items, schedule, billing_mode, mandate,
            notice_lead, payment_window, state, base_cycle, next_cycle, next_due_time, prepare_time,
            create_time, update_time)
        SELECT $1, 'so-' || n, 'customer-' || n, 'Breakfast ' || n,
               (SELECT jsonb_agg(jsonb_build_array('product-' || (n + item) % $2, 1 + n % 3))
                FROM generate_series(0, n % 2) AS item),
               ($4::text[])[1 + n % cardinality($4::text[])], 'AUTOMATIC',
               format('merchants/%s/customers/customer-%s/mandates/main', $1::text, n),
               $5, $5, 'ACTIVE', 1, 1, $6, $7, $8, $8
        FROM generate_series(1, $3) AS n
        """,
    ),
}


async def fill(urls: Mapping[str, str], book: Book) -> None:
    """Store the book; the merchant must be new, and other merchants' standing orders are dropped."""
    signed_up = book.now - SIGNED_UP
    arguments: dict[str, Sequence[object]] = {
        "catalog": (book.merchant, PRODUCTS, book.count, signed_up),
        "notify": (book.merchant, book.count, signed_up),
        "payments": (book.merchant, book.count, signed_up),
        "scheduler": (
            book.merchant,
            PRODUCTS,
            book.count,
            [schedules.dump(_schedule(book, recurrence)) for recurrence in RECURRENCES],
            NOTICE_LEAD_DEFAULT,
            book.due_time,
            book.prepare_time,
            signed_up,
        ),
    }
    for service, statements in _STATEMENTS.items():
        connection = await asyncpg.connect(urls[service])
        try:
            if service in _CLEAR:
                await connection.execute(_CLEAR[service])
            for statement in statements:
                await connection.execute(statement, *arguments[service])
            await connection.execute("ANALYZE")
        finally:
            await connection.close()


def _schedule(book: Book, recurrence: Recurrence) -> Schedule:
    return Schedule(
        start_date=book.due_date,
        local_time=DUE_AT,
        time_zone=TIME_ZONE,
        recurrence=recurrence,
        business_days=EVERY_DAY,
    )
