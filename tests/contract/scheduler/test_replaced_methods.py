"""A customer pays by bank debit from now on: every charge is on the day that was announced."""

from datetime import timedelta

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from recurring.payments.v1 import payments_pb2
from recurring.scheduler.v1 import scheduler_pb2 as pb

from services.runtime.rpc.conversions import from_timestamp
from tests.contract.scheduler.shop import Shop
from tests.suite import new_id

DAY = timedelta(days=1)
SEPA_DEBIT = "pm_sandbox_sepaDebit"
SEPA_LEAD = 14 * DAY


async def automatic(shop: Shop, after: timedelta) -> pb.StandingOrder:
    """A standing order of Ada by card with a lead of one day and one cycle."""
    mandate = await shop.add_card("ada")
    when = await shop.due_in(after, cycle_count=1)
    return await shop.create(when, billing_mode=pb.AUTOMATIC, mandate=mandate)


async def replace_card(shop: Shop, token: str, method_id: str = "account") -> None:
    await shop.client.payments.ReplacePaymentMethod(
        payments_pb2.ReplacePaymentMethodRequest(
            name=f"{shop.customer('ada')}/paymentMethods/card",
            payment_method_id=method_id,
            payment_method=payments_pb2.PaymentMethod(provider_token=token),
            request_id=new_id(),
        )
    )
    await shop.suite.sandbox.settle()


async def test_what_is_replaced_in_time_is_announced_earlier_and_charged_on_its_day(
    shop: Shop,
) -> None:
    made = await automatic(shop, 20 * DAY)
    due_time = from_timestamp(made.next_due_time)
    assert made.effective_notice_lead.ToTimedelta() == DAY
    await replace_card(shop, SEPA_DEBIT)
    assert (await shop.get(made.name)).effective_notice_lead.ToTimedelta() == SEPA_LEAD
    await shop.suite.advance(6 * DAY)
    assert await shop.outcomes(made.name) == [(1, "UPCOMING", [])]
    await shop.suite.advance(SEPA_LEAD + DAY / 10)
    order = await shop.order(made.name)
    assert order.state == pb.Order.PAID
    assert from_timestamp(order.pay_time) - due_time < timedelta(hours=1)


@pytest.mark.parametrize("passed", [DAY / 2, 1.5 * DAY], ids=["not announced yet", "announced"])
async def test_what_is_replaced_too_late_is_charged_later_and_the_phone_says_when(
    shop: Shop, passed: timedelta
) -> None:
    made = await automatic(shop, 2 * DAY)
    await shop.suite.advance(passed)
    await replace_card(shop, SEPA_DEBIT)
    stated = (await shop.now()) + SEPA_LEAD
    order = await shop.order(made.name)
    assert abs(from_timestamp(order.charge_not_before_time) - stated) < timedelta(hours=1)
    assert f"{stated.day} {stated:%b %Y}" in (await shop.texts())[-1]
    await shop.suite.advance(SEPA_LEAD - DAY / 4)
    assert await shop.outcomes(made.name) == [(1, "UPCOMING", [])]
    assert await shop.charge_states() == {}
    await shop.suite.advance(DAY / 2)
    assert await shop.outcomes(made.name) == [(1, "PAID", [])]


async def test_a_customer_who_goes_on_with_another_card_hears_nothing_again(shop: Shop) -> None:
    made = await automatic(shop, 2 * DAY)
    await shop.suite.advance(1.5 * DAY)
    before = await shop.texts()
    await replace_card(shop, "pm_card_mastercard")
    assert await shop.texts() == before
    await shop.suite.advance(DAY)
    assert await shop.outcomes(made.name) == [(1, "PAID", [])]


async def test_a_longer_lead_that_a_mandate_promises_counts_for_the_next_charge(
    shop: Shop,
) -> None:
    made = await automatic(shop, 20 * DAY)
    await shop.client.payments.AmendMandate(
        payments_pb2.AmendMandateRequest(
            name=made.mandate,
            terms=payments_pb2.MandateTerms(lead=Duration(seconds=int(10 * DAY.total_seconds()))),
            update_mask=FieldMask(paths=["lead"]),
            request_id=new_id(),
        )
    )
    await shop.suite.sandbox.settle()
    assert (await shop.get(made.name)).effective_notice_lead.ToTimedelta() == 10 * DAY
