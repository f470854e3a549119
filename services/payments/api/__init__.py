"""The RPCs of payments: validate, decide, store, answer."""

from recurring.payments.v1 import payments_pb2, payments_pb2_grpc

from services.payments.api.charges import ChargeMethods
from services.payments.api.consent import ConsentMethods
from services.payments.api.erasure import ErasureMethods
from services.payments.api.ledger import LedgerMethods
from services.payments.clients.provider import Provider
from services.runtime.auth.authenticator import Access
from services.runtime.db import audit
from services.runtime.db.pool import Database
from services.runtime.workers.clock import Clock

READ, WRITE = "payments:read", "payments:write"
# Method -> who may call it. What is not named here is closed to all.
ACCESS = {
    "CreatePaymentMethod": Access(WRITE),
    "GetPaymentMethod": Access(READ),
    "ListPaymentMethods": Access(READ),
    "CreateMandate": Access(WRITE),
    "GetMandate": Access(READ),
    "ListMandates": Access(READ),
    "RevokeMandate": Access(WRITE),
    "GetCharge": Access(READ, services=("scheduler",)),
    "ListCharges": Access(READ),
    "ConfirmPaymentRequest": Access(WRITE),
    "CreateRefund": Access(WRITE),
    "GetRefund": Access(READ),
    "ListRefunds": Access(READ),
    "EraseCustomer": Access(WRITE),
    "ListLedgerAccounts": Access(READ),
    "ListLedgerEntries": Access(READ),
    "BatchCheckMandates": Access(services=("scheduler",)),
    "ListAuditEntries": Access("audit:read"),
}


class Servicer(
    ConsentMethods,
    ChargeMethods,
    ErasureMethods,
    LedgerMethods,
    payments_pb2_grpc.PaymentsServiceServicer,
):
    """Answers recurring.payments.v1.PaymentsService; each method's contract is in its proto."""

    def __init__(self, database: Database, clock: Clock, provider: Provider) -> None:
        self.database = database
        self._clock = clock
        self._provider = provider

    async def ListAuditEntries(
        self, request: payments_pb2.ListAuditEntriesRequest, _context: object
    ) -> payments_pb2.ListAuditEntriesResponse:
        """List what callers changed."""
        return await audit.answer(self.database, request, payments_pb2.ListAuditEntriesResponse)
