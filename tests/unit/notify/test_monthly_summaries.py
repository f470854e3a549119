"""What a month of a customer's adds up to."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notify.domain.monthly_summaries import (
    MadeNotice,
    SummaryMonth,
    month_due_at,
    month_of,
    summary_of,
)
from services.notify.domain.notices import CustomerId, Facts, MerchantId, NoticeId, NoticeKey
from services.notify.domain.templates.kinds import OrderSkipped, Receipt, Refund
from services.notify.domain.templates.lines import MonthTotal
from services.runtime.money import Money

NOW = datetime(2026, 2, 1, 8, 0, tzinfo=UTC)
JANUARY = SummaryMonth(date(2026, 1, 1), "Europe/Berlin")
amounts = st.builds(Money, st.integers(1, 10**9), st.sampled_from(["EUR", "USD"]))
zones = st.sampled_from([
    "", "UTC", "Europe/Berlin", "America/St_Johns", "Pacific/Kiritimati", "Pacific/Niue",
])  # fmt: skip
moments = st.datetimes(datetime(2020, 1, 1), datetime(2035, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis adds the zone


def made(facts: Facts, standing_order: str = "coffee", occur_time: datetime = NOW) -> MadeNotice:
    key = NoticeKey(MerchantId("acme"), CustomerId("ann"), NoticeId("n"))
    subject = f"merchants/acme/standingOrders/{standing_order}/orders/1"
    return MadeNotice(key, facts.kind, subject, occur_time, facts)


def receipt(
    amount: Money, saved: Money | None = None, next_due_time: datetime | None = None
) -> Receipt:
    return Receipt("Coffee", "Europe/Berlin", amount, NOW, next_due_time, (), saved_amount=saved)


@given(moment=moments, zone=zones, later_zone=zones)
def test_a_month_is_the_same_wherever_the_customer_has_moved(
    moment: datetime, zone: str, later_zone: str
) -> None:
    month = month_of(moment, zone)

    assert month.start_time <= moment < month.end_time < month.due_time
    assert month_due_at(month.due_time, later_zone).first == month.first
    assert month.following.start_time == month.end_time


@given(paid=st.lists(amounts, max_size=8), given_back=st.lists(amounts, max_size=8))
def test_a_summary_adds_up_what_receipts_and_refunds_said(
    paid: list[Money], given_back: list[Money]
) -> None:
    notices = [made(receipt(amount)) for amount in paid]
    notices += [made(Refund("Coffee", amount, amount)) for amount in given_back]
    summary = summary_of(JANUARY, notices, [], NOW)

    if not notices:
        assert summary is None
        return
    assert summary is not None
    for currency in ("EUR", "USD"):
        totals = [
            total
            for total in summary.totals
            if currency in {it.currency for it in (total.paid_amount, total.refund_amount) if it}
        ]
        assert sum(total.order_count for total in totals) == sum(
            amount.currency == currency for amount in paid
        )
        for of_all, field in ((paid, "paid_amount"), (given_back, "refund_amount")):
            said = [getattr(total, field) for total in totals]
            assert sum(it.amount_minor for it in said if it) == sum(
                amount.amount_minor for amount in of_all if amount.currency == currency
            )


def test_what_orders_cost_less_is_saved_in_their_currency() -> None:
    euro, yen = Money(1000, "EUR"), Money(1000, "JPY")
    notices = [
        made(receipt(euro, Money(100, "EUR"))),
        made(receipt(euro, Money(50, "EUR"))),
        made(receipt(yen)),
    ]
    summary = summary_of(JANUARY, notices, [], NOW)

    assert summary is not None
    assert summary.totals == (
        MonthTotal(2, Money(2000, "EUR"), None, Money(150, "EUR")),
        MonthTotal(1, yen, None, None),
    )


def test_an_order_that_cost_nothing_counts_all_the_same() -> None:
    summary = summary_of(JANUARY, [made(receipt(Money(0, "EUR")))], [], NOW)

    assert summary is not None
    assert summary.totals == (MonthTotal(1, Money(0, "EUR"), None, None),)


def test_more_currencies_than_there_is_room_for_are_left_to_the_account() -> None:
    notices = [made(receipt(Money(100, currency))) for currency in ("EUR", "GBP", "USD")]
    summary = summary_of(JANUARY, notices, [], NOW)

    assert summary is not None
    assert len(summary.totals) == 2
    assert summary.has_more


@pytest.mark.parametrize("skipped_cycle_is_next", [True, False])
def test_an_order_that_is_left_out_is_not_what_comes_next(*, skipped_cycle_is_next: bool) -> None:
    next_due_time = NOW + timedelta(days=20)
    due_time = next_due_time if skipped_cycle_is_next else NOW + timedelta(days=1)
    skipped = OrderSkipped("Coffee", "Europe/Berlin", due_time, ("SKIPPED_BY_CUSTOMER",))
    latest = [made(receipt(Money(100, "EUR"), next_due_time=next_due_time)), made(skipped)]
    summary = summary_of(JANUARY, latest, latest, NOW)

    assert summary is not None
    assert summary.next_due_time == (None if skipped_cycle_is_next else next_due_time)
    assert summary.skip_count == 1
