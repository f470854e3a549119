"""An order stays as its customer was told, whatever becomes of its standing order meanwhile."""

from datetime import timedelta

from google.protobuf import duration_pb2
from recurring.notify.v1 import events_pb2 as notify_events_pb2
from recurring.notify.v1 import notify_pb2
from recurring.payments.v1 import payments_pb2
from recurring.scheduler.v1 import scheduler_pb2 as pb

from tests.contract.scheduler.shop import Shop
from tests.suite import new_id

DAY = timedelta(days=1)
BEFORE_DUE, AFTER_DUE = 1.5 * DAY, 2.2 * DAY


async def texts(shop: Shop, kind: notify_pb2.NoticeKind.ValueType) -> list[str]:
    """The notices of a kind to Ada, the oldest first."""
    response = await shop.client.notify.ListNotices(
        notify_pb2.ListNoticesRequest(parent=shop.customer("ada"), page_size=1000)
    )
    return [notice.deliveries[0].text for notice in response.notices if notice.kind == kind]


async def revoke(shop: Shop, mandate: str) -> None:
    await shop.client.payments.RevokeMandate(
        payments_pb2.RevokeMandateRequest(name=mandate, request_id=new_id())
    )


async def test_an_order_announced_to_be_confirmed_is_never_charged_without_asking(
    shop: Shop,
) -> None:
    mandate = await shop.sign_up("ada")
    made = await shop.create(await shop.due_in(2 * DAY, every_days=5, cycle_count=2))
    await shop.suite.advance(BEFORE_DUE)
    await shop.update(
        made.name, ["billing_mode", "mandate"], billing_mode=pb.AUTOMATIC, mandate=mandate
    )
    await shop.suite.advance(AFTER_DUE - BEFORE_DUE)
    assert await shop.outcomes(made.name) == [(1, "AWAITING_PAYMENT", [])]
    assert list((await shop.charge_states()).values()) == ["REQUESTED"]
    await shop.suite.advance(5 * DAY)
    # The next cycle is announced as it is charged.
    assert (await shop.outcomes(made.name))[1] == (2, "PAID", [])


async def test_an_order_announced_to_be_charged_is_charged_as_announced(shop: Shop) -> None:
    mandate = await shop.sign_up("ada")
    made = await shop.create(
        await shop.due_in(2 * DAY, every_days=5, cycle_count=2),
        billing_mode=pb.AUTOMATIC,
        mandate=mandate,
    )
    await shop.suite.advance(BEFORE_DUE)
    changed = {"billing_mode": pb.PAY_ON_NOTICE, "title": "Earl Grey"}
    await shop.update(made.name, ["billing_mode", "mandate", "title"], **changed)
    await shop.suite.advance(AFTER_DUE - BEFORE_DUE)
    order = await shop.order(made.name)
    assert (order.state, order.billing_mode, order.mandate, order.title) == (
        pb.Order.PAID,
        pb.AUTOMATIC,
        mandate,
        "Tea",
    )
    [receipt] = await texts(shop, notify_pb2.RECEIPT)
    assert "for Tea on" in receipt


async def test_a_request_to_pay_lasts_as_long_as_it_did_when_it_was_announced(shop: Shop) -> None:
    window = duration_pb2.Duration(seconds=3600 * 24)
    when = await shop.due_in(2 * DAY, cycle_count=1)
    made = await shop.create(when, payment_window=window)
    await shop.suite.advance(BEFORE_DUE)
    longer = duration_pb2.Duration(seconds=3600 * 24 * 20)
    await shop.update(made.name, ["payment_window"], payment_window=longer)
    await shop.suite.advance(AFTER_DUE + 1.5 * DAY - BEFORE_DUE)
    assert await shop.outcomes(made.name) == [(1, "LAPSED", ["PAYMENT_REQUEST_EXPIRED"])]


async def test_a_mandate_that_is_mended_after_the_notice_pays_the_announced_order(
    shop: Shop,
) -> None:
    mandate = await shop.sign_up("ada")
    made = await shop.create(
        await shop.due_in(2 * DAY, cycle_count=1), billing_mode=pb.AUTOMATIC, mandate=mandate
    )
    await shop.suite.advance(BEFORE_DUE)
    await revoke(shop, mandate)
    mended = await shop.consent(
        shop.customer("ada"), f"{shop.customer('ada')}/paymentMethods/card", 10_000, "mended"
    )
    await shop.update(made.name, ["mandate"], mandate=mended)
    await shop.suite.advance(AFTER_DUE - BEFORE_DUE)
    order = await shop.order(made.name)
    assert (order.state, order.mandate) == (pb.Order.PAID, mended)
    explained = await shop.scheduler.ExplainOrder(pb.ExplainOrderRequest(name=order.name))
    assert "MANDATE_REPLACED" in [decision.kind for decision in explained.decisions]


async def test_a_mandate_that_still_covers_an_announced_order_is_the_one_that_is_used(
    shop: Shop,
) -> None:
    mandate = await shop.sign_up("ada")
    made = await shop.create(
        await shop.due_in(2 * DAY, cycle_count=1), billing_mode=pb.AUTOMATIC, mandate=mandate
    )
    await shop.suite.advance(BEFORE_DUE)
    other = await shop.consent(
        shop.customer("ada"), f"{shop.customer('ada')}/paymentMethods/card", 10_000, "other"
    )
    await shop.update(made.name, ["mandate"], mandate=other)
    await shop.suite.advance(AFTER_DUE - BEFORE_DUE)
    order = await shop.order(made.name)
    assert (order.state, order.mandate) == (pb.Order.PAID, mandate)


async def test_the_evidence_of_a_notice_says_how_the_notice_said_they_pay(
    shop: Shop,
) -> None:
    await shop.create(await shop.due_in(2 * DAY, cycle_count=1))
    async with shop.suite.subscribe_events() as subscription:
        await shop.suite.advance(BEFORE_DUE)
        received = await subscription.next(
            notify_events_pb2.ChargeNoticeDelivered, shop.client.merchant
        )
    assert received.message.charge_promise.billing_mode == pb.PAY_ON_NOTICE
