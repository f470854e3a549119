"""What is known of a customer, erased when they ask for it, as far as it is not needed."""

from recurring.payments.v1 import payments_pb2

from services.payments.api.requests import read_customer
from services.payments.domain.consent import DISPUTE_PERIOD
from services.payments.store import erasure
from services.runtime.db.idempotency import forget_answers, mutation
from services.runtime.db.pool import Connection, Database
from services.runtime.errors import wrong_state
from services.runtime.rpc.conversions import to_timestamp
from services.runtime.workers.clock import Clock

NAMED_MAX_CHARGES = 3


class ErasureMethods:
    """The method that erases a customer."""

    database: Database
    _clock: Clock

    @mutation(payments_pb2.EraseCustomerResponse)
    async def EraseCustomer(
        self, request: payments_pb2.EraseCustomerRequest, tx: Connection
    ) -> payments_pb2.EraseCustomerResponse:
        """Erase what is known of a customer who pays nothing any more."""
        owner, now = read_customer(request.name), self._clock.now()
        # First the mandates: from here on no attempt begins.
        await erasure.revoke_mandates(tx, owner, now)
        found = await erasure.open_charges(tx, owner, NAMED_MAX_CHARGES)
        if found:
            names = ", ".join(key.name for key in found)
            raise wrong_state(
                "CUSTOMER_HAS_CHARGES",
                f"not over, or with a refund that is not: {names}",
                charges=names,
            )
        await erasure.erase(tx, owner, disputable_since=now - DISPUTE_PERIOD)
        await forget_answers(tx, owner.merchant, await erasure.resources(tx, owner))
        response = payments_pb2.EraseCustomerResponse()
        last = await erasure.last_with_evidence(tx, owner)
        if last is not None:
            response.evidence_until_time.CopyFrom(to_timestamp(last + DISPUTE_PERIOD))
        return response
