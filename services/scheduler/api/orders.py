"""Orders: what became of cycles, and why."""

from typing import Any, Literal

import grpc
from recurring.notify.v1 import notify_pb2
from recurring.payments.v1 import payments_pb2
from recurring.scheduler.v1 import scheduler_pb2

from services.runtime.auth.call_context import caller
from services.runtime.db.pool import Database
from services.runtime.errors import Violations, not_found
from services.runtime.resource_names import NamePattern
from services.runtime.rpc.conversions import read_bound
from services.runtime.rpc.paging import read_page
from services.scheduler import names
from services.scheduler.api.lookups import read_order_name
from services.scheduler.api.messages import (
    charge_decisions,
    decision_message,
    notice_decisions,
    order_message,
)
from services.scheduler.clients import Clients
from services.scheduler.domain.explanation import in_causal_order
from services.scheduler.domain.ids import MerchantId, StandingOrderId
from services.scheduler.domain.order import Decision
from services.scheduler.names import customer_name, order_name
from services.scheduler.store import orders

EXPLAIN_MAX_NOTICES = 1000
DUE_FILTERS: tuple[Literal["due_from_time"], Literal["due_before_time"]] = (
    "due_from_time",
    "due_before_time",
)
ORDERS_PARENT = NamePattern(
    "merchants/{merchant}/standingOrders/{standing_order}", wildcard="standing_order"
)


class OrderMethods:
    """The methods of recurring.scheduler.v1.SchedulerService about orders."""

    database: Database
    _clients: Clients

    async def GetOrder(
        self, request: scheduler_pb2.GetOrderRequest, _context: object
    ) -> scheduler_pb2.Order:
        """Get an order."""
        key = read_order_name(request.name)
        async with self.database.read() as connection:
            row = await orders.get(connection, key)
        if row is None:
            raise not_found("ORDER_NOT_FOUND", request.name)
        return order_message(row, self.database.keyring)

    async def ListOrders(
        self, request: scheduler_pb2.ListOrdersRequest, _context: object
    ) -> scheduler_pb2.ListOrdersResponse:
        """List orders by standing order and cycle."""
        violations = Violations()
        parent, standing_order = ORDERS_PARENT.read(violations, "parent", request.parent)
        merchant = MerchantId(parent)
        customer = None
        if request.customer:
            owner, customer = names.read_customer(violations, "customer", request.customer)
            if customer and owner != merchant:
                violations.add("customer", "must be a customer of the parent merchant")
        due_from, due_before = (
            read_bound(violations, name, getattr(request, name)) if request.HasField(name) else None
            for name in DUE_FILTERS
        )
        violations.check()
        caller().check(merchant)
        page = read_page(request, keys=2)
        state = scheduler_pb2.Order.State.Name(request.state) if request.state else None
        first = page.after_numbered()

        async def find(last: Any, limit: int) -> list[Any]:  # noqa: ANN401 - rows
            async with self.database.read() as connection:
                return await orders.list_of_merchant(
                    connection,
                    merchant,
                    standing_order=(
                        None if standing_order == "-" else StandingOrderId(standing_order)
                    ),
                    customer=customer,
                    state=state,
                    due_from=due_from,
                    due_before=due_before,
                    after=(last.standing_order, last.cycle) if last else first,
                    limit=limit,
                )

        shown, token = await page.fill(
            find,
            lambda row: order_message(row, self.database.keyring),
            lambda row: (row.standing_order, str(row.cycle)),
        )
        return scheduler_pb2.ListOrdersResponse(orders=shown, next_page_token=token)

    async def ExplainOrder(
        self, request: scheduler_pb2.ExplainOrderRequest, _context: object
    ) -> scheduler_pb2.ExplainOrderResponse:
        """Tell every decision of an order, from what all services stored."""
        key = read_order_name(request.name)
        async with self.database.read() as connection:
            row = await orders.get(connection, key)
            if row is None:
                raise not_found("ORDER_NOT_FOUND", request.name)
            history = await orders.history(connection, key)
        customer = customer_name(row.merchant, row.customer)
        charge = f"{customer}/charges/{key.standing_order}-{key.cycle}"
        attempts: list[Decision] = []
        try:
            attempts = charge_decisions(
                await self._clients.payments.GetCharge(payments_pb2.GetChargeRequest(name=charge))
            )
        except grpc.aio.AioRpcError as error:
            # An order that was never to be paid has no charge.
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                raise
        notices = await self._clients.notify.ListNotices(
            notify_pb2.ListNoticesRequest(
                parent=customer,
                subject_resource=order_name(key),
                page_size=EXPLAIN_MAX_NOTICES,
            )
        )
        decisions = in_causal_order(history, attempts, notice_decisions(notices.notices))
        return scheduler_pb2.ExplainOrderResponse(
            order=order_message(row, self.database.keyring),
            decisions=[decision_message(one) for one in decisions],
        )
