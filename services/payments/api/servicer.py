"""The RPCs of payments: request, use case, response; each method's contract is in its proto."""

from recurring.payments.v1 import payments_pb2_grpc

from services.payments.api.methods.audit import AuditMethods
from services.payments.api.methods.charges import ChargeMethods
from services.payments.api.methods.credit import CreditMethods
from services.payments.api.methods.disputes import DisputeMethods
from services.payments.api.methods.documents import DocumentMethods
from services.payments.api.methods.dunning import DunningMethods
from services.payments.api.methods.erasure import ErasureMethods
from services.payments.api.methods.internal import InternalMethods
from services.payments.api.methods.ledger import LedgerMethods
from services.payments.api.methods.mandates import MandateMethods
from services.payments.api.methods.payment_methods import PaymentMethodMethods
from services.payments.api.methods.refunds import RefundMethods
from services.payments.api.methods.reports import ReportMethods
from services.payments.api.methods.settings import SettingsMethods


class Servicer(
    PaymentMethodMethods,
    MandateMethods,
    ChargeMethods,
    RefundMethods,
    CreditMethods,
    DisputeMethods,
    SettingsMethods,
    ErasureMethods,
    LedgerMethods,
    DocumentMethods,
    DunningMethods,
    ReportMethods,
    AuditMethods,
    InternalMethods,
    payments_pb2_grpc.PaymentsServiceServicer,
):
    """Answers recurring.payments.v1.PaymentsService."""
