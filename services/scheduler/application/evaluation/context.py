"""What a batch of orders is evaluated with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from services.runtime.db.pool import Database
from services.scheduler.clients import Clients
from services.scheduler.domain.conditions import Condition
from services.scheduler.domain.ids import StandingOrderKey
from services.scheduler.domain.order import Order
from services.scheduler.domain.standing_order import StandingOrder
from services.scheduler.domain.substitution import Consent, consents_of


@dataclass(frozen=True, slots=True)
class Context:
    """Whom to ask, the standing orders of the batch, and the instant that it is evaluated at."""

    database: Database
    clients: Clients
    standing_orders: Mapping[StandingOrderKey, StandingOrder]
    now: datetime

    def standing_order(self, order: Order) -> StandingOrder:
        """The standing order that an order belongs to."""
        return self.standing_orders[order.key.standing_order_key]

    def conditions(self, order: Order) -> Sequence[Condition]:
        """What must hold for an order to be billed."""
        return self.standing_order(order).conditions

    def consents(self, order: Order) -> Sequence[Consent]:
        """What the customer of an order agreed to take instead of something."""
        standing_order = self.standing_order(order)
        return consents_of(standing_order.conditions, standing_order.items)
