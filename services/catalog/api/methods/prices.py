"""The methods about prices."""

from collections.abc import AsyncIterator, Sequence

from recurring.catalog.v1 import catalog_pb2

from services.catalog.api import import_messages, price_requests, responses
from services.catalog.api.methods.base import Methods
from services.catalog.application import imports, prices, products
from services.catalog.domain.prices import Price
from services.catalog.names import MERCHANT, PRICE, PRICE_OR_CURRENT, PRODUCT
from services.catalog.store import prices as price_store
from services.runtime.mutations import Apply, run_checked_mutation, run_mutation
from services.runtime.rpc.names import read_name
from services.runtime.rpc.paging import read_page


class PriceMethods(Methods):
    """Methods about prices."""

    async def CreatePrice(
        self, request: catalog_pb2.CreatePriceRequest, _context: object
    ) -> catalog_pb2.Price:
        async def decide() -> Apply[Price]:
            steps = await self._amount_rules.steps()
            price = price_requests.read_new_price(request, self._clock.now(), steps)
            return lambda tx: prices.add(tx, price)

        return await run_checked_mutation(
            self._database, request, catalog_pb2.Price, responses.price_message, decide
        )

    async def BatchCreatePrices(
        self, request: catalog_pb2.BatchCreatePricesRequest, _context: object
    ) -> catalog_pb2.BatchCreatePricesResponse:
        merchant = read_name(MERCHANT, request.parent)

        async def decide() -> Apply[Sequence[Price]]:
            steps = await self._amount_rules.steps()
            new = price_requests.read_new_prices(request, self._clock.now(), steps)
            return lambda tx: prices.add_batch(tx, merchant, new)

        return await run_checked_mutation(
            self._database,
            request,
            catalog_pb2.BatchCreatePricesResponse,
            responses.batch_message,
            decide,
        )

    async def ImportPrices(
        self, requests: AsyncIterator[catalog_pb2.ImportPricesRequest], _context: object
    ) -> catalog_pb2.ImportPricesResponse:
        importer = import_messages.price_importer(await self._amount_rules.steps())
        return await self._import(requests, importer, imports.store_prices)

    async def GetPrice(
        self, request: catalog_pb2.GetPriceRequest, _context: object
    ) -> catalog_pb2.Price:
        key = read_name(PRICE_OR_CURRENT, request.name)
        async with self._database.read() as connection:
            if key.price != "-":
                return responses.price_message(await prices.existing(connection, key))
            moment = price_requests.read_moment(request, self._clock.now())
            price = await prices.at(connection, key.product_key, request.currency, moment)
            return responses.price_message(price)

    async def UpdatePrice(
        self, request: catalog_pb2.UpdatePriceRequest, _context: object
    ) -> catalog_pb2.Price:
        now = self._clock.now()

        async def decide() -> Apply[Price]:
            key = price_requests.read_price_name(request)
            steps = await self._amount_rules.steps()
            merge = price_requests.read_correction(request, now, steps)
            return lambda tx: prices.correct(tx, key, request.price.etag, merge, now)

        return await run_checked_mutation(
            self._database, request, catalog_pb2.Price, responses.price_message, decide
        )

    async def WithdrawPrice(
        self, request: catalog_pb2.WithdrawPriceRequest, _context: object
    ) -> catalog_pb2.Price:
        return await run_mutation(
            self._database,
            request,
            catalog_pb2.Price,
            responses.price_message,
            lambda tx: prices.withdraw(
                tx, read_name(PRICE, request.name), request.etag, self._clock.now()
            ),
        )

    async def ListPrices(
        self, request: catalog_pb2.ListPricesRequest, _context: object
    ) -> catalog_pb2.ListPricesResponse:
        key = read_name(PRODUCT, request.parent)
        page = read_page(request, keys=2)
        after = page.after_time()
        before = (after, page.after[1]) if after else prices.AFTER_ALL_PRICES
        async with self._database.read() as connection:
            await products.existing(connection, key)
            listed = await price_store.prices_of_product(connection, key, before, page.limit)
        shown, token = page.cut(
            listed,
            responses.price_message,
            lambda price: (price.effective_time.isoformat(), price.price),
        )
        return catalog_pb2.ListPricesResponse(prices=shown, next_page_token=token)
