"""A standing order rests and goes on, by itself or by a call, and ends at once or after its cycle."""

from datetime import timedelta

from recurring.scheduler.v1 import scheduler_pb2 as pb

from services.runtime.rpc.conversions import from_timestamp, to_date, to_timestamp
from tests.contract.scheduler.shop import Shop, daily, day_of, schedule
from tests.suite import refused

DAY = timedelta(days=1)


async def test_a_pause_until_a_time_ends_by_itself(shop: Shop) -> None:
    made = await shop.create(await shop.due_in(5 * DAY))
    until = await shop.now() + 7.5 * DAY
    resting = await shop.pause(made.name, until_time=to_timestamp(until))
    assert (resting.state, from_timestamp(resting.resume_time)) == (pb.StandingOrder.PAUSED, until)
    await shop.suite.advance(10 * DAY)
    after = await shop.get(made.name)
    assert after.state == pb.StandingOrder.ACTIVE
    assert not after.HasField("resume_time")
    # The first that could still be told a day ahead is the one due nine days after the start.
    reasons = [list(order.reasons) for order in await shop.orders(made.name)]
    assert reasons[:5] == [[pb.PAUSED]] * 4 + [[]]


async def test_a_pause_for_cycles_swallows_just_those(shop: Shop) -> None:
    made = await shop.create(await shop.due_in(3 * DAY, every_days=3, cycle_count=4))
    resting = await shop.pause(made.name, cycle_count=2)
    assert resting.HasField("resume_time")
    await shop.suite.advance(9 * DAY)
    outcomes = await shop.outcomes(made.name)
    assert [(cycle, reasons) for cycle, _, reasons in outcomes[:2]] == [
        (1, ["PAUSED"]),
        (2, ["PAUSED"]),
    ]
    assert [(cycle, reasons) for cycle, _, reasons in outcomes[2:3]] == [(3, [])]
    assert (await shop.get(made.name)).state == pb.StandingOrder.ACTIVE


async def test_a_pause_for_no_time_at_all_is_refused(shop: Shop) -> None:
    made = await shop.create(daily(await shop.today() + 5 * DAY))
    now = to_timestamp(await shop.now())
    refusal = await refused(shop.pause(made.name, until_time=now))
    assert refusal.fields == {"until_time": "FIELD_INVALID"}
    for count in (0, -1, 101):
        refusal = await refused(shop.pause(made.name, cycle_count=count))
        assert refusal.fields == {"cycle_count": "FIELD_INVALID"}, count
    assert (await shop.get(made.name)).state == pb.StandingOrder.ACTIVE


async def test_a_pause_withdraws_what_is_announced(shop: Shop) -> None:
    made = await shop.create(await shop.due_in(2 * DAY, cycle_count=1))
    await shop.suite.advance(1.5 * DAY)
    assert await shop.outcomes(made.name) == [(1, "UPCOMING", [])]
    await shop.pause(made.name)
    assert await shop.outcomes(made.name) == [(1, "CANCELLED", ["PAUSED"])]


async def test_resuming_keeps_the_dates_of_the_anchor(shop: Shop) -> None:
    start = await shop.today() + 2 * DAY
    made = await shop.create(schedule(start, daily=pb.Schedule.Daily(every_days=4)))
    await shop.pause(made.name)
    await shop.suite.advance(7 * DAY)
    await shop.resume(made.name)
    first, *_ = await shop.dates(made.name)
    assert (first - start).days % 4 == 0
    assert first >= await shop.today()


async def test_resuming_can_change_the_anchor_of_the_dates(shop: Shop) -> None:
    start = await shop.today() + 2 * DAY
    made = await shop.create(schedule(start, daily=pb.Schedule.Daily(every_days=4)))
    await shop.pause(made.name)
    await shop.suite.advance(7 * DAY)
    anchor = await shop.today() + 5 * DAY
    going_on = await shop.resume(made.name, anchor_date=to_date(anchor))
    assert going_on.state == pb.StandingOrder.ACTIVE
    assert day_of(going_on.schedule.start_date) == anchor
    assert await shop.dates(made.name, 3) == [anchor, anchor + 4 * DAY, anchor + 8 * DAY]
    # The cycles of the pause keep their numbers, and the next follows them.
    swallowed = await shop.orders(made.name)
    assert [list(order.reasons) for order in swallowed] == [[pb.PAUSED]] * len(swallowed)
    assert going_on.next_cycle == len(swallowed) + 1


async def test_a_plan_does_not_start_over_from_a_new_anchor(shop: Shop) -> None:
    made = await shop.create(await shop.due_in(2 * DAY, every_days=4, cycle_count=3))
    await shop.suite.advance(7 * DAY)
    assert len(await shop.orders(made.name)) == 2
    await shop.pause(made.name)
    anchor = await shop.today() + 5 * DAY
    going_on = await shop.resume(made.name, anchor_date=to_date(anchor))
    assert await shop.dates(made.name) == [anchor]
    assert going_on.schedule.cycle_count == 3


async def test_an_anchor_in_the_past_is_refused(shop: Shop) -> None:
    made = await shop.create(daily(await shop.today() + 5 * DAY))
    await shop.pause(made.name)
    yesterday = to_date(await shop.today() - DAY)
    refusal = await refused(shop.resume(made.name, anchor_date=yesterday))
    assert refusal.fields == {"anchor_date": "FIELD_INVALID"}
    assert (await shop.get(made.name)).state == pb.StandingOrder.PAUSED


async def test_cancelling_after_the_current_cycle_lets_the_next_be_the_last(shop: Shop) -> None:
    made = await shop.create(await shop.due_in(3 * DAY))
    ending = await shop.cancel(made.name, after_current_cycle=True)
    assert (ending.state, ending.last_cycle) == (pb.StandingOrder.ACTIVE, 1)
    assert len(await shop.dates(made.name)) == 1
    await shop.suite.advance(8 * DAY)
    [(cycle, state, _)] = await shop.outcomes(made.name)
    assert (cycle, state) == (1, "LAPSED")
    assert (await shop.get(made.name)).state == pb.StandingOrder.CANCELLED


async def test_cancelling_after_the_current_cycle_lets_an_announced_order_be_the_last(
    shop: Shop,
) -> None:
    made = await shop.create(await shop.due_in(2 * DAY))
    await shop.suite.advance(1.5 * DAY)
    announced = await shop.orders(made.name)
    ending = await shop.cancel(made.name, after_current_cycle=True)
    assert (ending.last_cycle, ending.next_cycle) == (announced[-1].cycle, 0)
    assert await shop.preview(made.name) == []
    assert [order.state for order in await shop.orders(made.name)] == [
        order.state for order in announced
    ]


async def test_a_wrong_state_or_a_stale_etag_refuses_each(shop: Shop) -> None:
    made = await shop.create(daily(await shop.today() + 5 * DAY))
    assert (await refused(shop.resume(made.name))).reason == "STANDING_ORDER_STATE"
    await shop.pause(made.name)
    for call in (
        shop.resume(made.name, etag=made.etag),
        shop.cancel(made.name, etag=made.etag),
    ):
        assert (await refused(call)).reason == "ETAG_MISMATCH"
    refusal = await refused(shop.pause(made.name))
    assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "STANDING_ORDER_STATE")
    await shop.cancel(made.name)
    for call in (shop.pause(made.name), shop.resume(made.name), shop.cancel(made.name)):
        assert (await refused(call)).reason == "STANDING_ORDER_STATE"
    nobody = f"{shop.name}/standingOrders/nobody"
    for call in (shop.pause(nobody), shop.resume(nobody), shop.cancel(nobody)):
        refusal = await refused(call)
        assert (refusal.code, refusal.reason) == ("NOT_FOUND", "STANDING_ORDER_NOT_FOUND")
