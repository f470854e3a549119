"""What other services report about orders, applied as a set."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from services.runtime.db.pool import Connection
from services.runtime.messaging.events import Event
from services.runtime.observability import tracing
from services.scheduler.application import settlement
from services.scheduler.domain.ids import OrderKey
from services.scheduler.domain.order import Order, OrderState
from services.scheduler.publishers import announcement_id
from services.scheduler.store import orders as order_rows


@dataclass(frozen=True, slots=True)
class OrderUpdate:
    """What one event makes of an order, where it still applies."""

    key: OrderKey
    event: Event[Any]
    applies: Callable[[Order], bool]
    change: Callable[[Event[Any], Order], Order]


def awaits_notice(order: Order, notice: str) -> bool:
    """Whether an order waits for its notice and this is that of its present announcement."""
    waits = order.state is OrderState.UPCOMING and order.collect_time is None
    return waits and notice.rpartition("/")[2] == announcement_id(order)


def awaits_payment(order: Order) -> bool:
    """Whether an order waits for the result of its payment."""
    return order.state is OrderState.AWAITING_PAYMENT


async def apply_updates(tx: Connection, updates: Sequence[OrderUpdate]) -> None:
    """Change the orders that updates are about, and publish what came of it."""
    by_key: dict[OrderKey, list[OrderUpdate]] = {}
    for update in updates:
        by_key.setdefault(update.key, []).append(update)
    known = await order_rows.by_key(tx, list(by_key))
    by_state: dict[OrderState, list[Order]] = {}
    for key, order in known.items():
        changed = order
        for update in by_key[key]:
            if update.applies(changed):
                changed = _changed(changed, update)
        if changed is not order:
            by_state.setdefault(order.state, []).append(changed)
    times = {
        key: max(update.event.occur_time for update in updates) for key, updates in by_key.items()
    }
    moved: list[Order] = []
    for state, orders in by_state.items():
        now = max(times[order.key] for order in orders)
        stored = await order_rows.update(tx, orders, state, now)
        moved += [order for order in stored if order.state is not state]
    await settlement.settle(tx, moved, times)


def _changed(order: Order, update: OrderUpdate) -> Order:
    """The order after one update, with what was decided before."""
    changed = update.change(update.event, order)
    parent = tracing.continued(f"scheduler {changed.state}", update.event.traceparent)
    return replace(
        changed,
        traceparent=parent or order.traceparent,
        decisions=order.decisions + changed.decisions,
    )
