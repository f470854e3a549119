"""The methods about dunning."""

from recurring.payments.v1 import payments_pb2

from services.payments.api import requests, responses
from services.payments.api.methods.base import Methods
from services.payments.application import dunning
from services.payments.names import DUNNING_POLICY
from services.payments.store import dunning as dunning_store
from services.runtime.mutations import run_mutation
from services.runtime.rpc.names import read_name


class DunningMethods(Methods):
    """Methods about dunning."""

    async def GetDunningPolicy(
        self, request: payments_pb2.GetDunningPolicyRequest, _context: object
    ) -> payments_pb2.DunningPolicy:
        merchant = read_name(DUNNING_POLICY, request.name)
        async with self._database.read() as connection:
            return responses.dunning_policy_message(await dunning_store.get(connection, merchant))

    async def UpdateDunningPolicy(
        self, request: payments_pb2.UpdateDunningPolicyRequest, _context: object
    ) -> payments_pb2.DunningPolicy:
        return await run_mutation(
            self._database,
            request,
            payments_pb2.DunningPolicy,
            responses.dunning_policy_message,
            lambda tx: dunning.change(
                tx,
                requests.read_dunning_policy(request.dunning_policy),
                request.dunning_policy.etag,
            ),
        )

    async def SimulateDunningPolicy(
        self, request: payments_pb2.SimulateDunningPolicyRequest, _context: object
    ) -> payments_pb2.SimulateDunningPolicyResponse:
        policy = requests.read_dunning_policy(request.dunning_policy)
        async with self._database.read() as connection:
            simulated = await dunning.simulate(connection, policy, self._clock.now())
        return responses.simulation_response(*simulated)
