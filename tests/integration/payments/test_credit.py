"""Credit of customers, as the merchant's platform gives and takes it, and as charges use it."""

import asyncio
from typing import Any

import pytest
from recurring.payments.v1 import payments_pb2

from services.runtime.errors import Problem
from services.runtime.rpc.conversions import to_money
from tests.integration.payments.suite import ANN, BOB, Payments

Transaction = payments_pb2.CreditTransaction


async def give(
    payments: Payments,
    amount_minor: int,
    kind: payments_pb2.CreditTransaction.Type.ValueType = Transaction.GOODWILL,
    *,
    name: str = "gift",
    customer: str = ANN,
    currency: str = "EUR",
) -> Any:  # noqa: ANN401
    return await payments.call(
        payments_pb2.CreateCreditTransactionRequest(
            parent=customer,
            credit_transaction_id=name,
            credit_transaction=Transaction(amount=to_money(amount_minor, currency), type=kind),
        )
    )


async def credit(payments: Payments, customer: str = ANN) -> list[tuple[int, int]]:
    """What a customer has and what of it is reserved, in minor units, by currency."""
    request = payments_pb2.GetCreditBalanceRequest(name=f"{customer}/creditBalance")
    balance = await payments.call(request)
    return [
        (
            each.balance.units * 100 + each.balance.nanos // 10_000_000,
            each.reserved.units * 100 + each.reserved.nanos // 10_000_000,
        )
        for each in balance.amounts
    ]


async def listed(payments: Payments, customer: str = ANN) -> list[Any]:
    request = payments_pb2.ListCreditTransactionsRequest(parent=customer)
    return list((await payments.call(request)).credit_transactions)


async def test_what_is_given_and_taken_adds_up_in_the_books(payments: Payments) -> None:
    assert await credit(payments) == []
    await give(payments, 1000)
    await give(payments, 250, Transaction.OVERPAYMENT, name="transfer")
    taken = await give(payments, -400, Transaction.PAYOUT, name="out")
    assert taken.balance_after == to_money(850, "EUR")
    assert await credit(payments) == [(850, 0)]
    assert [each.amount for each in await listed(payments)] == [
        to_money(minor, "EUR") for minor in (1000, 250, -400)
    ]
    assert await payments.balances() == {
        "bank": -150,
        "credit-granted": 1000,
        "customer-credit": -850,
    }


async def test_more_than_is_there_is_never_taken(payments: Payments) -> None:
    await give(payments, 100)
    with pytest.raises(Problem) as refusal:
        await give(payments, -101, Transaction.PAYOUT, name="out")
    assert refusal.value.reason == "CREDIT_TOO_LOW"
    assert await credit(payments) == [(100, 0)]


async def test_credit_is_of_one_customer_and_one_currency(payments: Payments) -> None:
    await give(payments, 100)
    await give(payments, 200, name="francs", currency="CHF")
    assert await credit(payments) == [(200, 0), (100, 0)]
    assert await credit(payments, BOB) == []


async def test_two_who_take_the_last_of_it_do_not_both_get_it(payments: Payments) -> None:
    await give(payments, 100)
    results = await asyncio.gather(
        *(give(payments, -80, Transaction.PAYOUT, name=f"out-{n}") for n in range(2)),
        return_exceptions=True,
    )
    assert sum(isinstance(result, Problem) for result in results) == 1
    assert await credit(payments) == [(20, 0)]
