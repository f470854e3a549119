"""The items of a payout come to it to the cent, however they are divided into pages."""

from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.payments.clients.bank_debit_balance import Place, read_item
from services.payments.domain.keys import CustomerId, MerchantId
from services.payments.domain.provider_balance import (
    BalanceTransaction,
    BalanceType,
    Owner,
    attributed,
)

NOW = datetime(2026, 1, 31, tzinfo=UTC)
PAYOUT = {"id": "PO1", "currency": "EUR", "created_at": NOW.isoformat()}
ITEMS = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from(["payment_paid_out", "payment_charged_back"]),
            st.integers(-5000, 5000).map(lambda minor: minor * 10),
        ),
        st.tuples(st.just("gocardless_fee"), st.integers(-4000, 4000)),
    ),
    max_size=30,
)


def shown(kind: str, tenths: int) -> dict[str, Any]:
    sign = "-" if tenths < 0 else ""
    amount = f"{sign}{abs(tenths) // 10}.{abs(tenths) % 10}"
    return {"type": kind, "amount": amount, "links": {"payment": "PM1"}}


def read(items: list[tuple[str, int]], page_size: int) -> list[BalanceTransaction]:
    transactions, after = [], ""
    for start in range(0, len(items), page_size):
        place = Place.read(after)
        for item in items[start : start + page_size]:
            moved, place = read_item(PAYOUT, shown(*item), place)
            transactions.append(moved)
        after = str(place._replace(cursor="next"))
    return transactions


@given(ITEMS, st.integers(1, 30))
def test_what_is_rounded_off_a_fee_goes_to_the_next(
    items: list[tuple[str, int]], page_size: int
) -> None:
    transactions = read(items, page_size)
    total_tenths = sum(tenths for _, tenths in items)
    assert sum(it.net_minor for it in transactions) == (total_tenths + 5) // 10
    assert transactions == read(items, 100)
    assert len({it.balance_transaction for it in transactions}) == len(items)
    for (kind, tenths), moved in zip(items, transactions, strict=True):
        if kind != "gocardless_fee":
            assert (moved.amount_minor, moved.fee_minor) == (tenths // 10, 0)


def test_money_that_came_before_is_the_end_of_a_chargeback() -> None:
    [first] = read([("payment_paid_out", 9000)], 1)
    again = first._replace(balance_transaction="PO2 1")
    owner = Owner(MerchantId("acme"), CustomerId("ann"), "the charge")
    owners = {"PM1": owner}
    both = attributed([first, again], owners, {})
    assert [it.type for it in both] == [BalanceType.CHARGE, BalanceType.DISPUTE_REVERSAL]
    assert {it.source for it in both} == {"the charge"}
    # As it is when either is read again.
    listed = {"the charge": first.balance_transaction}
    assert attributed([again, first], owners, listed) == both[::-1]
    assert attributed([first], {}, {}) == [first]
