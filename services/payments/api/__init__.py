"""The RPCs of payments: validate, decide, store, answer."""

from recurring.payments.v1 import payments_pb2_grpc

from services.payments.api.charges import ChargeMethods
from services.payments.api.consent import ConsentMethods
from services.payments.api.ledger import LedgerMethods
from services.payments.provider import Provider
from services.runtime.access import SCOPE_EITHER, SCOPE_PLATFORM, SCOPE_SUITE
from services.runtime.clock import Clock
from services.runtime.database import Database

SCOPES = {
    "CreatePaymentMethod": SCOPE_PLATFORM,
    "GetPaymentMethod": SCOPE_PLATFORM,
    "ListPaymentMethods": SCOPE_PLATFORM,
    "CreateMandate": SCOPE_PLATFORM,
    "GetMandate": SCOPE_PLATFORM,
    "ListMandates": SCOPE_PLATFORM,
    "RevokeMandate": SCOPE_PLATFORM,
    "GetCharge": SCOPE_EITHER,
    "ListCharges": SCOPE_PLATFORM,
    "ConfirmPaymentRequest": SCOPE_PLATFORM,
    "CreateRefund": SCOPE_PLATFORM,
    "GetRefund": SCOPE_PLATFORM,
    "ListRefunds": SCOPE_PLATFORM,
    "ListLedgerAccounts": SCOPE_PLATFORM,
    "ListLedgerEntries": SCOPE_PLATFORM,
    "BatchCheckMandates": SCOPE_SUITE,
}


class Servicer(
    ConsentMethods, ChargeMethods, LedgerMethods, payments_pb2_grpc.PaymentsServiceServicer
):
    """Answers recurring.payments.v1.PaymentsService; each method's contract is in its proto."""

    def __init__(self, database: Database, clock: Clock, provider: Provider) -> None:
        self.database = database
        self._clock = clock
        self._provider = provider
