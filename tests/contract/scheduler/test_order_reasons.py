"""What can come in an order's way, what becomes of the order then, and what the customer hears."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from google.protobuf.json_format import MessageToDict
from recurring.catalog.v1 import catalog_pb2
from recurring.notify.v1 import notify_pb2
from recurring.payments.v1 import payments_pb2
from recurring.scheduler.v1 import scheduler_pb2 as pb

from services.runtime.rpc.conversions import to_timestamp
from tests.contract.scheduler.shop import Shop
from tests.suite import new_id, refused

DAY = timedelta(days=1)
BEFORE_DUE, AFTER_DUE, AFTER_HOLD = 1.5 * DAY, 2.2 * DAY, 6 * DAY


async def once(shop: Shop, mandate: str, product: str = "tea") -> pb.StandingOrder:
    """A standing order of Ada for one cycle that is due in two days, told of a day before."""
    return await shop.create(
        await shop.due_in(2 * DAY, cycle_count=1),
        items=[shop.item(product)],
        billing_mode=pb.AUTOMATIC,
        mandate=mandate,
    )


async def revoke(shop: Shop, mandate: str) -> None:
    await shop.client.payments.RevokeMandate(
        payments_pb2.RevokeMandateRequest(name=mandate, request_id=new_id())
    )


@asynccontextmanager
async def no_messages(shop: Shop) -> AsyncIterator[None]:
    """Neither SMS nor mail gets through meanwhile."""
    parts = ("sms", "mail")
    for part in parts:
        await shop.suite.sandbox.switch_outage(part, on=True)
    try:
        yield
    finally:
        for part in parts:
            await shop.suite.sandbox.switch_outage(part, on=False)


async def test_an_order_whose_product_is_gone_is_left_out_at_once(shop: Shop) -> None:
    made = await once(shop, await shop.sign_up("ada"))
    await shop.suite.advance(BEFORE_DUE)
    await shop.client.catalog.DiscontinueProduct(
        catalog_pb2.DiscontinueProductRequest(name=shop.product("tea"), request_id=new_id())
    )
    await shop.suite.advance(AFTER_DUE - BEFORE_DUE)
    assert await shop.outcomes(made.name) == [(1, "SKIPPED", ["PRODUCT_UNAVAILABLE"])]
    assert (await shop.notice_kinds())[-2:] == ["ORDER_SKIPPED", "STANDING_ORDER_CHANGED"]
    assert (await shop.get(made.name)).state == pb.StandingOrder.COMPLETED


async def test_an_empty_shelf_holds_the_order_until_it_is_filled(shop: Shop) -> None:
    await shop.sell("cake", 900, stock_tracked=True)
    made = await once(shop, await shop.sign_up("ada"), "cake")
    await shop.suite.advance(AFTER_DUE)
    assert await shop.outcomes(made.name) == [(1, "HELD", ["OUT_OF_STOCK"])]
    await shop.client.catalog.AdjustStock(
        catalog_pb2.AdjustStockRequest(
            product=shop.product("cake"), delta_units=1, request_id=new_id()
        )
    )
    await shop.suite.advance(DAY)
    assert await shop.outcomes(made.name) == [(1, "PAID", [])]


async def test_an_order_out_of_stock_goes_on_as_soon_as_units_arrive(shop: Shop) -> None:
    await shop.sell("cake", 900, stock_tracked=True)
    made = await once(shop, await shop.sign_up("ada"), "cake")
    await shop.suite.advance(AFTER_DUE)
    assert await shop.outcomes(made.name) == [(1, "HELD", ["OUT_OF_STOCK"])]
    await shop.client.catalog.AdjustStock(
        catalog_pb2.AdjustStockRequest(
            product=shop.product("cake"), delta_units=1, request_id=new_id()
        )
    )
    # Long before it would be looked at again by itself.
    await shop.suite.advance(timedelta(minutes=10))
    assert await shop.outcomes(made.name) == [(1, "PAID", [])]


async def test_the_units_of_a_paid_order_are_not_given_back_by_hand(shop: Shop) -> None:
    await shop.sell("cake", 900, stock_tracked=True)
    await shop.client.catalog.AdjustStock(
        catalog_pb2.AdjustStockRequest(
            product=shop.product("cake"), delta_units=3, request_id=new_id()
        )
    )
    made = await once(shop, await shop.sign_up("ada"), "cake")
    await shop.suite.advance(AFTER_DUE)
    assert await shop.outcomes(made.name) == [(1, "PAID", [])]
    refusal = await refused(
        shop.client.catalog.ReleaseStockHold(
            catalog_pb2.ReleaseStockHoldRequest(order=f"{made.name}/orders/1", request_id=new_id())
        )
    )
    assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "STOCK_HOLD_COMMITTED")
    stock = await shop.client.catalog.GetStock(
        catalog_pb2.GetStockRequest(product=shop.product("cake"))
    )
    assert (stock.on_hand_units, stock.committed_units) == (2, 1)


async def test_a_mandate_that_is_revoked_before_the_notice_holds_the_order(shop: Shop) -> None:
    mandate = await shop.sign_up("ada")
    made = await once(shop, mandate)
    await revoke(shop, mandate)
    await shop.suite.advance(BEFORE_DUE)
    assert await shop.outcomes(made.name) == [(1, "HELD", ["MANDATE_NOT_COVERING"])]
    assert await shop.charge_states() == {}
    explained = await shop.scheduler.ExplainOrder(
        pb.ExplainOrderRequest(name=f"{made.name}/orders/1")
    )
    [held] = [decision for decision in explained.decisions if decision.kind == "HELD"]
    assert MessageToDict(held.data)["mandate_reasons"] == ["MANDATE_REVOKED"]
    notices = await shop.client.notify.ListNotices(
        notify_pb2.ListNoticesRequest(parent=shop.customer("ada"), page_size=1000)
    )
    [notice] = [notice for notice in notices.notices if notice.kind == notify_pb2.ORDER_HELD]
    assert "your consent to be charged is withdrawn" in notice.deliveries[0].text


async def test_a_mandate_that_is_revoked_after_the_notice_refuses_the_charge(shop: Shop) -> None:
    mandate = await shop.sign_up("ada")
    made = await once(shop, mandate)
    await shop.suite.advance(BEFORE_DUE)
    await revoke(shop, mandate)
    await shop.suite.advance(DAY)
    assert await shop.outcomes(made.name) == [(1, "LAPSED", ["PAYMENT_REFUSED"])]
    assert list((await shop.charge_states()).values()) == ["REFUSED"]


async def test_a_card_that_is_declined_for_good_ends_the_order(shop: Shop) -> None:
    made = await once(shop, await shop.sign_up("ada", card="pm_card_chargeDeclinedLostCard"))
    await shop.suite.advance(AFTER_DUE)
    assert await shop.outcomes(made.name) == [(1, "LAPSED", ["PAYMENT_DECLINED"])]


async def test_eight_orders_on_a_dead_card_make_one_attempt_and_one_message(shop: Shop) -> None:
    mandate = await shop.sign_up("ada", card="pm_card_chargeDeclinedLostCard")
    made = [await once(shop, mandate) for _ in range(8)]
    await shop.suite.advance(AFTER_DUE)
    states = [await shop.outcomes(standing_order.name) for standing_order in made]
    assert sorted(str(state[0][2]) for state in states) == [
        "['PAYMENT_DECLINED']",
        *["['PAYMENT_REFUSED']"] * 7,
    ]
    events = await shop.notice_kinds()
    assert events.count("PAYMENT_METHOD_BLOCKED") == 1
    assert not {"ORDER_LAPSED", "PAYMENT_DECLINED"}.intersection(events)


async def test_a_coming_cycle_waits_for_a_blocked_card_to_be_replaced(shop: Shop) -> None:
    mandate = await shop.sign_up("ada", card="pm_card_chargeDeclinedLostCard")
    await once(shop, mandate)
    later = await shop.create(
        await shop.due_in(4 * DAY, cycle_count=1), billing_mode=pb.AUTOMATIC, mandate=mandate
    )
    await shop.suite.advance(3.5 * DAY)
    assert await shop.outcomes(later.name) == [(1, "HELD", ["PAYMENT_METHOD_BLOCKED"])]
    await shop.update(
        later.name, ["mandate"], mandate=await shop.add_card("ada", "second", mandate_id="second")
    )
    await shop.suite.advance(2 * DAY)
    assert await shop.outcomes(later.name) == [(1, "PAID", [])]


async def test_a_request_is_confirmed_with_another_card_once_one_is_blocked(shop: Shop) -> None:
    await shop.sign_up("ada", card="pm_card_chargeDeclinedLostCard")
    await shop.create(await shop.due_in(2 * DAY, cycle_count=1))
    await shop.suite.advance(AFTER_DUE)
    [charge] = await shop.charge_states()
    customer = shop.customer("ada")
    confirm = payments_pb2.ConfirmPaymentRequestRequest(
        name=f"{customer}/charges/{charge}",
        payment_method=f"{customer}/paymentMethods/card",
        request_id=new_id(),
    )
    await shop.client.payments.ConfirmPaymentRequest(confirm)
    await shop.suite.sandbox.settle()
    confirm.request_id = new_id()
    again = await refused(shop.client.payments.ConfirmPaymentRequest(confirm))
    assert again.reason == "PAYMENT_METHOD_BLOCKED"


async def test_a_retry_takes_the_card_that_the_customer_has_changed_to(shop: Shop) -> None:
    declined = "pm_card_chargeDeclinedInsufficientFunds"
    made = await once(shop, await shop.sign_up("ada", card=declined))
    await shop.suite.advance(BEFORE_DUE + DAY)
    assert await shop.outcomes(made.name) == [(1, "AWAITING_PAYMENT", [])]
    await shop.update(
        made.name, ["mandate"], mandate=await shop.add_card("ada", "second", mandate_id="second")
    )
    await shop.suite.advance(2 * DAY)
    assert await shop.outcomes(made.name) == [(1, "PAID", [])]


async def test_a_notice_that_reaches_nobody_holds_the_order_and_nothing_is_charged(
    shop: Shop,
) -> None:
    made = await once(shop, await shop.sign_up("ada"))
    async with no_messages(shop):
        await shop.suite.advance(AFTER_DUE)
        assert await shop.outcomes(made.name) == [(1, "HELD", ["NOTICE_UNDELIVERABLE"])]
        assert await shop.charge_states() == {}
    await shop.suite.advance(3 * DAY)
    assert await shop.outcomes(made.name) == [(1, "PAID", [])]


async def test_a_blackout_leaves_a_row_that_says_so(shop: Shop) -> None:
    when = await shop.due_in(2 * DAY, cycle_count=2)
    blackout = pb.Schedule.Blackout(start_date=when.start_date, end_date=when.start_date)
    when.blackouts.append(blackout)
    made = await shop.create(when)
    await shop.suite.advance(AFTER_DUE)
    first, *_ = await shop.outcomes(made.name)
    assert first == (1, "SKIPPED", ["DATE_EXCLUDED"])


async def test_a_mandate_whose_time_is_over_shows_as_expired(shop: Shop) -> None:
    await shop.sign_up("ada")
    mandate = await shop.consent(
        shop.customer("ada"),
        f"{shop.customer('ada')}/paymentMethods/card",
        10_000,
        "short",
        valid_until_time=to_timestamp(await shop.now() + DAY),
    )

    async def state() -> payments_pb2.Mandate.State.ValueType:
        got = await shop.client.payments.GetMandate(payments_pb2.GetMandateRequest(name=mandate))
        return got.state

    assert await state() == payments_pb2.Mandate.ACTIVE
    await shop.suite.advance(1.1 * DAY)
    assert await state() == payments_pb2.Mandate.EXPIRED


async def test_a_notice_that_reached_nobody_is_not_explained_as_sent(shop: Shop) -> None:
    made = await once(shop, await shop.sign_up("ada"))
    async with no_messages(shop):
        await shop.suite.advance(BEFORE_DUE)
        explained = await shop.scheduler.ExplainOrder(
            pb.ExplainOrderRequest(name=f"{made.name}/orders/1")
        )
        words = [decision.summary for decision in explained.decisions if decision.kind == "NOTICE"]
        assert words
        assert not [text for text in words if "was sent" in text]
