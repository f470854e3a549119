"""A standing order ends once, wherever its last cycle goes; each cycle that fell due has one row."""

from datetime import timedelta

import pytest
from recurring.scheduler.v1 import scheduler_pb2 as pb

from services.runtime.rpc.conversions import to_date, to_timestamp
from tests.contract.scheduler.shop import Shop, daily, schedule
from tests.suite import new_id, refused

DAY = timedelta(days=1)
SKIPPED, PAUSED, COMPLETED = "SKIPPED", "PAUSED", pb.StandingOrder.COMPLETED


async def paused_over(shop: Shop, count: int = 1, **pause: object) -> pb.StandingOrder:
    """A standing order that is paused before its first cycle; four days pass."""
    made = await shop.create(await shop.due_in(3 * DAY, cycle_count=count))
    await shop.pause(made.name, **pause)
    await shop.suite.advance(4.5 * DAY)
    return await shop.get(made.name)


@pytest.mark.parametrize("pause", [{}, {"cycle_count": 5}], ids=["open end", "for more cycles"])
async def test_a_pause_over_all_that_is_left_ends_it(shop: Shop, pause: dict[str, int]) -> None:
    over = await paused_over(shop, 2, **pause)
    assert (over.state, over.next_cycle) == (COMPLETED, 0)
    assert await shop.outcomes(over.name) == [(1, SKIPPED, [PAUSED]), (2, SKIPPED, [PAUSED])]
    assert (await refused(shop.resume(over.name))).reason == "STANDING_ORDER_STATE"


async def test_what_a_pause_has_ended_blocks_neither_a_new_one_nor_erasure(shop: Shop) -> None:
    await paused_over(shop)
    again = await shop.scheduler.CreateStandingOrder(
        pb.CreateStandingOrderRequest(
            parent=shop.name,
            standing_order=shop.wish(daily(await shop.today() + 5 * DAY)),
            request_id=new_id(),
        )
    )
    await shop.cancel(again.name)
    await shop.scheduler.EraseCustomer(
        pb.EraseCustomerRequest(name=shop.customer("ada"), request_id=new_id())
    )


async def test_a_pause_that_ends_after_the_last_cycle_ends_the_standing_order(shop: Shop) -> None:
    until = to_timestamp(await shop.now() + 30 * DAY)
    over = await paused_over(shop, until_time=until)
    assert over.state == COMPLETED
    assert not over.HasField("resume_time")


async def test_resuming_too_late_for_the_last_cycle_ends_it(shop: Shop) -> None:
    made = await shop.create(await shop.due_in(3 * DAY, cycle_count=1))
    await shop.pause(made.name)
    # Less than its lead before the only cycle is due.
    await shop.suite.advance(2.5 * DAY)
    assert (await shop.resume(made.name)).state == COMPLETED
    assert await shop.outcomes(made.name) == [(1, SKIPPED, [PAUSED])]


async def test_a_pause_that_ends_too_late_for_the_last_cycle_ends_it(shop: Shop) -> None:
    made = await shop.create(await shop.due_in(3 * DAY, cycle_count=1))
    await shop.pause(made.name, until_time=to_timestamp(await shop.now() + 2.5 * DAY))
    await shop.suite.advance(2.6 * DAY)
    assert (await shop.get(made.name)).state == COMPLETED
    assert await shop.outcomes(made.name) == [(1, SKIPPED, [PAUSED])]


async def test_pausing_when_the_last_order_is_announced_cancels_it_and_ends(shop: Shop) -> None:
    made = await shop.create(await shop.due_in(2 * DAY, cycle_count=1))
    await shop.suite.advance(1.5 * DAY)
    assert (await shop.pause(made.name)).state == COMPLETED
    assert await shop.outcomes(made.name) == [(1, "CANCELLED", [PAUSED])]


async def test_the_last_order_paid_or_lapsed_in_a_pause_ends_it(shop: Shop) -> None:
    made = await shop.create(await shop.due_in(2 * DAY, cycle_count=1))
    await shop.suite.advance(2.5 * DAY)
    assert [state for _, state, _ in await shop.outcomes(made.name)] == ["AWAITING_PAYMENT"]
    assert (await shop.pause(made.name)).state == pb.StandingOrder.PAUSED
    await shop.suite.advance(4 * DAY)
    assert [state for _, state, _ in await shop.outcomes(made.name)] == ["LAPSED"]
    assert (await shop.get(made.name)).state == COMPLETED


async def test_a_schedule_shortened_to_nothing_ends_it(shop: Shop) -> None:
    first = await shop.today() + 2 * DAY
    made = await shop.create(schedule(first, daily=pb.Schedule.Daily(every_days=10)))
    await shop.suite.advance(2 * DAY)
    await shop.suite.advance(4 * DAY)
    shorter = schedule(
        first, daily=pb.Schedule.Daily(every_days=10), end_date=to_date(first + 5 * DAY)
    )
    over = await shop.update(made.name, ["schedule"], schedule=shorter)
    assert (over.state, over.next_cycle) == (COMPLETED, 0)


async def test_cancelling_after_the_current_cycle_in_a_pause_ends_with_that_cycle(
    shop: Shop,
) -> None:
    made = await shop.create(await shop.due_in(3 * DAY))
    await shop.pause(made.name)
    await shop.suite.advance(3.5 * DAY)
    ending = await shop.cancel(made.name, after_current_cycle=True)
    assert (ending.state, ending.last_cycle) == (pb.StandingOrder.PAUSED, 2)
    await shop.suite.advance(1 * DAY)
    assert (await shop.get(made.name)).state == pb.StandingOrder.CANCELLED
    assert await shop.outcomes(made.name) == [(1, SKIPPED, [PAUSED]), (2, SKIPPED, [PAUSED])]


async def test_the_cycles_of_a_pause_have_their_rows_when_it_is_cancelled(shop: Shop) -> None:
    made = await shop.create(await shop.due_in(3 * DAY))
    await shop.pause(made.name)
    await shop.suite.advance(4.5 * DAY)
    assert await shop.outcomes(made.name) == []
    await shop.cancel(made.name)
    assert await shop.outcomes(made.name) == [(1, SKIPPED, [PAUSED]), (2, SKIPPED, [PAUSED])]


@pytest.mark.parametrize("change", ["title", "schedule", "skip", "cycle", "restore"])
async def test_the_cycles_of_a_pause_have_their_rows_when_it_is_changed(
    shop: Shop, change: str
) -> None:
    made = await shop.create(await shop.due_in(3 * DAY))
    await shop.pause(made.name)
    await shop.suite.advance(4.5 * DAY)
    match change:
        case "title":
            changed = await shop.update(made.name, ["title"], title="Green tea")
        case "schedule":
            later = await shop.today() + 3 * DAY
            changed = await shop.update(made.name, ["schedule"], schedule=daily(later))
        case "skip":
            changed = await shop.skip(made.name)
            assert list(changed.skipped_cycles) == [3]
        case "cycle":
            changed = await shop.change(made.name, 3, items=[shop.item("coffee")])
        case _:
            changed = await shop.restore(made.name, 3)
    assert (changed.state, changed.next_cycle) == (pb.StandingOrder.PAUSED, 3)
    assert await shop.outcomes(made.name) == [(1, SKIPPED, [PAUSED]), (2, SKIPPED, [PAUSED])]


@pytest.mark.embedded
async def test_a_customer_is_notified_once_that_a_pause_is_over_or_has_ended_it(shop: Shop) -> None:
    made = await shop.create(await shop.due_in(3 * DAY, cycle_count=2))
    await shop.pause(made.name, cycle_count=1)
    await shop.suite.advance(9 * DAY)
    assert (await shop.get(made.name)).state == COMPLETED
    changes = await shop.changes_published(made.name)
    assert changes == ["CREATED", "PAUSED", "RESUMED", "COMPLETED"]
