"""What is booked balances, whatever is sold, given back, and comes back."""

from collections import Counter
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.payments.domain.accounts import (
    PROVIDER_CLEARING,
    RECEIVABLE,
    REFUNDS,
    REVENUE,
    AccountType,
    account_type,
    tax_account,
)
from services.payments.domain.keys import RefundId
from services.payments.domain.ledger import (
    book_charge,
    book_refund,
    given_back_by,
    reverse,
    taxes_of,
)
from services.payments.domain.lines import (
    ChargeLine,
    LineTax,
    checked_lines,
    dump_lines,
    load_lines,
)
from services.payments.domain.refunds import Refund
from services.payments.domain.transfers import Transfer
from services.payments.domain.transitions import RefundState
from tests.unit.payments.strategies import CHARGE, NOW

TAXES = st.builds(
    LineTax,
    st.sampled_from(["", "de-vat", "de-vat-reduced"]),
    st.sampled_from([70_000, 190_000]),
    st.integers(0, 500),
)
LINES = st.lists(
    st.builds(
        ChargeLine,
        st.sampled_from(["tea", "coffee"]),
        st.integers(1, 9),
        st.integers(0, 10_000),
        st.lists(TAXES, max_size=3).map(tuple),
    ),
    min_size=1,
    max_size=4,
).filter(lambda lines: any(line.gross_minor for line in lines))


def charged(lines: list[ChargeLine]) -> Any:  # noqa: ANN401 - a charge
    amount_minor = sum(line.gross_minor for line in lines)
    return CHARGE._replace(
        amount_minor=amount_minor, lines=dump_lines(tuple(lines)), region_code="DE"
    )


def refund_of(charge: Any, number: int, amount_minor: int) -> Refund:  # noqa: ANN401
    return Refund(
        merchant=charge.merchant,
        customer=charge.customer,
        charge=charge.charge,
        refund=RefundId(f"refund-{number}"),
        amount_minor=amount_minor,
        currency=charge.currency,
        note=b"",
        state=RefundState.SUCCEEDED,
        idempotency_key="",
        create_time=NOW,
        update_time=NOW,
    )


def balances(transfers: Iterable[Transfer]) -> Counter[str]:
    sums: Counter[str] = Counter()
    for transfer in transfers:
        assert transfer.amount_minor > 0
        sums[transfer.debit_account] += transfer.amount_minor
        sums[transfer.credit_account] -= transfer.amount_minor
    return sums


@given(LINES)
def test_a_charge_is_booked_as_its_sale_and_each_of_its_taxes(lines: list[ChargeLine]) -> None:
    charge = charged(lines)
    sums = balances(book_charge(charge, NOW))
    assert sums.pop(PROVIDER_CLEARING) == charge.amount_minor
    assert sums.pop(RECEIVABLE) == 0
    assert -sums.pop(REVENUE, 0) == sum(line.net_minor for line in lines)
    assert {account: -minor for account, minor in sums.items()} == taxes_of(charge)


@given(LINES, st.data())
def test_once_all_is_given_back_no_tax_is_owed_any_more(
    lines: list[ChargeLine], data: st.DataObject
) -> None:
    charge = charged(lines)
    booked = list(book_charge(charge, NOW))
    given_back: Counter[str] = Counter()
    left_minor, number = charge.amount_minor, 0
    while left_minor:
        # Some come back, while there are few.
        amount_minor = data.draw(st.integers(1, left_minor)) if number < 4 else left_minor
        refund = list(book_refund(refund_of(charge, number, amount_minor), charge, given_back, NOW))
        assert sum(given_back_by(refund).values()) == amount_minor
        booked += refund
        if number < 4 and data.draw(st.booleans()):
            booked += [reverse(transfer, NOW + timedelta(days=1)) for transfer in refund]
        else:
            given_back.update(given_back_by(refund))
            left_minor -= amount_minor
        number += 1

    sums = balances(booked)
    assert sum(sums.values()) == 0
    assert sums.pop(RECEIVABLE) == sums.pop(PROVIDER_CLEARING) == 0
    # What was sold was given back, and no tax is left beside it.
    assert sums.pop(REVENUE, 0) == -sums.pop(REFUNDS, 0)
    assert set(sums.values()) <= {0}
    keys = [(transfer.source, transfer.kind) for transfer in booked]
    assert len(keys) == len(set(keys)) == len({transfer.transaction for transfer in booked})


@given(LINES)
def test_lines_are_read_as_they_were_stored(lines: list[ChargeLine]) -> None:
    assert load_lines(dump_lines(tuple(lines))) == tuple(lines)


def test_lines_of_another_amount_are_refused() -> None:
    line = ChargeLine("tea", 1, 1000, (LineTax("de-vat", 190_000, 190),))
    assert checked_lines([line], 1190) == (line,)
    assert checked_lines([], 1190) == ()
    with pytest.raises(ValueError, match="add up"):
        checked_lines([line], 1191)


def test_a_tax_account_is_of_its_rate_or_of_its_place_and_height() -> None:
    assert tax_account("DE", "de-vat", 190_000) == "tax-payable-de-vat"
    assert tax_account("US-CA", "", 72_500) == "tax-payable-service-us-ca-72500"
    assert account_type("tax-payable-de-vat") is AccountType.LIABILITY
    with pytest.raises(KeyError):
        account_type("pocket-money")


def test_a_charge_without_lines_is_all_sale() -> None:
    charge = CHARGE._replace(lines="[]")
    assert balances(book_charge(charge, NOW))[REVENUE] == -charge.amount_minor
