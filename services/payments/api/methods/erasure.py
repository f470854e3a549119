"""The methods about erasure."""

from recurring.payments.v1 import payments_pb2

from services.payments.api import responses
from services.payments.api.methods.base import Methods
from services.payments.application import erasure
from services.payments.names import CUSTOMER
from services.runtime.mutations import run_mutation
from services.runtime.rpc.names import read_name


class ErasureMethods(Methods):
    """Methods about erasure."""

    async def EraseCustomer(
        self, request: payments_pb2.EraseCustomerRequest, _context: object
    ) -> payments_pb2.EraseCustomerResponse:
        return await run_mutation(
            self._database,
            request,
            payments_pb2.EraseCustomerResponse,
            responses.erasure_response,
            lambda tx: erasure.erase(tx, read_name(CUSTOMER, request.name), self._clock.now()),
        )
