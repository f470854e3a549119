"""The summary of a month: once a month, where it is wanted, and of what happened in it."""

from datetime import UTC, datetime, timedelta

from recurring.notify.v1 import notify_pb2
from recurring.payments.v1 import events_pb2 as payments_events_pb2
from recurring.scheduler.v1 import events_pb2 as scheduler_events_pb2
from recurring.scheduler.v1 import scheduler_pb2

from services.notify import workers
from services.runtime.db import due_work
from services.runtime.db.due_work import DueTimes, DueWork
from services.runtime.rpc.conversions import to_money, to_timestamp
from tests.due_work import EveryBucket
from tests.integration.notify.suite import (
    ANN,
    MERCHANT,
    Notify,
    order_confirmed,
    order_ref,
    order_skipped,
)

# Where Ann lives it is February at 05:00 already: her month ends there.
END_OF_JANUARY = datetime(2026, 1, 31, 11, 0, tzinfo=UTC)
ZONE = "Pacific/Auckland"
MORNING_AFTER = datetime(2026, 1, 31, 20, 0, tzinfo=UTC)
NEXT_DUE = datetime(2026, 2, 28, 8, 0, tzinfo=UTC)


async def switch(notify: Notify, *, on: bool) -> None:
    settings = notify_pb2.NotifySettings(name=f"{MERCHANT}/notifySettings", monthly_summaries=on)
    request = notify_pb2.UpdateNotifySettingsRequest(notify_settings=settings)
    await notify.call("UpdateNotifySettings", request)


async def ann(notify: Notify, **preferences: bool) -> None:
    await notify.contact(time_zone=ZONE, preferences=notify_pb2.Contact.Preferences(**preferences))
    await notify.bind()


async def sum_up(notify: Notify) -> None:
    """Sum up the months that are due now."""
    work = DueWork("monthly-summary", workers.MonthlySummaries(notify.database).work)
    buckets = EveryBucket(notify.database)
    while (await due_work.step(DueTimes(notify.database), notify.clock, buckets, work)).worked:
        pass


async def summaries(notify: Notify) -> list[notify_pb2.Notice]:
    kind = notify_pb2.MONTHLY_SUMMARY
    return [notice for notice in await notify.notices() if notice.kind == kind]


def receipt(cycle: int) -> scheduler_events_pb2.OrderConfirmed:
    message = order_confirmed(cycle=cycle)
    message.lines[0].list_amount.CopyFrom(to_money(1400, "EUR"))
    message.lines[0].amount.CopyFrom(to_money(1250, "EUR"))
    message.next_due_time.CopyFrom(to_timestamp(NEXT_DUE))
    return message


def refund() -> payments_events_pb2.RefundSucceeded:
    return payments_events_pb2.RefundSucceeded(
        ref=payments_events_pb2.ChargeRef(
            order=f"{MERCHANT}/standingOrders/coffee/orders/1",
            customer=ANN,
            title="Coffee",
            amount=to_money(1250, "EUR"),
        ),
        refund_amount=to_money(250, "EUR"),
    )


async def test_a_month_is_summed_up_once_in_the_morning_after_it(notify: Notify) -> None:
    await switch(notify, on=True)
    await ann(notify)
    await notify.receive(receipt(1), event_key="paid-1")
    await notify.receive(receipt(2), event_key="paid-2")
    await notify.receive(receipt(2), event_key="paid-2")
    await notify.receive(refund(), event_key="refund")
    await notify.receive(order_skipped(cycle=3), event_key="skip")
    notify.clock.move_to(MORNING_AFTER - timedelta(seconds=1))
    await sum_up(notify)
    assert await summaries(notify) == []

    notify.clock.move_to(MORNING_AFTER)
    await sum_up(notify)
    await sum_up(notify)
    await notify.deliver()

    [notice] = await summaries(notify)
    assert notice.subject_resource == ANN
    assert (await notify.inbox())[-1] == (
        "Hi Ann! Summary of Jan 2026: you paid 25.00 EUR for 2 orders (saved: 3.00 EUR); "
        "refunded: 2.50 EUR. Left out: 1 order. Next: Coffee on Sat 28 Feb 2026."
    )


async def test_what_happens_after_the_month_is_in_the_next_summary(notify: Notify) -> None:
    await switch(notify, on=True)
    await ann(notify)
    await notify.receive(receipt(1), event_key="paid-1")
    # It is February where Ann lives, and the event is of January.
    notify.clock.move_to(END_OF_JANUARY)
    await notify.receive(
        receipt(2), event_key="paid-2", occur_time=END_OF_JANUARY - timedelta(days=1)
    )
    for morning in (MORNING_AFTER, datetime(2026, 2, 28, 20, 0, tzinfo=UTC)):
        notify.clock.move_to(morning)
        await sum_up(notify)
        await notify.deliver()

    january, february = (notice.deliveries[0].text for notice in await summaries(notify))
    assert "Jan 2026: you paid 12.50 EUR for 1 order" in january
    assert "Feb 2026: you paid 12.50 EUR for 1 order" in february


async def test_a_month_in_which_nothing_happened_has_no_summary(notify: Notify) -> None:
    await switch(notify, on=True)
    await ann(notify)
    await notify.receive(receipt(1), event_key="paid-1")
    for month in (2, 3, 4):
        notify.clock.move_to(datetime(2026, month, 1, 12, 0, tzinfo=UTC))
        await sum_up(notify)

    assert len(await summaries(notify)) == 1


async def test_an_order_that_comes_after_all_was_not_left_out(notify: Notify) -> None:
    await switch(notify, on=True)
    await ann(notify)
    await notify.receive(order_skipped(), event_key="skip")
    again = scheduler_events_pb2.OrderUpcoming(
        ref=order_ref(), amount=to_money(1250, "EUR"), charge_not_before_time=to_timestamp(NEXT_DUE)
    )
    await notify.receive(
        again, event_key="again", occur_time=notify.clock.now() + timedelta(seconds=1)
    )
    notify.clock.move_to(MORNING_AFTER)
    await sum_up(notify)

    assert await summaries(notify) == []


async def test_nobody_gets_a_summary_who_does_not_want_one(notify: Notify) -> None:
    await switch(notify, on=True)
    await ann(notify, summaries_muted=True)
    await notify.receive(receipt(1), event_key="paid-1")
    notify.clock.move_to(MORNING_AFTER)
    await sum_up(notify)

    assert await summaries(notify) == []
    planned = await notify.call(
        "PreviewNotices",
        notify_pb2.PreviewNoticesRequest(parent=ANN, kind=notify_pb2.MONTHLY_SUMMARY),
    )
    assert planned.channel_plans[0].reason == notify_pb2.ChannelPlan.MUTED


async def test_a_merchant_that_does_not_ask_for_summaries_has_none_sent(notify: Notify) -> None:
    await ann(notify)
    await notify.receive(receipt(1), event_key="paid-1")
    await switch(notify, on=True)
    await notify.receive(receipt(2), event_key="paid-2")
    await switch(notify, on=False)
    notify.clock.move_to(MORNING_AFTER)
    await sum_up(notify)

    assert await summaries(notify) == []


async def test_who_has_moved_gets_the_summary_when_their_month_is_over(notify: Notify) -> None:
    await switch(notify, on=True)
    await ann(notify)
    await notify.receive(receipt(1), event_key="paid-1")
    await notify.contact(time_zone="America/Los_Angeles")
    notify.clock.move_to(MORNING_AFTER)
    await sum_up(notify)
    assert await summaries(notify) == []

    notify.clock.move_to(datetime(2026, 2, 1, 17, 0, tzinfo=UTC))
    await sum_up(notify)
    await notify.deliver()
    assert "Jan 2026: you paid 12.50 EUR for 1 order" in (await notify.inbox())[-1]


async def test_what_comes_next_is_known_of_each_standing_order(notify: Notify) -> None:
    await switch(notify, on=True)
    await ann(notify)
    await notify.receive(receipt(1), event_key="paid-1")
    paused, tea = (
        scheduler_events_pb2.StandingOrderChanged(
            standing_order=f"{MERCHANT}/standingOrders/{standing_order}",
            customer=ANN,
            title=standing_order.title(),
            time_zone="Europe/Berlin",
            change=change,
            state=scheduler_pb2.StandingOrder.ACTIVE,
            next_due_time=to_timestamp(datetime(2026, 2, 14, 8, 0, tzinfo=UTC)),
        )
        for standing_order, change in (
            ("milk", scheduler_events_pb2.StandingOrderChanged.PAUSED),
            ("tea", scheduler_events_pb2.StandingOrderChanged.CREATED),
        )
    )
    await notify.receive(paused, tea, event_key="")
    notify.clock.move_to(MORNING_AFTER)
    await sum_up(notify)
    await notify.deliver()

    assert "Next: Tea on Sat 14 Feb 2026 (and 1 more)." in (await notify.inbox())[-1]
