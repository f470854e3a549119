"""How many order lines are priced in a second on one core, with all that can be on a line.

The catalog's own handler runs here, in this process, on the stack's database: what counts is the
processor's time of this process, which is what a replica of the catalog has.
"""

import asyncio
import time
import uuid
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta

from asyncpg.connection import LoggedQuery
from recurring.catalog.v1 import catalog_pb2

from bench.measure import Aim, Figure, check
from bench.provider_table import ProviderTable
from bench.stack import Stack
from services.catalog import api
from services.runtime.auth.call_context import Caller, set_caller
from services.runtime.db.pool import Database, Pool
from services.runtime.rpc.conversions import to_money, to_timestamp
from services.runtime.workers.clock import SystemClock

ORDERS = 500
LINES_OF_ORDER = 3
PRODUCTS = 100
CALLS = 40
LINES_A_SECOND_MIN = 20_000
ROUND_TRIPS_MAX = 3
REGION = "DE"
LOCK = catalog_pb2.PriceProtection(lock=catalog_pb2.PriceLock(cycle_count=12))


async def measure(stack: Stack) -> list[Figure]:
    """Lines a second of the processor, of calls with 500 orders."""
    database = Database(
        Pool(
            stack.own_url("catalog"),
            application="recurring-bench",
            size=1,
            keyring=stack.keyring("catalog"),
        )
    )
    merchant = f"bench-quotes-{uuid.uuid4().hex[:8]}"
    try:
        shop = _Shop(api.Servicer(database, SystemClock(), ProviderTable()), merchant)
        await shop.stock_up()
        request = await shop.sign_up()
        # What is cached is cached.
        await shop.quote(request)
        begun = time.process_time()
        for _ in range(CALLS):
            await shop.quote(request)
        seconds = time.process_time() - begun
        round_trips = await _round_trips(database, shop.quote(request))
    finally:
        await database.close()
    per_second = CALLS * ORDERS * LINES_OF_ORDER / seconds
    what = f"order lines priced, {ORDERS} orders a call"
    return [
        Figure(what, per_second, "a second of one core", Aim(LINES_A_SECOND_MIN)),
        Figure("statements of such a call", round_trips, "", Aim(ROUND_TRIPS_MAX, at_least=False)),
    ]


async def _round_trips(database: Database, call: Awaitable[None]) -> int:
    """How many statements the only connection of a pool is sent by a call."""
    sent: list[LoggedQuery] = []
    async with database.read() as connection:
        driver = connection.driver
    driver.add_query_logger(sent.append)
    await call
    # What is sent is logged by tasks of their own.
    await asyncio.sleep(0.1)
    driver.remove_query_logger(sent.append)
    return len(sent)


class _Shop:
    def __init__(self, servicer: api.Servicer, merchant: str) -> None:
        self._servicer = servicer
        self._merchant = merchant
        self._name = f"merchants/{merchant}"
        self._now = datetime.now(UTC)

    async def stock_up(self) -> None:
        """Products with two versions of a tiered price, a promotion, and a tax in the price."""
        set_caller(Caller("bench", self._merchant, frozenset({"platform"})))
        for number in range(PRODUCTS):
            await self._servicer.CreateProduct(
                catalog_pb2.CreateProductRequest(
                    parent=self._name,
                    product_id=f"p{number}",
                    product=catalog_pb2.Product(title=f"Product {number}"),
                    request_id=str(uuid.uuid4()),
                ),
                None,
            )
        for version, days in enumerate((0, 40)):
            entries = [
                catalog_pb2.NewPrice(
                    parent=f"{self._name}/products/p{number}",
                    price_id=f"v{version}",
                    price=self._price(1000 + 100 * version + number, days),
                )
                for number in range(PRODUCTS)
            ]
            await self._servicer.BatchCreatePrices(
                catalog_pb2.BatchCreatePricesRequest(
                    parent=self._name, entries=entries, request_id=str(uuid.uuid4())
                ),
                None,
            )
        await self._servicer.CreatePromotion(
            catalog_pb2.CreatePromotionRequest(
                parent=self._name,
                promotion_id="spring",
                promotion=catalog_pb2.Promotion(title="Spring", percent_off_bps=500, code="SPRING"),
                request_id=str(uuid.uuid4()),
            ),
            None,
        )

        rate = catalog_pb2.TaxRate(region_code=REGION, tax="vat", title="VAT", rate_ppm=190_000)
        await self._servicer.CreateTaxRate(
            catalog_pb2.CreateTaxRateRequest(
                parent=self._name,
                tax_rate_id="vat",
                tax_rate=rate,
                request_id=str(uuid.uuid4()),
            ),
            None,
        )

    def _price(self, amount_minor: int, days: int) -> catalog_pb2.Price:
        price = catalog_pb2.Price(
            unit_price=to_money(amount_minor, "EUR"),
            tiers=[
                catalog_pb2.PriceTier(
                    first_quantity=first, unit_price=to_money(amount_minor - first, "EUR")
                )
                for first in (2, 5, 10)
            ],
            tier_mode=catalog_pb2.Price.GRADUATED,
            subscriber_discount_bps=250,
        )
        if days:
            price.effective_time.CopyFrom(to_timestamp(self._now + timedelta(days=days)))
        return price

    async def sign_up(self) -> catalog_pb2.BatchQuoteRequest:
        """Standing orders with a locked price and a promotion; returns the carts of a later cycle."""
        set_caller(Caller("scheduler", "*"))
        later = to_timestamp(self._now + timedelta(days=90))
        entries, carts = [], []
        agreement = catalog_pb2.PriceAgreement(
            price_protection=LOCK, first_cycle=1, agree_time=to_timestamp(datetime.now(UTC))
        )
        for number in range(ORDERS):
            name = f"{self._name}/standingOrders/so-{number}"
            products = [
                f"{self._name}/products/p{(number * LINES_OF_ORDER + line) % PRODUCTS}"
                for line in range(LINES_OF_ORDER)
            ]
            entries.append(
                catalog_pb2.ProtectPrices(
                    standing_order=name,
                    products=products,
                    sign_up_time=agreement.agree_time,
                    agreement=None if number % 3 else agreement,
                    first_cycle=1,
                    promotion_code="SPRING" if number % 2 else "",
                )
            )
            items = [
                catalog_pb2.Item(product=product, quantity=1 + (number + line) % 12)
                for line, product in enumerate(products)
            ]
            carts.append(
                catalog_pb2.Cart(
                    standing_order=name,
                    cycle=2,
                    items=items,
                    price_time=later,
                    currency="EUR",
                    region_code=REGION,
                    agreement=entries[-1].agreement if number % 3 == 0 else None,
                )
            )
        response = await self._servicer.BatchProtectPrices(
            catalog_pb2.BatchProtectPricesRequest(entries=entries), None
        )
        check("orders protected", ORDERS, sum(not r.problems for r in response.results))
        return catalog_pb2.BatchQuoteRequest(carts=carts)

    async def quote(self, request: catalog_pb2.BatchQuoteRequest) -> None:
        """Price all carts, as the server does: from bytes to bytes."""
        received = catalog_pb2.BatchQuoteRequest.FromString(request.SerializeToString())
        response = await self._servicer.BatchQuote(received, None)
        response.SerializeToString()
        priced = sum(result.WhichOneof("result") == "quote" for result in response.results)
        check("orders priced", ORDERS, priced)
        check("lines with taxes", len(response.lines), sum(bool(it.taxes) for it in response.lines))
