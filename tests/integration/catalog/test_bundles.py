"""Bundles are sold by their parts: none of them is promised twice."""

import pytest
from recurring.catalog.v1 import catalog_pb2, events_pb2
from recurring.scheduler.v1 import events_pb2 as scheduler_events_pb2

from services.runtime.errors import Problem
from tests.integration.catalog.shop import Shop, day, item, name, order
from tests.owner import as_owner


async def sell_box(shop: Shop) -> None:
    """A box of two teas, a cup and a card, of which there are as many as anybody wants."""
    await shop.sell("tea", 100, units=10)
    await shop.sell("cup", 100, units=3)
    await shop.sell("card", 100)
    await shop.sell("box", 900, bundle_parts=[item("tea", 2), item("cup"), item("card")])


async def test_a_bundle_has_one_price_and_the_stock_of_its_parts(shop: Shop) -> None:
    await sell_box(shop)
    assert await shop.units("box") == (3, 0, 3)
    assert (await shop.unit_price("box", day(1)))[0] == 900
    await shop.hold((order(), [item("box", 2), item("tea")]))
    assert (await shop.units("tea"), await shop.units("cup")) == ((10, 5, 5), (3, 2, 1))
    assert await shop.units("box") == (3, 2, 1)
    assert await shop.hold((order("b"), [item("box", 2)])) == [["box: OUT_OF_STOCK"]]
    await shop.order_event(scheduler_events_pb2.OrderConfirmed, order())
    assert (await shop.units("tea"), await shop.units("cup")) == ((5, 0, 5), (1, 0, 1))


async def test_what_is_held_is_proved_as_it_was_ordered(shop: Shop) -> None:
    await sell_box(shop)
    await shop.hold((order(), [item("box", 2), item("tea"), item("card")]))
    async with as_owner(shop.database) as connection:
        rows = await connection.fetch("SELECT product, facts FROM audit_v1.compared")
        counted = await connection.fetch(
            "SELECT product, held_units FROM audit_v1.stock ORDER BY product"
        )
    assert sorted(map(tuple, rows)) == [("box", "HELD 2"), ("tea", "HELD 1")]
    assert [tuple(row) for row in counted] == [("box", 0), ("cup", 2), ("tea", 5)]


async def test_a_bundle_that_was_missed_is_published_when_its_part_arrives(shop: Shop) -> None:
    await sell_box(shop)
    await shop.hold((order(), [item("box", 3)]))
    await shop.hold((order("b"), [item("box")]))
    before = len(await shop.published(events_pb2.StockRestocked))
    await shop.adjust("cup", 2)
    restocked = (await shop.published(events_pb2.StockRestocked))[before:]
    assert [(event.product, event.available_units) for event in restocked] == [
        (name("cup"), 2),
        (name("box"), 2),
    ]


async def test_a_bundle_of_bundles_is_shown_as_their_parts(shop: Shop) -> None:
    await sell_box(shop)
    await shop.sell("crate", 5000, bundle_parts=[item("box", 2), item("tea")])
    crate = await shop.call("GetProduct", catalog_pb2.GetProductRequest(name=name("crate")))
    assert list(crate.bundle_parts) == [item("tea", 5), item("cup", 2), item("card", 2)]
    assert await shop.units("crate") == (1, 0, 1)


@pytest.mark.parametrize(
    ("parts", "field", "reason"),
    [
        (["odd"], "product.bundle_parts[0].product", "BUNDLE_CONTAINS_ITSELF"),
        (["tea", "gone"], "product.bundle_parts[1].product", "BUNDLE_PART_NOT_FOUND"),
    ],
)
async def test_a_bundle_of_what_cannot_be_is_refused(
    shop: Shop, parts: list[str], field: str, reason: str
) -> None:
    await shop.sell("tea", 100, units=1)
    with pytest.raises(Problem) as refused:
        await shop.sell("odd", bundle_parts=[item(part) for part in parts])
    [violation] = refused.value.violations
    assert (violation.field, violation.reason) == (field, reason)


async def test_units_of_a_bundle_are_not_counted(shop: Shop) -> None:
    await sell_box(shop)
    with pytest.raises(Problem) as refused:
        await shop.adjust("box", 1)
    assert refused.value.reason == "STOCK_NOT_TRACKED"
    with pytest.raises(Problem) as refused:
        await shop.sell("set", units=5, bundle_parts=[item("tea")])
    assert [violation.field for violation in refused.value.violations] == ["product.stock_tracked"]
