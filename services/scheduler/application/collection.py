"""Collecting orders: priced again, stock held, then to be paid, or HELD for what is in the way."""

from collections.abc import Sequence
from datetime import timedelta

from services.runtime.db.pool import Connection
from services.runtime.messaging import outbox
from services.scheduler.application import new_links, settlement
from services.scheduler.application.evaluation import slots
from services.scheduler.application.evaluation.context import Context
from services.scheduler.application.evaluation.evaluation import prepare, with_present_mandates
from services.scheduler.application.evaluation.local_checks import check_locally
from services.scheduler.application.evaluation.pricing import (
    Priced,
    apply_conditions,
    order_histories,
    price,
    quoted,
)
from services.scheduler.domain.calendar import utc_to_local_date
from services.scheduler.domain.condition_outcomes import as_charged, passed, stopped
from services.scheduler.domain.conditions import Action
from services.scheduler.domain.ids import OrderKey
from services.scheduler.domain.order import Order, OrderReason, OrderState, Quote, Stage
from services.scheduler.domain.order_lifecycle import collected, left_out_without
from services.scheduler.domain.substitution import left_without, missing, substituted
from services.scheduler.publishers import order_events
from services.scheduler.store import orders

# Far longer than any payment takes; what is settled earlier gives its hold back earlier.
STOCK_HOLD = timedelta(days=45)


async def decide(context: Context, found: Sequence[Order]) -> list[Order]:
    """What becomes of orders that are due or HELD, by what the other services say."""
    to_prepare = [order for order in found if order.held_stage is Stage.PREPARE]
    to_collect = [order for order in found if order.held_stage is not Stage.PREPARE]
    return await prepare(context, to_prepare) + await _collected(context, to_collect)


async def _collected(context: Context, found: Sequence[Order]) -> list[Order]:
    """Price again; hold the stock of what goes on; then it is to be paid, or held."""
    checked = await check_locally(context, found, Stage.COLLECT)
    due = await with_present_mandates(context, checked.going_on)
    to_announce: list[Order] = []
    decided = list(checked.decided)
    found_prices = await _priced(context, due) if due else []
    again = await _replaced(context, found_prices) | await _without_slot(context, found_prices)
    for priced in found_prices:
        order = None if priced.order.key in again else _decide(context, priced)
        if order is None:
            to_announce.append(priced.order)
        else:
            decided.append(order)
    return decided + (await prepare(context, to_announce) if to_announce else [])


async def _replaced(context: Context, found: Sequence[Priced]) -> set[OrderKey]:
    """Orders that are short of an item for which something can be taken instead, as agreed with it.

    They are announced again, with that. Others stay as announced, and wait.
    """
    short = [
        entry.order
        for entry in found
        if entry.short and isinstance(entry.answer, Quote) and entry.outcome.action is None
    ]
    histories = await order_histories(context, short)
    again = await price(context, short, histories) if short else []
    return {
        entry.order.key
        for before, entry in zip(short, again, strict=True)
        if entry.order.substitutes != before.substitutes
    }


async def _without_slot(context: Context, found: Sequence[Priced]) -> set[OrderKey]:
    """Orders that are announced again, for another day, since they have no slots on theirs.

    One that was held over its day has missed it.
    """
    needing = [
        entry.order
        for entry in found
        if isinstance(entry.answer, Quote) and entry.answer.services and not entry.outcome.action
    ]
    if not needing:
        return set()
    missed = {order.key for order in needing if _has_missed_its_day(context, order)}
    in_time = [order for order in needing if order.key not in missed]
    return missed | await slots.without_slot(context, in_time)


def _has_missed_its_day(context: Context, order: Order) -> bool:
    today = utc_to_local_date(context.now, order.terms.time_zone)
    return order.state is OrderState.HELD and order.local_date < today


def _decide(context: Context, priced: Priced) -> Order | None:
    """What becomes of an order that is due; None if it is announced again, with a substitute.

    The notice named another product, and the customer agreed to this one.
    """
    order, answer, now = priced.order, priced.answer, context.now
    consents = context.consents(order)
    if not isinstance(answer, Quote):
        lacking = missing(order, answer, priced.outcome)
        if lacking and substituted(order, lacking, consents, (), now):
            return None
        if gone := left_without(order, answer, consents):
            return left_out_without(order, gone, now)
        return collected(order, None, answer.reasons, now)
    if priced.outcome.action is None:
        problems = (OrderReason.OUT_OF_STOCK,) if priced.short else ()
        done = passed(collected(order, answer, problems, now), priced.outcome, now)
        return done._replace(decisions=(*order.decisions, *done.decisions))
    if priced.outcome.action is Action.SUBSTITUTE:
        return None
    return stopped(order, priced.outcome, context.standing_order(order), Stage.COLLECT, now)


async def _priced(context: Context, due: Sequence[Order]) -> list[Priced]:
    """Orders with what they cost and their conditions say, and what they are short of."""
    answers = [
        as_charged(order, answer) if isinstance(answer, Quote) else answer
        for order, answer in zip(due, await quoted(context, due), strict=True)
    ]
    histories = await order_histories(context, due)
    priced = await apply_conditions(context, due, answers, histories, {})
    going_on = [
        evaluated.order
        for evaluated in priced
        if isinstance(evaluated.answer, Quote) and evaluated.outcome.action is None
    ]
    expire_time = context.now + STOCK_HOLD
    held = await context.clients.hold_stock(going_on, expire_time) if going_on else []
    short = {order.key: lacking for order, lacking in zip(going_on, held, strict=True)}
    if any(short.values()):
        priced = await apply_conditions(context, due, answers, histories, short)
    return priced


async def store(
    tx: Connection, context: Context, decided: Sequence[Order], state: OrderState
) -> None:
    """Store what was decided about orders in a state, publish it, and end what ends with it."""
    # An order that was skipped or cancelled meanwhile stays so, and by its end nothing is held for it.
    stored = await orders.update(tx, decided, state, context.now)
    # What is held for the same reason as before is no news.
    changed = [order for order in stored if order.decisions]
    links = await new_links.of_orders(tx, changed, context.standing_orders, context.now)
    events = [
        event
        for order in changed
        for event in order_events(
            order,
            context.standing_order(order),
            context.now,
            payment_begins=True,
            link_uri=links.get(order.key, ""),
        )
    ]
    await outbox.put(tx, events)
    await settlement.pause_left_without(tx, stored, context.now)
    ended = [o for o in stored if o.state in (OrderState.LAPSED, OrderState.SKIPPED)]
    await settlement.end_finished(tx, [o.key.standing_order_key for o in ended], context.now)
