"""What customers buy elsewhere, and their yes to an order that would repeat it."""

from recurring.scheduler.v1 import scheduler_pb2
from sqlalchemy.ext.asyncio import AsyncConnection

from services.runtime import audit
from services.runtime.access import caller
from services.runtime.clock import Clock
from services.runtime.database import Database
from services.runtime.errors import Violations, not_found, wrong_state
from services.runtime.requests import mutation
from services.runtime.wire import read_timestamp
from services.scheduler.api.conditions import PRODUCT
from services.scheduler.api.lookups import read_order_name
from services.scheduler.api.messages import order_message
from services.scheduler.api.reading import CUSTOMER
from services.scheduler.domain.order import asks, confirmed
from services.scheduler.peers import standing_order_name
from services.scheduler.store import orders, purchases


class PurchaseMethods:
    """The methods of recurring.scheduler.v1.SchedulerService about repeated purchases."""

    database: Database
    _clock: Clock

    @mutation(scheduler_pb2.RecordPurchaseResponse)
    async def RecordPurchase(
        self, request: scheduler_pb2.RecordPurchaseRequest, tx: AsyncConnection
    ) -> scheduler_pb2.RecordPurchaseResponse:
        """Remember what a customer bought elsewhere."""
        now = self._clock.now()
        merchant, customer = CUSTOMER.parse(request.customer)
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

    @mutation(scheduler_pb2.Order)
    async def ConfirmOrder(
        self, request: scheduler_pb2.ConfirmOrderRequest, tx: AsyncConnection
    ) -> scheduler_pb2.Order:
        """Let an order go on that is held to ask the customer."""
        key = read_order_name(request.name)
        order = (await orders.by_key(tx, [key])).get(key)
        if order is None:
            raise not_found("ORDER_NOT_FOUND", request.name)
        if not asks(order):
            raise wrong_state("ORDER_STATE", f"{request.name} is not HELD to ask the customer")
        now = self._clock.now()
        audit.before(order_message(await orders.get(tx, key), self.database.keyring))
        row = await orders.confirm(tx, confirmed(order, now), now)
        return order_message(row, self.database.keyring)


def _read_products(
    violations: Violations, merchant: str, request: scheduler_pb2.RecordPurchaseRequest
) -> list[str]:
    products = []
    for place, name in enumerate(request.products):
        owner, product = PRODUCT.parse(name)
        if owner != merchant:
            violations.add(f"products[{place}]", "must be a product of the customer's merchant")
        products.append(product)
    return products
