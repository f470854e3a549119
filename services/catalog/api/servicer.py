"""The catalog's RPCs: request, use case, response; each method's contract is in its proto."""

from recurring.audit.v1 import audit_pb2
from recurring.catalog.v1 import catalog_pb2, catalog_pb2_grpc

from services.catalog.api import requests, responses
from services.catalog.application import prices, products, stock
from services.catalog.domain.pricing import Line
from services.catalog.names import PRICE, PRODUCT
from services.catalog.store import prices as price_store
from services.catalog.store import products as product_store
from services.catalog.store import stock as stock_store
from services.runtime.auth.authenticator import Access
from services.runtime.crash_points import CrashPoint
from services.runtime.db import audit
from services.runtime.db.pool import Database
from services.runtime.messaging import outbox
from services.runtime.mutations import run_mutation
from services.runtime.rpc.paging import read_page
from services.runtime.workers.clock import Clock

READ, WRITE = "products:read", "products:write"
# Method -> who may call it. What is not named here is closed to all.
ACCESS = {
    "CreateProduct": Access(WRITE),
    "GetProduct": Access(READ),
    "ListProducts": Access(READ),
    "DiscontinueProduct": Access(WRITE),
    "CreatePrice": Access(WRITE),
    "WithdrawPrice": Access(WRITE),
    "ListPrices": Access(READ),
    "GetStock": Access(READ),
    "AdjustStock": Access(WRITE),
    "BatchProtectPrices": Access(services=("scheduler",)),
    "BatchQuote": Access(services=("scheduler",)),
    "BatchHoldStock": Access(services=("scheduler",)),
    "BatchCheckStock": Access(services=("scheduler",)),
    "ListAuditEntries": Access("audit:read"),
}

_HELD = CrashPoint("catalog.stock_held", "Stock is held, and the scheduler is not answered.")


class Servicer(catalog_pb2_grpc.CatalogServiceServicer):
    """Answers recurring.catalog.v1.CatalogService."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    # --- products -------------------------------------------------------------------------------

    async def CreateProduct(
        self, request: catalog_pb2.CreateProductRequest, _context: object
    ) -> catalog_pb2.Product:
        """Create a product."""
        return await run_mutation(
            self._database,
            request,
            catalog_pb2.Product,
            responses.product_message,
            lambda tx: products.create(tx, requests.read_product(request, self._clock.now())),
        )

    async def GetProduct(
        self, request: catalog_pb2.GetProductRequest, _context: object
    ) -> catalog_pb2.Product:
        """Get a product."""
        key = requests.read(PRODUCT, request.name)
        async with self._database.read() as connection:
            return responses.product_message(await products.existing(connection, key))

    async def ListProducts(
        self, request: catalog_pb2.ListProductsRequest, _context: object
    ) -> catalog_pb2.ListProductsResponse:
        """List a merchant's products by id."""
        merchant = requests.read_merchant(request.parent)
        page = read_page(request, keys=1)
        after = page.after[0] if page.after else ""
        async with self._database.read() as connection:
            listed = await product_store.products_of_merchant(
                connection, merchant, after, page.limit
            )
        shown, token = page.cut(
            listed, responses.product_message, lambda product: (product.product,)
        )
        return catalog_pb2.ListProductsResponse(products=shown, next_page_token=token)

    async def DiscontinueProduct(
        self, request: catalog_pb2.DiscontinueProductRequest, _context: object
    ) -> catalog_pb2.Product:
        """Take a product off sale for good."""
        return await run_mutation(
            self._database,
            request,
            catalog_pb2.Product,
            responses.product_message,
            lambda tx: products.discontinue(
                tx, requests.read(PRODUCT, request.name), request.etag, self._clock.now()
            ),
        )

    # --- prices ---------------------------------------------------------------------------------

    async def CreatePrice(
        self, request: catalog_pb2.CreatePriceRequest, _context: object
    ) -> catalog_pb2.Price:
        """Add a dated price."""
        return await run_mutation(
            self._database,
            request,
            catalog_pb2.Price,
            responses.price_message,
            lambda tx: prices.add(tx, requests.read_new_price(request, self._clock.now())),
        )

    async def WithdrawPrice(
        self, request: catalog_pb2.WithdrawPriceRequest, _context: object
    ) -> catalog_pb2.Price:
        """Take back a price that has not taken effect."""
        return await run_mutation(
            self._database,
            request,
            catalog_pb2.Price,
            responses.price_message,
            lambda tx: prices.withdraw(
                tx, requests.read(PRICE, request.name), request.etag, self._clock.now()
            ),
        )

    async def ListPrices(
        self, request: catalog_pb2.ListPricesRequest, _context: object
    ) -> catalog_pb2.ListPricesResponse:
        """List a product's prices, the newest first."""
        key = requests.read(PRODUCT, request.parent)
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

    # --- stock ----------------------------------------------------------------------------------

    async def GetStock(
        self, request: catalog_pb2.GetStockRequest, _context: object
    ) -> catalog_pb2.Stock:
        """Get the units of a product."""
        key = requests.read(PRODUCT, request.product)
        async with self._database.read() as connection:
            await products.existing(connection, key)
            return responses.stock_message(await stock_store.stock(connection, key))

    async def AdjustStock(
        self, request: catalog_pb2.AdjustStockRequest, _context: object
    ) -> catalog_pb2.Stock:
        """Add to or take from the units on hand."""
        return await run_mutation(
            self._database,
            request,
            catalog_pb2.Stock,
            responses.stock_message,
            lambda tx: stock.adjust(
                tx,
                requests.read(PRODUCT, request.product),
                request.delta_units,
                self._clock.now(),
            ),
        )

    # --- audit ----------------------------------------------------------------------------------

    async def ListAuditEntries(
        self, request: audit_pb2.ListAuditEntriesRequest, _context: object
    ) -> audit_pb2.ListAuditEntriesResponse:
        """List what callers changed."""
        return await audit.answer(self._database, request)

    # --- for the suite --------------------------------------------------------------------------

    async def BatchProtectPrices(
        self, request: catalog_pb2.BatchProtectPricesRequest, _context: object
    ) -> catalog_pb2.BatchProtectPricesResponse:
        """Remember the sign-up prices of standing orders."""
        carts = requests.read_batch("entries", request.entries, requests.read_protected)
        async with self._database.begin() as tx:
            results = await prices.quote_carts(tx, carts)
            signed_up = [
                requests.sign_up_price(entry, line)
                for entry, result in zip(request.entries, results, strict=True)
                for line in result
                if isinstance(line, Line)
            ]
            new = await prices.remember_sign_up_prices(tx, signed_up)
            await audit.put_all(tx, request, responses.protection_changes(request.entries, new))
        return responses.protection_response(results)

    async def BatchQuote(
        self, request: catalog_pb2.BatchQuoteRequest, _context: object
    ) -> catalog_pb2.BatchQuoteResponse:
        """Price many carts."""
        carts = requests.read_batch("carts", request.carts, requests.read_cart)
        async with self._database.read() as connection:
            return responses.quote_response(await prices.quote_carts(connection, carts))

    async def BatchHoldStock(
        self, request: catalog_pb2.BatchHoldStockRequest, _context: object
    ) -> catalog_pb2.BatchHoldStockResponse:
        """Hold stock for many orders."""
        wanted = requests.read_batch("entries", request.entries, requests.read_hold)
        async with self._database.begin() as tx:
            granted, short, events = await stock.hold(tx, wanted, self._clock.now())
            changes = [responses.hold_change(hold) for hold in granted if hold.items]
            await audit.put_all(tx, request, changes)
            await outbox.put(tx, events)
        _HELD.reached()
        return responses.hold_response([short.get(hold.order, []) for hold in wanted])

    async def BatchCheckStock(
        self, request: catalog_pb2.BatchCheckStockRequest, _context: object
    ) -> catalog_pb2.BatchCheckStockResponse:
        """Say what is short, without holding anything."""
        wanted = requests.read_batch("checks", request.checks, requests.read_stock_check)
        async with self._database.read() as connection:
            return responses.check_response(await stock.check(connection, wanted))
