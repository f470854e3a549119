"""What a service keeps of settled days, by its own worker."""

from recurring.scheduler.v1 import events_pb2 as scheduler_events_pb2

from services.runtime.db import digests
from tests.integration.catalog.shop import NOW, Shop, day, item, order

KEPT = "SELECT clause, day, product, row_count FROM proof_digests WHERE is_settled ORDER BY product"


async def test_the_stock_of_a_day_is_kept_once_nothing_of_it_is_held(shop: Shop) -> None:
    await shop.sell("tea", 100, units=10)
    await shop.hold((order("paid"), [item("tea")]), (order("open"), [item("tea")]), until=day(9))
    await shop.order_event(scheduler_events_pb2.OrderConfirmed, order("paid"))
    found = []
    for days in (4, 8):
        shop.clock.move_to(day(days))
        while await digests.keep(shop.database, shop.clock):
            pass
        async with shop.database.begin(wake_workers=False) as connection:
            found.append([tuple(row) for row in await connection.fetch(KEPT)])
        await shop.order_event(scheduler_events_pb2.OrderConfirmed, order("open"))
    assert found == [[], [("stock-matches-orders", NOW.date(), "tea", 2)]]
