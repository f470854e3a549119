"""Nobody gets twice what they wanted once, and merchants say what unpaid orders do."""

import asyncio
from datetime import timedelta
from typing import Any

import grpc
import pytest
from google.protobuf import field_mask_pb2
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from recurring.notify.v1 import notify_pb2
from recurring.payments.v1 import payments_pb2
from recurring.scheduler.v1 import scheduler_pb2

from services.runtime.rpc.conversions import to_timestamp
from tests.contract.customer import Customer, add_product, new_customer
from tests.suite import Suite, new_id, refused

StandingOrder = scheduler_pb2.StandingOrder
Order = scheduler_pb2.Order
Otherwise = scheduler_pb2.Otherwise
Settings = scheduler_pb2.SchedulerSettings

DAY = timedelta(days=1)
# The first cycle is due on the fifth day.
PREPARED, COLLECTED, SECOND_COLLECTED = 3 * DAY, 6 * DAY, 13 * DAY


@pytest.fixture
async def ann(suite: Suite) -> Customer:
    return await new_customer(suite)


def tea(ann: Customer) -> str:
    return f"{ann.shop.name}/products/tea"


async def buy(ann: Customer, product: str = "tea") -> list[str]:
    """Ann buys a product elsewhere; returns the standing orders that count it."""
    answer = await ann.shop.scheduler.RecordPurchase(
        scheduler_pb2.RecordPurchaseRequest(
            customer=ann.name, products=[f"{ann.shop.name}/products/{product}"], request_id=new_id()
        )
    )
    return list(answer.standing_orders)


async def order(ann: Customer, standing_order: StandingOrder, cycle: int = 1) -> Order:
    request = scheduler_pb2.GetOrderRequest(name=f"{standing_order.name}/orders/{cycle}")
    placed: Order = await ann.shop.scheduler.GetOrder(request)
    return placed


def state_of(placed: Order) -> tuple[str, list[str]]:
    return Order.State.Name(placed.state), [
        scheduler_pb2.OrderReason.Name(reason) for reason in placed.reasons
    ]


async def notice_kinds(ann: Customer, placed: Order) -> list[str]:
    notices = await ann.shop.notify.ListNotices(
        notify_pb2.ListNoticesRequest(parent=ann.name, subject_resource=placed.name)
    )
    return [notify_pb2.NoticeKind.Name(notice.kind) for notice in notices.notices]


def confirmation(placed: Order) -> scheduler_pb2.ConfirmOrderRequest:
    return scheduler_pb2.ConfirmOrderRequest(name=placed.name, request_id=new_id())


def repurchase(action: Any = Otherwise.ACTION_UNSPECIFIED) -> dict[str, Any]:  # noqa: ANN401
    wanted = StandingOrder(repurchase_action=action)
    wanted.repurchase_window.FromTimedelta(10 * DAY)
    return {
        "repurchase_window": wanted.repurchase_window,
        "repurchase_action": wanted.repurchase_action,
    }


async def set_policy(ann: Customer, policy: Any, etag: str = "") -> Settings:  # noqa: ANN401
    settings = Settings(name=f"{ann.shop.name}/schedulerSettings", unpaid_policy=policy, etag=etag)
    changed: Settings = await ann.shop.scheduler.UpdateSchedulerSettings(
        scheduler_pb2.UpdateSchedulerSettingsRequest(
            scheduler_settings=settings, request_id=new_id()
        )
    )
    return changed


def pay_on_notice(window: timedelta) -> dict[str, Any]:
    wanted = StandingOrder()
    wanted.payment_window.FromTimedelta(window)
    return {
        "billing_mode": scheduler_pb2.PAY_ON_NOTICE,
        "mandate": "",
        "payment_window": wanted.payment_window,
    }


# --- one live standing order a product --------------------------------------------------------------


async def test_a_second_standing_order_for_a_product_is_refused_and_names_the_first(
    ann: Customer,
) -> None:
    first = await ann.subscribe()

    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await ann.subscribe()

    status = rpc_status.from_call(refusal.value)  # type: ignore[arg-type]
    info = error_details_pb2.ErrorInfo()
    assert status is not None
    assert any(detail.Unpack(info) for detail in status.details)
    assert refusal.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert info.reason == "DUPLICATE_STANDING_ORDER"
    assert dict(info.metadata) == {"standing_order": first.name}


async def test_a_caller_may_want_the_second_one(ann: Customer) -> None:
    await ann.subscribe()
    request = await ann.ask()
    request.allow_duplicate = True

    second = await ann.shop.scheduler.CreateStandingOrder(request)

    assert second.state == StandingOrder.ACTIVE


async def test_one_that_is_cancelled_stands_in_nobodys_way(ann: Customer) -> None:
    first = await ann.subscribe()
    await ann.shop.scheduler.CancelStandingOrder(
        scheduler_pb2.CancelStandingOrderRequest(name=first.name, request_id=new_id())
    )

    assert (await ann.subscribe()).state == StandingOrder.ACTIVE


async def test_of_many_that_are_created_at_once_one_is(ann: Customer) -> None:
    wanted = [await ann.ask() for _ in range(6)]

    answers = await asyncio.gather(
        *(ann.shop.scheduler.CreateStandingOrder(request) for request in wanted),
        return_exceptions=True,
    )

    assert sum(isinstance(answer, StandingOrder) for answer in answers) == 1


async def test_a_product_that_another_one_has_is_added_only_if_that_is_meant(ann: Customer) -> None:
    await add_product(ann.shop, "milk", 120)
    milk = [scheduler_pb2.Item(product=f"{ann.shop.name}/products/milk", quantity=1)]
    await ann.subscribe()
    other = await ann.subscribe(items=milk)
    other.items.append(scheduler_pb2.Item(product=tea(ann), quantity=1))

    update = scheduler_pb2.UpdateStandingOrderRequest(
        standing_order=other,
        update_mask=field_mask_pb2.FieldMask(paths=["items"]),
        request_id=new_id(),
    )
    refusal = await refused(ann.shop.scheduler.UpdateStandingOrder(update))
    assert refusal.reason == "DUPLICATE_STANDING_ORDER"

    update.allow_duplicate = True
    update.request_id = new_id()
    changed = await ann.shop.scheduler.UpdateStandingOrder(update)
    assert len(changed.items) == 2


# --- bought elsewhere -------------------------------------------------------------------------------


async def test_a_cycle_is_left_out_when_its_product_was_bought_elsewhere(ann: Customer) -> None:
    counting = await ann.subscribe(**repurchase())
    assert counting.repurchase_action == Otherwise.SKIP
    assert await buy(ann) == [counting.name]

    [preview, *_] = (
        await ann.shop.scheduler.PreviewCycles(
            scheduler_pb2.PreviewCyclesRequest(name=counting.name)
        )
    ).cycles
    await ann.suite.advance(PREPARED)

    placed = await order(ann, counting)
    assert preview.skip_reason == scheduler_pb2.PURCHASED_ELSEWHERE
    assert state_of(placed) == ("SKIPPED", ["PURCHASED_ELSEWHERE"])
    assert await notice_kinds(ann, placed) == ["ORDER_SKIPPED"]


async def test_a_purchase_after_the_announcement_counts_when_it_is_collected(
    ann: Customer,
) -> None:
    counting = await ann.subscribe(**repurchase())
    await ann.suite.advance(PREPARED)
    assert state_of(await order(ann, counting))[0] == "UPCOMING"
    await buy(ann)

    await ann.suite.advance(COLLECTED - PREPARED)

    placed = await order(ann, counting)
    assert state_of(placed) == ("SKIPPED", ["PURCHASED_ELSEWHERE"])
    assert await notice_kinds(ann, placed) == ["ORDER_UPCOMING", "ORDER_SKIPPED"]


async def test_without_a_window_purchases_change_nothing(ann: Customer) -> None:
    subscribed = await ann.subscribe()
    assert await buy(ann) == []

    await ann.suite.advance(COLLECTED)

    assert state_of(await order(ann, subscribed)) == ("PAID", [])


async def test_a_customer_who_is_asked_and_confirms_gets_the_order(ann: Customer) -> None:
    counting = await ann.subscribe(**repurchase(Otherwise.HOLD_AND_ASK))
    await buy(ann)
    await ann.suite.advance(PREPARED)
    asking = await order(ann, counting)
    assert state_of(asking) == ("HELD", ["PURCHASED_ELSEWHERE"])

    await ann.shop.scheduler.ConfirmOrder(confirmation(asking))
    await ann.suite.advance(COLLECTED - PREPARED)

    placed = await order(ann, counting)
    assert state_of(placed) == ("PAID", [])
    assert await notice_kinds(ann, placed) == ["ORDER_HELD", "ORDER_UPCOMING", "RECEIPT"]


async def test_a_customer_who_is_asked_and_says_nothing_pays_nothing(ann: Customer) -> None:
    counting = await ann.subscribe(**repurchase(Otherwise.HOLD_AND_ASK))
    await buy(ann)

    await ann.suite.advance(10 * DAY)

    placed = await order(ann, counting)
    assert state_of(placed) == ("LAPSED", ["PURCHASED_ELSEWHERE", "HOLD_EXPIRED"])


async def test_an_order_that_asks_nothing_cannot_be_confirmed(ann: Customer) -> None:
    subscribed = await ann.subscribe()
    await ann.suite.advance(PREPARED)

    refusal = await refused(
        ann.shop.scheduler.ConfirmOrder(confirmation(await order(ann, subscribed)))
    )

    assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "ORDER_STATE")


async def test_a_purchase_names_what_is_wrong_with_it(ann: Customer) -> None:
    request = scheduler_pb2.RecordPurchaseRequest(
        customer=ann.name,
        products=["merchants/somebody-else/products/tea"],
        purchase_time=to_timestamp(await ann.suite.sandbox.now() + DAY),
        request_id=new_id(),
    )

    refusal = await refused(ann.shop.scheduler.RecordPurchase(request))

    assert set(refusal.fields) == {"products[0]", "purchase_time"}


async def test_a_window_can_be_added_and_taken_away(ann: Customer) -> None:
    subscribed = await ann.subscribe()

    async def update(wanted: StandingOrder, *paths: str) -> StandingOrder:
        request = scheduler_pb2.UpdateStandingOrderRequest(
            standing_order=wanted,
            update_mask=field_mask_pb2.FieldMask(paths=paths),
            request_id=new_id(),
        )
        changed: StandingOrder = await ann.shop.scheduler.UpdateStandingOrder(request)
        return changed

    wanted = StandingOrder(name=subscribed.name, **repurchase(Otherwise.HOLD_AND_ASK))
    counting = await update(wanted, "repurchase_window", "repurchase_action")
    assert counting.repurchase_window.ToTimedelta() == 10 * DAY
    assert counting.repurchase_action == Otherwise.HOLD_AND_ASK

    without = await update(StandingOrder(name=subscribed.name), "repurchase_window")
    assert not without.HasField("repurchase_window")


# --- unpaid -----------------------------------------------------------------------------------------


async def test_settings_are_there_before_anybody_made_any(ann: Customer) -> None:
    name = f"{ann.shop.name}/schedulerSettings"
    request = scheduler_pb2.GetSchedulerSettingsRequest(name=name)
    first = await ann.shop.scheduler.GetSchedulerSettings(request)
    assert (first.name, first.unpaid_policy) == (name, Settings.GO_ON)

    changed = await set_policy(ann, Settings.WAIT, first.etag)

    assert await ann.shop.scheduler.GetSchedulerSettings(request) == changed
    assert (await refused(set_policy(ann, Settings.PAUSE, first.etag))).reason == "ETAG_MISMATCH"


async def test_by_default_the_next_cycle_goes_on_while_one_is_unpaid(ann: Customer) -> None:
    slow = await ann.subscribe(**pay_on_notice(20 * DAY))

    await ann.suite.advance(SECOND_COLLECTED)

    assert state_of(await order(ann, slow, 2)) == ("AWAITING_PAYMENT", [])


async def test_the_next_cycle_waits_until_the_order_before_is_paid(ann: Customer) -> None:
    await set_policy(ann, Settings.WAIT)
    slow = await ann.subscribe(**pay_on_notice(20 * DAY))
    await ann.suite.advance(SECOND_COLLECTED)
    waiting = await order(ann, slow, 2)
    assert state_of(await order(ann, slow, 1))[0] == "AWAITING_PAYMENT"
    assert state_of(waiting) == ("HELD", ["PREVIOUS_UNPAID"])
    assert await notice_kinds(ann, waiting) == ["ORDER_HELD"]

    charge = f"{ann.name}/charges/{slow.name.rpartition('/')[2]}-1"
    await ann.shop.payments.ConfirmPaymentRequest(
        payments_pb2.ConfirmPaymentRequestRequest(
            name=charge, payment_method=ann.card, request_id=new_id()
        )
    )
    await ann.suite.advance(4 * DAY)

    assert state_of(await order(ann, slow, 1))[0] == "PAID"
    assert state_of(await order(ann, slow, 2))[0] == "AWAITING_PAYMENT"


async def test_an_order_that_ends_unpaid_pauses_its_standing_order(ann: Customer) -> None:
    await set_policy(ann, Settings.PAUSE)
    slow = await ann.subscribe(**pay_on_notice(5 * DAY))

    await ann.suite.advance(SECOND_COLLECTED)

    standing_order = await ann.shop.scheduler.GetStandingOrder(
        scheduler_pb2.GetStandingOrderRequest(name=slow.name)
    )
    assert state_of(await order(ann, slow, 1)) == ("LAPSED", ["PAYMENT_REQUEST_EXPIRED"])
    assert state_of(await order(ann, slow, 2)) == ("CANCELLED", ["PAUSED"])
    assert standing_order.state == StandingOrder.PAUSED
    notices = await ann.shop.notify.ListNotices(
        notify_pb2.ListNoticesRequest(
            parent=ann.name,
            subject_resource=slow.name,
            kind=notify_pb2.STANDING_ORDER_CHANGED,
        )
    )
    assert len(notices.notices) == 2  # that it was created, and that it is paused


async def test_an_order_that_ends_unpaid_cancels_its_standing_order(ann: Customer) -> None:
    await set_policy(ann, Settings.CANCEL)
    slow = await ann.subscribe(**pay_on_notice(5 * DAY))

    await ann.suite.advance(SECOND_COLLECTED)

    standing_order = await ann.shop.scheduler.GetStandingOrder(
        scheduler_pb2.GetStandingOrderRequest(name=slow.name)
    )
    assert state_of(await order(ann, slow, 1)) == ("LAPSED", ["PAYMENT_REQUEST_EXPIRED"])
    assert state_of(await order(ann, slow, 2)) == ("CANCELLED", ["STANDING_ORDER_CANCELLED"])
    assert standing_order.state == StandingOrder.CANCELLED
    assert not standing_order.HasField("next_due_time")
