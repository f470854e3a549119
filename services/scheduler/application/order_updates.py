"""What other services report about orders, applied as a set."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.runtime.db.pool import Connection
from services.runtime.messaging.events import Event
from services.runtime.observability import tracing
from services.scheduler.application import settlement
from services.scheduler.domain.ids import OrderKey
from services.scheduler.domain.order import Order, OrderState, can_be_paid_late
from services.scheduler.publishers import announcement_id
from services.scheduler.store import orders as order_rows


class AheadOfOrderError(Exception):
    """An event says what follows from something that this database does not know.

    It has lost its last seconds, and makes the order again; until then the event fails, and is retried.
    """


@dataclass(frozen=True, slots=True)
class OrderUpdate:
    """What one event makes of an order, where it still applies."""

    key: OrderKey
    event: Event[Any]
    applies: Callable[[Order], bool]
    change: Callable[[Event[Any], Order], Order]
    # An order in one of these has not come to what the event follows from.
    states_before: frozenset[OrderState] = frozenset()


def awaits_notice(order: Order, notice: str) -> bool:
    """Whether an order waits for its notice and this is that of its present announcement."""
    waits = order.state is OrderState.UPCOMING and order.collect_time is None
    return waits and notice.rpartition("/")[2] == announcement_id(order)


def awaits_payment(order: Order) -> bool:
    """Whether an order waits for the result of its payment, or can be paid late."""
    return order.state is OrderState.AWAITING_PAYMENT or can_be_paid_late(order)


async def new_declines(
    tx: Connection, attempts: Sequence[tuple[OrderKey, int]]
) -> set[tuple[OrderKey, int]]:
    """Those of the attempts whose decline is in no order's history yet; locks the orders."""
    await order_rows.by_key(tx, [key for key, _ in attempts])
    return set(attempts) - await order_rows.known_declines(tx, attempts)


async def apply_updates(tx: Connection, updates: Sequence[OrderUpdate]) -> None:
    """Change the orders that updates are about, and publish what came of it.

    Raises AheadOfOrderError if an order is not there yet, or not as far.
    """
    by_key: dict[OrderKey, list[OrderUpdate]] = {}
    for update in updates:
        by_key.setdefault(update.key, []).append(update)
    known = await order_rows.by_key(tx, list(by_key))
    check_not_ahead(updates, known)
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


def check_not_ahead(updates: Collection[OrderUpdate], known: Mapping[OrderKey, Order]) -> None:
    """Raise AheadOfOrderError if an order is not there yet, or not as far as an event says."""
    for update in updates:
        order = known.get(update.key)
        if order is None:
            raise AheadOfOrderError("the order is not known")
        if order.state in update.states_before:
            raise AheadOfOrderError(
                f"the order is {order.state}, and nothing was asked of payments"
            )


def _changed(order: Order, update: OrderUpdate) -> Order:
    """The order after one update, with what was decided before."""
    changed = update.change(update.event, order)
    parent = tracing.continued(f"scheduler {changed.state}", update.event.traceparent)
    return changed._replace(
        traceparent=parent or order.traceparent,
        decisions=order.decisions + changed.decisions,
    )
