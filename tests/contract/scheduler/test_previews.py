"""A preview says of each coming cycle what would become of it, as the workers would decide."""

from datetime import timedelta

from google.protobuf import duration_pb2
from recurring.payments.v1 import payments_pb2
from recurring.scheduler.v1 import scheduler_pb2 as pb

from services.runtime.money import Money
from services.runtime.rpc.conversions import (
    from_money,
    from_timestamp,
    to_date,
    to_money,
    to_timestamp,
)
from tests.contract.scheduler.shop import COFFEE_MINOR, TEA_MINOR, Shop, day_of, schedule
from tests.suite import new_id, refused

DAY = timedelta(days=1)


def seen(previews: list[pb.CyclePreview]) -> list[tuple[int, str, list[str]]]:
    """Each cycle with why it is left out, and what is in the way."""
    return [
        (
            preview.cycle,
            pb.OrderReason.Name(preview.skip_reason) if preview.skip_reason else "",
            [*map(pb.OrderReason.Name, preview.problems)],
        )
        for preview in previews
    ]


async def set_unpaid_policy(
    shop: Shop, policy: pb.SchedulerSettings.UnpaidPolicy.ValueType
) -> None:
    settings = pb.SchedulerSettings(name=f"{shop.name}/schedulerSettings", unpaid_policy=policy)
    await shop.scheduler.UpdateSchedulerSettings(
        pb.UpdateSchedulerSettingsRequest(scheduler_settings=settings, request_id=new_id())
    )


async def test_a_cycle_beyond_the_mandate_says_so_before_it_comes(shop: Shop) -> None:
    mandate = await shop.sign_up("ada", ceiling_minor=TEA_MINOR)
    made = await shop.create(
        await shop.due_in(5 * DAY, cycle_count=2), billing_mode=pb.AUTOMATIC, mandate=mandate
    )
    await shop.change(made.name, 2, items=[shop.item("tea", 2)])
    assert seen(await shop.preview(made.name)) == [(1, "", []), (2, "", ["MANDATE_NOT_COVERING"])]


async def test_the_cycles_of_a_pause_are_shown_as_left_out(shop: Shop) -> None:
    made = await shop.create(await shop.due_in(5 * DAY, cycle_count=4))
    await shop.pause(made.name, cycle_count=2)
    assert seen(await shop.preview(made.name)) == [
        (1, "PAUSED", []),
        (2, "PAUSED", []),
        (3, "", []),
        (4, "", []),
    ]
    await shop.suite.advance(9 * DAY)
    assert await shop.outcomes(made.name) == [
        (1, "SKIPPED", ["PAUSED"]),
        (2, "SKIPPED", ["PAUSED"]),
        (3, "AWAITING_PAYMENT", []),
        (4, "AWAITING_PAYMENT", []),
    ]


async def test_no_notice_is_previewed_before_the_end_of_a_pause(shop: Shop) -> None:
    made = await shop.create(await shop.due_in(5 * DAY, cycle_count=1))
    [first] = await shop.preview(made.name)
    # Too late to make the notice early, and in time to announce the cycle.
    until = from_timestamp(first.notice_time) + timedelta(minutes=5)
    await shop.pause(made.name, until_time=to_timestamp(until))
    [first] = await shop.preview(made.name)
    assert (from_timestamp(first.notice_time), first.skip_reason) == (until, 0)


async def test_a_pause_without_an_end_leaves_out_every_cycle(shop: Shop) -> None:
    made = await shop.create(await shop.due_in(5 * DAY))
    await shop.pause(made.name)
    assert [reason for _, reason, _ in seen(await shop.preview(made.name, 3))] == ["PAUSED"] * 3


async def test_the_next_cycle_waits_for_an_unpaid_one_where_the_merchant_wants_that(
    shop: Shop,
) -> None:
    await set_unpaid_policy(shop, pb.SchedulerSettings.WAIT)
    made = await shop.create(await shop.due_in(1.5 * DAY, every_days=3, cycle_count=3))
    await shop.suite.advance(2 * DAY)
    assert await shop.outcomes(made.name) == [(1, "AWAITING_PAYMENT", [])]
    assert seen(await shop.preview(made.name)) == [(2, "", ["PREVIOUS_UNPAID"]), (3, "", [])]
    await shop.suite.advance(2 * DAY)
    assert (await shop.outcomes(made.name))[1] == (2, "HELD", ["PREVIOUS_UNPAID"])


async def test_what_a_preview_says_is_what_happens(shop: Shop) -> None:
    """Left out, changed, moved, in a blackout, against a condition, bought elsewhere, or plain."""
    mandate = await shop.sign_up("ada")
    when = await shop.due_in(1.5 * DAY, every_days=2, cycle_count=7)
    start = day_of(when.start_date)
    closed = to_date(start + 8 * DAY)
    when.blackouts.append(pb.Schedule.Blackout(start_date=closed, end_date=closed))
    no_coffee_for_two = pb.Condition(
        total_ceiling=to_money(2 * COFFEE_MINOR - 1, "EUR"),
        otherwise=pb.Otherwise(action=pb.Otherwise.SKIP),
    )
    made = await shop.create(
        when,
        billing_mode=pb.AUTOMATIC,
        mandate=mandate,
        conditions=[no_coffee_for_two],
        repurchase_window=duration_pb2.Duration(seconds=2 * 86_400),
    )
    await shop.change(
        made.name, 3, items=[shop.item("tea", 3)], local_date=to_date(start + 5 * DAY)
    )
    await shop.change(made.name, 6, items=[shop.item("coffee", 2)])
    skip = pb.SkipCycleRequest(name=made.name, cycle=2, request_id=new_id())
    await shop.scheduler.SkipCycle(skip)
    await shop.buy_elsewhere("tea")

    previewed = await shop.preview(made.name)
    await shop.suite.advance(16 * DAY)
    became = await shop.orders(made.name)

    def reason(cycle: pb.CyclePreview) -> list[int]:
        return [cycle.skip_reason] if cycle.skip_reason else []

    assert [
        (cycle.cycle, cycle.local_date, cycle.due_time, cycle.amount, list(cycle.reasons))
        for cycle in became
    ] == [
        (cycle.cycle, cycle.local_date, cycle.due_time, cycle.amount, reason(cycle))
        for cycle in previewed
    ]
    assert [pb.OrderReason.Name(cycle.skip_reason) for cycle in previewed] == [
        "PURCHASED_ELSEWHERE",
        "SKIPPED_BY_CUSTOMER",
        "ORDER_REASON_UNSPECIFIED",
        "ORDER_REASON_UNSPECIFIED",
        "DATE_EXCLUDED",
        "CONDITION_NOT_MET",
        "ORDER_REASON_UNSPECIFIED",
    ]


async def test_a_withdrawn_price_is_in_no_preview_and_binds_only_announced_orders(
    shop: Shop,
) -> None:
    mandate = await shop.sign_up("ada")
    when = await shop.due_in(2 * DAY, every_days=5, cycle_count=2)
    made = await shop.create(when, billing_mode=pb.AUTOMATIC, mandate=mandate)
    [first, _] = await shop.preview(made.name)
    takes_effect = from_timestamp(first.due_time) - timedelta(hours=1)
    mistyped = await shop.reprice("tea", TEA_MINOR // 3, effective=takes_effect)

    async def amounts() -> list[Money]:
        return [from_money(cycle.amount) for cycle in await shop.preview(made.name)]

    assert await amounts() == [Money(TEA_MINOR // 3, "EUR")] * 2
    await shop.suite.advance(1.5 * DAY)
    assert await shop.outcomes(made.name) == [(1, "UPCOMING", [])]
    await shop.withdraw_price(mistyped)
    assert (await amounts())[-1] == Money(TEA_MINOR, "EUR")
    await shop.suite.advance(7 * DAY)
    paid = [from_money((await shop.order(made.name, cycle)).amount) for cycle in (1, 2)]
    assert paid == [Money(TEA_MINOR // 3, "EUR"), Money(TEA_MINOR, "EUR")]


async def within_next_month(shop: Shop) -> pb.Schedule:
    """Four cycles on the 2nd, 6th, 10th and 14th of the month that follows."""
    today = await shop.today()
    start = (today.replace(day=1) + 32 * DAY).replace(day=2)
    return schedule(start, daily=pb.Schedule.Daily(every_days=4), cycle_count=4)


async def month_mandate(shop: Shop, ceiling_minor: int) -> str:
    await shop.sign_up("ada")
    card = f"{shop.customer('ada')}/paymentMethods/card"
    ceiling = payments_pb2.PeriodCeiling(amount=to_money(ceiling_minor, "EUR"))
    return await shop.consent(
        shop.customer("ada"), card, ceiling_minor, "monthly", period_ceiling=ceiling
    )


async def test_cycles_beyond_a_month_ceiling_are_held_as_the_preview_said(shop: Shop) -> None:
    mandate = await month_mandate(shop, 2 * TEA_MINOR)
    made = await shop.create(
        await within_next_month(shop), billing_mode=pb.AUTOMATIC, mandate=mandate
    )
    previewed = await shop.preview(made.name)
    beyond = ["MANDATE_NOT_COVERING"]
    assert seen(previewed) == [(1, "", []), (2, "", []), (3, "", beyond), (4, "", beyond)]
    assert list(previewed[2].mandate_reasons) == [payments_pb2.ABOVE_PERIOD_CEILING]
    last = from_timestamp(previewed[3].due_time)
    await shop.suite.advance(last - await shop.now() + 4 * DAY)
    assert [(state, reasons) for _, state, reasons in await shop.outcomes(made.name)] == [
        ("PAID", []),
        ("PAID", []),
        ("LAPSED", [*beyond, "HOLD_EXPIRED"]),
        ("LAPSED", [*beyond, "HOLD_EXPIRED"]),
    ]


async def test_announced_orders_count_against_the_ceiling_of_their_month(shop: Shop) -> None:
    mandate = await month_mandate(shop, 2 * TEA_MINOR)
    made = await shop.create(
        await within_next_month(shop),
        billing_mode=pb.AUTOMATIC,
        mandate=mandate,
        notice_lead=duration_pb2.Duration(seconds=10 * 86_400),
    )
    second = from_timestamp((await shop.preview(made.name))[1].notice_time)
    await shop.suite.advance(second - await shop.now() + timedelta(hours=1))
    assert [state for _, state, _ in await shop.outcomes(made.name)] == ["UPCOMING", "UPCOMING"]
    beyond = ["MANDATE_NOT_COVERING"]
    assert seen(await shop.preview(made.name)) == [(3, "", beyond), (4, "", beyond)]
    await shop.suite.advance(4 * DAY)
    assert (await shop.outcomes(made.name))[2] == (3, "HELD", beyond)


async def test_a_mandate_must_hold_until_the_charge_that_the_notice_promises(shop: Shop) -> None:
    await shop.sign_up("ada")
    due = await shop.now() + 0.5 * DAY
    mandate = await shop.consent(
        shop.customer("ada"),
        f"{shop.customer('ada')}/paymentMethods/card",
        10_000,
        "short",
        valid_until_time=to_timestamp(due + timedelta(hours=1)),
    )
    refusal = await refused(
        shop.create(await shop.due_in(0.5 * DAY), billing_mode=pb.AUTOMATIC, mandate=mandate)
    )
    assert refusal.reason == "MANDATE_NOT_COVERING"
    assert "MANDATE_EXPIRED" in refusal.message
