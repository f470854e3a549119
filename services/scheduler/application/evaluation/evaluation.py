"""What the other services say about orders that are to be prepared, asked for the whole batch."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from services.runtime.db.pool import Database
from services.scheduler.application.evaluation.local_checks import check_locally
from services.scheduler.application.evaluation.pricing import (
    Pasts,
    Priced,
    Templates,
    pasts,
    price,
    template_of,
)
from services.scheduler.clients import Clients, MandateQuestion, PlannedCharges
from services.scheduler.domain.conditions import Action, Ruling
from services.scheduler.domain.order import Order, OrderReason, Quote, Stage
from services.scheduler.domain.order_lifecycle import Findings, promised_charge_time, under_mandate
from services.scheduler.domain.rulings import prepared
from services.scheduler.domain.standing_order import StandingOrder
from services.scheduler.domain.substitution import gone
from services.scheduler.names import customer_name
from services.scheduler.store import orders as order_rows


@dataclass(frozen=True, slots=True)
class Evaluation:
    """An order, with its substitutes, and what was found out about it."""

    order: Order
    findings: Findings
    ruling: Ruling


async def prepare(
    database: Database,
    clients: Clients,
    orders: Sequence[Order],
    standing_orders: Templates,
    now: datetime,
) -> list[Order]:
    """Orders after their preparation: announced, held, deferred or left out."""
    known = await check_locally(database, orders, standing_orders, Stage.PREPARE, now)
    if not known.going_on:
        return known.decided
    past = await pasts(database, known.going_on, standing_orders)
    planned = await planned_charges(database, clients, known.going_on, standing_orders, now)
    evaluations = await evaluate(clients, known.going_on, standing_orders, past, planned, now)
    return known.decided + [
        prepared(one.order, one.findings, one.ruling, template_of(one.order, standing_orders), now)
        for one in evaluations
    ]


async def evaluate(
    clients: Clients,
    orders: Sequence[Order],
    standing_orders: Templates,
    known: Pasts,
    planned: PlannedCharges,
    now: datetime,
) -> list[Evaluation]:
    """Price orders, and ask whether the customer can be told and charged; in their order."""
    priced, bound = await asyncio.gather(
        price(clients, orders, standing_orders, known, now),
        clients.phones_bound([customer_name(o.key.merchant, o.customer) for o in orders]),
    )
    return await _evaluated(clients, priced, bound, standing_orders, planned, now)


async def evaluate_ahead(
    clients: Clients,
    orders: Sequence[Order],
    standing_orders: Templates,
    known: Pasts,
    planned: PlannedCharges,
    now: datetime,
    *,
    demand_only: bool,
) -> list[Evaluation]:
    """As `evaluate`, of orders yet to come, as if those before were paid. A bound phone stays bound.

    With `demand_only`, as if there were stock enough.
    """
    priced = await price(
        clients, orders, standing_orders, known, now, in_turn=True, ample_stock=demand_only
    )
    bound = [True] * len(orders)
    return await _evaluated(clients, priced, bound, standing_orders, planned, now)


async def _evaluated(
    clients: Clients,
    priced: Sequence[Priced],
    bound: Sequence[bool],
    standing_orders: Templates,
    planned: PlannedCharges,
    now: datetime,
) -> list[Evaluation]:
    refused = await _refusals(clients, priced, standing_orders, planned, now)
    return [
        Evaluation(
            one.order,
            _findings(one, standing_orders, refused.get(place, ()), phone_bound=bound[place]),
            one.ruling,
        )
        for place, one in enumerate(priced)
    ]


async def with_present_mandates(
    clients: Clients, orders: Sequence[Order], standing_orders: Templates, now: datetime
) -> list[Order]:
    """Announced orders; one whose mandate covers it no more gets the standing order's present one.

    So a customer who was announced an order, and then has mended their mandate, can pay for it.
    """
    replaced = {
        place: order
        for place, order in enumerate(orders)
        if order.terms.mandate
        and template_of(order, standing_orders).mandate not in {"", order.terms.mandate}
    }
    questions = [
        MandateQuestion(order.terms.mandate, order.notified_minor or 0, order.currency, now)
        for order in replaced.values()
    ]
    refusals = await clients.refusals(questions)
    result = list(orders)
    for (place, order), reasons in zip(replaced.items(), refusals, strict=True):
        if reasons:
            result[place] = under_mandate(order, template_of(order, standing_orders).mandate, now)
    return result


async def plan_announced(
    clients: Clients, announced: Sequence[Order]
) -> tuple[PlannedCharges, list[tuple[str, ...]]]:
    """What announced orders are still to be charged, and why not, in their order."""
    planned: PlannedCharges = {}
    by_mandate = {place: order for place, order in enumerate(announced) if order.terms.mandate}
    questions = [
        MandateQuestion(
            order.terms.mandate,
            order.notified_minor or 0,
            order.currency,
            order.charge_not_before_time or order.due_time,
        )
        for order in by_mandate.values()
    ]
    answers = dict(zip(by_mandate, await clients.refusals(questions, planned), strict=True))
    return planned, [answers.get(place, ()) for place in range(len(announced))]


async def planned_charges(
    database: Database,
    clients: Clients,
    orders: Sequence[Order],
    standing_orders: Templates,
    now: datetime,
) -> PlannedCharges:
    """What the orders before are still to be charged, where one is announced before another is paid."""
    overlapping = {
        order.key.standing_order_key
        for order in orders
        if _overlaps(order, template_of(order, standing_orders), now)
    }
    if not overlapping:
        return {}
    async with database.read() as connection:
        announced = await order_rows.announced(connection, list(overlapping))
    planned, _ = await plan_announced(clients, announced)
    return planned


def _overlaps(order: Order, standing_order: StandingOrder, now: datetime) -> bool:
    before = standing_order.date(order.key.cycle - 1) if standing_order.mandate else None
    return before is not None and before.due_at + order.notice_lead > now


async def _refusals(
    clients: Clients,
    priced: Sequence[Priced],
    standing_orders: Templates,
    planned: PlannedCharges,
    now: datetime,
) -> dict[int, tuple[str, ...]]:
    """By place: why the mandate does not cover the quote, where there is one to ask about.

    Asked for when each is charged, the earliest first, since those before count in their month.
    """
    questions: dict[int, MandateQuestion] = {}
    for place, one in enumerate(priced):
        mandate, quote = template_of(one.order, standing_orders).mandate, one.answer
        if mandate and isinstance(quote, Quote) and _goes_on(one):
            questions[place] = MandateQuestion(
                mandate, quote.amount_minor, quote.currency, promised_charge_time(one.order, now)
            )
    questions = dict(sorted(questions.items(), key=lambda found: found[1].charge_time))
    answers = await clients.refusals(list(questions.values()), planned)
    return dict(zip(questions, answers, strict=True))


def _goes_on(one: Priced) -> bool:
    """Whether it may be charged: its conditions hold, or only the customer's yes is missing."""
    return one.ruling.action in {None, Action.HOLD_AND_ASK, Action.DEFER}


def _mandate_problem(reasons: Sequence[str]) -> OrderReason:
    """What is in an order's way, by payments' reasons: the card, if it is nothing else."""
    if set(reasons) == {OrderReason.PAYMENT_METHOD_BLOCKED}:
        return OrderReason.PAYMENT_METHOD_BLOCKED
    return OrderReason.MANDATE_NOT_COVERING


def _findings(
    one: Priced, standing_orders: Templates, mandate_reasons: tuple[str, ...], *, phone_bound: bool
) -> Findings:
    answer = one.answer
    problems = () if isinstance(answer, Quote) else answer.reasons
    if not phone_bound:
        problems = (*problems, OrderReason.PHONE_NOT_BOUND)
    if mandate_reasons:
        problems = (*problems, _mandate_problem(mandate_reasons))
    if isinstance(answer, Quote):
        return Findings(answer, problems, mandate_reasons)
    lost = gone(one.order, answer, template_of(one.order, standing_orders).conditions)
    return Findings(None, problems, mandate_reasons, gone=lost)
