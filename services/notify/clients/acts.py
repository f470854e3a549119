"""What customers ask for by a reply, asked of the service that does it.

Notify may call these three methods of the others, each for one merchant at a time.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import grpc
from recurring.payments.v1 import payments_pb2, payments_pb2_grpc
from recurring.scheduler.v1 import scheduler_pb2, scheduler_pb2_grpc

from services.notify.domain.replies.answering import DONE
from services.notify.domain.replies.decisions import Act, standing_order_of
from services.notify.domain.replies.words import Word
from services.notify.domain.templates.replies import Answer
from services.notify.names import CUSTOMER
from services.runtime.auth.call_context import TENANT_HEADER
from services.runtime.errors import problem_of

# How the reasons for which the services refuse are explained.
_REFUSALS: Mapping[str, Answer] = MappingProxyType({
    "ORDER_STATE": Answer.TOO_LATE,
    "CYCLE_OUT_OF_RANGE": Answer.TOO_LATE,
    "STANDING_ORDER_STATE": Answer.NOT_ACTIVE,
    "PAYMENT_REQUEST_STATE": Answer.NOT_PAYABLE,
    "CHARGE_NOT_FOUND": Answer.NOT_PAYABLE,
    "PAYMENT_METHOD_NOT_FOUND": Answer.METHOD_NEEDED,
    "PAYMENT_METHOD_BLOCKED": Answer.METHOD_NEEDED,
    "PAYMENT_METHOD_DETACHED": Answer.METHOD_NEEDED,
    "OUT_OF_STOCK": Answer.OUT_OF_STOCK,
})  # fmt: skip
# The service says of these that they will pass, or does not say anything.
_PASSING = frozenset({
    grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED,
    grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.ABORTED, grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
})  # fmt: skip


class Acts:
    """Asks scheduler and payments for what customers want; the same request id asks once."""

    def __init__(self, scheduler: grpc.aio.Channel, payments: grpc.aio.Channel) -> None:
        self._scheduler = scheduler_pb2_grpc.SchedulerServiceStub(scheduler)
        self._payments = payments_pb2_grpc.PaymentsServiceStub(payments)

    async def perform(self, act: Act, request_id: str) -> Answer | None:
        """What became of it, in words for the customer; None: it is to be tried again later."""
        method, request, done = self._call(act, request_id)
        try:
            await method(request, metadata=((TENANT_HEADER, act.customer.merchant),))
        except grpc.aio.AioRpcError as error:
            if error.code() in _PASSING:
                return None
            problem = problem_of(error)
            return _REFUSALS.get(problem.reason if problem else "", Answer.NOT_DONE)
        return done

    def _call(self, act: Act, request_id: str) -> tuple[Callable[..., Any], Any, Answer]:
        if act.word is Word.PAY:
            _, _, standing_order_and_cycle = act.order.partition("/standingOrders/")
            charge = standing_order_and_cycle.replace("/orders/", "-")
            name = f"{CUSTOMER.format(*act.customer)}/charges/{charge}"
            confirm = payments_pb2.ConfirmPaymentRequestRequest(name=name, request_id=request_id)
            return self._payments.ConfirmPaymentRequest, confirm, DONE[act.word]
        standing_order = standing_order_of(act.order)
        if act.word is Word.PAUSE:
            pause = scheduler_pb2.PauseStandingOrderRequest(
                name=standing_order, request_id=request_id
            )
            return self._scheduler.PauseStandingOrder, pause, DONE[act.word]
        cycle = int(act.order.rpartition("/")[2])
        skip = scheduler_pb2.SkipCycleRequest(
            name=standing_order, cycle=cycle, request_id=request_id
        )
        return self._scheduler.SkipCycle, skip, DONE[act.word]
