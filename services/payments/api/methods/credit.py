"""The methods about credit."""

from recurring.payments.v1 import payments_pb2

from services.payments.api import requests, responses
from services.payments.api.methods.base import Methods
from services.payments.application import credit
from services.payments.names import CREDIT_BALANCE, CUSTOMER
from services.payments.store import credit as credit_store
from services.runtime.mutations import run_mutation
from services.runtime.rpc.names import read_name
from services.runtime.rpc.paging import read_page


class CreditMethods(Methods):
    """Methods about credit."""

    async def CreateCreditTransaction(
        self, request: payments_pb2.CreateCreditTransactionRequest, _context: object
    ) -> payments_pb2.CreditTransaction:
        now = self._clock.now()
        return await run_mutation(
            self._database,
            request,
            payments_pb2.CreditTransaction,
            responses.credit_transaction_message,
            lambda tx: credit.create(tx, requests.read_new_credit_transaction(request, now), now),
        )

    async def GetCreditBalance(
        self, request: payments_pb2.GetCreditBalanceRequest, _context: object
    ) -> payments_pb2.CreditBalance:
        owner = read_name(CREDIT_BALANCE, request.name)
        async with self._database.read() as connection:
            held = await credit_store.of_customer(connection, owner)
        return responses.credit_balance_message(request.name, held)

    async def ListCreditTransactions(
        self, request: payments_pb2.ListCreditTransactionsRequest, _context: object
    ) -> payments_pb2.ListCreditTransactionsResponse:
        owner = read_name(CUSTOMER, request.parent)
        page = read_page(request, keys=1)
        after = page.after_position()
        async with self._database.read() as connection:
            listed = await credit_store.transactions(connection, owner, after, page.limit)
        shown, token = page.cut(
            listed, responses.credit_transaction_message, lambda it: (str(it.position),)
        )
        return payments_pb2.ListCreditTransactionsResponse(
            credit_transactions=shown, next_page_token=token
        )
