"""The methods about customers."""

from recurring.scheduler.v1 import scheduler_pb2 as pb

from services.runtime.mutations import run_mutation
from services.runtime.rpc.names import read_name
from services.scheduler import names
from services.scheduler.api import requests
from services.scheduler.api.methods.base import Methods
from services.scheduler.application import customers


class CustomerMethods(Methods):
    """Methods about customers."""

    async def RecordPurchase(
        self, request: pb.RecordPurchaseRequest, _context: object
    ) -> pb.RecordPurchaseResponse:
        return await run_mutation(
            self._database,
            request,
            pb.RecordPurchaseResponse,
            lambda names: pb.RecordPurchaseResponse(standing_orders=names),
            lambda tx: customers.record_purchase(
                tx, *requests.read_purchase(request, self._clock.now())
            ),
        )

    async def EraseCustomer(
        self, request: pb.EraseCustomerRequest, _context: object
    ) -> pb.EraseCustomerResponse:
        return await run_mutation(
            self._database,
            request,
            pb.EraseCustomerResponse,
            lambda _: pb.EraseCustomerResponse(),
            lambda tx: customers.erase(
                tx, *read_name(names.CUSTOMER, request.name), self._clock.now()
            ),
        )
