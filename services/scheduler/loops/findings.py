"""What the other services say about orders that are to be prepared, asked for the whole batch."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from services.scheduler.domain.conditions import Ruling
from services.scheduler.domain.order import Findings, Order, OrderReason, Quote, under_mandate
from services.scheduler.domain.rulings import prepared
from services.scheduler.loops.pricing import Pasts, Priced, Templates, price, template_of
from services.scheduler.peers import MandateQuestion, Peers, QuoteAnswer, customer_name


@dataclass(frozen=True, slots=True)
class Found:
    """An order, with its substitutes, and what was found out about it."""

    order: Order
    findings: Findings
    ruling: Ruling


async def prepare_orders(
    peers: Peers, orders: Sequence[Order], templates: Templates, pasts: Pasts, now: datetime
) -> list[Order]:
    """Orders after their preparation: announced, held, deferred or left out; in their order."""
    found = await find(peers, orders, templates, pasts, now)
    return [
        prepared(one.order, one.findings, one.ruling, template_of(one.order, templates), now)
        for one in found
    ]


async def find(
    peers: Peers, orders: Sequence[Order], templates: Templates, pasts: Pasts, now: datetime
) -> list[Found]:
    """Price orders, and ask whether the customer can be told and charged; in their order."""
    priced, bound = await asyncio.gather(
        price(peers, orders, templates, pasts, now),
        peers.phones_bound([customer_name(o.key.merchant, o.customer) for o in orders]),
    )
    unpayable = await _mandates(peers, priced, templates, now)
    return [
        Found(
            one.order,
            _findings(one.answer, phone_bound=bound[place], mandate=unpayable.get(place, ())),
            one.ruling,
        )
        for place, one in enumerate(priced)
    ]


async def find_ahead(
    peers: Peers,
    orders: Sequence[Order],
    templates: Templates,
    pasts: Pasts,
    now: datetime,
    *,
    demand_only: bool,
) -> list[Found]:
    """As `find`, of orders yet to come, as if those before were paid. A bound phone stays bound.

    With `demand_only`, as if there were stock enough and every mandate large enough.
    """
    priced = await price(
        peers, orders, templates, pasts, now, in_turn=True, ample_stock=demand_only
    )
    unpayable = {} if demand_only else await _mandates(peers, priced, templates, now)
    return [
        Found(
            one.order,
            _findings(one.answer, phone_bound=True, mandate=unpayable.get(place, ())),
            one.ruling,
        )
        for place, one in enumerate(priced)
    ]


async def with_present_mandates(
    peers: Peers, orders: Sequence[Order], templates: Templates, now: datetime
) -> list[Order]:
    """Announced orders; one whose mandate covers it no more gets the standing order's present one.

    So a customer who was announced an order, and then has mended their mandate, can pay for it.
    """
    replaced = {
        place: order
        for place, order in enumerate(orders)
        if order.terms.mandate
        and template_of(order, templates).mandate not in {"", order.terms.mandate}
    }
    questions = [
        MandateQuestion(order.terms.mandate, order.notified_minor or 0, order.currency, now)
        for order in replaced.values()
    ]
    problems = await peers.mandate_problems(questions)
    result = list(orders)
    for (place, order), in_the_way in zip(replaced.items(), problems, strict=True):
        if in_the_way:
            result[place] = under_mandate(order, template_of(order, templates).mandate, now)
    return result


async def _mandates(
    peers: Peers, priced: Sequence[Priced], templates: Templates, now: datetime
) -> dict[int, tuple[OrderReason, ...]]:
    """By place: why the mandate does not cover the quote, where there is one to ask about."""
    questions: dict[int, MandateQuestion] = {}
    for place, one in enumerate(priced):
        mandate, quote = template_of(one.order, templates).mandate, one.answer
        if mandate and isinstance(quote, Quote):
            questions[place] = MandateQuestion(
                mandate, quote.amount_minor, quote.currency, max(one.order.due_time, now)
            )
    answers = await peers.mandate_problems(list(questions.values()))
    return dict(zip(questions, answers, strict=True))


def _findings(
    answer: QuoteAnswer, *, phone_bound: bool, mandate: tuple[OrderReason, ...]
) -> Findings:
    problems = () if isinstance(answer, Quote) else answer
    if not phone_bound:
        problems = (*problems, OrderReason.PHONE_NOT_BOUND)
    problems = (*problems, *mandate)
    return Findings(answer if isinstance(answer, Quote) else None, problems)
