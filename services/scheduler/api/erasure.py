"""What is known of a customer, erased when they ask for it."""

from recurring.scheduler.v1 import scheduler_pb2
from sqlalchemy.ext.asyncio import AsyncConnection

from services.runtime.auth.call_context import caller
from services.runtime.db.idempotency import forget_answers, mutation
from services.runtime.db.pool import Database
from services.runtime.errors import wrong_state
from services.runtime.workers.clock import Clock
from services.scheduler import names
from services.scheduler.domain.ids import CustomerId, MerchantId, OrderKey
from services.scheduler.names import order_name, standing_order_name
from services.scheduler.store import erasure, purchases

NAMED_MAX_STANDING_ORDERS = 3


class ErasureMethods:
    """The method of recurring.scheduler.v1.SchedulerService that erases a customer."""

    database: Database
    _clock: Clock

    @mutation(scheduler_pb2.EraseCustomerResponse)
    async def EraseCustomer(
        self, request: scheduler_pb2.EraseCustomerRequest, tx: AsyncConnection
    ) -> scheduler_pb2.EraseCustomerResponse:
        """Erase what is known of a customer who orders nothing any more."""
        merchant, customer = names.parse_customer(request.name)
        caller().check(merchant)
        # Whoever sets up a standing order for them waits.
        await purchases.lock_customer(tx, merchant, customer)
        await _refuse_needed(tx, merchant, customer)
        await erasure.erase(tx, merchant, customer, self._clock.now())
        await forget_answers(tx, merchant, await _resources(tx, merchant, customer))
        return scheduler_pb2.EraseCustomerResponse()


async def _refuse_needed(tx: AsyncConnection, merchant: MerchantId, customer: CustomerId) -> None:
    found = await erasure.needed_by(tx, merchant, customer, NAMED_MAX_STANDING_ORDERS)
    if found:
        listed = ", ".join(standing_order_name(merchant, one) for one in found)
        raise wrong_state(
            "CUSTOMER_HAS_STANDING_ORDERS",
            f"not ended, or with an order that is not over: {listed}",
            standing_orders=listed,
        )


async def _resources(tx: AsyncConnection, merchant: MerchantId, customer: CustomerId) -> set[str]:
    """The names of a customer's standing orders and orders."""
    rows = await erasure.of_customer(tx, merchant, customer)
    return {
        *(standing_order_name(merchant, row.standing_order) for row in rows),
        *(
            order_name(OrderKey(merchant, row.standing_order, row.cycle))
            for row in rows
            if row.cycle is not None
        ),
    }
