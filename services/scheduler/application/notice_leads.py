"""How early charges are announced, found again when what a mandate is charged by has changed."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from services.runtime.db.pool import Connection
from services.scheduler.application import collection
from services.scheduler.application.evaluation.context import Context
from services.scheduler.application.evaluation.evaluation import prepare
from services.scheduler.application.evaluation.pricing import quoted
from services.scheduler.clients.questions import MandateQuestion
from services.scheduler.domain.charge_rules import RuleLead, required_lead
from services.scheduler.domain.cycles import order_of_cycle
from services.scheduler.domain.ids import OrderKey
from services.scheduler.domain.order import Order, OrderState, Quote
from services.scheduler.domain.order_lifecycle import announced_too_late, promised_charge_time
from services.scheduler.domain.standing_order import StandingOrder, under_rule_lead
from services.scheduler.names import standing_order_name
from services.scheduler.store import notice_leads as store
from services.scheduler.store import orders

# With one of these nobody knows what will be charged, so what is known of the lead stays.
_NOTHING_TO_CHARGE = frozenset({"MANDATE_NOT_FOUND", "PAYMENT_METHOD_MISSING"})


class Found(NamedTuple):
    """Standing orders with their leads, and the orders that are announced again for a later charge."""

    standing_orders: Sequence[StandingOrder]
    announced_again: Sequence[Order]


async def find(context: Context, standing_orders: Sequence[StandingOrder]) -> Found:
    """What other services say of the leads of standing orders, and of what they have announced."""
    keys = [standing_order.key for standing_order in standing_orders]
    async with context.database.read() as connection:
        announced = await orders.announced(connection, keys)
    # The next ones, as they would be made now.
    coming = {
        one.key: order
        for one in standing_orders
        if one.next_cycle and (order := order_of_cycle(one, one.next_cycle, context.now))
    }
    leads = await _leads(context, [*announced, *coming.values()])
    with_leads = [
        under_rule_lead(one, leads[order.key])
        if (order := coming.get(one.key)) and order.key in leads
        else one
        for one in standing_orders
    ]
    late = [
        announced_too_late(order, leads[order.key].lead, context.now)
        for order in announced
        if order.key in leads and order.notice_lead < leads[order.key].lead
    ]
    return Found(with_leads, await prepare(context, late) if late else [])


async def _leads(context: Context, found: Sequence[Order]) -> Mapping[OrderKey, RuleLead]:
    """How early orders are to be announced, as far as that is known; one call to each service."""
    automatic = [order for order in found if order.terms.mandate]
    answers = zip(automatic, await quoted(context, automatic), strict=True)
    priced = [(order, quote) for order, quote in answers if isinstance(quote, Quote)]
    questions = [
        MandateQuestion(
            order.terms.mandate,
            standing_order_name(order.key.merchant, order.key.standing_order),
            quote.amount_minor,
            quote.currency,
            promised_charge_time(order, context.now),
            quote.rules,
        )
        for order, quote in priced
    ]
    checked = await context.clients.check_mandates(questions)
    return {
        order.key: required_lead(quote.rules.of(answer.scheme), answer.lead)
        for (order, quote), answer in zip(priced, checked, strict=True)
        if not _NOTHING_TO_CHARGE.intersection(answer.reasons)
    }


async def apply(tx: Connection, context: Context, found: Found) -> None:
    """Store what was found, where nothing has changed meanwhile, and announce again what is late."""
    stored = await store.store(tx, found.standing_orders, context.now)
    again = [o for o in found.announced_again if o.key.standing_order_key in stored]
    await collection.store(tx, context, again, OrderState.UPCOMING)
