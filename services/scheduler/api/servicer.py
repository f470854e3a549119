"""The scheduler's RPCs: request, use case, response; each method's contract is in its proto."""

from typing import Any

from recurring.audit.v1 import audit_pb2
from recurring.scheduler.v1 import scheduler_pb2, scheduler_pb2_grpc

from services.runtime.auth.authenticator import Access
from services.runtime.db import audit
from services.runtime.db.pool import Database
from services.runtime.mutations import run_checked_mutation, run_mutation
from services.runtime.rpc.limits import ConcurrencyLimiter
from services.runtime.rpc.paging import read_page
from services.runtime.workers.clock import Clock
from services.scheduler.api import requests, responses
from services.scheduler.api.forecast import (
    FORECASTS_AT_ONCE_MAX,
    FORECASTS_OF_MERCHANT_MAX,
    ForecastMethods,
)
from services.scheduler.api.imports import (
    IMPORTS_AT_ONCE_MAX,
    IMPORTS_OF_MERCHANT_MAX,
    ImportMethods,
)
from services.scheduler.api.previews import LONG_PREVIEWS_AT_ONCE_MAX, LONG_PREVIEWS_OF_MERCHANT_MAX
from services.scheduler.api.reading import CHECKS_AT_ONCE_MAX, CHECKS_OF_MERCHANT_MAX
from services.scheduler.application import erasure, orders, purchases, settings
from services.scheduler.clients import Clients
from services.scheduler.store import settings as settings_store

READ, WRITE = "standing-orders:read", "standing-orders:write"
# Method -> who may call it. What is not named here is closed to all.
ACCESS = {
    "CreateStandingOrder": Access(WRITE),
    "GetStandingOrder": Access(READ),
    "ListStandingOrders": Access(READ),
    "UpdateStandingOrder": Access(WRITE),
    "PreviewStandingOrderUpdate": Access(READ),
    "PauseStandingOrder": Access(WRITE),
    "ResumeStandingOrder": Access(WRITE),
    "CancelStandingOrder": Access(WRITE),
    "SkipCycle": Access(WRITE),
    "RestoreCycle": Access(WRITE),
    "ChangeCycle": Access(WRITE),
    "OrderNow": Access(WRITE),
    "PreviewCycles": Access(READ),
    "GetOrder": Access(READ),
    "ListOrders": Access(READ),
    "ForecastDemand": Access(READ),
    "ExplainOrder": Access(READ),
    "ImportStandingOrders": Access(WRITE),
    "ConfirmOrder": Access(WRITE),
    "RecordPurchase": Access(WRITE),
    "EraseCustomer": Access(WRITE),
    "GetSchedulerSettings": Access(READ),
    "UpdateSchedulerSettings": Access(WRITE),
    "ListAuditEntries": Access("audit:read"),
}


class Servicer(
    ImportMethods,
    ForecastMethods,
    scheduler_pb2_grpc.SchedulerServiceServicer,
):
    """Answers recurring.scheduler.v1.SchedulerService; each method's contract is in its proto."""

    def __init__(self, database: Database, clock: Clock, clients: Clients) -> None:
        self.database = database
        self._clock = clock
        self._clients = clients
        self._importing = ConcurrencyLimiter(IMPORTS_AT_ONCE_MAX, IMPORTS_OF_MERCHANT_MAX)
        self._forecasting = ConcurrencyLimiter(FORECASTS_AT_ONCE_MAX, FORECASTS_OF_MERCHANT_MAX)
        self._previewing = ConcurrencyLimiter(
            LONG_PREVIEWS_AT_ONCE_MAX, LONG_PREVIEWS_OF_MERCHANT_MAX
        )
        self._checking = ConcurrencyLimiter(CHECKS_AT_ONCE_MAX, CHECKS_OF_MERCHANT_MAX)

    # --- orders ---------------------------------------------------------------------------------

    async def GetOrder(
        self, request: scheduler_pb2.GetOrderRequest, _context: object
    ) -> scheduler_pb2.Order:
        """Get an order."""
        key = requests.read_order_name(request.name)
        async with self.database.read() as connection:
            return self._order_message(await orders.existing(connection, key))

    async def ListOrders(
        self, request: scheduler_pb2.ListOrdersRequest, _context: object
    ) -> scheduler_pb2.ListOrdersResponse:
        """List orders by standing order and cycle."""
        query = requests.read_orders_query(request)
        page = read_page(request, keys=2)
        first = page.after_numbered()

        async def find(last: Any, limit: int) -> list[Any]:  # noqa: ANN401 - rows
            after = (last.standing_order, last.cycle) if last else first
            return await orders.find(self.database, query, after, limit)

        shown, token = await page.fill(
            find, self._order_message, lambda row: (row.standing_order, str(row.cycle))
        )
        return scheduler_pb2.ListOrdersResponse(orders=shown, next_page_token=token)

    async def ConfirmOrder(
        self, request: scheduler_pb2.ConfirmOrderRequest, _context: object
    ) -> scheduler_pb2.Order:
        """Let an order go on that is held to ask the customer, and answer with what became of it."""
        return await run_checked_mutation(
            self.database,
            request,
            scheduler_pb2.Order,
            self._order_message,
            lambda: orders.confirm(
                self.database,
                self._clients,
                requests.read_order_name(request.name),
                self._clock.now(),
            ),
        )

    async def ExplainOrder(
        self, request: scheduler_pb2.ExplainOrderRequest, _context: object
    ) -> scheduler_pb2.ExplainOrderResponse:
        """Show every decision about an order, from what all services stored."""
        key = requests.read_order_name(request.name)
        row, decisions = await orders.explain(self.database, self._clients, key)
        return scheduler_pb2.ExplainOrderResponse(
            order=self._order_message(row),
            decisions=[responses.decision_message(decision) for decision in decisions],
        )

    def _order_message(self, row: Any) -> scheduler_pb2.Order:  # noqa: ANN401 - a row
        return responses.order_message(row, self.database.keyring)

    # --- customers ------------------------------------------------------------------------------

    async def RecordPurchase(
        self, request: scheduler_pb2.RecordPurchaseRequest, _context: object
    ) -> scheduler_pb2.RecordPurchaseResponse:
        """Remember what a customer bought elsewhere."""
        return await run_mutation(
            self.database,
            request,
            scheduler_pb2.RecordPurchaseResponse,
            lambda names: scheduler_pb2.RecordPurchaseResponse(standing_orders=names),
            lambda tx: purchases.record(tx, *requests.read_purchase(request, self._clock.now())),
        )

    async def EraseCustomer(
        self, request: scheduler_pb2.EraseCustomerRequest, _context: object
    ) -> scheduler_pb2.EraseCustomerResponse:
        """Erase what is known of a customer who orders nothing any more."""
        return await run_mutation(
            self.database,
            request,
            scheduler_pb2.EraseCustomerResponse,
            lambda _: scheduler_pb2.EraseCustomerResponse(),
            lambda tx: erasure.erase_customer(
                tx, *requests.read_customer_name(request.name), self._clock.now()
            ),
        )

    # --- merchants ------------------------------------------------------------------------------

    async def GetSchedulerSettings(
        self, request: scheduler_pb2.GetSchedulerSettingsRequest, _context: object
    ) -> scheduler_pb2.SchedulerSettings:
        """Get a merchant's settings; every merchant has some."""
        merchant = requests.read_settings_name(request.name)
        async with self.database.read() as connection:
            return responses.settings_message(await settings_store.get(connection, merchant))

    async def UpdateSchedulerSettings(
        self, request: scheduler_pb2.UpdateSchedulerSettingsRequest, _context: object
    ) -> scheduler_pb2.SchedulerSettings:
        """Change a merchant's settings as a whole."""
        message = request.scheduler_settings
        return await run_mutation(
            self.database,
            request,
            scheduler_pb2.SchedulerSettings,
            responses.settings_message,
            lambda tx: settings.change(tx, *requests.read_settings(message), message.etag),
        )

    async def ListAuditEntries(
        self, request: audit_pb2.ListAuditEntriesRequest, _context: object
    ) -> audit_pb2.ListAuditEntriesResponse:
        """List what callers changed."""
        return await audit.answer(self.database, request)
