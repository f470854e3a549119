"""Refunds, and a ledger that nobody can bend."""

import asyncio
import hashlib
from datetime import UTC, date, datetime, time, timedelta

import asyncpg
import pytest
from recurring.payments.v1 import payments_pb2
from recurring.scheduler.v1 import events_pb2 as scheduler_events_pb2
from recurring.scheduler.v1 import scheduler_pb2

from services.payments.application import ledger
from services.payments.store import ledger as store
from services.runtime.errors import Problem
from services.runtime.rpc.conversions import to_date, to_money
from tests.integration.payments.suite import AMOUNT_MINOR, CHARGE, Payments, event_of
from tests.owner import as_owner

Refund = payments_pb2.Refund


@pytest.fixture
async def paid(payments: Payments) -> Payments:
    await payments.consent()
    await payments.announce()
    await payments.fall_due()
    await payments.work()
    return payments


def line(net_minor: int, tax_minor: int) -> scheduler_events_pb2.PaymentLine:
    """A line with a tax of a rate of the merchant's."""
    rate = "merchants/acme/taxRates/de-vat"
    tax = scheduler_pb2.OrderLineTax(tax_rate=rate, amount=to_money(tax_minor, "EUR"))
    return scheduler_events_pb2.PaymentLine(
        product="merchants/acme/products/coffee",
        quantity=1,
        net_amount=to_money(net_minor, "EUR"),
        taxes=[tax],
    )


async def test_taxes_are_owed_until_they_are_given_back(payments: Payments) -> None:
    await payments.consent()
    await payments.announce()
    await payments.fall_due(payments.due(lines=[line(1000, 190), line(50, 10)]))
    await payments.work()
    sold = {"provider-clearing": 1250, "receivable": 0, "revenue": -1050}
    assert await payments.balances() == {**sold, "tax-payable-de-vat": -200}

    await payments.refund("part", 333)
    await payments.work()
    assert await payments.balances() == {
        "provider-clearing": 917,
        "receivable": 0,
        "refunds": 280,
        "revenue": -1050,
        "tax-payable-de-vat": -147,
    }
    await payments.refund("rest")
    await payments.work()
    assert await payments.balances() == {
        "provider-clearing": 0,
        "receivable": 0,
        "refunds": 1050,
        "revenue": -1050,
        "tax-payable-de-vat": 0,
    }


async def test_lines_that_do_not_add_up_are_charged_to_nobody(payments: Payments) -> None:
    with pytest.raises(ValueError, match="add up"):
        await payments.fall_due(payments.due(lines=[line(1000, 190)]))


async def refund_state(payments: Payments, refund_id: str = "spilt") -> int:
    request = payments_pb2.GetRefundRequest(name=f"{CHARGE}/refunds/{refund_id}")
    refund: Refund = await payments.call(request)
    return refund.state


async def test_a_refund_gives_back_and_books_what_is_left(paid: Payments) -> None:
    await paid.refund("part", 250)
    await paid.refund("rest")
    await paid.work()

    charge = await paid.charge()
    assert charge.refunded_amount == charge.amount
    assert await paid.balances() == {
        "provider-clearing": 0,
        "receivable": 0,
        "refunds": AMOUNT_MINOR,
        "revenue": -AMOUNT_MINOR,
    }
    refunded = [
        event for event in await paid.events() if event.DESCRIPTOR.name == "RefundSucceeded"
    ]
    assert [event.refund_amount.units for event in refunded] == [2, 10]  # type: ignore[attr-defined]
    record = (await paid.sandbox.provider("GET", "/refunds")).body["data"]
    assert sum(refund["amount"] for refund in record) == AMOUNT_MINOR


async def test_no_more_is_given_back_than_was_paid(paid: Payments) -> None:
    refunds = (paid.refund(f"refund-{number}", AMOUNT_MINOR - 100) for number in range(3))
    answers = await asyncio.gather(*refunds, return_exceptions=True)

    refused = [answer.reason for answer in answers if isinstance(answer, Problem)]
    assert refused == ["REFUND_ABOVE_CHARGE"] * 2


async def test_a_refund_survives_an_outage_of_the_provider(paid: Payments) -> None:
    await paid.sandbox.ask("PUT", "/outages/provider", json={"on": True})
    await paid.refund()
    await paid.work()
    assert await refund_state(paid) == Refund.PENDING

    await paid.sandbox.ask("PUT", "/outages/provider", json={"on": False})
    wake_at = await paid.work()
    assert wake_at is not None
    await paid.pass_time(wake_at - paid.clock.now())
    assert await refund_state(paid) == Refund.SUCCEEDED
    event_of(await paid.events(), "RefundSucceeded")


async def test_a_refund_that_the_provider_refuses_fails_and_can_be_asked_for_again(
    paid: Payments,
) -> None:
    intent = (await paid.charge()).attempts[0].provider_payment
    await paid.sandbox.provider("POST", "/refunds", {"payment_intent": intent})
    await paid.refund()
    await paid.work()

    assert await refund_state(paid) == Refund.FAILED
    assert (await paid.charge()).refunded_amount.units == 0
    await paid.refund("again")


async def test_only_a_paid_charge_is_refunded(payments: Payments) -> None:
    await payments.fall_due()
    with pytest.raises(Problem) as refused:
        await payments.refund()
    assert refused.value.reason == "CHARGE_STATE"


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger_transfers SET amount_minor = amount_minor + 1",
        "DELETE FROM ledger_transfers",
        "TRUNCATE ledger_transfers",
    ],
)
async def test_postgresql_refuses_to_change_the_books(paid: Payments, statement: str) -> None:
    with pytest.raises(asyncpg.PostgresError, match="permission denied"):
        async with paid.database.begin() as tx:
            await tx.execute(statement)
    with pytest.raises(asyncpg.PostgresError, match="append-only"):
        async with as_owner(paid.database) as tx:
            await tx.execute(statement)


@pytest.mark.parametrize(
    ("credit_account", "amount_minor"),
    [("receivable", 0), ("receivable", -1), ("provider-clearing", 1)],
)
async def test_postgresql_refuses_a_transfer_that_moves_nothing_from_one_account_to_another(
    paid: Payments, credit_account: str, amount_minor: int
) -> None:
    with pytest.raises(asyncpg.CheckViolationError):
        async with paid.database.begin() as tx:
            await tx.execute(
                """
                    INSERT INTO ledger_transfers
                        (merchant, customer, source, kind, transaction, debit_account,
                         credit_account, amount_minor, currency, book_time)
                    SELECT merchant, customer, source, 'CORRECTION', gen_random_uuid(),
                           'provider-clearing', $1, $2, currency, book_time
                    FROM ledger_transfers WHERE kind = 'CHARGE'
                """,
                credit_account,
                amount_minor,
            )


async def test_postgresql_refuses_to_book_a_charge_twice(paid: Payments) -> None:
    with pytest.raises(asyncpg.UniqueViolationError, match="ledger_transfers"):
        async with paid.database.begin() as tx:
            await tx.execute(
                """
                    INSERT INTO ledger_transfers
                        (merchant, customer, source, kind, transaction, debit_account,
                         credit_account, amount_minor, currency, book_time)
                    SELECT merchant, customer, source, kind, gen_random_uuid(), debit_account,
                           credit_account, amount_minor, currency, book_time
                    FROM ledger_transfers
                """
            )


async def test_postgresql_refuses_a_second_attempt_after_a_success(paid: Payments) -> None:
    with pytest.raises(asyncpg.PostgresError, match="attempts_one_live"):
        async with paid.database.begin() as tx:
            await tx.execute(
                """
                    INSERT INTO attempts (merchant, customer, charge, number, idempotency_key,
                                          amount_minor, currency, payment_method, mandate,
                                          start_time, next_lookup_time, permit)
                    SELECT merchant, customer, charge, 2, 'another key', amount_minor, currency,
                           payment_method, mandate, start_time, start_time, 1
                    FROM attempts
                """
            )


async def test_entries_are_read_page_by_page_in_the_order_of_booking(paid: Payments) -> None:
    await paid.refund()
    await paid.work()
    request = payments_pb2.ListLedgerEntriesRequest(parent="merchants/acme", page_size=5)
    first = await paid.call(request)
    request.page_token = first.next_page_token
    second = await paid.call(request)

    entries = [*first.ledger_entries, *second.ledger_entries]
    assert [entry.source for entry in entries] == [CHARGE] * 4 + [f"{CHARGE}/refunds/spilt"] * 4
    assert second.next_page_token == ""
    assert sum(entry.amount.units for entry in entries) == 0


async def close_days(paid: Payments) -> None:
    """What happens within two minutes after a day has to be closed."""
    await ledger.close_days(paid.database, paid.clock)
    async with paid.database.begin() as tx:
        await tx.execute("UPDATE ledger_closing SET close_time = now() - interval '61 seconds'")
    await ledger.close_days(paid.database, paid.clock)


async def test_a_closed_day_has_what_was_booked_on_it(paid: Payments) -> None:
    [(book_date,)] = await paid.rows(
        "SELECT DISTINCT (book_time AT TIME ZONE 'UTC')::date FROM ledger_transfers"
    )
    await paid.pass_time(timedelta(days=2))
    await close_days(paid)

    assert await paid.rows("SELECT * FROM ledger_days ORDER BY account") == [
        ("acme", "provider-clearing", "EUR", book_date, AMOUNT_MINOR, 0),
        ("acme", "receivable", "EUR", book_date, AMOUNT_MINOR, AMOUNT_MINOR),
        ("acme", "revenue", "EUR", book_date, 0, AMOUNT_MINOR),
    ]


async def test_a_day_is_kept_only_when_no_statement_may_book_on_it_any_more(paid: Payments) -> None:
    await paid.pass_time(timedelta(days=2))
    for _ in range(3):
        await ledger.close_days(paid.database, paid.clock)
    assert await paid.rows("SELECT * FROM ledger_days") == []


async def test_what_comes_after_a_day_was_closed_is_booked_on_the_next(paid: Payments) -> None:
    closed = datetime.combine(paid.clock.now().date(), time(), UTC) + timedelta(days=3)
    async with paid.database.begin() as tx:
        await store.close_days(tx, closed.date() - timedelta(days=1))
    await paid.refund()
    await paid.work()
    [(book_time,)] = await paid.rows("SELECT book_time FROM ledger_transfers WHERE kind = 'REFUND'")
    assert book_time == closed


def closing(through: date, **fields: str) -> payments_pb2.CloseLedgerPeriodRequest:
    return payments_pb2.CloseLedgerPeriodRequest(
        parent="merchants/acme", through_date=to_date(through), **fields
    )


async def test_a_period_is_closed_once_its_days_are_and_once_only(paid: Payments) -> None:
    day = paid.clock.now().date()
    with pytest.raises(Problem) as refused:
        await paid.call(closing(day))
    assert refused.value.reason == "LEDGER_DAYS_OPEN"
    await paid.pass_time(timedelta(days=2))
    await close_days(paid)

    period = await paid.call(closing(day))
    paid.clock.move(timedelta(hours=1))
    assert await paid.call(closing(day)) == period
    assert await paid.call(closing(day - timedelta(days=1))) == period
    later = await paid.call(closing(day + timedelta(days=1)))
    listed = await paid.call(payments_pb2.ListLedgerPeriodsRequest(parent="merchants/acme"))
    assert list(listed.ledger_periods) == [later, period]
    trial_balance = await paid.balances(datetime.combine(day + timedelta(days=1), time(), UTC))
    lines = "".join(f"{account} EUR {minor}\n" for account, minor in sorted(trial_balance.items()))
    assert period.balance_digest == hashlib.sha256(lines.encode()).hexdigest()


async def test_postgresql_refuses_an_entry_of_a_closed_period_from_its_owner_too(
    paid: Payments,
) -> None:
    day = paid.clock.now().date()
    await paid.pass_time(timedelta(days=2))
    await close_days(paid)
    await paid.call(closing(day))
    statement = """
        INSERT INTO ledger_transfers (merchant, customer, source, kind, transaction, debit_account,
                                      credit_account, amount_minor, currency, book_time)
        SELECT merchant, customer, source, 'LATE', gen_random_uuid(), debit_account, credit_account,
               amount_minor, currency, book_time FROM ledger_transfers WHERE kind = 'CHARGE'
    """
    for begin in (paid.database.begin(), as_owner(paid.database)):
        with pytest.raises(asyncpg.PostgresError, match="takes no entries of a day that is closed"):
            async with begin as tx:
                await tx.execute(statement)


async def test_what_comes_late_is_booked_on_the_next_open_day_with_its_own_date(
    paid: Payments,
) -> None:
    await paid.refund()
    happened = paid.clock.now()
    async with paid.database.begin() as tx:
        await store.close_days(tx, happened.date())
    await paid.work()
    answer = await paid.call(payments_pb2.ListLedgerEntriesRequest(parent="merchants/acme"))
    late = [entry for entry in answer.ledger_entries if "/refunds/" in entry.source]
    next_day = datetime.combine(happened.date() + timedelta(days=1), time(), UTC)
    assert {entry.book_time.ToDatetime(UTC) for entry in late} == {next_day}
    assert {entry.occur_time.ToDatetime(UTC).date() for entry in late} == {happened.date()}


@pytest.mark.parametrize("closes", [True, False], ids=["days closed", "no day closed"])
async def test_balances_of_any_instant_are_of_what_was_booked_before(
    paid: Payments, *, closes: bool
) -> None:
    [(charge_time,)] = await paid.rows("SELECT DISTINCT book_time FROM ledger_transfers")
    await paid.pass_time(timedelta(days=3))
    await paid.refund("part", 250)
    await paid.work()
    refund_time = paid.clock.now()
    await paid.pass_time(timedelta(days=3))
    if closes:
        await close_days(paid)
    await paid.refund("rest")
    await paid.work()

    instant = timedelta(microseconds=1)
    held = [
        (await paid.balances(moment)).get("provider-clearing")
        for moment in (
            *(charge_time, charge_time + instant, charge_time + timedelta(days=1)),
            *(refund_time, refund_time + timedelta(seconds=1), None),
        )
    ]
    left = AMOUNT_MINOR - 250
    assert held == [None, AMOUNT_MINOR, AMOUNT_MINOR, AMOUNT_MINOR, left, 0]
