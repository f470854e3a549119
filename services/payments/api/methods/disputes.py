"""The methods about disputes."""

from recurring.payments.v1 import payments_pb2

from services.payments.api import requests, responses
from services.payments.api.methods.base import Methods
from services.payments.application import disputes
from services.payments.domain.disputes import Dispute
from services.payments.names import DISPUTE, DISPUTE_POLICY
from services.payments.store import disputes as dispute_store
from services.runtime.mutations import run_mutation
from services.runtime.rpc.names import read_name
from services.runtime.rpc.paging import read_page


class DisputeMethods(Methods):
    """Methods about disputes."""

    async def GetDispute(
        self, request: payments_pb2.GetDisputeRequest, _context: object
    ) -> payments_pb2.Dispute:
        name = read_name(DISPUTE, request.name)
        async with self._database.read() as connection:
            return self._dispute_message(await disputes.existing(connection, name))

    async def ListDisputes(
        self, request: payments_pb2.ListDisputesRequest, _context: object
    ) -> payments_pb2.ListDisputesResponse:
        merchant, state, charge = requests.read_dispute_filter(request)
        page = read_page(request, keys=1)
        after = page.after[0] if page.after else ""
        async with self._database.read() as connection:
            listed = await dispute_store.of_merchant(
                connection, merchant, state, charge, after, page.limit
            )
        shown, token = page.cut(listed, self._dispute_message, lambda dispute: (dispute.dispute,))
        return payments_pb2.ListDisputesResponse(disputes=shown, next_page_token=token)

    async def SubmitDisputeEvidence(
        self, request: payments_pb2.SubmitDisputeEvidenceRequest, _context: object
    ) -> payments_pb2.Dispute:
        return await run_mutation(
            self._database,
            request,
            payments_pb2.Dispute,
            self._dispute_message,
            lambda tx: disputes.submit_evidence(
                tx, read_name(DISPUTE, request.name), request.text, self._clock.now()
            ),
        )

    async def AcceptDispute(
        self, request: payments_pb2.AcceptDisputeRequest, _context: object
    ) -> payments_pb2.Dispute:
        return await run_mutation(
            self._database,
            request,
            payments_pb2.Dispute,
            self._dispute_message,
            lambda tx: disputes.accept(tx, read_name(DISPUTE, request.name), self._clock.now()),
        )

    async def GetDisputePolicy(
        self, request: payments_pb2.GetDisputePolicyRequest, _context: object
    ) -> payments_pb2.DisputePolicy:
        merchant = read_name(DISPUTE_POLICY, request.name)
        async with self._database.read() as connection:
            return responses.dispute_policy_message(
                await dispute_store.policy(connection, merchant)
            )

    async def UpdateDisputePolicy(
        self, request: payments_pb2.UpdateDisputePolicyRequest, _context: object
    ) -> payments_pb2.DisputePolicy:
        return await run_mutation(
            self._database,
            request,
            payments_pb2.DisputePolicy,
            responses.dispute_policy_message,
            lambda tx: disputes.change_policy(
                tx, requests.read_dispute_policy(request), request.dispute_policy.etag
            ),
        )

    def _dispute_message(self, dispute: Dispute) -> payments_pb2.Dispute:
        return responses.dispute_message(self._database.keyring, dispute)
