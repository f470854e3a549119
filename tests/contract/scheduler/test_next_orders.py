"""A receipt names the order that really comes next."""

from datetime import datetime, timedelta

from google.type import postal_address_pb2
from recurring.notify.v1 import notify_pb2
from recurring.payments.v1 import payments_pb2
from recurring.scheduler.v1 import events_pb2
from recurring.scheduler.v1 import scheduler_pb2 as pb

from services.runtime.rpc.conversions import from_timestamp, to_date
from tests.contract.scheduler.shop import Shop, day_of
from tests.suite import new_id

DAY = timedelta(days=1)


async def subscribe(shop: Shop, every_days: int = 5, **more: int) -> pb.StandingOrder:
    """Due first in two days, and charged by itself."""
    return await shop.create(
        await shop.due_in(2 * DAY, every_days=every_days, **more),
        billing_mode=pb.AUTOMATIC,
        mandate=await shop.sign_up("ada"),
    )


async def next_due_after_payment(shop: Shop, by: timedelta = 2.2 * DAY) -> datetime | None:
    """What the first confirmation names as the next due time, while the clock moves on."""
    async with shop.suite.subscribe_events() as subscription:
        await shop.suite.advance(by)
        received = await subscription.next(events_pb2.OrderConfirmed, shop.client.merchant)
    event = received.message
    return from_timestamp(event.next_due_time) if event.HasField("next_due_time") else None


async def receipt(shop: Shop) -> str:
    response = await shop.client.notify.ListNotices(
        notify_pb2.ListNoticesRequest(parent=shop.customer("ada"), page_size=1000)
    )
    [*_, last] = [notice for notice in response.notices if notice.kind == notify_pb2.RECEIPT]
    return str(last.deliveries[0].text)


async def test_a_receipt_names_the_order_that_is_announced_already(shop: Shop) -> None:
    made = await subscribe(shop, every_days=1)
    first_due = from_timestamp(made.next_due_time)
    assert await next_due_after_payment(shop) == first_due + DAY


async def test_a_receipt_names_no_cycle_that_the_customer_leaves_out(shop: Shop) -> None:
    made = await subscribe(shop)
    skip = pb.SkipCycleRequest(name=made.name, cycle=2, request_id=new_id())
    await shop.scheduler.SkipCycle(skip)
    first_due = from_timestamp(made.next_due_time)
    assert await next_due_after_payment(shop) == first_due + 10 * DAY


async def test_a_receipt_names_a_moved_cycle_at_its_new_date(shop: Shop) -> None:
    made = await subscribe(shop)
    moved = day_of(made.schedule.start_date) + 7 * DAY
    await shop.change(made.name, 2, local_date=to_date(moved))
    first_due = from_timestamp(made.next_due_time)
    assert await next_due_after_payment(shop) == first_due + 7 * DAY


async def test_a_receipt_of_the_last_order_names_none(shop: Shop) -> None:
    await subscribe(shop, cycle_count=1)
    assert await next_due_after_payment(shop) is None
    assert "This was the last order." in await receipt(shop)


async def test_a_receipt_during_a_pause_says_that_it_is_paused(shop: Shop) -> None:
    await shop.sign_up("ada")
    made = await shop.create(await shop.due_in(2 * DAY, every_days=5))
    await shop.suite.advance(2.2 * DAY)
    await shop.pause(made.name)
    await shop.client.payments.ConfirmPaymentRequest(
        payments_pb2.ConfirmPaymentRequestRequest(
            name=f"{shop.customer('ada')}/charges/{made.name.rpartition('/')[2]}-1",
            payment_method=f"{shop.customer('ada')}/paymentMethods/card",
            request_id=new_id(),
        )
    )
    assert await next_due_after_payment(shop, timedelta(minutes=1)) is None
    assert "is paused" in await receipt(shop)


async def notice_texts(shop: Shop, kind: notify_pb2.NoticeKind.ValueType) -> list[str]:
    response = await shop.client.notify.ListNotices(
        notify_pb2.ListNoticesRequest(parent=shop.customer("ada"), page_size=1000)
    )
    return [notice.deliveries[0].text for notice in response.notices if notice.kind == kind]


async def test_several_changes_at_one_instant_that_read_the_same_are_published_once(
    shop: Shop,
) -> None:
    made = await shop.create(await shop.due_in(20 * DAY, every_days=5, cycle_count=9))
    for cycle in (2, 3, 4, 5):
        await shop.scheduler.SkipCycle(
            pb.SkipCycleRequest(name=made.name, cycle=cycle, request_id=new_id())
        )
    await shop.suite.sandbox.settle()
    changes = await notice_texts(shop, notify_pb2.STANDING_ORDER_CHANGED)
    assert len([change for change in changes if "has changed" in change]) == 1


async def test_an_update_that_changes_nothing_is_not_published(shop: Shop) -> None:
    address = postal_address_pb2.PostalAddress(region_code="DE", locality="Ulm")
    made = await shop.create(await shop.due_in(20 * DAY, cycle_count=9), ship_to=address)
    again = await shop.update(made.name, ["title", "ship_to"], title=made.title, ship_to=address)
    assert again == made
    await shop.suite.sandbox.settle()
    changes = await notice_texts(shop, notify_pb2.STANDING_ORDER_CHANGED)
    assert not [change for change in changes if "has changed" in change]
