"""The methods that other services of the suite call."""

from recurring.notify.v1 import notify_pb2

from services.notify.api import responses
from services.notify.api.methods.base import Methods
from services.notify.names import CUSTOMER
from services.notify.store import phones as phone_store
from services.runtime.rpc.names import read_name


class InternalMethods(Methods):
    """Methods that other services of the suite call."""

    async def BatchCheckContacts(
        self, request: notify_pb2.BatchCheckContactsRequest, _context: object
    ) -> notify_pb2.BatchCheckContactsResponse:
        keys = [read_name(CUSTOMER, name) for name in request.customers]
        async with self._database.read() as connection:
            reasons = await phone_store.lapse_reasons(connection, keys)
        return notify_pb2.BatchCheckContactsResponse(
            results=[
                notify_pb2.ContactCheckResult(
                    phone_bound=reason == "",
                    phone_lapse_reason=responses.unbind_reason(reason or ""),
                )
                for reason in reasons
            ]
        )
