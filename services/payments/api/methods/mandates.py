"""The methods about mandates."""

from collections.abc import Awaitable, Callable
from datetime import datetime

from google.protobuf.message import Message
from recurring.payments.v1 import payments_pb2

from services.payments.api import mandate_requests, mandate_responses, responses
from services.payments.api.methods.base import Methods
from services.payments.application import mandates
from services.payments.domain.consent import Mandate
from services.payments.names import AMOUNT_RULES, CUSTOMER, MANDATE
from services.payments.store import mandate_amendments as amendment_store
from services.payments.store import mandates as mandate_store
from services.runtime.db.pool import Connection
from services.runtime.mutations import Applied, Apply, run_checked_mutation, run_mutation
from services.runtime.rpc.names import read_name
from services.runtime.rpc.paging import read_page

SHOWN_MAX_AMENDMENTS = 100


class MandateMethods(Methods):
    """Methods about mandates."""

    async def CreateMandate(
        self, request: payments_pb2.CreateMandateRequest, _context: object
    ) -> payments_pb2.Mandate:
        async def decide() -> Apply[Mandate]:
            now = self._clock.now()
            mandate = mandate_requests.read_new_mandate(request, self._database.keyring, now)
            if region_code := request.mandate.region_code:
                await mandates.check_rules(self._database, self._rule_packs, mandate, region_code)
            return lambda tx: mandates.create(tx, mandate)

        return await run_checked_mutation(
            self._database, request, payments_pb2.Mandate, self._mandate_message, decide
        )

    async def GetMandate(
        self, request: payments_pb2.GetMandateRequest, _context: object
    ) -> payments_pb2.Mandate:
        key = read_name(MANDATE, request.name)
        async with self._database.read() as connection:
            mandate = await mandates.existing(connection, key)
            amendments = await amendment_store.of_mandate(connection, key, SHOWN_MAX_AMENDMENTS)
        return mandate_responses.mandate_message(
            self._database.keyring, self._clock.now(), mandate, amendments
        )

    async def ListMandates(
        self, request: payments_pb2.ListMandatesRequest, _context: object
    ) -> payments_pb2.ListMandatesResponse:
        owner = read_name(CUSTOMER, request.parent)
        page = read_page(request, keys=1)
        after = page.after[0] if page.after else ""
        async with self._database.read() as connection:
            listed = await mandate_store.of_customer(connection, owner, after, page.limit)
        shown, token = page.cut(listed, self._mandate_message, lambda mandate: (mandate.mandate,))
        return payments_pb2.ListMandatesResponse(mandates=shown, next_page_token=token)

    async def ConfirmMandate(
        self, request: payments_pb2.ConfirmMandateRequest, _context: object
    ) -> payments_pb2.Mandate:
        key, evidence = mandate_requests.read_consent(request, self._database.keyring)
        return await self._change_mandate(
            request, lambda tx, now: mandates.confirm(tx, key, evidence, request.etag, now)
        )

    async def AmendMandate(
        self, request: payments_pb2.AmendMandateRequest, _context: object
    ) -> payments_pb2.Mandate:
        async def decide() -> Apply[Mandate]:
            now = self._clock.now()
            wanted, evidence = mandate_requests.read_amendment(request)
            if region_code := request.region_code:
                await mandates.check_amended(self._database, self._rule_packs, wanted, region_code)
            return lambda tx: mandates.amend(tx, wanted, evidence, request.etag, now)

        return await run_checked_mutation(
            self._database, request, payments_pb2.Mandate, self._mandate_message, decide
        )

    async def PauseMandate(
        self, request: payments_pb2.PauseMandateRequest, _context: object
    ) -> payments_pb2.Mandate:
        key = read_name(MANDATE, request.name)
        return await self._change_mandate(
            request, lambda tx, now: mandates.pause(tx, key, request.etag, now)
        )

    async def ResumeMandate(
        self, request: payments_pb2.ResumeMandateRequest, _context: object
    ) -> payments_pb2.Mandate:
        key = read_name(MANDATE, request.name)
        return await self._change_mandate(
            request, lambda tx, now: mandates.resume(tx, key, request.etag, now)
        )

    async def RevokeMandate(
        self, request: payments_pb2.RevokeMandateRequest, _context: object
    ) -> payments_pb2.Mandate:
        key = read_name(MANDATE, request.name)
        return await self._change_mandate(
            request, lambda tx, now: mandates.revoke(tx, key, request.etag, now)
        )

    async def _change_mandate(
        self,
        request: Message,
        change: Callable[[Connection, datetime], Awaitable[Applied[Mandate]]],
    ) -> payments_pb2.Mandate:
        return await run_mutation(
            self._database,
            request,
            payments_pb2.Mandate,
            self._mandate_message,
            lambda tx: change(tx, self._clock.now()),
        )

    async def GetAmountRules(
        self, request: payments_pb2.GetAmountRulesRequest, _context: object
    ) -> payments_pb2.AmountRules:
        read_name(AMOUNT_RULES, request.name)
        return responses.amount_rules_message(
            request.name, self._providers.default.capabilities.amount_rules
        )

    def _mandate_message(self, mandate: Mandate) -> payments_pb2.Mandate:
        return mandate_responses.mandate_message(self._database.keyring, self._clock.now(), mandate)
