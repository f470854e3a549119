"""The catalog's RPCs: request, use case, response; each method's contract is in its proto."""

from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any, TypeVar

from recurring.audit.v1 import audit_pb2
from recurring.catalog.v1 import catalog_pb2, catalog_pb2_grpc

from services.catalog.api import (
    capacity_messages,
    delivery_messages,
    import_messages,
    offer_messages,
    price_requests,
    promotion_messages,
    quote_preview_messages,
    requests,
    responses,
    tax_messages,
)
from services.catalog.api import rule_pack_messages as rule_messages
from services.catalog.application import (
    bookings,
    deliveries,
    imports,
    offers,
    prices,
    products,
    promotions,
    quote_previews,
    rule_packs,
    settings,
    stock,
    tax_rates,
)
from services.catalog.clients.payments import AmountRules
from services.catalog.clients.tax_service import NO_TAX_SERVICE, TaxService
from services.catalog.domain.prices import Price
from services.catalog.domain.pricing import Line
from services.catalog.domain.rule_packs import binding
from services.catalog.names import (
    CAPACITY,
    DELIVERY,
    MERCHANT,
    OFFER,
    ORDER,
    PRICE,
    PRICE_OR_CURRENT,
    PRODUCT,
    PROMOTION,
    RULE_PACK,
    SETTINGS,
    STANDING_ORDER,
    TAX_RATE,
)
from services.catalog.store import deliveries as delivery_store
from services.catalog.store import offers as offer_store
from services.catalog.store import prices as price_store
from services.catalog.store import products as product_store
from services.catalog.store import promotions as promotion_store
from services.catalog.store import rule_packs as rule_pack_store
from services.catalog.store import settings as settings_store
from services.catalog.store import tax_rates as tax_rate_store
from services.runtime.crash_points import CrashPoint
from services.runtime.db import audit
from services.runtime.db.pool import Database
from services.runtime.messaging import outbox
from services.runtime.mutations import Apply, run_checked_mutation, run_mutation
from services.runtime.rpc.imports import import_limiter, never_idle, slot
from services.runtime.rpc.names import read_name
from services.runtime.rpc.paging import read_page
from services.runtime.workers.clock import Clock

T = TypeVar("T")
Res = TypeVar("Res", catalog_pb2.ImportProductsResponse, catalog_pb2.ImportPricesResponse)

_HELD = CrashPoint("catalog.stock_held", "Stock is held, and the scheduler is not answered.")


class Servicer(catalog_pb2_grpc.CatalogServiceServicer):
    """Answers recurring.catalog.v1.CatalogService."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        amount_rules: AmountRules,
        tax_service: TaxService = NO_TAX_SERVICE,
    ) -> None:
        self._database = database
        self._clock = clock
        self._amount_rules = amount_rules
        self._tax_service = tax_service
        self._import_limiter = import_limiter()

    # --- products -------------------------------------------------------------------------------

    async def CreateProduct(
        self, request: catalog_pb2.CreateProductRequest, _context: object
    ) -> catalog_pb2.Product:
        return await run_mutation(
            self._database,
            request,
            catalog_pb2.Product,
            responses.product_message,
            lambda tx: products.create(tx, requests.read_new_product(request, self._clock.now())),
        )

    async def GetProduct(
        self, request: catalog_pb2.GetProductRequest, _context: object
    ) -> catalog_pb2.Product:
        key = read_name(PRODUCT, request.name)
        async with self._database.read() as connection:
            return responses.product_message(await products.existing(connection, key))

    async def ListProducts(
        self, request: catalog_pb2.ListProductsRequest, _context: object
    ) -> catalog_pb2.ListProductsResponse:
        merchant = read_name(MERCHANT, request.parent)
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

    async def UpdateProduct(
        self, request: catalog_pb2.UpdateProductRequest, _context: object
    ) -> catalog_pb2.Product:
        return await run_mutation(
            self._database,
            request,
            catalog_pb2.Product,
            responses.product_message,
            lambda tx: products.change(
                tx,
                requests.read_product_name(request),
                request.product.etag,
                requests.read_product_change(request),
                self._clock.now(),
            ),
        )

    async def ImportProducts(
        self, requests: AsyncIterator[catalog_pb2.ImportProductsRequest], _context: object
    ) -> catalog_pb2.ImportProductsResponse:
        return await self._import(requests, import_messages.PRODUCTS, imports.store_products)

    async def _import(
        self,
        requests: import_messages.Requests,
        importer: import_messages.Importer[Any, T, Res],
        store: imports.Store[T],
    ) -> Res:
        """Read all rows, then store them; says what became of them."""
        sent = never_idle(requests)
        config = await import_messages.read_config(sent)
        book = imports.Book(
            MERCHANT.key(config.parent), self._clock.now(), config.partial, config.dry_run
        )
        async with slot(self._import_limiter, book.merchant):
            read = importer.reader(book.merchant, book.now)
            rows = await import_messages.read_rows(sent, read)
            await imports.import_rows(
                self._database, book, rows, store, importer.request, importer.respond
            )
        return importer.respond(book)

    async def DiscontinueProduct(
        self, request: catalog_pb2.DiscontinueProductRequest, _context: object
    ) -> catalog_pb2.Product:
        return await run_mutation(
            self._database,
            request,
            catalog_pb2.Product,
            responses.product_message,
            lambda tx: products.discontinue(
                tx, read_name(PRODUCT, request.name), request.etag, self._clock.now()
            ),
        )

    # --- prices ---------------------------------------------------------------------------------

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

    # --- promotions -----------------------------------------------------------------------------

    async def CreatePromotion(
        self, request: catalog_pb2.CreatePromotionRequest, _context: object
    ) -> catalog_pb2.Promotion:
        return await run_mutation(
            self._database,
            request,
            catalog_pb2.Promotion,
            promotion_messages.promotion_message,
            lambda tx: promotions.create(
                tx, promotion_messages.read_new_promotion(request, self._clock.now())
            ),
        )

    async def GetPromotion(
        self, request: catalog_pb2.GetPromotionRequest, _context: object
    ) -> catalog_pb2.Promotion:
        key = read_name(PROMOTION, request.name)
        async with self._database.read() as connection:
            return promotion_messages.promotion_message(await promotions.existing(connection, key))

    async def ListPromotions(
        self, request: catalog_pb2.ListPromotionsRequest, _context: object
    ) -> catalog_pb2.ListPromotionsResponse:
        merchant = read_name(MERCHANT, request.parent)
        page = read_page(request, keys=1)
        after = page.after[0] if page.after else ""
        async with self._database.read() as connection:
            listed = await promotion_store.promotions_of_merchant(
                connection, merchant, after, page.limit
            )
        shown, token = page.cut(
            listed,
            promotion_messages.promotion_message,
            lambda promotion: (promotion.key.promotion,),
        )
        return catalog_pb2.ListPromotionsResponse(promotions=shown, next_page_token=token)

    async def EndPromotion(
        self, request: catalog_pb2.EndPromotionRequest, _context: object
    ) -> catalog_pb2.Promotion:
        return await run_mutation(
            self._database,
            request,
            catalog_pb2.Promotion,
            promotion_messages.promotion_message,
            lambda tx: promotions.end(tx, read_name(PROMOTION, request.name), request.etag),
        )

    # --- price protection -----------------------------------------------------------------------

    async def CreatePriceProtectionOffer(
        self, request: catalog_pb2.CreatePriceProtectionOfferRequest, _context: object
    ) -> catalog_pb2.PriceProtectionOffer:
        now = self._clock.now()
        return await run_mutation(
            self._database,
            request,
            catalog_pb2.PriceProtectionOffer,
            offer_messages.offer_message,
            lambda tx: offers.create(tx, offer_messages.read_new_offer(request, now)),
        )

    async def GetPriceProtectionOffer(
        self, request: catalog_pb2.GetPriceProtectionOfferRequest, _context: object
    ) -> catalog_pb2.PriceProtectionOffer:
        key = read_name(OFFER, request.name)
        async with self._database.read() as connection:
            return offer_messages.offer_message(await offers.existing(connection, key))

    async def ListPriceProtectionOffers(
        self, request: catalog_pb2.ListPriceProtectionOffersRequest, _context: object
    ) -> catalog_pb2.ListPriceProtectionOffersResponse:
        merchant = read_name(MERCHANT, request.parent)
        page = read_page(request, keys=1)
        after = page.after[0] if page.after else ""
        async with self._database.read() as connection:
            listed = await offer_store.offers_of_merchant(connection, merchant, after, page.limit)
        shown, token = page.cut(listed, offer_messages.offer_message, lambda it: (it.offer,))
        return catalog_pb2.ListPriceProtectionOffersResponse(
            price_protection_offers=shown, next_page_token=token
        )

    async def EndPriceProtectionOffer(
        self, request: catalog_pb2.EndPriceProtectionOfferRequest, _context: object
    ) -> catalog_pb2.PriceProtectionOffer:
        return await run_mutation(
            self._database,
            request,
            catalog_pb2.PriceProtectionOffer,
            offer_messages.offer_message,
            lambda tx: offers.end(tx, read_name(OFFER, request.name), request.etag),
        )

    # --- stock ----------------------------------------------------------------------------------

    async def GetStock(
        self, request: catalog_pb2.GetStockRequest, _context: object
    ) -> catalog_pb2.Stock:
        key = read_name(PRODUCT, request.product)
        async with self._database.read() as connection:
            product = await products.existing(connection, key)
            return responses.stock_message(await stock.stock_of(connection, product))

    async def AdjustStock(
        self, request: catalog_pb2.AdjustStockRequest, _context: object
    ) -> catalog_pb2.Stock:
        return await run_mutation(
            self._database,
            request,
            catalog_pb2.Stock,
            responses.stock_message,
            lambda tx: stock.adjust(
                tx,
                read_name(PRODUCT, request.product),
                request.delta_units,
                self._clock.now(),
            ),
        )

    async def CreateDelivery(
        self, request: catalog_pb2.CreateDeliveryRequest, _context: object
    ) -> catalog_pb2.Delivery:
        return await run_mutation(
            self._database,
            request,
            catalog_pb2.Delivery,
            delivery_messages.delivery_message,
            lambda tx: deliveries.create(
                tx, delivery_messages.read_delivery(request, self._clock.now())
            ),
        )

    async def ListDeliveries(
        self, request: catalog_pb2.ListDeliveriesRequest, _context: object
    ) -> catalog_pb2.ListDeliveriesResponse:
        key = read_name(PRODUCT, request.parent)
        page = read_page(request, keys=1)
        after = page.after[0] if page.after else ""
        async with self._database.read() as connection:
            await products.existing(connection, key)
            listed = await delivery_store.of_product(connection, key, after, page.limit)
        shown, token = page.cut(
            listed, delivery_messages.delivery_message, lambda delivery: (delivery.delivery,)
        )
        return catalog_pb2.ListDeliveriesResponse(deliveries=shown, next_page_token=token)

    async def ReceiveDelivery(
        self, request: catalog_pb2.ReceiveDeliveryRequest, _context: object
    ) -> catalog_pb2.Delivery:
        key = read_name(DELIVERY, request.name)
        units = request.received_units if request.HasField("received_units") else None
        return await run_mutation(
            self._database,
            request,
            catalog_pb2.Delivery,
            delivery_messages.delivery_message,
            lambda tx: deliveries.receive(tx, key, units, self._clock.now()),
        )

    async def CancelDelivery(
        self, request: catalog_pb2.CancelDeliveryRequest, _context: object
    ) -> catalog_pb2.Delivery:
        key = read_name(DELIVERY, request.name)
        return await run_mutation(
            self._database,
            request,
            catalog_pb2.Delivery,
            delivery_messages.delivery_message,
            lambda tx: deliveries.cancel(tx, key),
        )

    async def GetStockHold(
        self, request: catalog_pb2.GetStockHoldRequest, _context: object
    ) -> catalog_pb2.StockHold:
        read_name(ORDER, request.order)
        async with self._database.read() as connection:
            return capacity_messages.hold_message(await stock.hold_of(connection, request.order))

    async def ReleaseStockHold(
        self, request: catalog_pb2.ReleaseStockHoldRequest, _context: object
    ) -> catalog_pb2.StockHold:
        read_name(ORDER, request.order)
        return await run_mutation(
            self._database,
            request,
            catalog_pb2.StockHold,
            capacity_messages.hold_message,
            lambda tx: stock.release(tx, request.order, self._clock.now()),
        )

    # --- services -------------------------------------------------------------------------------

    async def GetCapacity(
        self, request: catalog_pb2.GetCapacityRequest, _context: object
    ) -> catalog_pb2.Capacity:
        key = read_name(CAPACITY, request.name)
        async with self._database.read() as connection:
            return capacity_messages.capacity_message(await bookings.capacity_of(connection, key))

    async def UpdateCapacity(
        self, request: catalog_pb2.UpdateCapacityRequest, _context: object
    ) -> catalog_pb2.Capacity:
        message = request.capacity
        return await run_mutation(
            self._database,
            request,
            catalog_pb2.Capacity,
            capacity_messages.capacity_message,
            lambda tx: bookings.change(
                tx, capacity_messages.read_capacity(message), message.etag, self._clock.now()
            ),
        )

    async def GetCapacityCalendar(
        self, request: catalog_pb2.GetCapacityCalendarRequest, _context: object
    ) -> catalog_pb2.CapacityCalendar:
        key = read_name(CAPACITY, request.name)
        first, last = capacity_messages.read_span(request, self._clock.now().date())
        async with self._database.read() as connection:
            days = await bookings.calendar(connection, key, first, last)
        return capacity_messages.calendar_message(days)

    # --- rule packs -----------------------------------------------------------------------------

    async def ListRulePacks(
        self, request: catalog_pb2.ListRulePacksRequest, _context: object
    ) -> catalog_pb2.ListRulePacksResponse:
        merchant = read_name(MERCHANT, request.parent)
        page = read_page(request, keys=1)
        after = page.after[0] if page.after else ""
        async with self._database.read() as connection:
            packs = await rule_pack_store.of_merchant(connection, merchant)
        listed = [pack for pack in packs if pack.pack.id > after][: page.limit]
        shown, token = page.cut(
            listed, rule_messages.rule_pack_message, lambda pack: (pack.pack.id,)
        )
        return catalog_pb2.ListRulePacksResponse(rule_packs=shown, next_page_token=token)

    async def GetRulePack(
        self, request: catalog_pb2.GetRulePackRequest, _context: object
    ) -> catalog_pb2.RulePack:
        key = read_name(RULE_PACK, request.name)
        async with self._database.read() as connection:
            return rule_messages.rule_pack_message(await rule_packs.existing(connection, key))

    async def UpdateRulePack(
        self, request: catalog_pb2.UpdateRulePackRequest, _context: object
    ) -> catalog_pb2.RulePack:
        return await run_mutation(
            self._database,
            request,
            catalog_pb2.RulePack,
            rule_messages.rule_pack_message,
            lambda tx: rule_packs.change(tx, *rule_messages.read_change(request.rule_pack)),
        )

    async def GetBindingRules(
        self, request: catalog_pb2.GetBindingRulesRequest, _context: object
    ) -> catalog_pb2.BindingRules:
        merchant = read_name(MERCHANT, request.parent)
        day = rule_messages.read_day(request, self._clock.now().date())
        scheme = rule_messages.read_scheme(request.payment_scheme)
        async with self._database.read() as connection:
            packs = await rule_pack_store.of_merchant(connection, merchant)
        return rule_messages.binding_message(binding(packs, request.region_code, scheme, day))

    # --- taxes ----------------------------------------------------------------------------------

    async def CreateTaxRate(
        self, request: catalog_pb2.CreateTaxRateRequest, _context: object
    ) -> catalog_pb2.TaxRate:
        return await run_mutation(
            self._database,
            request,
            catalog_pb2.TaxRate,
            tax_messages.tax_rate_message,
            lambda tx: tax_rates.add(tx, tax_messages.read_new_rate(request, self._clock.now())),
        )

    async def ImportTaxRates(
        self, request: catalog_pb2.ImportTaxRatesRequest, _context: object
    ) -> catalog_pb2.ImportTaxRatesResponse:
        merchant = read_name(MERCHANT, request.parent)
        now = self._clock.now()
        if request.dry_run:
            rates = tax_messages.read_rows(request, now)
            async with self._database.read() as connection:
                decided = await tax_rates.decide_import(connection, merchant, rates, now)
            return tax_messages.import_message(decided)
        return await run_mutation(
            self._database,
            request,
            catalog_pb2.ImportTaxRatesResponse,
            tax_messages.import_message,
            lambda tx: tax_rates.import_all(
                tx, merchant, tax_messages.read_rows(request, now), now
            ),
        )

    async def GetTaxRate(
        self, request: catalog_pb2.GetTaxRateRequest, _context: object
    ) -> catalog_pb2.TaxRate:
        key = read_name(TAX_RATE, request.name)
        async with self._database.read() as connection:
            return tax_messages.tax_rate_message(await tax_rates.existing(connection, key))

    async def ListTaxRates(
        self, request: catalog_pb2.ListTaxRatesRequest, _context: object
    ) -> catalog_pb2.ListTaxRatesResponse:
        merchant = read_name(MERCHANT, request.parent)
        page = read_page(request, keys=1)
        after = page.after[0] if page.after else ""
        async with self._database.read() as connection:
            listed = await tax_rate_store.of_merchant(
                connection, merchant, request.region_code, after, page.limit
            )
        shown, token = page.cut(
            listed, tax_messages.tax_rate_message, lambda rate: (rate.tax_rate,)
        )
        return catalog_pb2.ListTaxRatesResponse(tax_rates=shown, next_page_token=token)

    async def WithdrawTaxRate(
        self, request: catalog_pb2.WithdrawTaxRateRequest, _context: object
    ) -> catalog_pb2.TaxRate:
        return await run_mutation(
            self._database,
            request,
            catalog_pb2.TaxRate,
            tax_messages.tax_rate_message,
            lambda tx: tax_rates.withdraw(
                tx, read_name(TAX_RATE, request.name), request.etag, self._clock.now()
            ),
        )

    async def GetCatalogSettings(
        self, request: catalog_pb2.GetCatalogSettingsRequest, _context: object
    ) -> catalog_pb2.CatalogSettings:
        merchant = read_name(SETTINGS, request.name)
        async with self._database.read() as connection:
            return tax_messages.settings_message(await settings_store.get(connection, merchant))

    async def UpdateCatalogSettings(
        self, request: catalog_pb2.UpdateCatalogSettingsRequest, _context: object
    ) -> catalog_pb2.CatalogSettings:
        message = request.catalog_settings
        return await run_mutation(
            self._database,
            request,
            catalog_pb2.CatalogSettings,
            tax_messages.settings_message,
            lambda tx: settings.change(tx, tax_messages.read_settings(message), message.etag),
        )

    # --- audit ----------------------------------------------------------------------------------

    async def ListAuditEntries(
        self, request: audit_pb2.ListAuditEntriesRequest, _context: object
    ) -> audit_pb2.ListAuditEntriesResponse:
        return await audit.answer(self._database, request)

    # --- for the suite --------------------------------------------------------------------------

    async def BatchProtectPrices(
        self, request: catalog_pb2.BatchProtectPricesRequest, _context: object
    ) -> catalog_pb2.BatchProtectPricesResponse:
        carts = requests.read_batch("entries", request.entries, requests.read_protected)
        async with self._database.begin() as tx:
            results = await prices.price_carts(tx, carts)
            known = await offer_store.offers_by_key(tx, offer_messages.accepted(request.entries))
            offer_faults = offer_messages.offer_faults(request.entries, known)
            sign_ups = promotion_messages.read_sign_ups(request.entries, results, offer_faults)
            faults = await promotions.redeem_all(tx, sign_ups)
            problems = [
                promotion_messages.promotion_problem(entry, faults) for entry in request.entries
            ]
            wanted = [
                requests.read_protection(entry, line)
                for entry, result, problem in zip(request.entries, results, problems, strict=True)
                for line in result
                if isinstance(line, Line) and not problem
                if STANDING_ORDER.key(entry.standing_order) not in offer_faults
            ]
            new = await prices.protect(tx, wanted)
            await audit.put_all(tx, request, responses.protection_changes(request.entries, new))
        return responses.protection_response(
            results,
            problems,
            [offer_messages.offer_problem(entry, offer_faults) for entry in request.entries],
            [
                offer_messages.agreed_message(entry, cart.agreement, known, result)
                for entry, cart, result in zip(request.entries, carts, results, strict=True)
            ],
        )

    async def BatchReleasePromotions(
        self, request: catalog_pb2.BatchReleasePromotionsRequest, _context: object
    ) -> catalog_pb2.BatchReleasePromotionsResponse:
        keys = [STANDING_ORDER.key(name) for name in request.standing_orders]
        async with self._database.begin() as tx:
            released = await promotions.release(tx, keys)
            await audit.put_all(tx, request, responses.release_changes(released))
        return catalog_pb2.BatchReleasePromotionsResponse()

    async def BatchQuote(
        self, request: catalog_pb2.BatchQuoteRequest, _context: object
    ) -> catalog_pb2.BatchQuoteResponse:
        carts = requests.read_batch("carts", request.carts, requests.read_cart)
        async with self._database.read() as connection:
            quoted = await prices.quote_carts(connection, carts)
        return responses.quote_response(await prices.with_service_taxes(self._tax_service, quoted))

    async def PreviewQuote(
        self, request: catalog_pb2.PreviewQuoteRequest, _context: object
    ) -> catalog_pb2.PreviewQuoteResponse:
        cart = quote_preview_messages.read_preview(request, self._clock.now())
        async with self._database.read() as connection:
            previewed, fault = await quote_previews.preview(
                connection, cart, request.promotion_code
            )
        [quoted] = await prices.with_service_taxes(self._tax_service, [previewed])
        return quote_preview_messages.preview_message(quoted, fault)

    async def BatchQuotePriceChanges(
        self, request: catalog_pb2.BatchQuotePriceChangesRequest, _context: object
    ) -> catalog_pb2.BatchQuotePriceChangesResponse:
        read = partial(price_requests.read_price_change, self._clock.now())
        changes = requests.read_batch("entries", request.entries, read)
        async with self._database.read() as connection:
            return responses.price_change_response(await prices.quote_changes(connection, changes))

    async def BatchHoldStock(
        self, request: catalog_pb2.BatchHoldStockRequest, _context: object
    ) -> catalog_pb2.BatchHoldStockResponse:
        wanted = requests.read_batch("entries", request.entries, requests.read_hold)
        async with self._database.begin() as tx:
            granted, short, events = await stock.hold(tx, wanted, self._clock.now())
            changes = [responses.hold_change(hold) for hold in granted if hold.items]
            await audit.put_all(tx, request, changes)
            await outbox.put(tx, events)
        _HELD.reached()
        return responses.hold_response([short.get(hold.order, []) for hold in wanted])

    async def BatchBookSlots(
        self, request: catalog_pb2.BatchBookSlotsRequest, _context: object
    ) -> catalog_pb2.BatchBookSlotsResponse:
        wanted = requests.read_batch("entries", request.entries, capacity_messages.read_booking)
        async with self._database.begin() as tx:
            booked = await bookings.book(tx, wanted, self._clock.now())
            changes = [capacity_messages.booking_change(granted) for granted in booked.granted]
            await audit.put_all(tx, request, changes)
            await outbox.put(tx, booked.events)
        return capacity_messages.booked_response([entry.order for entry in wanted], booked)

    async def BatchCheckStock(
        self, request: catalog_pb2.BatchCheckStockRequest, _context: object
    ) -> catalog_pb2.BatchCheckStockResponse:
        wanted = requests.read_batch("checks", request.checks, requests.read_stock_check)
        async with self._database.read() as connection:
            return responses.check_response(await stock.check(connection, wanted))

    async def BatchCheckSupply(
        self, request: catalog_pb2.BatchCheckSupplyRequest, _context: object
    ) -> catalog_pb2.BatchCheckSupplyResponse:
        keys = [PRODUCT.key(name) for name in request.products]
        span = capacity_messages.read_supply_span(request)
        async with self._database.read() as connection:
            supplies = await deliveries.supplies(connection, keys, span)
            return delivery_messages.supply_response(supplies)
