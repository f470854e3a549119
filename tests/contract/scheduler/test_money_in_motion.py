"""What becomes of an order that is under way when its standing order is paused or cancelled.

Money that has moved buys the order; money that has not never will.
"""

import asyncio
from datetime import timedelta

import grpc
from recurring.payments.v1 import payments_pb2
from recurring.scheduler.v1 import scheduler_pb2 as pb

from tests.contract.scheduler.shop import TEA_MINOR, Shop
from tests.suite import new_id, refused

DAY = timedelta(days=1)
BEFORE_DUE, AFTER_DUE = 1.5 * DAY, 2.2 * DAY


def charge_of(standing_order: pb.StandingOrder, cycle: int = 1) -> str:
    return f"{standing_order.name.rpartition('/')[2]}-{cycle}"


async def subscribe(shop: Shop, *, cycles: int = 1, mandate: str = "") -> pb.StandingOrder:
    """A standing order of Ada that is due in two days; without a mandate she confirms each payment."""
    how = {"billing_mode": pb.AUTOMATIC, "mandate": mandate} if mandate else {}
    return await shop.create(await shop.due_in(2 * DAY, every_days=5, cycle_count=cycles), **how)


async def confirm(shop: Shop, standing_order: pb.StandingOrder) -> payments_pb2.Charge:
    """Ada's yes to the payment of the first cycle."""
    return await shop.client.payments.ConfirmPaymentRequest(
        payments_pb2.ConfirmPaymentRequestRequest(
            name=f"{shop.customer('ada')}/charges/{charge_of(standing_order)}",
            payment_method=f"{shop.customer('ada')}/paymentMethods/card",
            request_id=new_id(),
        )
    )


async def test_an_announced_order_is_cancelled_with_its_standing_order_and_never_charged(
    shop: Shop,
) -> None:
    made = await subscribe(shop, mandate=await shop.sign_up("ada"))
    await shop.suite.advance(BEFORE_DUE)
    assert await shop.outcomes(made.name) == [(1, "UPCOMING", [])]
    await shop.cancel(made.name)
    await shop.suite.advance(3 * DAY)
    assert await shop.outcomes(made.name) == [(1, "CANCELLED", ["STANDING_ORDER_CANCELLED"])]
    assert await shop.charge_states() == {}
    assert (await shop.notice_kinds())[-2:] == ["STANDING_ORDER_CHANGED", "ORDER_CANCELLED"]


async def test_a_request_to_pay_that_nobody_answered_is_withdrawn(shop: Shop) -> None:
    await shop.sign_up("ada")
    made = await subscribe(shop)
    await shop.suite.advance(AFTER_DUE)
    assert await shop.outcomes(made.name) == [(1, "AWAITING_PAYMENT", [])]
    await shop.cancel(made.name)
    await shop.suite.sandbox.settle()
    assert await shop.outcomes(made.name) == [(1, "CANCELLED", ["STANDING_ORDER_CANCELLED"])]
    assert await shop.charge_states() == {charge_of(made): "ABANDONED"}
    assert (await refused(confirm(shop, made))).reason == "PAYMENT_REQUEST_STATE"


async def test_a_charge_that_was_declined_is_not_tried_again(shop: Shop) -> None:
    broke = await shop.sign_up("ada", card="pm_card_chargeDeclinedInsufficientFunds")
    made = await subscribe(shop, mandate=broke)
    await shop.suite.advance(AFTER_DUE)
    assert await shop.outcomes(made.name) == [(1, "AWAITING_PAYMENT", [])]
    await shop.cancel(made.name)
    await shop.suite.advance(10 * DAY)
    assert await shop.outcomes(made.name) == [(1, "CANCELLED", ["STANDING_ORDER_CANCELLED"])]
    [charge] = (
        await shop.client.payments.ListCharges(
            payments_pb2.ListChargesRequest(parent=shop.customer("ada"))
        )
    ).charges
    assert len(charge.attempts) == 1


async def test_what_is_paid_is_delivered_whatever_is_cancelled_after(shop: Shop) -> None:
    made = await subscribe(shop, cycles=3, mandate=await shop.sign_up("ada"))
    await shop.suite.advance(AFTER_DUE)
    await shop.cancel(made.name)
    await shop.suite.advance(10 * DAY)
    assert await shop.outcomes(made.name) == [(1, "PAID", [])]
    assert await shop.charge_states() == {charge_of(made): "SUCCEEDED"}


async def test_a_pause_carries_a_payment_through_and_opens_nothing_after_it(shop: Shop) -> None:
    await shop.sign_up("ada")
    made = await subscribe(shop, cycles=3)
    await shop.suite.advance(AFTER_DUE)
    await shop.pause(made.name)
    await confirm(shop, made)
    await shop.suite.advance(10 * DAY)
    # The pause outlasts all that was left, and each cycle of that has its row.
    assert await shop.outcomes(made.name) == [
        (1, "PAID", []),
        (2, "SKIPPED", ["PAUSED"]),
        (3, "SKIPPED", ["PAUSED"]),
    ]
    assert "RECEIPT" in await shop.notice_kinds()


async def test_a_payment_that_is_on_its_way_when_the_customer_cancels_buys_the_order(
    shop: Shop,
) -> None:
    """The provider took the money and its answer was lost."""
    lossy = await shop.sign_up("ada", card="pm_sandbox_timeoutAfterCharge")
    made = await subscribe(shop, cycles=3, mandate=lossy)
    async with asyncio.TaskGroup() as both:
        both.create_task(shop.suite.advance(AFTER_DUE))
        both.create_task(cancel_once_it_is_due(shop, made))
    await shop.suite.advance(DAY)
    [(_, state, _)] = await shop.outcomes(made.name)
    [charge] = (await shop.charge_states()).values()
    assert (state, charge) in {("PAID", "SUCCEEDED"), ("CANCELLED", "ABANDONED")}
    assert await money_taken(shop, made) == (TEA_MINOR if state == "PAID" else 0)


async def cancel_once_it_is_due(shop: Shop, made: pb.StandingOrder) -> None:
    while not any(  # noqa: ASYNC110 - the service is another process
        state != "UPCOMING" for _, state, _ in await shop.outcomes(made.name)
    ):
        await asyncio.sleep(0.005)
    await shop.cancel(made.name)


async def money_taken(shop: Shop, *standing_orders: pb.StandingOrder) -> int:
    """What the provider took for the first cycles of standing orders, by its own books."""
    key = shop.suite.deployment.keys.password("provider")
    charges = {
        f"{shop.customer('ada')}/charges/{charge_of(standing_order)}"
        for standing_order in standing_orders
    }
    listed = shop.suite.sandbox.listed(
        "/v1/payment_intents", {}, cursor=("starting_after", "id"), api_key=key
    )
    return sum(
        [
            intent["amount"]
            async for intent in listed
            if intent["status"] == "succeeded" and intent["metadata"]["charge"] in charges
        ]
    )


async def test_of_many_that_are_paid_and_cancelled_at_once_each_ends_one_way(shop: Shop) -> None:
    await shop.sign_up("ada")
    many = [await subscribe(shop) for _ in range(12)]
    await shop.suite.advance(AFTER_DUE)
    answers = await asyncio.gather(
        *(call for order in many for call in (shop.cancel(order.name), confirm(shop, order))),
        return_exceptions=True,
    )
    await shop.suite.sandbox.settle()
    states = await shop.charge_states()
    ends = {
        order.name: ((await shop.outcomes(order.name))[0][1], states[charge_of(order)])
        for order in many
    }
    assert set(ends.values()) <= {("PAID", "SUCCEEDED"), ("CANCELLED", "ABANDONED")}
    paid = [order for order in many if ends[order.name][0] == "PAID"]
    assert await money_taken(shop, *many) == TEA_MINOR * len(paid)
    # A customer who was told yes has got what they paid for.
    confirmed = answers[1::2]
    for order, answer in zip(many, confirmed, strict=True):
        if isinstance(answer, grpc.aio.AioRpcError):
            assert ends[order.name] == ("CANCELLED", "ABANDONED")
