"""Collecting orders: priced again, stock held, then to be paid, or HELD for what is in the way."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from services.runtime.db.pool import Connection, Database
from services.runtime.messaging import outbox
from services.scheduler.application import settlement
from services.scheduler.application.evaluation.evaluation import prepare, with_present_mandates
from services.scheduler.application.evaluation.local_checks import check_locally
from services.scheduler.application.evaluation.pricing import (
    Priced,
    Templates,
    judge,
    pasts,
    quoted,
    template_of,
)
from services.scheduler.clients import Clients
from services.scheduler.domain.conditions import Action
from services.scheduler.domain.order import Order, OrderReason, OrderState, Quote, Stage
from services.scheduler.domain.order_lifecycle import collected, skipped
from services.scheduler.domain.rulings import as_charged, passed, stopped
from services.scheduler.domain.substitution import gone, missing, substituted
from services.scheduler.publishers import order_events
from services.scheduler.store import orders

# Far longer than any payment takes; what is settled earlier gives its hold back earlier.
STOCK_HOLD = timedelta(days=45)


async def decide(
    database: Database,
    clients: Clients,
    claimed: Sequence[Order],
    standing_orders: Templates,
    now: datetime,
) -> list[Order]:
    """What becomes of orders that are due or HELD, by what the other services say."""
    to_prepare = [order for order in claimed if order.held_stage is Stage.PREPARE]
    to_collect = [order for order in claimed if order.held_stage is not Stage.PREPARE]
    decided = await prepare(database, clients, to_prepare, standing_orders, now)
    return decided + await _collected(database, clients, to_collect, standing_orders, now)


async def _collected(
    database: Database,
    clients: Clients,
    claimed: Sequence[Order],
    standing_orders: Templates,
    now: datetime,
) -> list[Order]:
    """Price again; hold the stock of what goes on; then it is to be paid, or held."""
    known = await check_locally(database, claimed, standing_orders, Stage.COLLECT, now)
    due = await with_present_mandates(clients, known.going_on, standing_orders, now)
    priced = await _priced(database, clients, due, standing_orders, now) if due else []
    anew: list[Order] = []
    decided = list(known.decided)
    for one, short in priced:
        standing_order = template_of(one.order, standing_orders)
        if not isinstance(one.answer, Quote):
            lacking = missing(one.order, one.answer, one.ruling)
            if lacking and substituted(one.order, lacking, standing_order.conditions, (), now):
                # The customer agreed to something else, and is told of it.
                anew.append(one.order)
            elif gone(one.order, one.answer, standing_order.conditions):
                decided.append(skipped(one.order, OrderReason.PRODUCT_UNAVAILABLE, now))
            else:
                decided.append(collected(one.order, None, one.answer.reasons, now))
        elif one.ruling.action is None:
            problems = (OrderReason.OUT_OF_STOCK,) if short else ()
            done = passed(collected(one.order, one.answer, problems, now), one.ruling, now)
            decided.append(replace(done, decisions=(*one.order.decisions, *done.decisions)))
        elif one.ruling.action is Action.SUBSTITUTE:
            # The customer was told of another product: it is announced again, if it can be had.
            anew.append(one.order)
        else:
            decided.append(stopped(one.order, one.ruling, standing_order, Stage.COLLECT, now))
    return decided + (await prepare(database, clients, anew, standing_orders, now) if anew else [])


async def _priced(
    database: Database,
    clients: Clients,
    due: Sequence[Order],
    standing_orders: Templates,
    now: datetime,
) -> list[tuple[Priced, frozenset[str]]]:
    """Orders with what they cost and their conditions say, and what they are short of."""
    answers = [
        as_charged(order, answer) if isinstance(answer, Quote) else answer
        for order, answer in zip(due, await quoted(clients, due, now), strict=True)
    ]
    known = await pasts(database, due, standing_orders)
    priced = await judge(due, answers, standing_orders, known, {})
    going_on = [
        one.order for one in priced if isinstance(one.answer, Quote) and one.ruling.action is None
    ]
    held = await clients.hold_stock(going_on, now + STOCK_HOLD) if going_on else []
    short = {order.key: lacking for order, lacking in zip(going_on, held, strict=True)}
    if any(short.values()):
        priced = await judge(due, answers, standing_orders, known, short)
    return [(one, short.get(one.order.key, frozenset())) for one in priced]


async def store(
    tx: Connection,
    decided: Sequence[Order],
    state: OrderState,
    standing_orders: Templates,
    now: datetime,
) -> None:
    """Store what was decided about orders in a state, publish it, and end what ends with it."""
    # An order that was skipped or cancelled meanwhile stays so; its hold runs out.
    stored = await orders.update(tx, decided, state, now)
    await _publish(tx, stored, standing_orders, now)
    await settlement.pause_gone(tx, stored, now)
    ended = [o for o in stored if o.state in (OrderState.LAPSED, OrderState.SKIPPED)]
    await settlement.end_finished(tx, [o.key.standing_order_key for o in ended], now)


async def _publish(
    tx: Connection, stored: Sequence[Order], standing_orders: Templates, now: datetime
) -> None:
    facts = [
        fact
        for order in stored
        # What is held for the same reason as before is no news.
        if order.decisions
        for fact in order_events(
            order, template_of(order, standing_orders), now, payment_begins=True
        )
    ]
    await outbox.put(tx, facts)
