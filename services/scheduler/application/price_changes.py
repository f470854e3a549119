"""Price changes: whom they concern, what each of them pays and from when, and who is notified."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

from services.runtime.db.pool import Connection
from services.runtime.messaging import outbox
from services.runtime.messaging.events import OutboxEvent
from services.scheduler.application import new_links
from services.scheduler.application.evaluation.context import Context
from services.scheduler.application.evaluation.pricing import cart_of
from services.scheduler.clients import Clients
from services.scheduler.clients.questions import PriceEffect, Version
from services.scheduler.domain.action_links import OFFERED_WITH_PRICE
from services.scheduler.domain.ids import StandingOrderKey
from services.scheduler.domain.order import Order
from services.scheduler.domain.price_changes import (
    Assessment,
    Holding,
    Impact,
    PriceChange,
    Recipient,
    by_customer,
    first_order,
    next_walk_time,
    notice_lead,
    notify_time,
)
from services.scheduler.domain.standing_order import StandingOrder, State
from services.scheduler.names import PRICE
from services.scheduler.publishers import price_change_scheduled, price_change_withdrawn
from services.scheduler.store import price_changes as store
from services.scheduler.store import standing_orders
from services.scheduler.store.price_changes import Assessed, Notified

WALK_STANDING_ORDERS = 500
# So many are looked at in a step: at midnight all come due that are ahead.
WALKS_MAX = 500
# A lock ends, then the notice of one increase, then that of the next: more often nobody looks.
ROUNDS_MAX = 8
_LIVE = (State.ACTIVE, State.PAUSED)


# --- the walk over the standing orders of a product ------------------------------------------------


async def walk(tx: Connection, changes: Sequence[PriceChange], now: datetime) -> int:
    """Have all walks rest that are at their end, and go on with one that is not.

    Returns how many rest, and of the other how many standing orders or customers it has come past.
    """
    resting = [(change, next_walk_time(change, now)) for change in changes if change.is_at_end]
    if resting:
        await store.move(tx, resting, at_end=True)
    going_on = next((change for change in changes if not change.is_at_end), None)
    return len(resting) + (await _walk(tx, going_on, now) if going_on else 0)


async def _walk(tx: Connection, change: PriceChange, now: datetime) -> int:
    """Go on with a walk: over the product's standing orders, or over those who were notified."""
    if change.withdraw_time is not None:
        return await _walk_notified(tx, change, now)
    added = await store.add_recipients(tx, change, now, WALK_STANDING_ORDERS)
    at_end = len(added) < WALK_STANDING_ORDERS
    if added:
        after_time, standing_order = added[-1]
        change = replace(change, after_time=after_time, after_key=standing_order)
    due_time = next_walk_time(change, now) if at_end else now
    await store.move(tx, [(change, due_time)], at_end=at_end)
    return max(len(added), 1)


async def _walk_notified(tx: Connection, change: PriceChange, now: datetime) -> int:
    notified = await store.notified(tx, change, WALK_STANDING_ORDERS)
    at_end = len(notified) < WALK_STANDING_ORDERS
    reached = replace(change, after_key=notified[-1].customer) if notified else change
    if await store.move(tx, [(reached, None if at_end else now)], at_end=at_end):
        by_key = await standing_orders.by_key(tx, [one.key for one in notified])
        live = [one for one in notified if one.key in by_key and by_key[one.key].state in _LIVE]
        await outbox.put(tx, _withdrawn_events(live, by_key, change, now))
    return max(len(notified), 1)


def _withdrawn_events(
    notified: Sequence[Notified],
    by_key: Mapping[StandingOrderKey, StandingOrder],
    change: PriceChange | Recipient,
    now: datetime,
) -> list[OutboxEvent]:
    """One event for each notice that is not true any more."""
    ordered = sorted(notified, key=lambda one: (one.customer, one.notice, one.standing_order))
    events = []
    for notice, notice_group in groupby(ordered, key=lambda one: one.notice):
        group = list(notice_group)
        changes = [(by_key[one.key], one.impact) for one in group]
        events.append(price_change_withdrawn(change, notice, changes, now))
    return events


# --- what a change means to a standing order -------------------------------------------------------


class Concern(NamedTuple):
    """A standing order, and a version of the price of one of its products."""

    standing_order: StandingOrder
    product: str
    effective_time: datetime
    version: Version


async def assess(clients: Clients, concerns: Sequence[Concern], now: datetime) -> list[Assessment]:
    """What price versions mean to standing orders, in their order.

    The catalog quotes the first cycle that the price is in force for, with it and without it. If
    something keeps the amount from rising, the first cycle after the end of that is looked at next.
    """
    assessments = [Assessment()] * len(concerns)
    looking: dict[int, Order] = {}
    for index, concern in enumerate(concerns):
        order = _first_order(concern, concern.effective_time, 0, now)
        if order is not None:
            looking[index] = order
    for _ in range(ROUNDS_MAX):
        carts = [
            cart_of(order, concerns[index].standing_order, now) for index, order in looking.items()
        ]
        versions = [concerns[index].version for index in looking]
        effects = await clients.quote_price_changes(carts, versions, now)
        following: dict[int, Order] = {}
        for (index, order), effect in zip(looking.items(), effects, strict=True):
            if effect is None:
                continue
            assessments[index] = _assessed(assessments[index], order, effect)
            if assessments[index].impact is None:
                later = _later(concerns[index], order, effect, now)
                if later is not None:
                    following[index] = later
        if not (looking := following):
            break
    return assessments


def _assessed(before: Assessment, order: Order, effect: PriceEffect) -> Assessment:
    """What is known after one more order was quoted."""
    if effect.amount_minor == effect.previous_minor:
        return before._replace(held_by=effect.held_by or before.held_by)
    lead = notice_lead(effect.notice_min_days, effect.notice_max_days)
    impact = Impact(order.key.cycle, order.due_time, *effect[:3], lead)
    capped = effect.held_by is Holding.PRICE_CAP
    return Assessment(impact, order.local_date, effect.held_by if capped else before.held_by)


def _first_order(
    concern: Concern, from_time: datetime, after_cycle: int, now: datetime
) -> Order | None:
    return first_order(concern.standing_order, concern.product, from_time, after_cycle, now)


def _later(concern: Concern, order: Order, effect: PriceEffect, now: datetime) -> Order | None:
    """The first order after what keeps the amount from rising has ended."""
    if not effect.held_through_cycle and effect.held_until_time is None:
        return None
    from_time = max(order.due_time, effect.held_until_time or order.due_time)
    after_cycle = max(order.key.cycle, effect.held_through_cycle)
    return _first_order(concern, from_time, after_cycle, now)


# --- who is notified ------------------------------------------------------------------------------


async def decide(context: Context, recipients: Sequence[Recipient]) -> list[Assessed]:
    """Which recipients are concerned now, which later, and which not at all."""
    live = [
        recipient
        for recipient in recipients
        if (standing_order := context.standing_orders.get(recipient.key)) is not None
        and standing_order.state in _LIVE
    ]
    concerns = [
        Concern(
            context.standing_orders[recipient.key],
            recipient.product,
            recipient.effective_time,
            PRICE.format(*recipient.change_key),
        )
        for recipient in live
    ]
    assessments = await assess(context.clients, concerns, context.now)
    by_recipient = {
        recipient: assessment.impact
        for recipient, assessment in zip(live, assessments, strict=True)
    }
    return [
        Assessed(
            recipient,
            impact := by_recipient.get(recipient),
            later_time=notify_time(impact, context.now) if impact else None,
        )
        for recipient in recipients
    ]


async def store_decided(tx: Connection, context: Context, decided: Sequence[Assessed]) -> None:
    """Store what became of recipients, and publish one event for each customer who is concerned.

    Who was notified of a price before its correction, and is not concerned any more, is notified.
    """
    now = context.now
    standing = await store.standing(tx, [one.recipient for one in decided])
    present = [one for one in decided if one.recipient.announcement in standing]
    impacts = {
        one.recipient: one.impact for one in present if one.impact and one.later_time is None
    }
    concerned = [context.standing_orders[one.key] for one in impacts]
    links = await new_links.of_standing_orders(tx, concerned, OFFERED_WITH_PRICE, now)
    events: dict[Recipient, OutboxEvent] = {}
    for group in by_customer(list(impacts)):
        changes = [(context.standing_orders[one.key], impacts[one]) for one in group]
        event = price_change_scheduled(group[0], changes, links, now)
        events.update(dict.fromkeys(group, event))
    made = [
        one._replace(
            notice=str(events[one.recipient].event_id) if one.recipient in events else None,
            later_time=one.later_time if one in present else None,
        )
        for one in decided
    ]
    stored = await store.store(tx, made, now)
    # Of each customer all are stored, or none.
    published = {
        event.event_id: event for one, event in events.items() if one.recipient_key in stored
    }
    unconcerned = [
        one.recipient
        for one in present
        if one.recipient not in events and one.recipient.recipient_key in stored
    ]
    corrected = [
        event
        for _, group in groupby(
            sorted(unconcerned, key=attrgetter("change_key")), key=attrgetter("change_key")
        )
        for event in await _corrected_events(tx, context, list(group))
    ]
    await outbox.put(tx, [*published.values(), *corrected])


async def _corrected_events(
    tx: Connection, context: Context, recipients: Sequence[Recipient]
) -> list[OutboxEvent]:
    """That what notices said of former announcements of one price is not true any more."""
    notified = [
        one
        for one in await store.notified_before(tx, recipients)
        if one.key in context.standing_orders and context.standing_orders[one.key].state in _LIVE
    ]
    return _withdrawn_events(notified, context.standing_orders, recipients[0], context.now)
