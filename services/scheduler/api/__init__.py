"""The scheduler's RPCs: validate, decide, store, answer."""

from recurring.scheduler.v1 import scheduler_pb2_grpc

from services.runtime.access import SCOPE_PLATFORM
from services.runtime.clock import Clock
from services.runtime.database import Database
from services.scheduler.api.forecast import ForecastMethods
from services.scheduler.api.imports import ImportMethods
from services.scheduler.api.orders import OrderMethods
from services.scheduler.api.purchases import PurchaseMethods
from services.scheduler.api.settings import SettingsMethods
from services.scheduler.peers import Peers

SCOPES = dict.fromkeys(
    (
        "CreateStandingOrder",
        "GetStandingOrder",
        "ListStandingOrders",
        "UpdateStandingOrder",
        "PreviewStandingOrderUpdate",
        "PauseStandingOrder",
        "ResumeStandingOrder",
        "CancelStandingOrder",
        "SkipCycle",
        "RestoreCycle",
        "ChangeCycle",
        "OrderNow",
        "PreviewCycles",
        "GetOrder",
        "ListOrders",
        "ForecastDemand",
        "ExplainOrder",
        "ImportStandingOrders",
        "ConfirmOrder",
        "RecordPurchase",
        "GetSchedulerSettings",
        "UpdateSchedulerSettings",
    ),
    SCOPE_PLATFORM,
)


class Servicer(
    ImportMethods,
    OrderMethods,
    ForecastMethods,
    PurchaseMethods,
    SettingsMethods,
    scheduler_pb2_grpc.SchedulerServiceServicer,
):
    """Answers recurring.scheduler.v1.SchedulerService; each method's contract is in its proto."""

    def __init__(self, database: Database, clock: Clock, peers: Peers) -> None:
        self.database = database
        self._clock = clock
        self._peers = peers
