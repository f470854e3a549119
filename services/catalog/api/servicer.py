"""The catalog's RPCs: validate, decide, store, answer; each method's contract is in its proto."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from recurring.catalog.v1 import catalog_pb2, catalog_pb2_grpc
from sqlalchemy.ext.asyncio import AsyncConnection

from services.catalog import events
from services.catalog.api.messages import (
    hold_change,
    price_message,
    problem_messages,
    product_message,
    protection_change,
    quote_messages,
    stock_message,
)
from services.catalog.api.reading import (
    protection_row,
    read_batch,
    read_cart,
    read_hold,
    read_key,
    read_merchant,
    read_price,
    read_protected,
    read_stock_check,
)
from services.catalog.domain import (
    INCREASE_NOTICE_DAYS_DEFAULT,
    Cart,
    Fault,
    Line,
    Price,
    Product,
    ProductKey,
    ProductState,
    allocate,
    in_force,
    quote,
    shortages,
)
from services.catalog.store import prices as price_store
from services.catalog.store import products as product_store
from services.catalog.store import stock as stock_store
from services.runtime.auth.authenticator import Access
from services.runtime.db import audit
from services.runtime.db.idempotency import mutation
from services.runtime.db.pool import Database
from services.runtime.errors import (
    Problem,
    Violations,
    already_exists,
    etag_mismatch,
    not_found,
    wrong_state,
)
from services.runtime.messaging import outbox
from services.runtime.rpc.conversions import etag, read_money, read_timestamp
from services.runtime.rpc.paging import read_page
from services.runtime.workers.clock import Clock

PRICES_MAX = 1000
# After every price there is, by effective time and id.
AFTER_ALL_PRICES = (datetime.max.replace(tzinfo=UTC), "~")
# A price "from now on" may be on the wire for a while.
EFFECTIVE_TIME_GRACE = timedelta(minutes=1)

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


class Servicer(catalog_pb2_grpc.CatalogServiceServicer):
    """Answers recurring.catalog.v1.CatalogService; each method's contract is in its proto."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self.database = database
        self._clock = clock

    # --- products -------------------------------------------------------------------------------

    @mutation(catalog_pb2.Product)
    async def CreateProduct(
        self, request: catalog_pb2.CreateProductRequest, tx: AsyncConnection
    ) -> catalog_pb2.Product:
        """Create a product."""
        merchant = read_merchant(request.parent)
        wanted = request.product
        notice_days = INCREASE_NOTICE_DAYS_DEFAULT
        if wanted.HasField("increase_notice_days"):
            notice_days = wanted.increase_notice_days
        key = ProductKey(merchant, request.product_id)
        created = await product_store.insert_product(
            tx,
            key,
            title=wanted.title,
            increase_notice_days=notice_days,
            stock_tracked=wanted.stock_tracked,
            low_stock_threshold=wanted.low_stock_threshold,
            now=self._clock.now(),
        )
        if created is None:
            raise already_exists("PRODUCT_ALREADY_EXISTS", events.product_name(key))
        return product_message(created)

    async def GetProduct(
        self, request: catalog_pb2.GetProductRequest, _context: object
    ) -> catalog_pb2.Product:
        """Get a product."""
        key = read_key(request.name)
        async with self.database.read() as connection:
            return product_message(await _existing(connection, key))

    async def ListProducts(
        self, request: catalog_pb2.ListProductsRequest, _context: object
    ) -> catalog_pb2.ListProductsResponse:
        """List a merchant's products by id."""
        merchant = read_merchant(request.parent)
        page = read_page(request, keys=1)
        after = page.after[0] if page.after else ""
        async with self.database.read() as connection:
            found = await product_store.products_of_merchant(
                connection, merchant, after, page.limit
            )
        products, token = page.cut(found, product_message, lambda one: (one.key.product,))
        return catalog_pb2.ListProductsResponse(products=products, next_page_token=token)

    @mutation(catalog_pb2.Product)
    async def DiscontinueProduct(
        self, request: catalog_pb2.DiscontinueProductRequest, tx: AsyncConnection
    ) -> catalog_pb2.Product:
        """Take a product off sale for good."""
        product = await _existing(tx, read_key(request.name), lock=True)
        if request.etag and request.etag != etag(product.version):
            raise etag_mismatch(request.name)
        audit.before(product_message(product))
        if product.state is ProductState.DISCONTINUED:
            return product_message(product)
        await outbox.put(tx, [events.product_discontinued(product, self._clock.now())])
        return product_message(await product_store.discontinue(tx, product.key))

    # --- prices ---------------------------------------------------------------------------------

    @mutation(catalog_pb2.Price)
    async def CreatePrice(
        self, request: catalog_pb2.CreatePriceRequest, tx: AsyncConnection
    ) -> catalog_pb2.Price:
        """Add a dated price."""
        now = self._clock.now()
        violations = Violations()
        amount = read_money(violations, "price.unit_price", request.price.unit_price)
        effective_time = now
        if request.price.HasField("effective_time"):
            effective_time = read_timestamp(
                violations, "price.effective_time", request.price.effective_time
            )
            violations.require(
                "price.effective_time",
                "must not be past",
                met=effective_time >= now - EFFECTIVE_TIME_GRACE,
            )
        violations.check()
        product = await _existing(tx, read_key(request.parent), lock=True)
        price = Price(request.price_id, amount.amount_minor, amount.currency, effective_time, now)
        await self._add_price(tx, product, price)
        return price_message(product.key, price)

    async def _add_price(self, tx: AsyncConnection, product: Product, price: Price) -> None:
        if product.state is ProductState.DISCONTINUED:
            raise wrong_state("PRODUCT_DISCONTINUED", "the product is off sale for good")
        ever = await price_store.prices_of_product(tx, product.key, AFTER_ALL_PRICES, PRICES_MAX)
        if len(ever) == PRICES_MAX:
            raise wrong_state("PRICES_TOO_MANY", f"a product has at most {PRICES_MAX} prices")
        known = [each for each in ever if each.withdraw_time is None]
        if known and known[0].currency != price.currency:
            raise wrong_state("CURRENCY_MISMATCH", f"the product's currency is {known[0].currency}")
        if not await price_store.insert_price(tx, product.key, price):
            raise _price_taken(product.key, ever, price)
        before = in_force(known, price.effective_time)
        previous = before[-1] if before else None
        await outbox.put(tx, [events.price_change_scheduled(product, price, previous)])

    @mutation(catalog_pb2.Price)
    async def WithdrawPrice(
        self, request: catalog_pb2.WithdrawPriceRequest, tx: AsyncConnection
    ) -> catalog_pb2.Price:
        """Take back a price that has not taken effect."""
        key, price_id = read_price(request.name)
        # Prices of a product come and go one after the other.
        product = await product_store.product(tx, key, lock=True)
        price = await price_store.price(tx, key, price_id)
        if product is None or price is None:
            raise not_found("PRICE_NOT_FOUND", request.name)
        if request.etag and request.etag != etag(price.version):
            raise etag_mismatch(request.name)
        audit.before(price_message(key, price))
        if price.withdraw_time is not None:
            return price_message(key, price)
        now = self._clock.now()
        if price.effective_time <= now:
            raise wrong_state("PRICE_IN_EFFECT", "the price has taken effect; add another one")
        await outbox.put(tx, [events.price_change_withdrawn(product, price, now)])
        return price_message(key, await price_store.withdraw(tx, key, price_id, now))

    async def ListPrices(
        self, request: catalog_pb2.ListPricesRequest, _context: object
    ) -> catalog_pb2.ListPricesResponse:
        """List a product's prices, the newest first."""
        key = read_key(request.parent)
        page = read_page(request, keys=2)
        after = page.after_time()
        before = (after, page.after[1]) if after else AFTER_ALL_PRICES
        async with self.database.read() as connection:
            await _existing(connection, key)
            found = await price_store.prices_of_product(connection, key, before, page.limit)
        prices, token = page.cut(
            found,
            lambda price: price_message(key, price),
            lambda price: (price.effective_time.isoformat(), price.price),
        )
        return catalog_pb2.ListPricesResponse(prices=prices, next_page_token=token)

    # --- stock ----------------------------------------------------------------------------------

    async def GetStock(
        self, request: catalog_pb2.GetStockRequest, _context: object
    ) -> catalog_pb2.Stock:
        """Get the units of a product."""
        key = read_key(request.product)
        async with self.database.read() as connection:
            await _existing(connection, key)
            return stock_message(key, await stock_store.stock(connection, key))

    @mutation(catalog_pb2.Stock)
    async def AdjustStock(
        self, request: catalog_pb2.AdjustStockRequest, tx: AsyncConnection
    ) -> catalog_pb2.Stock:
        """Add to or take from the units on hand."""
        product = await _existing(tx, read_key(request.product), lock=True)
        if not product.stock_tracked:
            raise wrong_state("STOCK_NOT_TRACKED", "the product's stock is not tracked")
        audit.before(stock_message(product.key, await stock_store.stock(tx, product.key)))
        row = await stock_store.adjust_stock(tx, product.key, request.delta_units)
        if row is None:
            raise wrong_state("STOCK_INSUFFICIENT", "fewer units would be on hand than are held")
        await self._tell_low_stock(tx, {product.key: row.on_hand_units - row.held_units
                                        - request.delta_units}, [row])  # fmt: skip
        return stock_message(product.key, row)

    async def _tell_low_stock(
        self, tx: AsyncConnection, available_before: dict[ProductKey, int], rows: Sequence[Any]
    ) -> None:
        """Tell of products whose available units have just come down to their threshold."""
        changed = {ProductKey(row.merchant, row.product): row for row in rows}
        products = await product_store.products_by_key(tx, changed)
        facts = [
            events.stock_low(product, left, changed[key].version, self._clock.now())
            for key, product in products.items()
            if (left := changed[key].on_hand_units - changed[key].held_units)
            <= product.low_stock_threshold
            < available_before[key]
        ]
        await outbox.put(tx, facts)

    # --- audit ----------------------------------------------------------------------------------

    async def ListAuditEntries(
        self, request: catalog_pb2.ListAuditEntriesRequest, _context: object
    ) -> catalog_pb2.ListAuditEntriesResponse:
        """List what callers changed."""
        return await audit.answer(self.database, request, catalog_pb2.ListAuditEntriesResponse)

    # --- for the suite --------------------------------------------------------------------------

    async def BatchProtectPrices(
        self, request: catalog_pb2.BatchProtectPricesRequest, _context: object
    ) -> catalog_pb2.BatchProtectPricesResponse:
        """Remember the sign-up prices of standing orders."""
        carts = read_batch("entries", request.entries, read_protected)
        async with self.database.begin() as tx:
            results = await _quotes(tx, carts)
            rows = [
                protection_row(entry, line)
                for entry, result in zip(request.entries, results, strict=True)
                for line in result
                if isinstance(line, Line)
            ]
            new = await price_store.insert_protections(tx, rows)
            changes = [
                protection_change(entry, lines)
                for entry, cart, result in zip(request.entries, carts, results, strict=True)
                if (lines := _protected(cart, result, new))
            ]
            await audit.put_all(tx, request, changes)
        return catalog_pb2.BatchProtectPricesResponse(
            results=[
                catalog_pb2.ProtectPricesResult(problems=problem_messages(result))
                for result in results
            ]
        )

    async def BatchQuote(
        self, request: catalog_pb2.BatchQuoteRequest, _context: object
    ) -> catalog_pb2.BatchQuoteResponse:
        """Price many carts."""
        carts = read_batch("carts", request.carts, read_cart)
        async with self.database.read() as connection:
            results = await _quotes(connection, carts)
        return quote_messages(results)

    async def BatchHoldStock(
        self, request: catalog_pb2.BatchHoldStockRequest, _context: object
    ) -> catalog_pb2.BatchHoldStockResponse:
        """Hold stock for many orders."""
        wanted = read_batch("entries", request.entries, read_hold)
        async with self.database.begin() as tx:
            tracked = await stock_store.tracked_stock(
                tx, (item.key for hold in wanted for item in hold.items), lock=True
            )
            held = await stock_store.orders_with_holds(tx, [hold.order for hold in wanted])
            new = {hold.order: hold for hold in wanted if hold.order not in held}
            granted, short = allocate(list(new.values()), tracked)
            rows = await stock_store.insert_holds(tx, granted)
            await self._tell_low_stock(tx, tracked, rows)
            changes = [hold_change(hold) for hold in granted if hold.items]
            await audit.put_all(tx, request, changes)
        return catalog_pb2.BatchHoldStockResponse(
            results=[
                catalog_pb2.StockHoldResult(problems=problem_messages(short.get(hold.order, [])))
                for hold in wanted
            ]
        )

    async def BatchCheckStock(
        self, request: catalog_pb2.BatchCheckStockRequest, _context: object
    ) -> catalog_pb2.BatchCheckStockResponse:
        """Say what is short, without holding anything."""
        wanted = read_batch("checks", request.checks, read_stock_check)
        async with self.database.read() as connection:
            tracked = await stock_store.tracked_stock(
                connection, (item.key for items in wanted for item in items), lock=False
            )
        return catalog_pb2.BatchCheckStockResponse(
            results=[
                catalog_pb2.StockCheckResult(problems=problem_messages(shortages(items, tracked)))
                for items in wanted
            ]
        )


async def _quotes(
    connection: AsyncConnection, carts: Sequence[Cart]
) -> list[list[Line] | list[Fault]]:
    """Price carts with three statements, however many they are."""
    keys = {item.key for cart in carts for item in cart.items}
    products = await product_store.products_by_key(connection, keys)
    until = max((cart.price_time for cart in carts), default=None)
    prices = await price_store.prices_by_key(connection, keys, until) if until else {}
    standing_orders = {(cart.items[0].key.merchant, cart.standing_order) for cart in carts}
    protections = await price_store.protections(connection, standing_orders)
    return [quote(cart, products, prices, protections) for cart in carts]


def _protected(
    cart: Cart, result: Sequence[Line | Fault], new: set[tuple[str, ProductKey]]
) -> list[Line]:
    """Those lines of a cart whose prices were not remembered before."""
    return [
        line
        for line in result
        if isinstance(line, Line) and (cart.standing_order, line.item.key) in new
    ]


def _price_taken(key: ProductKey, ever: Sequence[Price], price: Price) -> Problem:
    """Which price has the id, or the instant, of a new one."""
    other = next(
        each
        for each in ever
        if each.price == price.price
        or (each.effective_time == price.effective_time and each.withdraw_time is None)
    )
    name = events.PRICE.format(key.merchant, key.product, other.price)
    since = other.effective_time.isoformat(timespec="seconds").replace("+00:00", "Z")
    return already_exists(
        "PRICE_ALREADY_EXISTS",
        f"{name}, in force from {since},",
        price=name,
        effective_time=since,
    )


async def _existing(connection: AsyncConnection, key: ProductKey, *, lock: bool = False) -> Product:
    product = await product_store.product(connection, key, lock=lock)
    if product is None:
        raise not_found("PRODUCT_NOT_FOUND", events.product_name(key))
    return product
