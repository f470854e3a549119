"""Credit of customers, as the merchant's platform gives and takes it, and as charges use it."""

import asyncio
from typing import Any

import pytest
from recurring.payments.v1 import payments_pb2

from services.runtime.errors import Problem
from services.runtime.rpc.conversions import to_money
from tests.integration.payments.suite import (
    AMOUNT_MINOR,
    ANN,
    BOB,
    CHARGE,
    DAY,
    Payments,
    State,
    charge_name,
    event_of,
    order,
)

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


async def test_of_transactions_of_one_id_at_once_in_different_currencies_one_is_made(
    payments: Payments,
) -> None:
    currencies = ["EUR", "USD", "CHF", "GBP", "SEK", "PLN"]
    results = await asyncio.gather(
        *(give(payments, 100, currency=currency) for currency in currencies),
        return_exceptions=True,
    )
    refused = [result.reason for result in results if isinstance(result, Problem)]
    assert refused == ["CREDIT_TRANSACTION_ALREADY_EXISTS"] * (len(currencies) - 1)
    assert len(await listed(payments)) == 1
    assert [minor for minor, _ in await credit(payments) if minor] == [100]


async def test_no_caller_can_take_the_id_of_what_a_charge_uses(payments: Payments) -> None:
    await give(payments, 100)
    await fall_due(payments)
    await payments.work()
    used = (await listed(payments))[-1]
    taken = used.name.rpartition("/")[2]
    with pytest.raises(Problem) as refusal:
        await give(payments, 100, name=taken)
    assert refusal.value.reason == "FIELD_INVALID"


async def fall_due(payments: Payments, count: int = 1, card: str = "pm_card_visa") -> None:
    """So many announced charges of 12.50 EUR, due now."""
    await payments.consent(card, ceiling_minor=100_000)
    numbers = range(1, count + 1)
    await payments.announce(*(payments.notice(order(number)) for number in numbers))
    await payments.fall_due(*(payments.due(order(number)) for number in numbers))


async def test_credit_pays_first_and_the_card_the_rest(payments: Payments) -> None:
    await give(payments, 1000)
    await fall_due(payments)
    await payments.work()

    charge = await payments.charge()
    assert (charge.state, charge.credit_amount) == (State.SUCCEEDED, to_money(1000, "EUR"))
    assert await payments.charged_minor() == AMOUNT_MINOR - 1000
    assert await credit(payments) == [(0, 0)]
    [_, used] = await listed(payments)
    assert (used.amount, used.source) == (to_money(-1000, "EUR"), charge.name)
    paid = event_of(await payments.events(), "PaymentSucceeded")
    assert (paid.credit_amount, paid.last4) == (to_money(1000, "EUR"), "4242")
    assert await payments.balances() == {
        "credit-granted": 1000,
        "customer-credit": 0,
        "provider-clearing": AMOUNT_MINOR - 1000,
        "receivable": 0,
        "revenue": -AMOUNT_MINOR,
    }


async def test_what_credit_pays_the_whole_of_never_goes_to_the_provider(payments: Payments) -> None:
    await give(payments, AMOUNT_MINOR)
    await fall_due(payments)
    await payments.work()
    await payments.work()

    charge = await payments.charge()
    assert (charge.state, list(charge.attempts)) == (State.SUCCEEDED, [])
    assert await payments.payments_at_provider() == []
    assert await credit(payments) == [(0, 0)]
    assert (await payments.published()).count("PaymentSucceeded") == 1
    balances = await payments.balances()
    assert (balances["receivable"], balances["revenue"]) == (0, -AMOUNT_MINOR)


async def test_a_decline_gives_the_credit_back_and_the_retry_uses_it(payments: Payments) -> None:
    await give(payments, 1000)
    await fall_due(payments, card="pm_card_chargeDeclinedInsufficientFunds")
    await payments.work()
    charge = await payments.charge()
    assert (charge.state, charge.HasField("credit_amount")) == (State.SCHEDULED, False)
    assert await credit(payments) == [(1000, 0)]

    await give(payments, 250, name="more")
    await payments.pass_time(DAY)
    assert (await payments.charge()).state == State.SUCCEEDED
    assert await credit(payments) == [(0, 0)]
    assert await payments.charged_minor() == 0


async def test_charges_of_one_customer_never_use_the_same_credit(payments: Payments) -> None:
    await give(payments, 2000)
    await fall_due(payments, count=3)
    both = [payments.process(), payments.process()]
    await asyncio.gather(*(process.charge() for process in both))
    await payments.work()

    charges = [await payments.charge(charge_name(number)) for number in (1, 2, 3)]
    assert {charge.state for charge in charges} == {State.SUCCEEDED}
    of_credit = [charge.credit_amount.units * 100 + charge.credit_amount.nanos // 10_000_000
                 for charge in charges]  # fmt: skip
    assert sum(of_credit) == 2000
    assert await payments.charged_minor() == 3 * AMOUNT_MINOR - 2000
    assert await credit(payments) == [(0, 0)]


async def test_what_a_charge_may_still_use_is_not_taken_away(payments: Payments) -> None:
    await give(payments, 1000)
    await fall_due(payments, card="pm_sandbox_timeoutAfterCharge")
    await payments.work()
    assert await credit(payments) == [(1000, 1000)]
    with pytest.raises(Problem) as refusal:
        await give(payments, -1, Transaction.PAYOUT, name="out")
    assert refusal.value.reason == "CREDIT_TOO_LOW"

    await payments.pass_time(DAY)
    assert (await payments.charge()).state == State.SUCCEEDED
    assert await credit(payments) == [(0, 0)]


async def give_back(
    payments: Payments, amount_minor: int, name: str = "spilt", *, to_credit: bool = False
) -> Any:  # noqa: ANN401
    request = payments_pb2.CreateRefundRequest(parent=CHARGE, refund_id=name)
    request.refund.amount.CopyFrom(to_money(amount_minor, "EUR"))
    request.refund.to_credit = to_credit
    return await payments.call(request)


@pytest.fixture
async def paid(payments: Payments) -> Payments:
    """A charge of 12.50, of which credit has paid 5.00 and the card 7.50."""
    await give(payments, 500)
    await fall_due(payments)
    await payments.work()
    return payments


async def refunded_minor(payments: Payments) -> int:
    """What the provider's own record says was given back."""
    listed = (await payments.sandbox.provider("GET", "/refunds")).body["data"]
    return sum(each["amount"] for each in listed)


async def test_a_refund_goes_to_the_card_first_and_then_becomes_credit(paid: Payments) -> None:
    first = await give_back(paid, 700)
    await paid.work()
    assert not first.HasField("credit_amount")
    assert (await refunded_minor(paid), await credit(paid)) == (700, [(0, 0)])

    second = await give_back(paid, 550, "rest")
    assert second.credit_amount == to_money(500, "EUR")
    assert await credit(paid) == [(500, 0)]
    await paid.work()
    assert await refunded_minor(paid) == 750
    assert (await paid.charge()).refunded_amount == to_money(AMOUNT_MINOR, "EUR")
    balances = await paid.balances()
    assert (balances["receivable"], balances["provider-clearing"]) == (0, 0)
    with pytest.raises(Problem) as refusal:
        await give_back(paid, 1, "more")
    assert refusal.value.reason == "REFUND_ABOVE_CHARGE"


async def test_a_refund_to_credit_never_goes_to_the_provider(paid: Payments) -> None:
    made = await give_back(paid, AMOUNT_MINOR, to_credit=True)
    assert made.state == payments_pb2.Refund.SUCCEEDED
    assert await credit(paid) == [(AMOUNT_MINOR, 0)]
    await paid.work()
    assert await refunded_minor(paid) == 0
    given = event_of(await paid.events(), "RefundSucceeded")
    assert given.credit_amount == to_money(AMOUNT_MINOR, "EUR")
    assert (await paid.balances())["receivable"] == 0


async def test_credit_that_was_given_stays_when_the_bank_sends_the_rest_back(
    paid: Payments,
) -> None:
    await paid.sandbox.ask("PUT", "/provider/behavior", json={"refunds_fail_after_seconds": 3600})
    await give_back(paid, AMOUNT_MINOR)
    await paid.work()
    url = f"{paid.sandbox.url}/clock/advance"
    async with paid.sandbox.http.post(url, json={"seconds": 3600}) as done:
        await done.read()
    await paid.pass_time(3 * DAY)

    assert await credit(paid) == [(500, 0)]
    assert (await paid.charge()).refunded_amount == to_money(500, "EUR")
    balances = await paid.balances()
    assert (balances["receivable"], balances["provider-clearing"]) == (0, 750)
    again = await give_back(paid, 750, "again", to_credit=True)
    assert again.state == payments_pb2.Refund.SUCCEEDED
