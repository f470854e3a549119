"""A merchant sees in time which cycles the stock, with what is expected, will not serve."""

from datetime import date, timedelta

from recurring.catalog.v1 import catalog_pb2
from recurring.scheduler.v1 import scheduler_pb2 as pb

from services.runtime.rpc.conversions import to_date
from tests.contract.scheduler.shop import Shop, daily, day_of
from tests.suite import new_id, refused

DAY = timedelta(days=1)


async def coverage(shop: Shop, last: date | None = None) -> list[pb.StockCoverage]:
    response = await shop.scheduler.GetStockCoverage(
        pb.GetStockCoverageRequest(parent=shop.name, end_date=to_date(last) if last else None)
    )
    return list(response.coverages)


async def expect(shop: Shop, units: int, day: date, delivery: str = "d1") -> catalog_pb2.Delivery:
    made: catalog_pb2.Delivery = await shop.client.catalog.CreateDelivery(
        catalog_pb2.CreateDeliveryRequest(
            parent=shop.product("cake"),
            delivery_id=delivery,
            delivery=catalog_pb2.Delivery(units=units, expected_date=to_date(day)),
            request_id=new_id(),
        )
    )
    return made


async def receive(shop: Shop, name: str, units: int | None = None) -> catalog_pb2.Delivery:
    received: catalog_pb2.Delivery = await shop.client.catalog.ReceiveDelivery(
        catalog_pb2.ReceiveDeliveryRequest(name=name, received_units=units, request_id=new_id())
    )
    return received


async def cancel(shop: Shop, name: str) -> catalog_pb2.Delivery:
    cancelled: catalog_pb2.Delivery = await shop.client.catalog.CancelDelivery(
        catalog_pb2.CancelDeliveryRequest(name=name, request_id=new_id())
    )
    return cancelled


async def deliver(shop: Shop, units: int) -> None:
    await shop.client.catalog.AdjustStock(
        catalog_pb2.AdjustStockRequest(
            product=shop.product("cake"), delta_units=units, request_id=new_id()
        )
    )


async def test_cycles_that_the_stock_cannot_serve_are_named_with_their_dates(shop: Shop) -> None:
    await shop.sell("cake", 900, stock_tracked=True)
    await deliver(shop, 3)
    start = await shop.today() + 5 * DAY
    made = await shop.create(daily(start, cycle_count=4), items=[shop.item("cake", 2)])
    await shop.create(daily(start, cycle_count=4), items=[shop.item("tea")])
    [short] = await coverage(shop)
    assert (short.product, short.title) == (shop.product("cake"), "Cake")
    assert (short.available_units, short.expected_units, short.demand_units) == (3, 0, 8)
    assert (short.short_units, short.short_cycle_count) == (6, 3)
    assert day_of(short.first_short_date) == start + DAY
    assert [cycle.order for cycle in short.short_cycles] == [
        f"{made.name}/orders/{cycle}" for cycle in (2, 3, 4)
    ]
    delivery = await expect(shop, 5, start + 2 * DAY)
    [short] = await coverage(shop)
    assert (short.expected_units, short.short_cycle_count) == (5, 1)
    await receive(shop, delivery.name, 6)
    [covered] = await coverage(shop)
    assert (covered.available_units, covered.short_cycle_count) == (9, 0)
    assert not covered.HasField("first_short_date")
    assert await coverage(shop, await shop.today() + DAY) == []


async def test_an_order_that_waits_for_units_is_short_and_one_that_is_being_paid_is_not(
    shop: Shop,
) -> None:
    await shop.sell("cake", 900, stock_tracked=True)
    await shop.create(await shop.due_in(2 * DAY, cycle_count=1), items=[shop.item("cake")])
    await shop.suite.advance(2.2 * DAY)
    [short] = await coverage(shop)
    assert (short.demand_units, short.short_cycle_count) == (1, 1)
    await deliver(shop, 1)
    await shop.suite.advance(timedelta(minutes=10))
    # Its unit is held while its payment is awaited.
    assert await coverage(shop) == []


async def test_a_delivery_is_received_or_cancelled_once(shop: Shop) -> None:
    await shop.sell("cake", 900, stock_tracked=True)
    today = await shop.today()
    first, second = [await expect(shop, 5, today, name) for name in ("d1", "d2")]
    for _ in range(2):
        assert (await receive(shop, first.name)).received_units == 5
        assert (await cancel(shop, second.name)).state == catalog_pb2.Delivery.CANCELLED
    assert (await refused(cancel(shop, first.name))).reason == "DELIVERY_RECEIVED"
    assert (await refused(receive(shop, second.name))).reason == "DELIVERY_CANCELLED"
    assert (await refused(expect(shop, 5, today, "d1"))).reason == "DELIVERY_ALREADY_EXISTS"
    listed = await shop.client.catalog.ListDeliveries(
        catalog_pb2.ListDeliveriesRequest(parent=shop.product("cake"))
    )
    assert [delivery.state for delivery in listed.deliveries] == [
        catalog_pb2.Delivery.RECEIVED,
        catalog_pb2.Delivery.CANCELLED,
    ]
    stock = await shop.client.catalog.GetStock(
        catalog_pb2.GetStockRequest(product=shop.product("cake"))
    )
    assert stock.on_hand_units == 5


async def test_deliveries_that_cannot_be_are_refused(shop: Shop) -> None:
    await shop.sell("cake", 900, stock_tracked=True)
    today = await shop.today()
    past = await refused(expect(shop, 5, today - 3 * DAY))
    assert past.fields == {"delivery.expected_date": "FIELD_INVALID"}
    untracked = catalog_pb2.CreateDeliveryRequest(
        parent=shop.product("tea"),
        delivery_id="d1",
        delivery=catalog_pb2.Delivery(units=1, expected_date=to_date(today)),
        request_id=new_id(),
    )
    refusal = await refused(shop.client.catalog.CreateDelivery(untracked))
    assert refusal.reason == "STOCK_NOT_TRACKED"
    for number in range(100):
        await expect(shop, 1, today, f"d{number}")
    assert (await refused(expect(shop, 1, today, "more"))).reason == "DELIVERIES_TOO_MANY"


async def test_coverage_is_of_days_to_come(shop: Shop) -> None:
    today = await shop.today()
    for last in (today - DAY, today + 367 * DAY):
        refusal = await refused(coverage(shop, last))
        assert refusal.fields == {"end_date": "OUT_OF_RANGE"}
    refusal = await refused(coverage(shop, date(2101, 1, 1)))
    assert "2101-01-01 is not from 1970-01-01 to 2100-12-31" in refusal.message


async def test_deliveries_are_listed_by_id_page_by_page(shop: Shop) -> None:
    await shop.sell("cake", 900, stock_tracked=True)
    catalog = shop.client.catalog
    for delivery in ("d3", "d1", "d2"):
        await expect(shop, 5, await shop.today() + DAY, delivery)
    parent = shop.product("cake")
    first = await catalog.ListDeliveries(
        catalog_pb2.ListDeliveriesRequest(parent=parent, page_size=2)
    )
    rest = await catalog.ListDeliveries(
        catalog_pb2.ListDeliveriesRequest(
            parent=parent, page_size=2, page_token=first.next_page_token
        )
    )
    listed = [[it.name.rpartition("/")[2] for it in page.deliveries] for page in (first, rest)]
    assert (listed, rest.next_page_token) == ([["d1", "d2"], ["d3"]], "")


async def test_services_ask_what_there_is_of_a_product(shop: Shop) -> None:
    await shop.sell("cake", 900, stock_tracked=True)
    await expect(shop, 5, await shop.today() + DAY)
    request = catalog_pb2.BatchCheckSupplyRequest(products=[shop.product("cake")])
    answer = await shop.suite.suite_client().catalog.BatchCheckSupply(request)
    assert [supply.product for supply in answer.supplies] == [shop.product("cake")]
