"""Orders are listed by standing order, state, customer and due time."""

from datetime import timedelta
from typing import Any

from recurring.scheduler.v1 import scheduler_pb2 as pb

from services.runtime.rpc.conversions import to_timestamp
from tests.contract.scheduler.shop import Shop
from tests.suite import refused

DAY = timedelta(days=1)


async def test_orders_are_found_by_customer_and_due_time(shop: Shop) -> None:
    await shop.bind_phone("bob")
    start = await shop.now()
    for customer in ("ada", "bob"):
        await shop.create(
            await shop.due_in(2 * DAY, cycle_count=3), customer=shop.customer(customer)
        )
    await shop.suite.advance(4.5 * DAY)

    async def found(**filters: Any) -> list[tuple[str, int]]:  # noqa: ANN401 - fields of a request
        response = await shop.scheduler.ListOrders(
            pb.ListOrdersRequest(parent=f"{shop.name}/standingOrders/-", **filters)
        )
        return sorted((order.customer.rpartition("/")[2], order.cycle) for order in response.orders)

    everything = [(customer, cycle) for customer in ("ada", "bob") for cycle in (1, 2, 3)]
    assert await found() == everything
    assert await found(customer=shop.customer("bob")) == [("bob", 1), ("bob", 2), ("bob", 3)]
    assert await found(customer=shop.customer("eve")) == []
    from_second = to_timestamp(start + 2.5 * DAY)
    before_third = to_timestamp(start + 3.5 * DAY)
    assert await found(due_from_time=from_second) == [order for order in everything if order[1] > 1]
    assert await found(due_before_time=before_third) == [
        order for order in everything if order[1] < 3
    ]
    assert await found(
        customer=shop.customer("ada"), due_from_time=from_second, due_before_time=before_third
    ) == [("ada", 2)]
    third = (await shop.scheduler.ListOrders(
        pb.ListOrdersRequest(parent=f"{shop.name}/standingOrders/-", due_from_time=before_third)
    )).orders[0]  # fmt: skip
    # From an instant on includes it; before an instant does not.
    assert await found(due_from_time=third.due_time) == [
        order for order in everything if order[1] > 2
    ]
    assert await found(due_before_time=third.due_time) == [
        order for order in everything if order[1] < 3
    ]


async def test_standing_orders_are_found_by_product(shop: Shop) -> None:
    when = await shop.due_in(9 * DAY)
    tea = await shop.create(when)
    both = await shop.create(when, items=[shop.item("tea"), shop.item("coffee")])

    async def found(product: str) -> set[str]:
        response = await shop.scheduler.ListStandingOrders(
            pb.ListStandingOrdersRequest(parent=shop.name, product=shop.product(product))
        )
        return {standing_order.name for standing_order in response.standing_orders}

    assert await found("tea") == {tea.name, both.name}
    assert await found("coffee") == {both.name}
    await shop.update(both.name, ["items"], items=[shop.item("coffee")])
    assert (await found("tea"), await found("coffee")) == ({tea.name}, {both.name})
    foreign = pb.ListStandingOrdersRequest(parent=shop.name, product="merchants/other/products/tea")
    refusal = await refused(shop.scheduler.ListStandingOrders(foreign))
    assert refusal.fields == {"product": "FIELD_INVALID"}


async def test_a_page_token_belongs_to_its_filters(shop: Shop) -> None:
    await shop.create(await shop.due_in(2 * DAY, cycle_count=2))
    await shop.suite.advance(3 * DAY)
    query = pb.ListOrdersRequest(
        parent=f"{shop.name}/standingOrders/-", customer=shop.customer("ada"), page_size=1
    )
    first = await shop.scheduler.ListOrders(query)
    query.page_token = first.next_page_token
    second = await shop.scheduler.ListOrders(query)
    assert [order.cycle for order in (*first.orders, *second.orders)] == [1, 2]
    query.customer = shop.customer("bob")
    refusal = await refused(shop.scheduler.ListOrders(query))
    assert refusal.reason == "PAGE_TOKEN_INVALID"


async def test_another_merchants_customer_is_refused(shop: Shop) -> None:
    refusal = await refused(
        shop.scheduler.ListOrders(
            pb.ListOrdersRequest(
                parent=f"{shop.name}/standingOrders/-", customer="merchants/other/customers/ada"
            )
        )
    )
    assert refusal.fields == {"customer": "FIELD_INVALID"}
