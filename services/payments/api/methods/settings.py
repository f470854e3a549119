"""The methods about settings of a merchant."""

from recurring.payments.v1 import payments_pb2

from services.payments.api import requests, responses
from services.payments.api.methods.base import Methods
from services.payments.application import payment_routing, revenue
from services.payments.domain.payment_routing import PaymentRouting
from services.payments.names import LEDGER_SETTINGS, PAYMENT_ROUTING
from services.payments.store import ledger_settings as ledger_settings_store
from services.payments.store import payment_routing as payment_routing_store
from services.runtime.mutations import Apply, run_checked_mutation, run_mutation
from services.runtime.rpc.names import read_name


class SettingsMethods(Methods):
    """Methods about settings of a merchant."""

    async def GetPaymentRouting(
        self, request: payments_pb2.GetPaymentRoutingRequest, _context: object
    ) -> payments_pb2.PaymentRouting:
        merchant = read_name(PAYMENT_ROUTING, request.name)
        async with self._database.read() as connection:
            return responses.payment_routing_message(
                await payment_routing_store.get(connection, merchant)
            )

    async def UpdatePaymentRouting(
        self, request: payments_pb2.UpdatePaymentRoutingRequest, _context: object
    ) -> payments_pb2.PaymentRouting:
        async def decide() -> Apply[PaymentRouting]:
            wanted = requests.read_payment_routing(request)
            payment_routing.check(self._providers, wanted)
            return lambda tx: payment_routing.change(tx, wanted, request.payment_routing.etag)

        return await run_checked_mutation(
            self._database,
            request,
            payments_pb2.PaymentRouting,
            responses.payment_routing_message,
            decide,
        )

    async def GetLedgerSettings(
        self, request: payments_pb2.GetLedgerSettingsRequest, _context: object
    ) -> payments_pb2.LedgerSettings:
        merchant = read_name(LEDGER_SETTINGS, request.name)
        async with self._database.read() as connection:
            settings = await ledger_settings_store.get(connection, merchant)
            return responses.ledger_settings_message(settings)

    async def UpdateLedgerSettings(
        self, request: payments_pb2.UpdateLedgerSettingsRequest, _context: object
    ) -> payments_pb2.LedgerSettings:
        wanted = requests.read_ledger_settings(request)
        return await run_mutation(
            self._database,
            request,
            payments_pb2.LedgerSettings,
            responses.ledger_settings_message,
            lambda tx: revenue.change_settings(tx, wanted, request.ledger_settings.etag),
        )
