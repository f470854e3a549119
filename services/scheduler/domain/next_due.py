"""When the order comes that follows the present one. Pure."""

from datetime import datetime

from services.scheduler.domain.cycles import skip_reason
from services.scheduler.domain.standing_order import StandingOrder, State

# Beyond so many cycles that are left out, no next one is looked for.
NEXT_DUE_MAX_CYCLES = 400


def next_due_time(standing_order: StandingOrder) -> datetime | None:
    """When the next cycle is due that has no order yet and is not left out.

    None when there is none: the standing order is not ACTIVE, or has no such cycle.
    """
    if standing_order.state is not State.ACTIVE or standing_order.next_cycle is None:
        return None
    first = standing_order.next_cycle
    for cycle in range(first, first + NEXT_DUE_MAX_CYCLES):
        date = standing_order.date(cycle)
        if date is None:
            return None
        if skip_reason(standing_order, cycle, date) is None:
            return date.due_at
    return None
