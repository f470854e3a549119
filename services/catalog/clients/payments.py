"""What the catalog asks of payments: which amounts the payment provider takes."""

import asyncio
import logging
import time
from typing import Protocol

import grpc
from recurring.payments.v1 import payments_pb2, payments_pb2_grpc

from services.catalog.domain.prices import AmountSteps
from services.catalog.names import MERCHANT
from services.runtime.auth.call_context import tenant
from services.runtime.rpc.conversions import from_money

log = logging.getLogger(__name__)

# The rules change when payments is deployed with another table, some times a year.
REFRESH_SECONDS = 300.0
# Payments is not asked more often while it does not answer.
RETRY_SECONDS = 15.0


class AmountRules(Protocol):
    """Says which amounts can be charged."""

    async def steps(self) -> AmountSteps:
        """By currency, of what an amount is a multiple. Raises grpc.aio.AioRpcError if nobody knows."""


class PublishedAmountRules:
    """The rules that payments publishes, kept for some minutes.

    While payments does not answer, its last answer counts: a merchant's change of prices need not wait
    for it, since the rules hardly ever change and payments checks each charge again. A process that has
    had no answer yet refuses the change (UNAVAILABLE), so that no price is made that nobody checked.
    """

    def __init__(self, payments: grpc.aio.Channel) -> None:
        self._payments = payments_pb2_grpc.PaymentsServiceStub(payments)
        self._steps: AmountSteps = {}
        self._ask_at = 0.0
        self._asking = asyncio.Lock()

    async def steps(self) -> AmountSteps:
        """As the last answer says. Raises grpc.aio.AioRpcError if there has been none."""
        async with self._asking:
            if not self._steps or time.monotonic() >= self._ask_at:
                await self._ask()
        return self._steps

    async def _ask(self) -> None:
        name = f"{MERCHANT.format(tenant())}/amountRules"
        request = payments_pb2.GetAmountRulesRequest(name=name)
        try:
            answer = await self._payments.GetAmountRules(request)
        except grpc.aio.AioRpcError as error:
            if not self._steps:
                raise
            log.warning("the last rules for amounts count, since payments answers %s", error.code())
            self._ask_at = time.monotonic() + RETRY_SECONDS
            return
        self._steps = {
            rule.currency_code: from_money(rule.step).amount_minor for rule in answer.rules
        }
        self._ask_at = time.monotonic() + REFRESH_SECONDS
