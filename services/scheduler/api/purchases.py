"""What customers buy elsewhere, and their yes to an order that would repeat it."""

from dataclasses import replace
from datetime import datetime

import grpc
from recurring.scheduler.v1 import scheduler_pb2
from sqlalchemy.ext.asyncio import AsyncConnection

from services.runtime.auth.call_context import caller
from services.runtime.db import audit
from services.runtime.db.idempotency import Mutation, mutation
from services.runtime.db.pool import Database
from services.runtime.errors import Violations, not_found, wrong_state
from services.runtime.rpc.conversions import read_timestamp
from services.runtime.workers.clock import Clock
from services.scheduler import names
from services.scheduler.api.lookups import read_order_name
from services.scheduler.api.messages import order_message
from services.scheduler.application import collection
from services.scheduler.application.evaluation.pricing import Templates
from services.scheduler.clients import Clients, is_transient
from services.scheduler.domain.ids import MerchantId
from services.scheduler.domain.order import Order, OrderState, asks
from services.scheduler.domain.order_lifecycle import confirmed
from services.scheduler.names import standing_order_name
from services.scheduler.store import orders, purchases, standing_orders
from services.scheduler.store.order_rows import order_of


class PurchaseMethods:
    """The methods of recurring.scheduler.v1.SchedulerService about repeated purchases."""

    database: Database
    _clock: Clock
    _clients: Clients

    @mutation(scheduler_pb2.RecordPurchaseResponse)
    async def RecordPurchase(
        self, request: scheduler_pb2.RecordPurchaseRequest, tx: AsyncConnection
    ) -> scheduler_pb2.RecordPurchaseResponse:
        """Remember what a customer bought elsewhere."""
        now = self._clock.now()
        merchant, customer = names.parse_customer(request.customer)
        caller().check(merchant)
        violations = Violations()
        products = _read_products(violations, merchant, request)
        purchase_time = now
        if request.HasField("purchase_time"):
            purchase_time = read_timestamp(violations, "purchase_time", request.purchase_time)
            violations.require(
                "purchase_time", "must not be in the future", met=purchase_time <= now
            )
        violations.check()
        found = await purchases.record(tx, merchant, customer, products, purchase_time)
        return scheduler_pb2.RecordPurchaseResponse(
            standing_orders=[standing_order_name(merchant, one) for one in found]
        )

    async def ConfirmOrder(
        self, request: scheduler_pb2.ConfirmOrderRequest, _context: object
    ) -> scheduler_pb2.Order:
        """Let an order go on that is held to ask the customer, and answer with what became of it."""
        once = Mutation(request, request.request_id)
        if (answered := await once.answered(self.database, scheduler_pb2.Order)) is not None:
            return answered
        key, now = read_order_name(request.name), self._clock.now()
        async with self.database.read() as connection:
            row = await orders.get(connection, key)
            known = order_of(row) if row else None
            templates = await standing_orders.by_key(connection, [key.template])
        decided = await self._decide(_agreed(known, request.name, now), templates, now)

        async def act(tx: AsyncConnection) -> scheduler_pb2.Order:
            order = (await orders.by_key(tx, [key])).get(key)
            agreed = _agreed(order, request.name, now)
            audit.before(order_message(await orders.get(tx, key), self.database.keyring))
            await orders.confirm(tx, agreed, now)
            # Where the order changed meanwhile, it is looked at again by itself.
            if order == known:
                await collection.store(tx, decided, OrderState.HELD, templates, now)
            return order_message(await orders.get(tx, key), self.database.keyring)

        async with self.database.begin() as tx:
            return await once.once(tx, scheduler_pb2.Order, act)

    async def _decide(self, agreed: Order, templates: Templates, now: datetime) -> list[Order]:
        """What becomes of an order now; nothing yet while another service is away."""
        try:
            undecided = [replace(agreed, decisions=())]
            return await collection.decide(self.database, self._clients, undecided, templates, now)
        except grpc.aio.AioRpcError as error:
            if not is_transient(error):
                raise
            return []


def _agreed(order: Order | None, name: str, now: datetime) -> Order:
    """An order with the customer's yes; raises why it does not wait for one."""
    if order is None:
        raise not_found("ORDER_NOT_FOUND", name)
    if not asks(order):
        raise wrong_state("ORDER_STATE", f"{name} is not HELD to ask the customer")
    return confirmed(order, now)


def _read_products(
    violations: Violations, merchant: MerchantId, request: scheduler_pb2.RecordPurchaseRequest
) -> list[str]:
    products = []
    for place, name in enumerate(request.products):
        owner, product = names.PRODUCT.parse(name)
        if owner != merchant:
            violations.add(f"products[{place}]", "must be a product of the customer's merchant")
        products.append(product)
    return products
