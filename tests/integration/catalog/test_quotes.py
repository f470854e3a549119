"""A call prices hundreds of orders with everything that a price can have, in three round trips."""

import pytest
from recurring.catalog.v1 import catalog_pb2

from services.runtime.db.pool import Connection
from services.runtime.rpc.conversions import to_money, to_timestamp
from tests.integration.catalog.shop import MERCHANT, SUITE, Shop, cents, day, item

ORDERS = 500
PRODUCTS = 20
ROUND_TRIPS_MAX = 3
LOCK = catalog_pb2.PriceProtection(lock=catalog_pb2.PriceLock(cycle_count=3))


async def test_five_hundred_orders_are_priced_in_three_round_trips(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    tier = catalog_pb2.PriceTier(first_quantity=2, unit_price=to_money(900, "EUR"))
    for number in range(PRODUCTS):
        await shop.sell(f"p{number}", increase_notice_days=0)
        await shop.price(
            f"p{number}", 1000, tiers=[tier], tier_mode="VOLUME", subscriber_discount_bps=100
        )
    await shop.promote("spring", code="SPRING")
    entries = [
        catalog_pb2.ProtectPrices(
            standing_order=f"{MERCHANT}/standingOrders/so-{number}",
            products=[item(f"p{number % PRODUCTS}").product],
            sign_up_time=to_timestamp(shop.clock.now()),
            agreement=catalog_pb2.PriceAgreement(
                price_protection=LOCK,
                first_cycle=1,
                agree_time=to_timestamp(shop.clock.now()),
            ),
            first_cycle=1,
            promotion_code="SPRING",
        )
        for number in range(ORDERS)
    ]
    protect = catalog_pb2.BatchProtectPricesRequest(entries=entries)
    await shop.call("BatchProtectPrices", protect, SUITE)
    shop.clock.move_to(day(1))
    for number in range(PRODUCTS):
        await shop.price(f"p{number}", 1500)
    carts = [
        catalog_pb2.Cart(
            standing_order=entry.standing_order,
            cycle=2,
            items=[catalog_pb2.Item(product=entry.products[0], quantity=2)],
            price_time=to_timestamp(day(2)),
            currency="EUR",
            region_code="CH",
            agreement=entry.agreement,
        )
        for entry in entries
    ]
    statements: list[str] = []
    fetch, execute = Connection.fetch, Connection.execute

    async def counted_fetch(self: Connection, sql: str, *values: object) -> object:
        statements.append(sql)
        return await fetch(self, sql, *values)

    async def counted_execute(self: Connection, sql: str, *values: object) -> int:
        statements.append(sql)
        return await execute(self, sql, *values)

    monkeypatch.setattr(Connection, "fetch", counted_fetch)
    monkeypatch.setattr(Connection, "execute", counted_execute)
    response = await shop.call("BatchQuote", catalog_pb2.BatchQuoteRequest(carts=carts), SUITE)
    assert len(statements) <= ROUND_TRIPS_MAX, statements
    # Two for 9.00 each less 1 % is locked, less the promotion's 10 %.
    assert {cents(result.quote.total) for result in response.results} == {1782 - 178}
    # Equal lines are sent once.
    assert len(response.lines) == PRODUCTS
    kinds = catalog_pb2.PriceAdjustment.Kind
    assert [kinds.Name(step.kind) for step in response.lines[0].adjustments] == [
        "PRICE_LOCK",
        "PROMOTION",
    ]
