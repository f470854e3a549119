"""The scheduler's RPCs: validate, decide, store, answer."""

from recurring.audit.v1 import audit_pb2
from recurring.scheduler.v1 import scheduler_pb2_grpc

from services.runtime.auth.authenticator import Access
from services.runtime.db import audit
from services.runtime.db.pool import Database
from services.runtime.rpc.limits import ConcurrencyLimiter
from services.runtime.workers.clock import Clock
from services.scheduler.api.erasure import ErasureMethods
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
from services.scheduler.api.orders import OrderMethods
from services.scheduler.api.previews import LONG_PREVIEWS_AT_ONCE_MAX, LONG_PREVIEWS_OF_MERCHANT_MAX
from services.scheduler.api.purchases import PurchaseMethods
from services.scheduler.api.reading import CHECKS_AT_ONCE_MAX, CHECKS_OF_MERCHANT_MAX
from services.scheduler.api.settings import SettingsMethods
from services.scheduler.clients import Clients

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
    OrderMethods,
    ForecastMethods,
    PurchaseMethods,
    ErasureMethods,
    SettingsMethods,
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

    async def ListAuditEntries(
        self, request: audit_pb2.ListAuditEntriesRequest, _context: object
    ) -> audit_pb2.ListAuditEntriesResponse:
        """List what callers changed."""
        return await audit.answer(self.database, request)
