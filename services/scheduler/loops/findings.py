"""What the other services say about orders that are to be prepared, asked for the whole batch."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime

from services.scheduler.domain.order import Findings, Order, OrderReason, Quote
from services.scheduler.domain.standing_order import StandingOrder
from services.scheduler.peers import Cart, MandateQuestion, Peers, customer_name

Templates = Mapping[tuple[str, str], StandingOrder]


def template_of(order: Order, templates: Templates) -> StandingOrder:
    """The standing order that an order belongs to."""
    return templates[order.key.merchant, order.key.standing_order]


async def find(
    peers: Peers, orders: Sequence[Order], templates: Templates, now: datetime
) -> list[Findings]:
    """Price orders, and ask whether the customer can be told and charged; in their order."""
    quotes, bound = await asyncio.gather(
        peers.quote([Cart(o.key, o.items, max(o.due_time, now)) for o in orders]),
        peers.phones_bound([customer_name(o.key.merchant, o.customer) for o in orders]),
    )
    covered = await _mandates(peers, orders, quotes, templates, now)
    return [
        _findings(quote, phone_bound=bound[place], covered=place not in covered or covered[place])
        for place, quote in enumerate(quotes)
    ]


async def _mandates(
    peers: Peers,
    orders: Sequence[Order],
    quotes: Sequence[Quote | tuple[OrderReason, ...]],
    templates: Templates,
    now: datetime,
) -> dict[int, bool]:
    """By place: whether the mandate covers the quote, where there is one to ask about."""
    questions: dict[int, MandateQuestion] = {}
    for place, (order, quote) in enumerate(zip(orders, quotes, strict=True)):
        mandate = template_of(order, templates).mandate
        if mandate and isinstance(quote, Quote):
            questions[place] = MandateQuestion(
                mandate, quote.amount_minor, quote.currency, max(order.due_time, now)
            )
    answers = await peers.mandates_cover(list(questions.values()))
    return dict(zip(questions, answers, strict=True))


def _findings(
    quote: Quote | tuple[OrderReason, ...], *, phone_bound: bool, covered: bool
) -> Findings:
    problems = () if isinstance(quote, Quote) else quote
    if not phone_bound:
        problems = (*problems, OrderReason.PHONE_NOT_BOUND)
    if not covered:
        problems = (*problems, OrderReason.MANDATE_NOT_COVERING)
    return Findings(quote if isinstance(quote, Quote) else None, problems)
