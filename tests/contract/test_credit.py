"""Credit of a customer, as a platform gives and takes it."""

from datetime import timedelta

from recurring.payments.v1 import payments_pb2

from services.runtime.money import AMOUNT_MINOR_MAX
from services.runtime.rpc.conversions import to_money
from tests.contract.customer import NOTICE_LEAD, Customer, new_customer
from tests.suite import Suite, new_id, refused

Transaction = payments_pb2.CreditTransaction


def change(
    ann: Customer,
    amount_minor: int,
    kind: payments_pb2.CreditTransaction.Type.ValueType,
    name: str = "gift",
) -> payments_pb2.CreateCreditTransactionRequest:
    return payments_pb2.CreateCreditTransactionRequest(
        parent=ann.name,
        credit_transaction_id=name,
        credit_transaction=Transaction(amount=to_money(amount_minor, "EUR"), type=kind),
        request_id=new_id(),
    )


async def test_a_platform_gives_credit_once_and_takes_no_more_than_is_there(suite: Suite) -> None:
    ann = await new_customer(suite)
    create = ann.shop.payments.CreateCreditTransaction
    request = change(ann, 500, Transaction.GOODWILL)
    made = await create(request)
    assert await create(request) == made
    again = await refused(create(change(ann, 500, Transaction.GOODWILL)))
    assert again.reason == "CREDIT_TRANSACTION_ALREADY_EXISTS"
    too_low = await refused(create(change(ann, -501, Transaction.PAYOUT, "out")))
    assert too_low.reason == "CREDIT_TOO_LOW"
    too_high = await refused(create(change(ann, AMOUNT_MINOR_MAX, Transaction.GOODWILL, "much")))
    assert too_high.reason == "CREDIT_TOO_HIGH"
    wrong = await refused(create(change(ann, 500, Transaction.PAYOUT, "wrong")))
    assert wrong.fields == {"credit_transaction.type": "NOT_OF_THIS_SIGN"}

    balance = await ann.shop.payments.GetCreditBalance(
        payments_pb2.GetCreditBalanceRequest(name=f"{ann.name}/creditBalance")
    )
    assert [each.balance for each in balance.amounts] == [to_money(500, "EUR")]
    listed = await ann.shop.payments.ListCreditTransactions(
        payments_pb2.ListCreditTransactionsRequest(parent=ann.name)
    )
    assert list(listed.credit_transactions) == [made]


async def test_a_refund_that_is_too_much_credit_is_refused(suite: Suite) -> None:
    ann = await new_customer(suite)
    await ann.shop.scheduler.CreateStandingOrder(await ann.ask())
    await suite.advance(NOTICE_LEAD + timedelta(days=3))
    charges = await ann.shop.payments.ListCharges(payments_pb2.ListChargesRequest(parent=ann.name))
    [charge] = charges.charges
    await ann.shop.payments.CreateCreditTransaction(
        change(ann, AMOUNT_MINOR_MAX, Transaction.OVERPAYMENT)
    )
    refund = payments_pb2.CreateRefundRequest(
        parent=charge.name,
        refund_id="kept",
        refund=payments_pb2.Refund(to_credit=True),
        request_id=new_id(),
    )
    refusal = await refused(ann.shop.payments.CreateRefund(refund))
    assert refusal.reason == "CREDIT_TOO_HIGH"
    await ann.shop.payments.CreateCreditTransaction(
        change(ann, -AMOUNT_MINOR_MAX, Transaction.PAYOUT, "out")
    )
    given = await ann.shop.payments.CreateRefund(refund)
    assert (given.state, given.credit_amount) == (payments_pb2.Refund.SUCCEEDED, charge.amount)


async def test_credit_is_on_the_notice_and_on_the_receipt(suite: Suite) -> None:
    ann = await new_customer(suite)
    await ann.shop.payments.CreateCreditTransaction(change(ann, 200, Transaction.GOODWILL))
    await ann.shop.scheduler.CreateStandingOrder(await ann.ask())
    await suite.advance(timedelta(days=2, hours=12))
    assert any("Your credit pays 2.00 EUR of it" in text for text in await texts(ann))
    await suite.advance(timedelta(days=3))
    paid = "2.00 EUR from your credit, 7.00 EUR charged."
    assert any(paid in text for text in await texts(ann))


async def test_credit_that_is_spent_meanwhile_has_the_card_pay_no_more_than_announced(
    suite: Suite,
) -> None:
    ann = await new_customer(suite)
    await ann.shop.payments.CreateCreditTransaction(change(ann, 200, Transaction.GOODWILL))
    await ann.shop.scheduler.CreateStandingOrder(await ann.ask())
    await suite.advance(timedelta(days=2, hours=12))
    await ann.shop.payments.CreateCreditTransaction(change(ann, -200, Transaction.PAYOUT, "out"))
    await suite.advance(timedelta(days=3))
    charges = await ann.shop.payments.ListCharges(payments_pb2.ListChargesRequest(parent=ann.name))
    [charge] = charges.charges
    assert (charge.state, charge.HasField("credit_amount")) == (
        payments_pb2.Charge.SUCCEEDED,
        False,
    )
    [notified] = [text for text in await texts(ann) if "comes to 9.00 EUR" in text]
    assert "unless you use it before" in notified
    assert charge.amount == to_money(900, "EUR")


async def texts(ann: Customer) -> list[str]:
    """What is on her phone."""
    await ann.suite.sandbox.settle()
    return [str(message["body"]) for message in await ann.suite.sandbox.inbox(ann.phone)]
