"""What is sold of a period becomes revenue day by day, by the merchant's choice."""

import asyncio
from datetime import date, timedelta

import pytest
from recurring.payments.v1 import payments_pb2

from services.payments.application import ledger
from services.runtime.auth.call_context import act_for_all
from tests.integration.payments.suite import CHARGE, DAY, NOW, Payments
from tests.integration.payments.test_disputes import dispute_of, submit
from tests.integration.payments.test_ledger import line

LedgerSettings = payments_pb2.LedgerSettings
START, END = date(2026, 1, 31), date(2026, 2, 24)
# 25 days of 42 cents each.
NET_MINOR, TAX_MINOR = 1050, 200


async def choose(
    payments: Payments, recognition: LedgerSettings.RevenueRecognition.ValueType
) -> None:
    settings = LedgerSettings(name="merchants/acme/ledgerSettings", revenue_recognition=recognition)
    await payments.call(payments_pb2.UpdateLedgerSettingsRequest(ledger_settings=settings))


async def sell(payments: Payments) -> None:
    await payments.consent()
    await payments.announce()
    due = payments.due(lines=[line(1000, 190), line(50, 10)], period=(START, END))
    await payments.fall_due(due)
    await payments.work()


@pytest.fixture
async def sold(payments: Payments) -> Payments:
    """Sold over its period; the first day is revenue already."""
    await choose(payments, LedgerSettings.OVER_PERIOD)
    await sell(payments)
    return payments


async def test_each_day_of_the_period_becomes_revenue_and_nothing_is_left(sold: Payments) -> None:
    charge = await sold.charge()
    assert (charge.period_start_date.day, charge.period_end_date.day) == (START.day, END.day)
    assert await sold.balances() == {
        "provider-clearing": 1250,
        "receivable": 0,
        "deferred-revenue": -1008,
        "revenue": -42,
        "tax-payable-de-vat": -TAX_MINOR,
    }
    await sold.pass_time(9 * DAY)
    assert (await sold.balances())["deferred-revenue"] == -630
    await sold.pass_time(30 * DAY)
    balances = await sold.balances()
    assert (balances["deferred-revenue"], balances["revenue"]) == (0, -NET_MINOR)
    days = await sold.rows(
        "SELECT count(*), min(amount_minor), max(amount_minor) FROM ledger_transfers"
        " WHERE kind LIKE 'RECOGNITION %'"
    )
    assert days == [(25, 42, 42)]


async def test_what_was_sold_before_the_choice_stays_revenue(payments: Payments) -> None:
    await sell(payments)
    await choose(payments, LedgerSettings.OVER_PERIOD)
    await payments.pass_time(DAY)
    balances = await payments.balances()
    assert (balances["revenue"], balances.get("deferred-revenue")) == (-NET_MINOR, None)


async def test_days_of_an_outage_are_booked_on_the_open_day_with_their_own_dates(
    sold: Payments,
) -> None:
    sold.clock.move(5 * DAY)
    act_for_all("payments")
    await ledger.close_days(sold.database, sold.clock)
    await sold.work()
    booked = await sold.rows(
        "SELECT right(kind, 10), book_time::date::text, occur_time::date::text"
        " FROM ledger_transfers WHERE kind LIKE 'RECOGNITION %' ORDER BY kind"
    )
    # Through 4 February the days are closed.
    assert booked[1:] == [
        ("2026-02-01", "2026-02-05", "2026-02-01"),
        ("2026-02-02", "2026-02-05", "2026-02-02"),
        ("2026-02-03", "2026-02-05", "2026-02-03"),
        ("2026-02-04", "2026-02-05", "2026-02-04"),
        ("2026-02-05", "2026-02-05", None),
    ]


async def test_a_refund_gives_back_of_days_to_come_and_of_days_before(sold: Payments) -> None:
    await sold.pass_time(4 * DAY)
    await sold.refund("half", 625)
    await sold.work()
    balances = await sold.balances()
    # Of 210 that were revenue and 840 that were not.
    assert (balances["refunds"], balances["deferred-revenue"]) == (105, -420)
    assert (balances["revenue"], balances["tax-payable-de-vat"]) == (-210, -100)
    await sold.refund("rest")
    await sold.pass_time(40 * DAY)
    balances = await sold.balances()
    assert (balances["refunds"], balances["revenue"]) == (210, -210)
    assert balances["deferred-revenue"] == balances["tax-payable-de-vat"] == 0


async def test_a_refund_to_credit_is_taken_from_both_too(sold: Payments) -> None:
    await sold.pass_time(4 * DAY)
    request = payments_pb2.CreateRefundRequest(
        parent=CHARGE, refund_id="kept", refund=payments_pb2.Refund(to_credit=True)
    )
    await sold.call(request)
    balances = await sold.balances()
    assert (balances["refunds"], balances["deferred-revenue"]) == (210, 0)
    assert balances["customer-credit"] == -1250


async def test_a_dispute_stops_the_days_to_come_and_a_won_one_makes_up_for_them(
    sold: Payments,
) -> None:
    await sold.pass_time(4 * DAY)
    await dispute_of(sold)
    balances = await sold.balances()
    assert (balances["deferred-revenue"], balances["disputes"]) == (0, 210 + TAX_MINOR)
    assert balances["provider-clearing"] == 0
    await sold.pass_time(DAY)
    assert (await sold.balances())["revenue"] == -210

    await submit(sold, "winning_evidence")
    await sold.pass_time(3 * DAY)
    balances = await sold.balances()
    assert (balances["disputes"], balances["provider-clearing"]) == (0, 1250)
    assert (balances["revenue"], balances["deferred-revenue"]) == (-378, -672)


async def test_two_replicas_book_each_day_once(sold: Payments) -> None:
    sold.clock.move(2 * DAY)
    act_for_all("payments")
    others = [sold.process().recognize_revenue() for _ in range(2)]
    await asyncio.gather(*others)
    assert (await sold.balances())["revenue"] == -3 * 42


async def test_the_balance_of_a_day_counts_what_began_on_it(sold: Payments) -> None:
    await sold.pass_time(3 * DAY)
    midnight = NOW.replace(hour=0)
    at = [await sold.balances(midnight + timedelta(days=n, seconds=1)) for n in (1, 2, 3)]
    assert [balances["revenue"] for balances in at] == [-84, -126, -168]
