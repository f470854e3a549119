"""The methods about refunds."""

from recurring.payments.v1 import payments_pb2

from services.payments.api import requests, responses
from services.payments.api.methods.base import Methods
from services.payments.application import charges, refunds
from services.payments.domain.refunds import Refund
from services.payments.names import CHARGE, REFUND
from services.payments.store import refunds as refund_store
from services.runtime.mutations import run_mutation
from services.runtime.rpc.names import read_name
from services.runtime.rpc.paging import read_page


class RefundMethods(Methods):
    """Methods about refunds."""

    async def CreateRefund(
        self, request: payments_pb2.CreateRefundRequest, _context: object
    ) -> payments_pb2.Refund:
        return await run_mutation(
            self._database,
            request,
            payments_pb2.Refund,
            self._refund_message,
            lambda tx: refunds.create(
                tx,
                *requests.read_new_refund(request),
                request.refund.note,
                self._clock.now(),
                to_credit=request.refund.to_credit,
                wanted_lines=requests.read_refund_lines(request),
            ),
        )

    async def GetRefund(
        self, request: payments_pb2.GetRefundRequest, _context: object
    ) -> payments_pb2.Refund:
        key = read_name(REFUND, request.name)
        async with self._database.read() as connection:
            return self._refund_message(await refunds.existing(connection, key))

    async def ListRefunds(
        self, request: payments_pb2.ListRefundsRequest, _context: object
    ) -> payments_pb2.ListRefundsResponse:
        key = read_name(CHARGE, request.parent)
        page = read_page(request, keys=1)
        after = page.after[0] if page.after else ""
        async with self._database.read() as connection:
            await charges.existing(connection, key)
            listed = await refund_store.of_charge(connection, key, after, page.limit)
        shown, token = page.cut(listed, self._refund_message, lambda refund: (refund.refund,))
        return payments_pb2.ListRefundsResponse(refunds=shown, next_page_token=token)

    def _refund_message(self, refund: Refund) -> payments_pb2.Refund:
        return responses.refund_message(self._database.keyring, refund)
