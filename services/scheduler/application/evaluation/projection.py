"""What would become of cycles without an order by what is known now: for previews and forecasts.

The workers' own questions and rules decide, as if every cycle before were paid. Nothing is stored.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from services.scheduler.application.evaluation.context import Context
from services.scheduler.application.evaluation.evaluation import evaluate_ahead
from services.scheduler.application.evaluation.local_checks import check_locally
from services.scheduler.application.evaluation.pricing import EXPECTED, order_histories
from services.scheduler.clients.questions import PlannedCharges
from services.scheduler.domain.condition_outcomes import prepared
from services.scheduler.domain.conditions import NO_OUTCOME, Outcome
from services.scheduler.domain.order import (
    Order,
    OrderReason,
    OrderState,
    Quote,
    Stage,
    awaits_confirmation,
)

_UNPAYABLE = frozenset({OrderReason.MANDATE_NOT_COVERING, OrderReason.PAYMENT_METHOD_BLOCKED})


@dataclass(frozen=True, slots=True)
class Projection:
    """An order as its preparation would leave it."""

    order: Order
    # Absent when it is left out, or cannot be priced.
    quote: Quote | None = None
    outcome: Outcome = NO_OUTCOME

    @property
    def demand(self) -> Quote | None:
        """What it will come to if nobody says or changes anything."""
        unpayable = _UNPAYABLE.intersection(self.order.reasons)
        return None if awaits_confirmation(self.order) or unpayable else self.quote


async def project(
    context: Context,
    coming: Sequence[Order],
    planned: PlannedCharges,
    *,
    demand_only: bool = False,
) -> list[Projection]:
    """What would become of orders that are yet to come, in their order.

    `planned` is what announced orders are still to be charged, and gets what these will be. With
    `demand_only`, as if there were stock enough.
    """
    checked = await check_locally(context, coming, Stage.PREPARE)
    # Those after the first wait for that one, which is evaluated as if it were paid.
    first = {order.key.standing_order_key: order.key for order in reversed(coming)}
    decided = {
        order.key: order
        for order in checked.decided
        if order.reasons != (OrderReason.PREVIOUS_UNPAID,)
        or first[order.key.standing_order_key] == order.key
    }
    to_price = [
        order
        for order in coming
        if order.key not in decided or decided[order.key].state is not OrderState.SKIPPED
    ]
    histories = await order_histories(context, to_price, EXPECTED)
    projections = {key: Projection(order) for key, order in decided.items()}
    for evaluated in await evaluate_ahead(
        context, to_price, histories, planned, demand_only=demand_only
    ):
        key, standing_order = evaluated.order.key, context.standing_order(evaluated.order)
        order = decided.get(key) or prepared(*evaluated, standing_order, context.now)
        quote = None if order.state is OrderState.SKIPPED else evaluated.evaluation.quote
        projections[key] = Projection(order, quote, evaluated.outcome)
    return [projections[order.key] for order in coming]
