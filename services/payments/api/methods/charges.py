"""The methods about charges."""

from recurring.payments.v1 import payments_pb2

from services.payments.api import requests, responses
from services.payments.api.methods.base import Methods
from services.payments.application import charges, late_payments, payment_links
from services.payments.application.charges import ChargeView
from services.payments.names import CHARGE, CUSTOMER_OR_ANY, MERCHANT
from services.runtime.mutations import Apply, run_checked_mutation
from services.runtime.rpc.names import read_name
from services.runtime.rpc.paging import read_page


class ChargeMethods(Methods):
    """Methods about charges."""

    async def GetCharge(
        self, request: payments_pb2.GetChargeRequest, _context: object
    ) -> payments_pb2.Charge:
        key = read_name(CHARGE, request.name)
        async with self._database.read() as connection:
            [view] = await charges.views(connection, [await charges.existing(connection, key)])
        return responses.charge_message(view)

    async def ExplainCharge(
        self, request: payments_pb2.ExplainChargeRequest, _context: object
    ) -> payments_pb2.ExplainChargeResponse:
        key = read_name(CHARGE, request.name)
        async with self._database.read() as connection:
            view, verdicts = await charges.explained(connection, key)
        return responses.explanation(view, verdicts)

    async def ListCharges(
        self, request: payments_pb2.ListChargesRequest, _context: object
    ) -> payments_pb2.ListChargesResponse:
        state = payments_pb2.Charge.State.Name(request.state) if request.state else ""
        owner = read_name(CUSTOMER_OR_ANY, request.parent)
        page = read_page(request, keys=2)
        charge, customer = page.after or ("", "")
        async with self._database.read() as connection:
            listed = await charges.views_of(
                connection, owner, state, (charge, customer), page.limit
            )
        shown, token = page.cut(
            listed,
            responses.charge_message,
            lambda view: (view.charge.charge, view.charge.customer),
        )
        return payments_pb2.ListChargesResponse(charges=shown, next_page_token=token)

    async def ConfirmPaymentRequest(
        self, request: payments_pb2.ConfirmPaymentRequestRequest, _context: object
    ) -> payments_pb2.Charge:
        async def decide() -> Apply[ChargeView]:
            key, method, amount = requests.read_confirmation(request)
            await late_payments.check_stock(self._database, self._stock, key)
            return lambda tx: charges.confirm(tx, key, method, amount, self._clock.now())

        return await run_checked_mutation(
            self._database, request, payments_pb2.Charge, responses.charge_message, decide
        )

    async def ResolvePaymentLink(
        self, request: payments_pb2.ResolvePaymentLinkRequest, _context: object
    ) -> payments_pb2.PaymentRequest:
        merchant, now = read_name(MERCHANT, request.parent), self._clock.now()
        async with self._database.read() as connection:
            linked = await payment_links.resolve(connection, merchant, request.link_token, now)
        return responses.payment_request_message(now, linked)

    async def PayByLink(
        self, request: payments_pb2.PayByLinkRequest, _context: object
    ) -> payments_pb2.Charge:
        async def decide() -> Apply[ChargeView]:
            merchant, token, method, amount = requests.read_payment_by_link(request)
            async with self._database.read() as connection:
                link = await payment_links.existing(connection, merchant, token)
            await late_payments.check_stock(self._database, self._stock, link.charge_key)
            return lambda tx: payment_links.pay(
                tx, merchant, token, method, amount, self._clock.now()
            )

        return await run_checked_mutation(
            self._database, request, payments_pb2.Charge, responses.charge_message, decide
        )
