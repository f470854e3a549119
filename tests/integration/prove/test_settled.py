"""Settled days: services keep digests of them, which a proof compares in place of their rows."""

from datetime import UTC, date, datetime, timedelta

import asyncpg
import pytest

from cli.prove.clauses import LocalClause
from cli.prove.run import SERVICES
from cli.prove.settled import Kept, Settled
from tests.conftest import PASSWORD
from tests.integration.prove.conftest import SECOND_NOTICE, SIZE, Book

UNCHANGED = "settled-days-unchanged"
ORDERS = SIZE.standing_orders * SIZE.cycles
TODAY = datetime.now(UTC).date()
# Of the book, the first cycles were due 17 and 10 days ago, the last one 3 days ago.
LESS_ASKED = "UPDATE orders SET amount_minor = 899 WHERE standing_order = 'tea-1' AND cycle = {}"
ANNOUNCED_MORE = {
    "notify": """
        UPDATE notices SET promised_amount_minor = 901
        WHERE kind = 'ORDER_UPCOMING' AND notice = 'upcoming-tea-1-1'
    """,
    "payments": "UPDATE notices SET amount_minor = 901 WHERE charge = 'tea-1-1'",
}
# Of each view that is read in days which are not settled: a change of a row, and what it breaks.
CHANGED_ROWS = (
    (
        "payments",
        """
        WITH permitted AS (UPDATE verdicts SET mandate = 'none' WHERE charge = 'tea-1-{0}')
        UPDATE attempts SET mandate = 'none' WHERE charge = 'tea-1-{0}'
        """,
        "mandate-covered",
    ),
    (
        "payments",
        """
        UPDATE ledger_transfers SET kind = 'PAID' WHERE transaction = md5('tea-2-{}')::uuid
        """,
        "captured-in-ledger",
    ),
    (
        "notify",
        "UPDATE deliveries SET state = 'FAILED', deliver_time = NULL WHERE notice = 'ended-tea-1-{}'",
        "outcome-as-delivered",
    ),
    (
        "notify",
        SECOND_NOTICE.format("tea-2-{}"),
        "one-notice-a-fact",
    ),
    (
        "payments",
        """
        INSERT INTO refunds (merchant, customer, charge, refund, amount_minor, currency, note, state,
                             idempotency_key, traceparent, next_try_time, create_time, update_time)
        SELECT merchant, customer, charge, 'torn', 901, 'EUR', '', 'PENDING', 'key', '',
               now() + interval '1 hour', due_time, due_time
        FROM charges WHERE charge = 'tea-1-{}'
        """,
        "refunds-within-charge",
    ),
    (
        "payments",
        """
        WITH balance AS (
            INSERT INTO credit_balances (merchant, customer, currency, balance_minor)
            VALUES ('acme', 'customer-1', 'EUR', 1))
        INSERT INTO credit_transactions (merchant, customer, credit_transaction, type, amount_minor,
                                         currency, source, create_time, balance_after_minor)
        SELECT merchant, customer, 'given', 'GOODWILL', 1, 'EUR', '', due_time, 1
        FROM charges WHERE charge = 'tea-1-{}'
        """,
        "credit-adds-up",
    ),
    (
        "payments",
        """
        INSERT INTO balance_transactions (provider, merchant, customer, source, balance_transaction,
                                          type, amount_minor, fee_minor, currency, create_time)
        SELECT 'stripe', merchant, customer, '', 'txn_1', 'OTHER', 0, 1, 'EUR', due_time
        FROM charges WHERE charge = 'tea-1-{}'
        """,
        "fees-in-ledger",
    ),
    (
        "payments",
        """
        INSERT INTO payouts (merchant, payout, currency, charges_minor, refunds_minor, disputes_minor,
                             others_minor, fees_minor, transaction_count, amount_minor, share,
                             arrive_time)
        SELECT merchant, 'po_1', 'EUR', 0, 0, 0, 0, 0, 1, 0, 'p1', due_time
        FROM charges WHERE charge = 'tea-1-{}'
        """,
        "payouts-add-up",
    ),
    (
        "payments",
        """
        WITH numbered AS (
            INSERT INTO document_series (merchant, prefix, year, last_number)
            VALUES ('acme', 'INV-', 2026, 1))
        INSERT INTO documents (merchant, document, type, prefix, year, number, issue_time, customer,
                               charge, refund, cause, corrected, currency, net_minor, tax_minor,
                               amount_minor, content)
        SELECT merchant, 'inv-1', 'INVOICE', 'INV-', 2026, 1, due_time, customer, charge, '', 'PAYMENT',
               '', 'EUR', 1, 0, 1, ''
        FROM charges WHERE charge = 'tea-1-{}'
        """,
        "documents-as-booked",
    ),
)
# Two documents with the numbers 2 and 3, of the first cycle and of the last.
DOCUMENTS = """
    INSERT INTO documents (merchant, document, type, prefix, year, number, issue_time, customer, charge,
                           refund, cause, corrected, currency, net_minor, tax_minor, amount_minor,
                           content)
    SELECT merchant, 'inv-' || charge, 'INVOICE', 'INV-', 2026,
           CASE charge WHEN 'tea-1-1' THEN 2 ELSE 3 END, due_time, customer, charge, '', 'PAYMENT', '',
           'EUR', 900, 0, 900, ''
    FROM charges WHERE charge IN ('tea-1-1', 'tea-1-3')
"""
SERIES = """
    INSERT INTO document_series (merchant, prefix, year, last_number) VALUES ('acme', 'INV-', 2026, {})
"""


# Both services have something open of another merchant, and of the same day.
OPEN_FOR_ANOTHER = {
    "scheduler": """
        UPDATE orders SET merchant = 'other', state = 'AWAITING_PAYMENT', amount_minor = 899
        WHERE standing_order = 'tea-1' AND cycle = 1
    """,
    "payments": """
        UPDATE charges SET merchant = 'other', state = 'REQUESTED',
                           order_name = 'merchants/other/standingOrders/tea-1/orders/1'
        WHERE charge = 'tea-1-1'
    """,
}


async def keep(book: Book, *services: str, until: date = TODAY) -> None:
    """Make the digests of all days that are settled by a day, as the services do."""
    for service in services or SERVICES:
        # The first change makes a copy of the database.
        await book.execute(service, "SELECT 1")
        address = book.databases.address(f"recurring_{service}", PASSWORD, book.names[service])
        connection = await asyncpg.connect(address)
        try:
            while await connection.fetchval("SELECT keep_proof_digests($1)", until):
                pass
        finally:
            await connection.close()


async def kept_days(book: Book, service: str) -> set[tuple[str, int]]:
    """The clauses and days of which a service keeps digests, by how many days ago they were."""
    connection = await asyncpg.connect(book.superuser_url(service))
    try:
        rows = await connection.fetch("SELECT clause, day FROM proof_digests WHERE is_settled")
    finally:
        await connection.close()
    return {(row["clause"], (TODAY - row["day"]).days) for row in rows}


async def test_days_are_kept_once_they_are_four_days_old(book: Book) -> None:
    await keep(book)
    for service in ("scheduler", "payments"):
        found = {days for clause, days in await kept_days(book, service) if "order" in clause}
        assert found == {17, 10}


async def test_a_proof_of_settled_days_checks_as_much_as_one_of_all_rows(book: Book) -> None:
    before = await book.prove(full=True)
    await keep(book)
    found = await book.prove(full=False)
    assert found.violations == []
    digests = {verdict.clause.id: verdict.digests for verdict in found.verdicts if verdict.digests}
    assert digests == {v.clause.id: v.digests for v in before.verdicts if v.digests}
    assert digests["order-has-one-charge"]["count"] == ORDERS


async def test_a_changed_row_of_a_settled_day_is_found_by_a_full_proof(book: Book) -> None:
    await keep(book)
    await book.change("scheduler", LESS_ASKED.format(1))
    assert (await book.prove(full=False)).violations == []
    assert (await book.prove(full=True)).broken == {"order-has-one-charge", UNCHANGED}


async def test_a_changed_row_of_a_day_that_is_not_settled_is_found_by_every_proof(
    book: Book,
) -> None:
    await keep(book)
    await book.change("scheduler", LESS_ASKED.format(3))
    assert (await book.prove(full=False)).broken == {"order-has-one-charge"}


async def change_all(book: Book, cycle: int) -> set[str]:
    """Change a row of each view, of a cycle; returns what that breaks."""
    for service, sql, _ in CHANGED_ROWS:
        await book.change(service, sql.format(cycle))
    return {clause for _, _, clause in CHANGED_ROWS}


async def test_a_clause_about_one_database_reads_the_days_that_are_not_settled(book: Book) -> None:
    await keep(book)
    broken = await change_all(book, cycle=3)
    assert (await book.prove(full=False)).broken == broken


async def test_a_clause_about_one_database_leaves_settled_days_to_a_full_proof(book: Book) -> None:
    checked = {verdict.clause.id: verdict.checked for verdict in (await book.prove()).verdicts}
    await keep(book)
    broken = await change_all(book, cycle=1)
    found = await book.prove(full=False)
    assert found.violations == []
    for verdict in found.verdicts:
        of_all_days = checked[verdict.clause.id]
        # Of some clauses the book has one row at most.
        if (
            isinstance(verdict.clause, LocalClause)
            and verdict.clause.settled_by
            and of_all_days > 1
        ):
            assert 0 < verdict.checked < of_all_days
    assert (await book.prove()).broken == broken | {UNCHANGED}


@pytest.mark.parametrize(("ceiling_minor", "broken"), [(1800, set()), (1799, {"period-ceiling"})])
async def test_what_was_taken_on_settled_days_counts_in_the_period_of_a_later_charge(
    book: Book, ceiling_minor: int, broken: set[str]
) -> None:
    await keep(book)
    # Two of the charges, of 900 each, are of the same 14 days.
    await book.change(
        "payments",
        f"""
        WITH counted AS (
            UPDATE verdicts
            SET period_start_time = date_trunc('day', decide_time, 'UTC') - interval '13 days'
            WHERE customer = 'customer-1')
        UPDATE mandates SET period_ceiling_minor = {ceiling_minor}, period_days = 14
        WHERE customer = 'customer-1'
        """,  # noqa: S608 - a number
    )
    assert (await book.prove(full=False)).broken == broken


@pytest.mark.parametrize(
    ("change", "is_broken"),
    [
        (
            "UPDATE ledger_transfers SET book_time = now() WHERE transaction = md5('tea-2-1')::uuid",
            False,
        ),
        (
            "UPDATE ledger_transfers SET amount_minor = 1 WHERE transaction = md5('tea-2-3')::uuid",
            True,
        ),
        (
            "UPDATE ledger_transfers SET currency = 'USD' WHERE transaction = md5('tea-2-3')::uuid",
            True,
        ),
        ("DELETE FROM ledger_transfers WHERE transaction = md5('tea-2-3')::uuid", True),
        (
            """
            INSERT INTO ledger_transfers (merchant, customer, source, kind, transaction, debit_account,
                                          credit_account, amount_minor, currency, book_time)
            SELECT merchant, customer, source, 'REFUND', md5('again')::uuid, debit_account,
                   credit_account, amount_minor, currency, now()
            FROM ledger_transfers WHERE transaction = md5('tea-2-1')::uuid
            """,
            True,
        ),
    ],
    ids=["a booking that came late", "an amount", "a currency", "no booking", "a second one"],
)
async def test_what_is_booked_on_days_that_are_not_settled_is_compared_with_what_moved(
    book: Book, change: str, *, is_broken: bool
) -> None:
    await keep(book)
    await book.change("payments", change)
    assert ("captured-in-ledger" in (await book.prove(full=False)).broken) == is_broken


async def test_a_cycle_that_was_counted_without_an_order_is_found_by_every_proof(
    book: Book,
) -> None:
    await keep(book)
    counted = "UPDATE standing_orders SET next_cycle = {} WHERE standing_order = 'tea-1'"
    await book.change("scheduler", counted.format(5))
    assert (await book.prove(full=False)).broken == {"one-outcome-per-cycle"}
    # The order of the cycle before this one is of a settled day.
    await book.change("scheduler", counted.format(6))
    moved = "UPDATE orders SET cycle = 5 WHERE standing_order = 'tea-1' AND cycle = 3"
    await book.change("scheduler", moved)
    said = [each for each in (await book.prove(full=False)).violations if "one-outcome" in each]
    assert said == [
        "one-outcome-per-cycle: merchants/acme/standingOrders/tea-1 has 3 orders in the cycles 1 to 5"
    ]


async def test_a_gap_in_a_series_is_found_where_a_document_is_not_settled(book: Book) -> None:
    await keep(book)
    await book.execute("payments", DOCUMENTS)
    await book.change("payments", SERIES.format(3))
    # Number 1 is missing before number 2, which is of a settled day.
    assert (await book.prove(full=False)).violations == []
    assert (await book.prove(full=True)).broken == {"documents-without-gaps"}
    await book.change("payments", "UPDATE document_series SET last_number = 4")
    assert (await book.prove(full=False)).broken == {"documents-without-gaps"}
    await book.change("payments", "UPDATE document_series SET last_number = 3")
    await book.change("payments", "DELETE FROM documents WHERE number = 2")
    assert (await book.prove(full=False)).broken == {"documents-without-gaps"}


async def test_a_webhook_that_was_not_queued_on_a_settled_day_is_left_to_a_full_proof(
    book: Book,
) -> None:
    await keep(book)
    await book.change("notify", "DELETE FROM webhook_deliveries")
    assert (await book.prove(full=False)).broken == {"webhooks-queued"}
    await book.change("notify", "UPDATE webhook_events SET create_time = now() - interval '6 days'")
    assert (await book.prove(full=False)).violations == []
    assert (await book.prove(full=True)).broken == {"webhooks-queued"}


@pytest.mark.parametrize("cycle", [1, 3])
async def test_an_order_that_waits_for_its_notice_is_late_until_its_deadline_is_settled(
    book: Book, cycle: int
) -> None:
    await book.change(
        "scheduler",
        f"""
        UPDATE orders SET state = 'UPCOMING', amount_minor = NULL, hold_until_time = due_time
        WHERE standing_order = 'tea-1' AND cycle = {cycle}
        """,  # noqa: S608 - a number
    )
    await keep(book)
    assert ("nothing-due-undone" in (await book.prove(full=False)).broken) == (cycle == 3)
    assert "nothing-due-undone" in (await book.prove(full=True)).broken


async def test_a_day_of_which_nothing_was_there_is_settled_as_well(book: Book) -> None:
    await keep(book)
    # Of 15 days ago, between the notices of 17 and of 13 days ago.
    await book.change(
        "notify",
        """
        INSERT INTO notices (merchant, customer, notice, kind, subject_resource, traceparent,
                             occur_time, create_time)
        SELECT merchant, customer, 'again', 'ORDER_LAPSED', subject_resource, '',
               occur_time + interval '2 days', create_time
        FROM notices WHERE notice = 'ended-tea-2-1'
        """,
    )
    assert (await book.prove(full=False)).violations == []
    assert (await book.prove(full=True)).broken == {"one-notice-a-fact"}


async def test_a_day_that_is_open_for_one_merchant_is_read_beside_anothers_digest(
    book: Book,
) -> None:
    for service, sql in OPEN_FOR_ANOTHER.items():
        await book.change(service, sql)
    await keep(book)
    found = await book.prove(full=False)
    name = "merchants/other/standingOrders/tea-1/orders/1"
    said = f"{name}: scheduler says 899 EUR , payments 900 EUR "
    assert f"order-has-one-charge: {said}" in found.violations


async def test_the_same_change_in_two_databases_is_found_by_what_was_kept(book: Book) -> None:
    await keep(book)
    for service, sql in ANNOUNCED_MORE.items():
        await book.change(service, sql)
    found = await book.prove(full=True)
    assert found.broken == {UNCHANGED}
    assert len(found.violations) == len(ANNOUNCED_MORE)


async def test_a_row_that_was_deleted_from_a_settled_day_is_found_by_what_was_kept(
    book: Book,
) -> None:
    await keep(book)
    await book.change("notify", "DELETE FROM notices WHERE notice = 'ended-tea-1-1'")
    assert UNCHANGED in (await book.prove(full=True)).broken


async def test_where_two_services_keep_different_digests_their_rows_are_compared(
    book: Book,
) -> None:
    await keep(book, "scheduler")
    assert (await book.prove(full=False)).violations == []
    await book.change("scheduler", LESS_ASKED.format(1))
    assert (await book.prove(full=False)).broken == {"order-has-one-charge"}


async def test_a_day_with_something_open_is_not_kept(book: Book) -> None:
    await book.change("payments", "UPDATE charges SET state = 'IN_FLIGHT' WHERE charge = 'tea-1-1'")
    await keep(book, "payments")
    found = await kept_days(book, "payments")
    assert ("order-has-one-charge", 17) not in found
    assert ("order-has-one-charge", 10) in found


async def test_a_day_is_settled_once_what_was_open_of_it_has_ended(book: Book) -> None:
    attempt = """
        UPDATE attempts SET state = '{}', end_time = {}, next_lookup_time = {}
        WHERE charge = 'tea-1-1'
    """
    await book.change("payments", attempt.format("UNKNOWN", "NULL", "now()"))
    await keep(book, "payments", until=TODAY - timedelta(days=13))
    assert ("attempts", 17) not in await kept_days(book, "payments")
    await book.change("payments", attempt.format("SUCCEEDED", "now()", "NULL"))
    await keep(book, "payments", until=TODAY - timedelta(days=9))
    assert ("attempts", 17) in await kept_days(book, "payments")


async def test_what_ends_later_than_its_day_was_kept_is_kept_with_it_later(book: Book) -> None:
    late = "SELECT * FROM notices WHERE notice = 'ended-tea-1-1'"
    await book.execute("notify", f"CREATE TABLE late AS {late}")
    await book.change("notify", "DELETE FROM notices WHERE notice = 'ended-tea-1-1'")
    await keep(book, "notify", until=TODAY - timedelta(days=13))
    await book.change("notify", "INSERT INTO notices TABLE late")
    await keep(book)
    found = await book.prove(full=True)
    assert found.violations == []
    assert (await book.prove(full=False)).violations == []


@pytest.mark.parametrize("service", SERVICES)
async def test_a_service_cannot_change_what_was_kept(book: Book, service: str) -> None:
    await keep(book, service)
    address = book.databases.address(f"recurring_{service}", PASSWORD, book.names[service])
    connection = await asyncpg.connect(address)
    try:
        for role in (f"recurring_{service}", f"recurring_{service}_workers"):
            await connection.execute(f"SET ROLE {role}")
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute("UPDATE proof_digests SET row_count = 0")
    finally:
        await connection.close()


def test_what_is_not_settled_is_read_by_spans() -> None:
    day = datetime(2026, 3, 1, tzinfo=UTC).date()
    assert Settled().other_time("t") == "t >= '-infinity' AND t < 'infinity'"
    kept: dict[date, Kept] = {day + timedelta(days=days): {} for days in (0, 1, 3)}
    assert Settled(kept).other_time("t").split(" OR ") == [
        "t >= '-infinity' AND t < '2026-03-01'",
        "t >= '2026-03-03' AND t < '2026-03-04'",
        "t >= '2026-03-05' AND t < 'infinity'",
    ]


def test_of_days_that_are_all_known_those_that_differ_are_read() -> None:
    days = [date(2026, 3, 1), date(2026, 3, 5)]
    assert Settled(others=frozenset()).other_time("t") == "false"
    assert Settled(others=frozenset(days)).other_time("t").split(" OR ") == [
        "t >= '2026-03-01' AND t < '2026-03-02'",
        "t >= '2026-03-05' AND t < '2026-03-06'",
    ]


def test_a_month_is_read_as_a_whole_while_a_day_of_it_is_not_settled() -> None:
    settled = Settled({date(2026, 3, 30): {}}, frozenset({date(2026, 1, 15)}))
    assert Settled().restrict("UNSETTLED_MONTH(t)") == "true"
    assert settled.restrict("UNSETTLED_MONTH(t)").split(" OR ") == [
        "(t >= '2026-02-28'",
        "t >= '2025-12-31' AND t < CAST('2026-01-01' AS timestamptz) + interval '1 month 1 day')",
    ]
    # West of Greenwich the last day of a month goes on when it is the first of the next one in UTC.
    last_of_month = Settled({date(2026, 3, 31): {}})
    assert last_of_month.restrict("UNSETTLED_MONTH(t)") == "(t >= '2026-02-28')"
