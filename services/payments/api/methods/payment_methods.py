"""The methods about payment methods."""

from recurring.payments.v1 import payments_pb2

from services.payments.api import requests, responses
from services.payments.api.methods.base import Methods
from services.payments.application import payment_methods
from services.payments.domain.keys import MerchantId
from services.payments.domain.payment_methods import PaymentMethod
from services.payments.names import CUSTOMER, PAYMENT_METHOD
from services.payments.store import payment_methods as payment_method_store
from services.payments.store import payment_routing as payment_routing_store
from services.runtime.mutations import Apply, run_checked_mutation, run_mutation
from services.runtime.rpc.names import read_name
from services.runtime.rpc.paging import read_page


class PaymentMethodMethods(Methods):
    """Methods about payment methods."""

    async def CreatePaymentMethod(
        self, request: payments_pb2.CreatePaymentMethodRequest, _context: object
    ) -> payments_pb2.PaymentMethod:
        key, token = requests.read_new_payment_method(request)

        async def decide() -> Apply[PaymentMethod]:
            found = await self._find_token(key.merchant, token)
            return lambda tx: payment_methods.create(tx, key, found, self._clock.now())

        return await run_checked_mutation(
            self._database,
            request,
            payments_pb2.PaymentMethod,
            self._payment_method_message,
            decide,
        )

    async def GetPaymentMethod(
        self, request: payments_pb2.GetPaymentMethodRequest, _context: object
    ) -> payments_pb2.PaymentMethod:
        key = read_name(PAYMENT_METHOD, request.name)
        async with self._database.read() as connection:
            return self._payment_method_message(await payment_methods.existing(connection, key))

    async def ListPaymentMethods(
        self, request: payments_pb2.ListPaymentMethodsRequest, _context: object
    ) -> payments_pb2.ListPaymentMethodsResponse:
        owner = read_name(CUSTOMER, request.parent)
        page = read_page(request, keys=1)
        after = page.after[0] if page.after else ""
        async with self._database.read() as connection:
            listed = await payment_method_store.of_customer(connection, owner, after, page.limit)
        shown, token = page.cut(
            listed, self._payment_method_message, lambda method: (method.payment_method,)
        )
        return payments_pb2.ListPaymentMethodsResponse(payment_methods=shown, next_page_token=token)

    async def UpdatePaymentMethod(
        self, request: payments_pb2.UpdatePaymentMethodRequest, _context: object
    ) -> payments_pb2.PaymentMethod:
        return await run_mutation(
            self._database,
            request,
            payments_pb2.PaymentMethod,
            self._payment_method_message,
            lambda tx: payment_methods.set_fallback_order(
                tx, *requests.read_payment_method_update(request), self._clock.now()
            ),
        )

    async def SetDefaultPaymentMethod(
        self, request: payments_pb2.SetDefaultPaymentMethodRequest, _context: object
    ) -> payments_pb2.PaymentMethod:
        return await run_mutation(
            self._database,
            request,
            payments_pb2.PaymentMethod,
            self._payment_method_message,
            lambda tx: payment_methods.set_default(
                tx, read_name(PAYMENT_METHOD, request.name), self._clock.now()
            ),
        )

    async def ReplacePaymentMethod(
        self, request: payments_pb2.ReplacePaymentMethodRequest, _context: object
    ) -> payments_pb2.PaymentMethod:
        old, new, token = requests.read_replacement(request)

        async def decide() -> Apply[PaymentMethod]:
            found = await self._find_token(old.merchant, token)
            return lambda tx: payment_methods.replace_method(tx, old, new, found, self._clock.now())

        return await run_checked_mutation(
            self._database,
            request,
            payments_pb2.PaymentMethod,
            self._payment_method_message,
            decide,
        )

    async def DetachPaymentMethod(
        self, request: payments_pb2.DetachPaymentMethodRequest, _context: object
    ) -> payments_pb2.PaymentMethod:
        return await run_mutation(
            self._database,
            request,
            payments_pb2.PaymentMethod,
            self._payment_method_message,
            lambda tx: payment_methods.detach(
                tx, read_name(PAYMENT_METHOD, request.name), self._clock.now(), force=request.force
            ),
        )

    async def _find_token(
        self, merchant: MerchantId, token: payment_methods.WantedToken
    ) -> payment_methods.FoundToken:
        async with self._database.read() as connection:
            routing = await payment_routing_store.get(connection, merchant)
        return await payment_methods.find_token(self._providers, token, routing)

    def _payment_method_message(self, method: PaymentMethod) -> payments_pb2.PaymentMethod:
        return responses.payment_method_message(self._clock.now(), method)
