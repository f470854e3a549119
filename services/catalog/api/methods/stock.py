"""The methods about stock and services."""

from recurring.catalog.v1 import catalog_pb2

from services.catalog.api import capacity_messages, delivery_messages, responses
from services.catalog.api.methods.base import Methods
from services.catalog.application import bookings, deliveries, products, stock
from services.catalog.names import CAPACITY, DELIVERY, ORDER, PRODUCT
from services.catalog.store import deliveries as delivery_store
from services.runtime.mutations import run_mutation
from services.runtime.rpc.names import read_name
from services.runtime.rpc.paging import read_page


class StockMethods(Methods):
    """Methods about stock and services."""

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
