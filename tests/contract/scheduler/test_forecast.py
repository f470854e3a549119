"""A merchant sees what standing orders will want, by product and day, and what protection costs."""

from collections.abc import Sequence
from datetime import date, timedelta

from google.protobuf import duration_pb2
from google.type import money_pb2
from recurring.payments.v1 import payments_pb2
from recurring.scheduler.v1 import scheduler_pb2 as pb

from services.runtime.rpc.conversions import from_money, to_date, to_money, to_timestamp
from tests.contract.scheduler.shop import COFFEE_MINOR, TEA_MINOR, Shop, daily, day_of, schedule
from tests.suite import new_id, refused

DAY = timedelta(days=1)


def minor(money: money_pb2.Money) -> int:
    return from_money(money).amount_minor


async def forecast(
    shop: Shop, first: date | None = None, last: date | None = None
) -> list[pb.DemandForecast]:
    response = await shop.scheduler.ForecastDemand(
        pb.ForecastDemandRequest(
            parent=shop.name,
            start_date=to_date(first) if first else None,
            end_date=to_date(last) if last else None,
        )
    )
    return list(response.forecasts)


def units(forecasts: Sequence[pb.DemandForecast]) -> list[tuple[date, str, int]]:
    return [
        (day_of(entry.date), entry.product.rpartition("/")[2], entry.units) for entry in forecasts
    ]


async def test_units_and_revenue_are_summed_by_day_and_product(shop: Shop) -> None:
    await shop.bind_phone("bob")
    start = await shop.today() + 5 * DAY
    await shop.create(daily(start, cycle_count=2), items=[shop.item("tea", 2)])
    await shop.create(
        daily(start, cycle_count=1),
        customer=shop.customer("bob"),
        items=[shop.item("tea", 3), shop.item("coffee")],
    )
    forecasts = await forecast(shop)
    assert [
        (*key, minor(entry.revenue)) for key, entry in zip(units(forecasts), forecasts, strict=True)
    ] == [
        (start, "coffee", 1, COFFEE_MINOR),
        (start, "tea", 5, 5 * TEA_MINOR),
        (start + DAY, "tea", 2, 2 * TEA_MINOR),
    ]


async def test_the_list_revenue_shows_what_protection_costs(shop: Shop) -> None:
    start = await shop.today() + 5 * DAY
    await shop.create(daily(start, cycle_count=1), items=[shop.item("tea", 2)])
    # Two prices cannot begin at one instant.
    await shop.suite.advance(timedelta(minutes=1))
    await shop.reprice("tea", 500)
    [entry] = await forecast(shop)
    # Subscribers pay the old price until they have had notice of the new one.
    assert (minor(entry.revenue), minor(entry.list_revenue)) == (2 * TEA_MINOR, 2 * 500)


async def test_only_the_days_asked_for_count_to_their_ends(shop: Shop) -> None:
    start = await shop.today() + 5 * DAY
    await shop.create(daily(start))
    forecasts = await forecast(shop, start + 2 * DAY, start + 4 * DAY)
    assert units(forecasts) == [(start + n * DAY, "tea", 1) for n in (2, 3, 4)]
    far = start + 3000 * DAY
    assert units(await forecast(shop, far, far)) == [(far, "tea", 1)]


async def test_single_cycles_count_as_they_were_changed(shop: Shop) -> None:
    start = await shop.today() + 5 * DAY
    made = await shop.create(schedule(start, daily=pb.Schedule.Daily(every_days=4), cycle_count=4))
    await shop.change(made.name, 1, items=[shop.item("coffee", 2)])
    await shop.change(made.name, 2, local_date=to_date(start + 5 * DAY))
    await shop.scheduler.SkipCycle(
        pb.SkipCycleRequest(name=made.name, cycle=3, request_id=new_id())
    )
    expected = [(start, "coffee", 2), (start + 5 * DAY, "tea", 1), (start + 12 * DAY, "tea", 1)]
    assert units(await forecast(shop)) == expected
    assert units(await forecast(shop, start + 5 * DAY, start + 5 * DAY)) == expected[1:2]


async def test_an_announced_order_counts_once_and_as_announced(shop: Shop) -> None:
    made = await shop.create(await shop.due_in(2 * DAY, cycle_count=2))
    before = units(await forecast(shop))
    await shop.suite.advance(1.5 * DAY)
    await shop.update(made.name, ["items"], items=[shop.item("coffee")])
    assert await shop.outcomes(made.name) == [(1, "UPCOMING", [])]
    first, second = units(await forecast(shop))
    assert (first, second) == (before[0], (before[1][0], "coffee", 1))


async def test_a_pause_counts_until_its_end_and_one_without_end_for_ever(shop: Shop) -> None:
    made = await shop.create(await shop.due_in(5 * DAY, cycle_count=5))
    start = day_of(made.schedule.start_date)
    await shop.pause(made.name, until_time=to_timestamp(await shop.now() + 6.5 * DAY))
    assert units(await forecast(shop)) == [(start + n * DAY, "tea", 1) for n in (3, 4)]
    await shop.resume(made.name)
    await shop.pause(made.name)
    assert await forecast(shop) == []


async def test_what_has_ended_does_not_count(shop: Shop) -> None:
    made = await shop.create(daily(await shop.today() + 5 * DAY))
    await shop.cancel(made.name, after_current_cycle=True)
    assert len(await forecast(shop)) == 1
    await shop.cancel(made.name)
    assert await forecast(shop) == []


async def test_a_span_that_is_past_or_backward_or_too_long_is_refused(shop: Shop) -> None:
    today = await shop.today()
    for first, last, field in (
        (today - DAY, None, "start_date"),
        (today, today - DAY, "end_date"),
        (today, today + 367 * DAY, "end_date"),
    ):
        refusal = await refused(forecast(shop, first, last))
        assert refusal.fields == {field: "OUT_OF_RANGE"}
    assert await forecast(shop, today, today + 366 * DAY) == []


async def test_a_forecast_that_is_too_large_says_to_ask_for_less(shop: Shop) -> None:
    products = [f"leaf-{number}" for number in range(60)]
    for product in products:
        await shop.sell(product, TEA_MINOR)
    start = await shop.today() + 5 * DAY
    await shop.create(daily(start), items=[shop.item(product) for product in products])
    refusal = await refused(forecast(shop, start, start + 365 * DAY))
    assert (refusal.code, refusal.reason) == ("INVALID_ARGUMENT", "FORECAST_TOO_LARGE")
    assert refusal.fields == {"end_date": "FORECAST_TOO_LARGE"}
    for _ in range(2):
        await shop.create(daily(start), items=[shop.item(product) for product in products])
    request = pb.GetStockCoverageRequest(parent=shop.name, end_date=to_date(start + 360 * DAY))
    refusal = await refused(shop.scheduler.GetStockCoverage(request))
    assert refusal.fields == {"end_date": "FORECAST_TOO_LARGE"}
    assert len(await forecast(shop, start, start + DAY)) == 2 * len(products)
    request.end_date.CopyFrom(to_date(start + DAY))
    assert (await shop.scheduler.GetStockCoverage(request)).coverages == []


async def test_nobody_sees_another_merchants_demand(shop: Shop) -> None:
    other_merchant = shop.suite.client()
    refusal = await refused(
        other_merchant.scheduler.ForecastDemand(pb.ForecastDemandRequest(parent=shop.name))
    )
    assert (refusal.code, refusal.reason) == ("PERMISSION_DENIED", "MERCHANT_FORBIDDEN")


async def test_what_the_customer_bought_elsewhere_is_no_demand(shop: Shop) -> None:
    when = await shop.due_in(5 * DAY, cycle_count=3)
    await shop.create(when, repurchase_window=duration_pb2.Duration(seconds=5 * 86_400 + 43_200))
    start = day_of(when.start_date)
    await shop.buy_elsewhere("tea")
    assert units(await forecast(shop)) == [(start + n * DAY, "tea", 1) for n in (1, 2)]


async def test_cycles_that_the_customer_would_be_asked_about_are_no_demand(shop: Shop) -> None:
    await shop.create(
        daily(await shop.today() + 5 * DAY, cycle_count=3),
        conditions=[
            pb.Condition(
                total_ceiling=to_money(TEA_MINOR - 1, "EUR"),
                otherwise=pb.Otherwise(action=pb.Otherwise.HOLD_AND_ASK),
            )
        ],
    )
    assert await forecast(shop) == []


async def test_conditions_count_with_the_cycles_before(shop: Shop) -> None:
    start = await shop.today() + 5 * DAY
    at_least_three_days_apart = pb.Condition(
        days_since_last_order=3, otherwise=pb.Otherwise(action=pb.Otherwise.SKIP)
    )
    made = await shop.create(daily(start, cycle_count=7), conditions=[at_least_three_days_apart])
    expected = [(start + n * DAY, "tea", 1) for n in (0, 3, 6)]
    assert units(await forecast(shop)) == expected
    assert units(await forecast(shop, start + 1 * DAY, start + 5 * DAY)) == expected[1:2]
    assert await shop.dates(made.name) == [day for day, _, _ in expected]


async def test_a_deferred_cycle_counts_where_it_goes(shop: Shop) -> None:
    start = await shop.today() + 5 * DAY
    defer = pb.Otherwise(action=pb.Otherwise.DEFER, defer_days=2)
    await shop.create(
        schedule(start, daily=pb.Schedule.Daily(every_days=10), cycle_count=1),
        conditions=[pb.Condition(total_ceiling=to_money(TEA_MINOR - 1, "EUR"), otherwise=defer)],
    )
    assert units(await forecast(shop)) == [(start + 2 * DAY, "tea", 1)]
    assert await forecast(shop, start, start) == []


async def test_a_substitute_counts_instead_of_what_is_too_dear(shop: Shop) -> None:
    start = await shop.today() + 5 * DAY
    await shop.sell("chicory", 300)
    substitute = pb.Otherwise(action=pb.Otherwise.SUBSTITUTE, substitute=shop.product("chicory"))
    dear = pb.Condition.UnitPriceCeiling(
        product=shop.product("tea"), ceiling=to_money(TEA_MINOR - 1, "EUR")
    )
    await shop.create(
        daily(start, cycle_count=1),
        conditions=[pb.Condition(unit_price_ceiling=dear, otherwise=substitute)],
    )
    assert units(await forecast(shop)) == [(start, "chicory", 1)]


async def test_an_empty_shelf_does_not_hide_what_is_wanted(shop: Shop) -> None:
    start = await shop.today() + 5 * DAY
    await shop.sell("cake", 900, stock_tracked=True)
    in_stock = pb.Condition(
        in_stock=pb.Condition.InStock(), otherwise=pb.Otherwise(action=pb.Otherwise.SKIP)
    )
    made = await shop.create(
        daily(start, cycle_count=1), items=[shop.item("cake")], conditions=[in_stock]
    )
    [preview] = await shop.preview(made.name)
    assert preview.skip_reason == pb.CONDITION_NOT_MET
    assert units(await forecast(shop)) == [(start, "cake", 1)]


async def test_what_a_revoked_mandate_was_to_pay_is_no_demand(shop: Shop) -> None:
    mandate = await shop.sign_up("ada")
    await shop.create(
        await shop.due_in(2 * DAY, every_days=5, cycle_count=3),
        billing_mode=pb.AUTOMATIC,
        mandate=mandate,
    )
    await shop.suite.advance(1.5 * DAY)
    assert len(await forecast(shop)) == 3
    await shop.client.payments.RevokeMandate(
        payments_pb2.RevokeMandateRequest(name=mandate, request_id=new_id())
    )
    assert await forecast(shop) == []


async def test_cycles_after_the_end_of_a_mandate_are_no_demand(shop: Shop) -> None:
    await shop.sign_up("ada")
    when = await shop.due_in(3 * DAY, every_days=1, cycle_count=5)
    mandate = await shop.consent(
        shop.customer("ada"),
        f"{shop.customer('ada')}/paymentMethods/card",
        10_000,
        "short",
        valid_until_time=to_timestamp(await shop.now() + 4.5 * DAY),
    )
    await shop.create(when, billing_mode=pb.AUTOMATIC, mandate=mandate)
    start = day_of(when.start_date)
    assert [day for day, _, _ in units(await forecast(shop))] == [start, start + DAY]
