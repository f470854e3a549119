"""One cycle is changed and no other: left out, moved, filled otherwise, brought forward, restored."""

import asyncio
from datetime import UTC, date, datetime, time, timedelta

import pytest
from google.protobuf.duration_pb2 import Duration
from google.type import postal_address_pb2
from recurring.catalog.v1 import catalog_pb2
from recurring.scheduler.v1 import scheduler_pb2 as pb

from services.runtime.rpc.conversions import from_timestamp, to_date, to_money
from tests.contract.scheduler.shop import TEA_MINOR, Shop, daily, day_of, schedule
from tests.suite import Refusal, new_id, refused

DAY = timedelta(days=1)


async def restore(shop: Shop, name: str, cycle: int, etag: str = "") -> pb.StandingOrder:
    return await shop.scheduler.RestoreCycle(
        pb.RestoreCycleRequest(name=name, cycle=cycle, etag=etag, request_id=new_id())
    )


async def skip(shop: Shop, name: str, cycle: int) -> pb.StandingOrder:
    return await shop.scheduler.SkipCycle(
        pb.SkipCycleRequest(name=name, cycle=cycle, request_id=new_id())
    )


async def order_now(shop: Shop, name: str) -> pb.StandingOrder:
    return await shop.scheduler.OrderNow(pb.OrderNowRequest(name=name, request_id=new_id()))


async def weekly(shop: Shop, **more: int) -> pb.StandingOrder:
    """A standing order on every seventh day, the first of them in ten days."""
    start = await shop.today() + 10 * DAY
    return await shop.create(schedule(start, daily=pb.Schedule.Daily(every_days=7), **more))


async def weekly_without(shop: Shop, start: date, out: date) -> pb.StandingOrder:
    """A standing order on every seventh day whose schedule leaves out one of them."""
    blackout = pb.Schedule.Blackout(start_date=to_date(out), end_date=to_date(out))
    when = schedule(start, daily=pb.Schedule.Daily(every_days=7), blackouts=[blackout])
    return await shop.create(when)


async def announced(shop: Shop) -> pb.StandingOrder:
    """A weekly standing order whose first cycle is announced, and due in half a day."""
    made = await shop.create(await shop.due_in(2 * DAY, every_days=7))
    await shop.suite.advance(1.5 * DAY)
    assert await shop.outcomes(made.name) == [(1, "UPCOMING", [])]
    return made


async def test_a_changed_cycle_differs_and_the_others_do_not(shop: Shop) -> None:
    made = await weekly(shop)
    moved = day_of(made.schedule.start_date) + 9 * DAY
    changed = await shop.change(
        made.name, 2, items=[shop.item("coffee", 3)], local_date=to_date(moved)
    )
    first, second, third = await shop.preview(made.name, 3)
    assert day_of(second.local_date) == moved
    assert [(line.product, line.quantity) for line in second.lines] == [(shop.product("coffee"), 3)]
    for other in (first, third):
        assert [line.product for line in other.lines] == [shop.product("tea")]
    assert changed.items == made.items
    assert changed.schedule == made.schedule


async def test_a_later_change_of_the_same_cycle_keeps_what_it_does_not_name(shop: Shop) -> None:
    made = await weekly(shop)
    await shop.change(made.name, 2, items=[shop.item("coffee")])
    address = postal_address_pb2.PostalAddress(region_code="DE", locality="Ulm")
    changed = await shop.change(made.name, 2, ship_to=address)
    [change] = changed.cycle_changes
    assert [item.product for item in change.items] == [shop.product("coffee")]
    assert change.ship_to.locality == "Ulm"


async def test_a_changed_cycle_is_billed_as_changed_and_then_forgotten(shop: Shop) -> None:
    start = await shop.today() + 3 * DAY
    made = await shop.create(daily(start, cycle_count=3))
    address = postal_address_pb2.PostalAddress(region_code="DE", locality="Ulm")
    await shop.change(made.name, 1, items=[shop.item("coffee", 2)], ship_to=address)
    await shop.suite.advance(4 * DAY)
    first, second, *_ = await shop.orders(made.name)
    assert [(line.product, line.quantity) for line in first.lines] == [(shop.product("coffee"), 2)]
    assert (first.ship_to.locality, first.region_code) == ("Ulm", "DE")
    assert [line.product for line in second.lines] == [shop.product("tea")]
    assert (second.HasField("ship_to"), second.region_code) == (False, "")
    assert not (await shop.get(made.name)).cycle_changes


async def test_a_change_that_changes_nothing_is_refused(shop: Shop) -> None:
    made = await weekly(shop)
    refusal = await refused(shop.change(made.name, 2))
    assert refusal.fields == {"change": "FIELD_INVALID"}


@pytest.mark.parametrize("days_after_start", [-11, 0, 14, 100])
async def test_a_move_into_the_past_or_onto_another_cycle_is_refused(
    shop: Shop, days_after_start: int
) -> None:
    made = await weekly(shop)
    day = day_of(made.schedule.start_date) + days_after_start * DAY
    refusal = await refused(shop.change(made.name, 2, local_date=to_date(day)))
    assert (refusal.code, refusal.reason) == ("INVALID_ARGUMENT", "DATE_OUT_OF_RANGE")
    assert refusal.fields == {"change.local_date": "DATE_OUT_OF_RANGE"}


async def test_what_the_schedule_leaves_out_keeps_its_place_among_the_dates(shop: Shop) -> None:
    start = await shop.today() + 10 * DAY
    made = await weekly_without(shop, start, start + 7 * DAY)
    refusal = await refused(shop.change(made.name, 3, local_date=to_date(start + 7 * DAY)))
    assert refusal.fields == {"change.local_date": "DATE_OUT_OF_RANGE"}
    await shop.change(made.name, 3, local_date=to_date(start + 8 * DAY))


async def test_a_cycle_is_not_restored_to_where_it_would_pass_another(shop: Shop) -> None:
    made = await weekly(shop)
    start = day_of(made.schedule.start_date)
    await shop.change(made.name, 2, local_date=to_date(start + 13 * DAY))
    await shop.change(made.name, 1, local_date=to_date(start + 9 * DAY))
    refusal = await refused(restore(shop, made.name, 2))
    assert (refusal.code, refusal.reason) == ("INVALID_ARGUMENT", "DATE_OUT_OF_RANGE")
    assert refusal.fields == {"cycle": "DATE_OUT_OF_RANGE"}
    await restore(shop, made.name, 1)
    assert (await restore(shop, made.name, 2)).cycle_changes == []


async def test_the_next_cycle_to_leave_out_is_one_that_would_come(shop: Shop) -> None:
    start = await shop.today() + 10 * DAY
    made = await weekly_without(shop, start, start)
    assert list((await skip(shop, made.name, 0)).skipped_cycles) == [2]
    assert list((await skip(shop, made.name, 0)).skipped_cycles) == [2, 3]


async def test_a_cycle_with_products_that_cannot_be_sold_is_refused(shop: Shop) -> None:
    made = await weekly(shop)
    refusal = await refused(
        shop.change(made.name, 2, items=[shop.item("tea"), shop.item("cocoa", 2)])
    )
    assert refusal.fields == {"change.items[1].product": "PRODUCT_NOT_FOUND"}
    refusal = await refused(shop.change(made.name, 2, items=[shop.item("tea", 0)]))
    assert refusal.fields == {"change.items[0].quantity": "FIELD_INVALID"}


async def test_items_in_another_currency_are_refused(shop: Shop) -> None:
    await shop.sell("maple", 900, "CAD")
    made = await weekly(shop)
    refusal = await refused(shop.change(made.name, 2, items=[shop.item("tea"), shop.item("maple")]))
    assert refusal.fields == {"change.items[1].product": "CURRENCY_MISMATCH"}


def out_of_range(refusal: Refusal) -> bool:
    return (refusal.code, refusal.reason) == ("OUT_OF_RANGE", "CYCLE_OUT_OF_RANGE")


async def test_a_cycle_that_the_schedule_lacks_or_that_is_far_ahead_is_refused(shop: Shop) -> None:
    short = await weekly(shop, cycle_count=3)
    endless = await weekly(shop)
    for name, cycle in ((short.name, 4), (endless.name, 102)):
        assert out_of_range(await refused(shop.change(name, cycle, items=[shop.item("tea", 2)])))
        assert out_of_range(await refused(restore(shop, name, cycle)))
        assert out_of_range(await refused(skip(shop, name, cycle)))


async def test_a_cycle_that_has_its_order_cannot_be_changed_any_more(shop: Shop) -> None:
    made = await shop.create(await shop.due_in(2 * DAY, cycle_count=5))
    await shop.suite.advance(1.5 * DAY)
    for call in (
        shop.change(made.name, 1, items=[shop.item("coffee")]),
        restore(shop, made.name, 1),
    ):
        refusal = await refused(call)
        assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "CYCLE_CUT_OFF")


async def test_restoring_takes_back_a_change_and_a_skip(shop: Shop) -> None:
    made = await weekly(shop)
    await shop.change(made.name, 2, items=[shop.item("coffee")])
    await skip(shop, made.name, 2)
    skipped = await skip(shop, made.name, 3)
    assert list(skipped.skipped_cycles) == [2, 3]
    restored = await restore(shop, made.name, 2)
    assert (list(restored.skipped_cycles), list(restored.cycle_changes)) == ([3], [])
    _, second, third = await shop.preview(made.name, 3)
    assert [line.product for line in second.lines] == [shop.product("tea")]
    assert third.skip_reason == pb.SKIPPED_BY_CUSTOMER


async def test_a_skip_of_an_announced_order_can_be_taken_back_until_it_is_due(shop: Shop) -> None:
    made = await shop.create(await shop.due_in(2 * DAY, cycle_count=5))
    await shop.suite.advance(1.2 * DAY)
    await skip(shop, made.name, 1)
    assert await shop.outcomes(made.name) == [(1, "SKIPPED", ["SKIPPED_BY_CUSTOMER"])]
    await restore(shop, made.name, 1)
    await shop.suite.sandbox.settle()
    order = await shop.order(made.name)
    assert order.state == pb.Order.UPCOMING
    # It is announced again, and its lead is as long as before.
    assert from_timestamp(order.charge_not_before_time) >= await shop.now() + 0.9 * DAY
    await skip(shop, made.name, 1)
    await shop.suite.sandbox.settle()
    assert (await shop.notice_kinds()).count("ORDER_SKIPPED") == 2
    await shop.suite.advance(DAY)
    refusal = await refused(restore(shop, made.name, 1))
    assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "CYCLE_CUT_OFF")
    assert "before it is due" in refusal.message


async def test_restoring_what_nobody_changed_changes_nothing(shop: Shop) -> None:
    made = await weekly(shop)
    assert await restore(shop, made.name, 2) == made


async def test_a_cycle_ordered_now_is_billed_now_and_none_is_added(shop: Shop) -> None:
    mandate = await shop.sign_up("bob")
    made = await shop.create(
        schedule(
            await shop.today() + 10 * DAY, daily=pb.Schedule.Daily(every_days=7), cycle_count=2
        ),
        customer=shop.customer("bob"),
        billing_mode=pb.AUTOMATIC,
        mandate=mandate,
    )
    now = await shop.now()
    await order_now(shop, made.name)
    await shop.suite.advance(timedelta(minutes=1))
    [order] = await shop.orders(made.name)
    assert (order.cycle, order.state) == (1, pb.Order.PAID)
    assert from_timestamp(order.due_time) - now < timedelta(minutes=1)
    after = await shop.get(made.name)
    assert (after.next_cycle, after.next_due_time) == (
        2,
        (await shop.preview(made.name))[0].due_time,
    )
    assert await shop.dates(made.name) == [day_of(made.schedule.start_date) + 7 * DAY]


async def test_what_is_ordered_now_is_a_cycle_that_would_come(shop: Shop) -> None:
    start = await shop.today() + 10 * DAY
    made = await weekly_without(shop, start, start)
    after = await order_now(shop, made.name)
    assert after.next_cycle == 2
    await shop.suite.advance(timedelta(minutes=1))
    assert (await shop.outcomes(made.name))[0] == (1, "SKIPPED", ["DATE_EXCLUDED"])
    _, ordered = await shop.orders(made.name)
    assert day_of(ordered.local_date) == await shop.today()
    assert (await shop.dates(made.name))[0] == start + 14 * DAY


async def test_the_audit_names_the_cycle_that_was_brought_forward_and_when_it_was_due(
    shop: Shop,
) -> None:
    start = await shop.today() + 10 * DAY
    left_out = await weekly_without(shop, start, start)
    whole = await weekly(shop)
    for name in (left_out.name, whole.name):
        await order_now(shop, name)
    noon = datetime.combine(start, time(12), UTC)
    assert await shop.brought_forward(left_out.name) == [(2, noon + 7 * DAY)]
    assert await shop.brought_forward(whole.name) == [(1, noon)]


async def test_the_audit_of_cycles_without_an_order_has_none_that_was_announced(
    shop: Shop,
) -> None:
    made = await announced(shop)
    await order_now(shop, made.name)
    assert await shop.brought_forward(made.name) == []


@pytest.mark.parametrize("moved_by", ["customer", "business days", "blackout"])
async def test_a_cycle_brought_forward_from_where_it_was_moved_uses_up_no_other_date(
    shop: Shop, moved_by: str
) -> None:
    start = await shop.today() + 10 * DAY
    start += (5 - start.weekday()) % 7 * DAY
    monday = start + 2 * DAY
    when = schedule(start, daily=pb.Schedule.Daily(every_days=7))
    if moved_by == "business days":
        when.business_days.rule = pb.Schedule.BusinessDays.NEXT
    if moved_by == "blackout":
        weekend = pb.Schedule.Blackout(start_date=to_date(start), end_date=to_date(start + DAY))
        when.blackouts.append(weekend)
        when.blackout_rule = pb.Schedule.MOVE_TO_NEXT_ALLOWED
    mandate = await shop.sign_up("ada")
    made = await shop.create(when, billing_mode=pb.AUTOMATIC, mandate=mandate)
    if moved_by == "customer":
        await shop.change(made.name, 1, local_date=to_date(monday))
    assert (await shop.dates(made.name))[0] == monday
    await order_now(shop, made.name)
    await shop.suite.advance(timedelta(minutes=1))
    mondays = schedule(monday, daily=pb.Schedule.Daily(every_days=7))
    await shop.update(made.name, ["schedule"], schedule=mondays)
    # A Saturday is used up, and the customer wants Mondays.
    assert (await shop.dates(made.name))[0] == monday
    await shop.suite.advance((monday - await shop.today()).days * DAY)
    assert day_of((await shop.order(made.name, 2)).local_date) == monday
    assert await shop.billed_again() == []


async def test_a_cycle_ordered_on_the_date_of_one_that_was_brought_forward_is_no_double(
    shop: Shop,
) -> None:
    when = await shop.due_in(10 * DAY, every_days=7)
    made = await shop.create(
        when,
        billing_mode=pb.AUTOMATIC,
        mandate=await shop.sign_up("ada"),
        notice_lead=Duration(seconds=9 * 86_400),
    )
    await order_now(shop, made.name)
    await shop.suite.advance(10 * DAY)
    await order_now(shop, made.name)
    await shop.suite.advance(timedelta(minutes=1))
    second = await shop.order(made.name, 2)
    assert second.local_date == when.start_date
    assert await shop.billed_again() == []


async def test_an_announced_cycle_can_be_ordered_now_too(shop: Shop) -> None:
    mandate = await shop.sign_up("bob")
    made = await shop.create(
        await shop.due_in(2 * DAY, cycle_count=1),
        customer=shop.customer("bob"),
        billing_mode=pb.AUTOMATIC,
        mandate=mandate,
    )
    await shop.suite.advance(1.5 * DAY)
    assert await shop.outcomes(made.name) == [(1, "UPCOMING", [])]
    await order_now(shop, made.name)
    await shop.suite.advance(timedelta(minutes=1))
    assert await shop.outcomes(made.name) == [(1, "PAID", [])]


@pytest.mark.parametrize("is_announced", [False, True], ids=["to come", "announced"])
async def test_a_second_click_takes_no_second_cycle(shop: Shop, is_announced: bool) -> None:  # noqa: FBT001
    made = await announced(shop) if is_announced else await weekly(shop)
    await asyncio.gather(*(order_now(shop, made.name) for _ in range(2)))
    await shop.suite.advance(timedelta(minutes=1))
    assert await shop.outcomes(made.name) == [(1, "AWAITING_PAYMENT", [])]
    await order_now(shop, made.name)
    await shop.suite.advance(timedelta(minutes=1))
    assert [cycle for cycle, *_ in await shop.outcomes(made.name)] == [1, 2]


async def test_while_a_cycle_ordered_now_is_held_no_other_is_ordered_now(shop: Shop) -> None:
    ask = pb.Otherwise(action=pb.Otherwise.HOLD_AND_ASK)
    dear = pb.Condition(total_ceiling=to_money(TEA_MINOR - 1, "EUR"), otherwise=ask)
    made = await shop.create(await shop.due_in(2 * DAY, every_days=7), conditions=[dear])
    for _ in range(2):
        await order_now(shop, made.name)
        await shop.suite.advance(timedelta(minutes=1))
        assert await shop.outcomes(made.name) == [(1, "HELD", ["CONDITION_NOT_MET"])]


async def test_an_announced_cycle_that_is_changed_gives_a_new_etag(shop: Shop) -> None:
    made = await announced(shop)

    async def refused_with(etag: str) -> str:
        call = shop.scheduler.SkipCycle(
            pb.SkipCycleRequest(name=made.name, etag=etag, request_id=new_id())
        )
        return (await refused(call)).reason

    known = (await shop.get(made.name)).etag
    skipped = await skip(shop, made.name, 1)
    assert await refused_with(known) == "ETAG_MISMATCH"
    restored = await restore(shop, made.name, 1, skipped.etag)
    assert await refused_with(skipped.etag) == "ETAG_MISMATCH"
    ordered = await shop.scheduler.OrderNow(
        pb.OrderNowRequest(name=made.name, etag=restored.etag, request_id=new_id())
    )
    assert await refused_with(restored.etag) == "ETAG_MISMATCH"
    assert (await shop.get(made.name)).etag == ordered.etag


async def test_only_an_active_standing_order_with_a_cycle_left_can_be_ordered_now(
    shop: Shop,
) -> None:
    made = await weekly(shop)
    await shop.pause(made.name)
    refusal = await refused(order_now(shop, made.name))
    assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "STANDING_ORDER_STATE")
    last = await shop.create(await shop.due_in(2 * DAY, cycle_count=1))
    await shop.suite.advance(2.5 * DAY)
    assert out_of_range(await refused(order_now(shop, last.name)))


async def test_a_stale_etag_refuses_each(shop: Shop) -> None:
    made = await weekly(shop)
    await skip(shop, made.name, 3)
    etag, items = made.etag, [shop.item("coffee")]
    for call in (
        restore(shop, made.name, 3, etag),
        shop.scheduler.ChangeCycle(
            pb.ChangeCycleRequest(
                name=made.name,
                change=pb.CycleChange(cycle=2, items=items),
                etag=etag,
                request_id=new_id(),
            )
        ),
        shop.scheduler.OrderNow(pb.OrderNowRequest(name=made.name, etag=etag, request_id=new_id())),
        shop.scheduler.SkipCycle(
            pb.SkipCycleRequest(name=made.name, cycle=2, etag=etag, request_id=new_id())
        ),
    ):
        refusal = await refused(call)
        assert (refusal.code, refusal.reason) == ("ABORTED", "ETAG_MISMATCH")


async def test_what_is_over_or_unknown_refuses_each(shop: Shop) -> None:
    made = await weekly(shop)
    await shop.cancel(made.name)
    for name, reason in (
        (made.name, "STANDING_ORDER_STATE"),
        (f"{shop.name}/standingOrders/nobody", "STANDING_ORDER_NOT_FOUND"),
    ):
        for call in (
            restore(shop, name, 2),
            skip(shop, name, 2),
            order_now(shop, name),
            shop.change(name, 2, items=[shop.item("coffee")]),
        ):
            assert (await refused(call)).reason == reason


async def test_a_change_is_answered_again_after_its_product_is_off_sale(shop: Shop) -> None:
    made = await weekly(shop)
    request = pb.ChangeCycleRequest(
        name=made.name,
        change=pb.CycleChange(cycle=2, items=[shop.item("coffee")]),
        request_id=new_id(),
    )
    answer = await shop.scheduler.ChangeCycle(request)
    await shop.client.catalog.DiscontinueProduct(
        catalog_pb2.DiscontinueProductRequest(name=shop.product("coffee"), request_id=new_id())
    )
    assert await shop.scheduler.ChangeCycle(request) == answer
