"""What follows when orders come into another state: counts, pauses, and the end of a standing order."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from services.runtime.db.pool import Connection
from services.runtime.messaging import outbox
from services.runtime.messaging.events import OutboxEvent
from services.scheduler.application import new_links
from services.scheduler.domain.action_links import OFFERED_IN_PAUSE
from services.scheduler.domain.cycles import ended as cancelled_at_once
from services.scheduler.domain.ids import OrderKey, StandingOrderKey
from services.scheduler.domain.order import (
    WITHDRAWABLE_STATES,
    Order,
    OrderReason,
    OrderState,
    lacked_products,
)
from services.scheduler.domain.order_lifecycle import cancelled, left_out_without
from services.scheduler.domain.standing_order import LIVE_STATES, StandingOrder, State
from services.scheduler.publishers import order_events, payment_withdrawn, standing_order_changed
from services.scheduler.store import orders as order_rows
from services.scheduler.store import standing_orders as standing_order_rows


async def end_finished(
    tx: Connection, keys: Sequence[StandingOrderKey], now: datetime
) -> dict[StandingOrderKey, StandingOrder]:
    """End those that have no further cycle and no open order, and publish it; returns them.

    Whatever takes the next cycle away, or ends an order, calls it in the same transaction.
    """
    if not keys:
        return {}
    ended = await standing_order_rows.complete(tx, keys, now)
    # Its new state is what happened: it was completed, or cancelled after its last cycle.
    await outbox.put(
        tx,
        [
            standing_order_changed(standing_order, str(standing_order.state), now)
            for standing_order in ended
        ],
    )
    return {standing_order.key: standing_order for standing_order in ended}


async def settle(
    tx: Connection, moved: Sequence[Order], times: Mapping[OrderKey, datetime]
) -> None:
    """After orders came into a new state: count what was paid, publish, end what is over."""
    if not moved:
        return
    now = max(times[order.key] for order in moved)
    keys = [order.key.standing_order_key for order in moved]
    paid = [order for order in moved if order.state is OrderState.PAID]
    if paid:
        await standing_order_rows.settled(tx, paid, now)
    standing_orders = await standing_order_rows.by_key(tx, keys)
    following = (
        await order_rows.next_open_times(tx, [order.key for order in paid], now) if paid else {}
    )
    active = [
        order
        for order in moved
        if standing_orders[order.key.standing_order_key].state is State.ACTIVE
    ]
    links = await new_links.of_orders(tx, active, standing_orders, now)
    events = [
        event
        for order in moved
        for event in order_events(
            order,
            standing_orders[order.key.standing_order_key],
            times[order.key],
            next_open_time=following.get(order.key),
            link_uri=links.get(order.key, ""),
        )
    ]
    # What was never to be paid yet (a hold that ran out) is not unpaid.
    unpaid = [o for o in moved if o.state is OrderState.LAPSED and o.amount_minor is not None]
    if unpaid:
        events += await _pause_unpaid(tx, unpaid, now)
        events += await _cancel_unpaid(tx, unpaid, now)
    await outbox.put(tx, events)
    await end_finished(tx, keys, now)


async def _pause_unpaid(
    tx: Connection, unpaid: Sequence[Order], now: datetime
) -> list[OutboxEvent]:
    """Pause the standing orders of orders that ended unpaid, where the merchant wants that."""
    keys = [order.key.standing_order_key for order in unpaid]
    paused = await standing_order_rows.pause_unpaid(tx, keys, now)
    return await _paused(tx, paused, None, now)


async def _cancel_unpaid(
    tx: Connection, unpaid: Sequence[Order], now: datetime
) -> list[OutboxEvent]:
    """Cancel the standing orders of orders that ended unpaid, where the merchant wants that."""
    reasons = {order.key.standing_order_key: order.reasons[0] for order in unpaid}
    present = await standing_order_rows.to_cancel(tx, list(reasons))
    events = []
    for state in LIVE_STATES:
        openings = [cancelled_at_once(one, now) for one in present if one.state is state]
        if openings:
            await standing_order_rows.advance(tx, openings, state, now)
            await order_rows.insert(tx, [o for opening in openings for o in opening.orders], now)
        for opening in openings:
            stored = opening.standing_order
            stored = replace(stored, version=stored.version + 1)
            reason = reasons[stored.key]
            events.append(standing_order_changed(stored, str(stored.state), now, reason=reason))
    return events + await _orders_ended(tx, present, OrderReason.STANDING_ORDER_CANCELLED, now)


async def pause_left_without(tx: Connection, decided: Sequence[Order], now: datetime) -> None:
    """Pause the standing orders of orders that were left out since a product is off sale for good.

    One goes on that does not have the product (any more): only that cycle, or a substitute, had it.
    """
    lacking = [
        (order.key.standing_order_key, product)
        for order in decided
        if order.state is OrderState.SKIPPED and order.reasons == (OrderReason.PRODUCT_UNAVAILABLE,)
        for product in lacked_products(order)
    ]
    await _pause_without(tx, lacking, now)


async def discontinue(
    tx: Connection, keys: Sequence[StandingOrderKey], product: str, now: datetime
) -> None:
    """Leave out open orders with a product that is off sale for good; pause their standing orders."""
    if not keys:
        return
    standing_orders = await standing_order_rows.by_key(tx, keys)
    open_orders = await order_rows.open_orders(tx, keys, WITHDRAWABLE_STATES)
    events = []
    for state in WITHDRAWABLE_STATES:
        left_out = [
            left_out_without(order, [product], now)
            for order in open_orders
            if order.state is state and any(item.product == product for item in order.items)
        ]
        for order in await order_rows.update(tx, left_out, state, now):
            events += order_events(order, standing_orders[order.key.standing_order_key], now)
    await outbox.put(tx, events)
    await _pause_without(tx, [(key, product) for key in keys], now)


async def _pause_without(
    tx: Connection, lacking: Sequence[tuple[StandingOrderKey, str]], now: datetime
) -> None:
    if lacking:
        paused = await standing_order_rows.pause_without(tx, lacking, now)
        await outbox.put(tx, await _paused(tx, paused, OrderReason.PRODUCT_UNAVAILABLE, now))


async def _paused(
    tx: Connection,
    paused: Sequence[StandingOrder],
    reason: OrderReason | None,
    now: datetime,
) -> list[OutboxEvent]:
    """What there is to publish of standing orders that were just paused; their open orders end."""
    links = await new_links.of_standing_orders(tx, paused, OFFERED_IN_PAUSE, now)
    events = [
        standing_order_changed(
            standing_order,
            str(standing_order.state),
            now,
            reason=reason,
            link_uri=links.get(standing_order.key, ""),
        )
        for standing_order in paused
    ]
    return events + await _orders_ended(tx, paused, OrderReason.PAUSED, now)


async def _orders_ended(
    tx: Connection, ended: Sequence[StandingOrder], reason: OrderReason, now: datetime
) -> list[OutboxEvent]:
    """End the open orders of standing orders that were paused or cancelled by themselves.

    What awaits its payment goes on during a pause; by a cancellation it is not wanted any more.
    """
    if not ended:
        return []
    by_key = {standing_order.key: standing_order for standing_order in ended}
    open_orders = await order_rows.open_orders(tx, list(by_key))
    events = []
    for state in WITHDRAWABLE_STATES:
        ending = [cancelled(order, reason, now) for order in open_orders if order.state is state]
        for order in await order_rows.update(tx, ending, state, now):
            events += order_events(order, by_key[order.key.standing_order_key], now)
    if reason is OrderReason.STANDING_ORDER_CANCELLED:
        events += [
            payment_withdrawn(order, now)
            for order in open_orders
            if order.state is OrderState.AWAITING_PAYMENT
        ]
    return events
