"""What would become of cycles without an order by what is known now: for previews and forecasts.

The workers' own questions and rules decide, as if every cycle before were paid. Nothing is stored.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from services.runtime.db.pool import Database
from services.scheduler.application.evaluation.evaluation import Evaluation, evaluate_ahead
from services.scheduler.application.evaluation.local_checks import check_locally
from services.scheduler.application.evaluation.pricing import (
    EXPECTED,
    Templates,
    pasts,
    template_of,
)
from services.scheduler.clients import Clients, PlannedCharges
from services.scheduler.domain.conditions import NO_RULING, Ruling
from services.scheduler.domain.order import Order, OrderReason, OrderState, Quote, Stage, asks
from services.scheduler.domain.rulings import prepared
from services.scheduler.domain.standing_order import StandingOrder

_UNPAYABLE = frozenset({OrderReason.MANDATE_NOT_COVERING, OrderReason.PAYMENT_METHOD_BLOCKED})


@dataclass(frozen=True, slots=True)
class Projection:
    """An order as its preparation would leave it."""

    order: Order
    # Absent when it is left out, or cannot be priced.
    quote: Quote | None = None
    ruling: Ruling = NO_RULING

    @property
    def demand(self) -> Quote | None:
        """What it will come to if nobody says or changes anything."""
        unpayable = _UNPAYABLE.intersection(self.order.reasons)
        return None if asks(self.order) or unpayable else self.quote


async def project(
    database: Database,
    clients: Clients,
    coming: Sequence[Order],
    standing_orders: Templates,
    planned: PlannedCharges,
    now: datetime,
    *,
    demand_only: bool = False,
) -> list[Projection]:
    """What would become of orders that are yet to come, in their order.

    `planned` is what announced orders are still to be charged, and gets what these will be. With
    `demand_only`, as if there were stock enough.
    """
    known = await check_locally(database, coming, standing_orders, Stage.PREPARE, now)
    # Those after the first wait for that one, which is looked at as if it were paid.
    first = {one.key.standing_order_key: one.key for one in reversed(coming)}
    decided = {
        one.key: one
        for one in known.decided
        if one.reasons != (OrderReason.PREVIOUS_UNPAID,)
        or first[one.key.standing_order_key] == one.key
    }
    to_price = [one for one in coming if not _is_left_out(decided.get(one.key))]
    past = await pasts(database, to_price, standing_orders, EXPECTED)
    found = await evaluate_ahead(
        clients, to_price, standing_orders, past, planned, now, demand_only=demand_only
    )
    projections = {key: Projection(order) for key, order in decided.items()}
    for one in found:
        held = decided.get(one.order.key)
        projections[one.order.key] = _projection(
            one, held, template_of(one.order, standing_orders), now
        )
    return [projections[order.key] for order in coming]


def _projection(
    found: Evaluation, held: Order | None, standing_order: StandingOrder, now: datetime
) -> Projection:
    order = held or prepared(found.order, found.findings, found.ruling, standing_order, now)
    quote = None if _is_left_out(order) else found.findings.quote
    return Projection(order, quote, found.ruling)


def _is_left_out(order: Order | None) -> bool:
    return order is not None and order.state is OrderState.SKIPPED
