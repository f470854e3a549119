"""The methods that other services of the suite call."""

from functools import partial

from recurring.catalog.v1 import catalog_pb2

from services.catalog.api import (
    capacity_messages,
    delivery_messages,
    offer_messages,
    price_requests,
    promotion_messages,
    quote_preview_messages,
    requests,
    responses,
)
from services.catalog.api.methods.base import Methods
from services.catalog.application import (
    bookings,
    deliveries,
    prices,
    promotions,
    quote_previews,
    stock,
)
from services.catalog.domain.pricing import Line
from services.catalog.names import PRODUCT, STANDING_ORDER
from services.catalog.store import offers as offer_store
from services.catalog.store import tax_rates as tax_rate_store
from services.runtime.crash_points import CrashPoint
from services.runtime.db import audit
from services.runtime.messaging import outbox

_HELD = CrashPoint("catalog.stock_held", "Stock is held, and the scheduler is not answered.")


class InternalMethods(Methods):
    """Methods that other services of the suite call."""

    async def BatchProtectPrices(
        self, request: catalog_pb2.BatchProtectPricesRequest, _context: object
    ) -> catalog_pb2.BatchProtectPricesResponse:
        carts = requests.read_batch("entries", request.entries, requests.read_protected)
        async with self._database.begin() as tx:
            results = await prices.price_carts(tx, carts)
            known = await offer_store.offers_by_key(tx, offer_messages.accepted(request.entries))
            offer_faults = offer_messages.offer_faults(request.entries, known)
            sign_ups = promotion_messages.read_sign_ups(request.entries, results, offer_faults)
            redeeming = await promotions.redeem_all(tx, sign_ups)
            problems = [
                promotion_messages.promotion_problem(entry, redeeming.faults)
                for entry in request.entries
            ]
            wanted = [
                requests.read_protection(entry, line)
                for entry, result, problem in zip(request.entries, results, problems, strict=True)
                for line in result
                if isinstance(line, Line) and not problem
                if STANDING_ORDER.key(entry.standing_order) not in offer_faults
            ]
            new = await prices.protect(tx, wanted)
            ending = [
                cart
                for entry, cart in zip(request.entries, carts, strict=True)
                if STANDING_ORDER.key(entry.standing_order) in redeeming.endings
            ]
            terms = await tax_rate_store.terms(tx, ending) if ending else {}
            await audit.put_all(tx, request, responses.protection_changes(request.entries, new))
        return responses.protection_response(
            results,
            problems,
            [offer_messages.offer_problem(entry, offer_faults) for entry in request.entries],
            [
                offer_messages.agreed_message(entry, cart.agreement, known, result)
                for entry, cart, result in zip(request.entries, carts, results, strict=True)
            ],
            [
                promotion_messages.ending_message(entry, redeeming.endings, terms)
                for entry in request.entries
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
