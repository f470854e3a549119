"""The RPCs of scheduler: request, use case, response; each method's contract is in its proto."""

from recurring.scheduler.v1 import scheduler_pb2_grpc

from services.scheduler.api.methods.customers import CustomerMethods
from services.scheduler.api.methods.cycles import CycleMethods
from services.scheduler.api.methods.orders import OrderMethods
from services.scheduler.api.methods.settings import SettingsMethods
from services.scheduler.api.methods.standing_orders import StandingOrderMethods


class Servicer(
    StandingOrderMethods,
    CycleMethods,
    OrderMethods,
    CustomerMethods,
    SettingsMethods,
    scheduler_pb2_grpc.SchedulerServiceServicer,
):
    """Answers recurring.scheduler.v1.SchedulerService."""
