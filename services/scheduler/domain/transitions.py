"""What may happen to a standing order and to an order, and where it leads."""

from enum import StrEnum

from services.runtime.transitions import Transitions
from services.scheduler.domain.order import OrderState
from services.scheduler.domain.standing_order import State


class StandingOrderEvent(StrEnum):
    """What happens to a standing order."""

    PAUSE = "PAUSE"
    RESUME = "RESUME"
    CANCEL = "CANCEL"
    COMPLETE = "COMPLETE"


class OrderEvent(StrEnum):
    """What happens to an order."""

    ANNOUNCE = "ANNOUNCE"
    HOLD = "HOLD"
    COLLECT = "COLLECT"
    PAY = "PAY"
    # The merchant's settings let an order be paid that had lapsed.
    PAY_LATE = "PAY_LATE"
    LAPSE = "LAPSE"
    SKIP = "SKIP"
    RESTORE = "RESTORE"
    CANCEL = "CANCEL"


STANDING_ORDER = Transitions(
    {
        (State.ACTIVE, StandingOrderEvent.PAUSE): State.PAUSED,
        (State.PAUSED, StandingOrderEvent.RESUME): State.ACTIVE,
        (State.ACTIVE, StandingOrderEvent.CANCEL): State.CANCELLED,
        (State.PAUSED, StandingOrderEvent.CANCEL): State.CANCELLED,
        (State.ACTIVE, StandingOrderEvent.COMPLETE): State.COMPLETED,
        (State.PAUSED, StandingOrderEvent.COMPLETE): State.COMPLETED,
    }
)
# A new order is UPCOMING before it is prepared.
ORDER = Transitions(
    {
        (OrderState.UPCOMING, OrderEvent.ANNOUNCE): OrderState.UPCOMING,
        (OrderState.HELD, OrderEvent.ANNOUNCE): OrderState.UPCOMING,
        (OrderState.UPCOMING, OrderEvent.HOLD): OrderState.HELD,
        (OrderState.HELD, OrderEvent.HOLD): OrderState.HELD,
        (OrderState.UPCOMING, OrderEvent.COLLECT): OrderState.AWAITING_PAYMENT,
        (OrderState.HELD, OrderEvent.COLLECT): OrderState.AWAITING_PAYMENT,
        (OrderState.AWAITING_PAYMENT, OrderEvent.PAY): OrderState.PAID,
        # The one way out of LAPSED; the order has the time until which it is open.
        (OrderState.LAPSED, OrderEvent.PAY_LATE): OrderState.PAID,
        (OrderState.UPCOMING, OrderEvent.LAPSE): OrderState.LAPSED,
        (OrderState.HELD, OrderEvent.LAPSE): OrderState.LAPSED,
        (OrderState.AWAITING_PAYMENT, OrderEvent.LAPSE): OrderState.LAPSED,
        (OrderState.UPCOMING, OrderEvent.SKIP): OrderState.SKIPPED,
        (OrderState.HELD, OrderEvent.SKIP): OrderState.SKIPPED,
        # A customer can take back their own skip.
        (OrderState.SKIPPED, OrderEvent.RESTORE): OrderState.HELD,
        (OrderState.UPCOMING, OrderEvent.CANCEL): OrderState.CANCELLED,
        (OrderState.HELD, OrderEvent.CANCEL): OrderState.CANCELLED,
        (OrderState.AWAITING_PAYMENT, OrderEvent.CANCEL): OrderState.CANCELLED,
    }
)
