"""Refunds of single products: never more of one than it was charged for."""

import asyncio

import pytest
from google.type import money_pb2
from recurring.payments.v1 import payments_pb2
from recurring.scheduler.v1 import events_pb2 as scheduler_events_pb2

from services.runtime.errors import Problem
from services.runtime.rpc.conversions import to_money
from tests.integration.payments.suite import CHARGE, DAY, Payments
from tests.integration.payments.test_credit import give
from tests.integration.payments.test_late_refunds import (
    let_refunds,
    pass_time_at_provider,
    refund_of,
)

RefundLine = payments_pb2.RefundLine


def sold(product: str, minor: int) -> scheduler_events_pb2.PaymentLine:
    return scheduler_events_pb2.PaymentLine(
        product=f"merchants/acme/products/{product}",
        quantity=1,
        net_amount=to_money(minor, "EUR"),
    )


@pytest.fixture
async def paid(payments: Payments) -> Payments:
    await payments.consent()
    await payments.announce()
    await payments.fall_due(payments.due(lines=[sold("beans", 1000), sold("cup", 250)]))
    await payments.work()
    return payments


async def give_back(
    payments: Payments, refund_id: str, **minor_by_product: int | None
) -> payments_pb2.Refund:
    lines = [
        RefundLine(product_id=product, amount=None if minor is None else eur(minor))
        for product, minor in minor_by_product.items()
    ]
    request = payments_pb2.CreateRefundRequest(
        parent=CHARGE, refund_id=refund_id, refund=payments_pb2.Refund(lines=lines)
    )
    made: payments_pb2.Refund = await payments.call(request)
    return made


def eur(minor: int) -> money_pb2.Money:
    return to_money(minor, "EUR")


async def test_a_product_is_given_back_as_a_whole_or_in_part_and_never_twice(
    paid: Payments,
) -> None:
    whole = await give_back(paid, "cup", cup=None)
    part = await give_back(paid, "some", beans=400)
    assert (whole.amount, part.amount) == (eur(250), eur(400))
    with pytest.raises(Problem, match="cup") as refused:
        await give_back(paid, "again", cup=1)
    assert refused.value.reason == "REFUND_ABOVE_CHARGE"
    rest = await give_back(paid, "rest", beans=None)
    assert rest.lines == [RefundLine(product_id="beans", amount=eur(600))]
    await paid.work()
    assert (await paid.charge()).refunded_amount == eur(1250)


async def test_what_is_no_product_of_the_charge_is_refused(paid: Payments) -> None:
    with pytest.raises(Problem) as refused:
        await give_back(paid, "tea", tea=None)
    assert [violation.field for violation in refused.value.violations] == [
        "refund.lines[0].product_id"
    ]


async def test_two_refunds_of_one_product_at_once_give_it_back_once(paid: Payments) -> None:
    made = await asyncio.gather(
        *(give_back(paid, f"cup-{number}", cup=None) for number in range(4)),
        return_exceptions=True,
    )
    assert sum(isinstance(refund, payments_pb2.Refund) for refund in made) == 1
    await paid.work()
    assert (await paid.charge()).refunded_amount == eur(250)


async def test_what_a_failed_refund_gave_as_credit_is_not_given_back_again(
    payments: Payments,
) -> None:
    await give(payments, 700)
    await payments.consent()
    await payments.announce()
    await payments.fall_due(payments.due(lines=[sold("beans", 1000), sold("cup", 250)]))
    await payments.work()
    # 5.50 EUR go back to the card, and 4.50 EUR become credit again, which stays given.
    await let_refunds(payments, refunds_pending_seconds=60, refunds_fail_after_seconds=30)
    await give_back(payments, "first", beans=None)
    await payments.work()
    await pass_time_at_provider(payments, 60)
    await payments.pass_time(DAY)
    assert (await refund_of(payments, "first")).state == payments_pb2.Refund.FAILED

    rest = await give_back(payments, "rest", beans=None)
    assert rest.lines == [RefundLine(product_id="beans", amount=eur(550))]
