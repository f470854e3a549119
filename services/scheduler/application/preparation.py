"""Preparation: standing orders get the orders of their due cycles, priced and announced."""

from collections.abc import Mapping, Sequence

from services.runtime.db.pool import Connection
from services.runtime.messaging import outbox
from services.scheduler.application import new_links, settlement
from services.scheduler.application.evaluation.context import Context
from services.scheduler.application.evaluation.evaluation import prepare
from services.scheduler.domain.ids import StandingOrderKey
from services.scheduler.domain.order import Order, OrderState
from services.scheduler.domain.standing_order import Opening, State, under_rule_lead
from services.scheduler.publishers import order_events
from services.scheduler.store import orders, standing_orders

Openings = Mapping[StandingOrderKey, Opening]


async def decide(context: Context, openings: Openings) -> list[Order]:
    """The orders of all openings, priced, or held for what is in the way."""
    opened = [order for opening in openings.values() for order in opening.orders]
    to_prepare = [order for order in opened if order.state is OrderState.UPCOMING]
    done = [order for order in opened if order.state is not OrderState.UPCOMING]
    return done + await prepare(context, to_prepare)


def _under_rule_leads(openings: Openings, decided: Sequence[Order]) -> Openings:
    leads = {
        order.key.standing_order_key: order.rule_lead
        for order in decided
        if order.rule_lead is not None
    }
    return {
        key: (
            opening._replace(standing_order=under_rule_lead(opening.standing_order, leads[key]))
            if key in leads
            else opening
        )
        for key, opening in openings.items()
    }


async def store(
    tx: Connection, context: Context, openings: Openings, decided: Sequence[Order]
) -> None:
    """Store the orders of standing orders that nobody has changed since they were read.

    Their next cycles are announced as early as rule packs ask for of these.
    """
    now = context.now
    openings = _under_rule_leads(openings, decided)
    advanced = await standing_orders.advance(tx, list(openings.values()), State.ACTIVE, now)
    stored = [order for order in decided if order.key.standing_order_key in advanced]
    await orders.insert(tx, stored, now)
    links = await new_links.of_orders(tx, stored, context.standing_orders, now)
    events = [
        event
        for order in stored
        for event in order_events(
            order, context.standing_order(order), now, link_uri=links.get(order.key, "")
        )
    ]
    await outbox.put(tx, events)
    await settlement.pause_left_without(tx, stored, now)
    ended = [key for key in advanced if openings[key].standing_order.next_cycle is None]
    await settlement.end_finished(tx, ended, now)
