"""What the other services answer about orders that are to be prepared, one call a batch."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

from services.scheduler.application.evaluation import slots
from services.scheduler.application.evaluation.context import Context
from services.scheduler.application.evaluation.local_checks import check_locally
from services.scheduler.application.evaluation.pricing import (
    OrderHistories,
    Priced,
    order_histories,
    price,
)
from services.scheduler.clients import Clients
from services.scheduler.clients.questions import MandateAnswer, MandateQuestion, PlannedCharges
from services.scheduler.domain.charge_rules import ChargeRule, asks_to_confirm
from services.scheduler.domain.condition_outcomes import Evaluated, prepared
from services.scheduler.domain.conditions import Action
from services.scheduler.domain.order import Order, OrderReason, Quote, Stage
from services.scheduler.domain.order_lifecycle import (
    Evaluation,
    promised_charge_time,
    under_mandate,
)
from services.scheduler.domain.substitution import left_without
from services.scheduler.names import customer_name, standing_order_name
from services.scheduler.store import orders as order_store


async def prepare(context: Context, orders: Sequence[Order]) -> list[Order]:
    """Orders after their preparation: announced, held, deferred or left out."""
    checked = await check_locally(context, orders, Stage.PREPARE)
    if not checked.going_on:
        return checked.decided
    histories = await order_histories(context, checked.going_on)
    planned = await planned_charges(context, checked.going_on)
    evaluated = await evaluate(context, checked.going_on, histories, planned)
    evaluated = await slots.booked(context, evaluated)
    return checked.decided + [
        prepared(*entry, context.standing_order(entry.order), context.now) for entry in evaluated
    ]


async def evaluate(
    context: Context, orders: Sequence[Order], histories: OrderHistories, planned: PlannedCharges
) -> list[Evaluated]:
    """Price orders, and check whether the customer can be notified and charged; in their order."""
    customers = [customer_name(order.key.merchant, order.customer) for order in orders]
    priced, bound = await asyncio.gather(
        price(context, orders, histories), context.clients.phones_bound(customers)
    )
    return await _evaluated(context, priced, bound, planned)


async def evaluate_ahead(
    context: Context,
    orders: Sequence[Order],
    histories: OrderHistories,
    planned: PlannedCharges,
    *,
    demand_only: bool,
) -> list[Evaluated]:
    """As `evaluate`, of orders yet to come, as if those before were paid. A bound phone stays bound.

    With `demand_only`, as if there were stock enough.
    """
    priced = await price(context, orders, histories, in_turn=True, ample_stock=demand_only)
    return await _evaluated(context, priced, [True] * len(orders), planned)


async def _evaluated(
    context: Context, priced: Sequence[Priced], bound: Sequence[bool], planned: PlannedCharges
) -> list[Evaluated]:
    checked = await _checked(context, priced, planned)
    return [
        Evaluated(
            entry.order,
            _evaluation(context, entry, checked.get(index), phone_bound=bound[index]),
            entry.outcome,
        )
        for index, entry in enumerate(priced)
    ]


async def with_present_mandates(context: Context, orders: Sequence[Order]) -> list[Order]:
    """Announced orders; one whose mandate covers it no more gets the standing order's present one.

    So a customer who was announced an order, and then has replaced their mandate, can pay for it.
    """
    replaced = {
        index: order
        for index, order in enumerate(orders)
        if order.terms.mandate
        and context.standing_order(order).mandate not in {"", order.terms.mandate}
    }
    questions = [
        MandateQuestion(
            order.terms.mandate,
            standing_order_name(order.key.merchant, order.key.standing_order),
            order.notified_minor or 0,
            order.currency,
            context.now,
        )
        for order in replaced.values()
    ]
    refusals = await context.clients.refusals(questions)
    result = list(orders)
    for (index, order), reasons in zip(replaced.items(), refusals, strict=True):
        if reasons:
            mandate = context.standing_order(order).mandate
            result[index] = under_mandate(order, mandate, context.now)
    return result


async def plan_announced(
    clients: Clients, announced: Sequence[Order]
) -> tuple[PlannedCharges, list[tuple[str, ...]]]:
    """What announced orders are still to be charged, and why not, in their order."""
    planned: PlannedCharges = {}
    by_mandate = {index: order for index, order in enumerate(announced) if order.terms.mandate}
    questions = [
        MandateQuestion(
            order.terms.mandate,
            standing_order_name(order.key.merchant, order.key.standing_order),
            order.notified_minor or 0,
            order.currency,
            order.charge_not_before_time or order.due_time,
        )
        for order in by_mandate.values()
    ]
    answers = dict(zip(by_mandate, await clients.refusals(questions, planned), strict=True))
    return planned, [answers.get(index, ()) for index in range(len(announced))]


async def planned_charges(context: Context, orders: Sequence[Order]) -> PlannedCharges:
    """What the orders before are still to be charged, where one is announced before another is paid."""
    overlapping = {order.key.standing_order_key for order in orders if _overlaps(context, order)}
    if not overlapping:
        return {}
    async with context.database.read() as connection:
        announced = await order_store.announced(connection, list(overlapping))
    planned, _ = await plan_announced(context.clients, announced)
    return planned


def _overlaps(context: Context, order: Order) -> bool:
    standing_order = context.standing_order(order)
    before = standing_order.date(order.key.cycle - 1) if standing_order.mandate else None
    return before is not None and before.due_at + order.notice_lead > context.now


async def _checked(
    context: Context, priced: Sequence[Priced], planned: PlannedCharges
) -> dict[int, MandateAnswer]:
    """By index: what is said of the mandate and the quote, where there is one to ask about.

    The questions are in the order of the charges, since earlier ones count in their period.
    """
    questions: dict[int, MandateQuestion] = {}
    for index, entry in enumerate(priced):
        mandate, quote = context.standing_order(entry.order).mandate, entry.answer
        # It may be charged: its conditions hold, or only the customer's confirmation is missing.
        goes_on = entry.outcome.action in {None, Action.HOLD_AND_ASK, Action.DEFER}
        if mandate and isinstance(quote, Quote) and goes_on:
            charge_time = promised_charge_time(entry.order, context.now)
            key = entry.order.key
            questions[index] = MandateQuestion(
                mandate,
                standing_order_name(key.merchant, key.standing_order),
                quote.amount_minor,
                quote.currency,
                charge_time,
                quote.rules,
            )
    questions = dict(sorted(questions.items(), key=lambda question: question[1].charge_time))
    answers = await context.clients.check_mandates(list(questions.values()), planned)
    return dict(zip(questions, answers, strict=True))


def _evaluation(
    context: Context, priced: Priced, mandate: MandateAnswer | None, *, phone_bound: bool
) -> Evaluation:
    answer, order_mandate = priced.answer, context.standing_order(priced.order).mandate
    # What the customer confirms each time is bound by none.
    rules: Sequence[ChargeRule] | None = None if order_mandate else ()
    mandate_reasons = mandate.reasons if mandate else ()
    if mandate and isinstance(answer, Quote):
        rules = answer.rules.of(mandate.scheme)
        if asks_to_confirm(rules, answer.amount_minor, answer.currency):
            # The customer's own confirmation stands for the mandate.
            mandate_reasons = ()
    problems = () if isinstance(answer, Quote) else answer.reasons
    if not phone_bound:
        problems = (*problems, OrderReason.PHONE_NOT_BOUND)
    if mandate_reasons:
        # The payment method is in the way only where nothing is wrong with the mandate itself.
        blocked = set(mandate_reasons) == {OrderReason.PAYMENT_METHOD_BLOCKED}
        why = OrderReason.PAYMENT_METHOD_BLOCKED if blocked else OrderReason.MANDATE_NOT_COVERING
        problems = (*problems, why)
    if isinstance(answer, Quote):
        return Evaluation(
            answer,
            problems,
            mandate_reasons,
            rules=rules,
            mandate_lead=mandate.lead if mandate else timedelta(),
            credit_minor=mandate.credit_minor if mandate else 0,
        )
    lacking = left_without(priced.order, answer, context.consents(priced.order))
    return Evaluation(None, problems, mandate_reasons, left_without=lacking)
