"""What orders cost, and what their conditions say of it: the same for workers and for previews."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from services.scheduler.application.evaluation.context import Context
from services.scheduler.clients import Cart, QuoteAnswer
from services.scheduler.domain.conditions import (
    CONDITIONS_MAX,
    NO_OUTCOME,
    Action,
    Inputs,
    Outcome,
    Past,
    asks_past,
    asks_stock,
    outcome_of,
)
from services.scheduler.domain.ids import OrderKey, StandingOrderKey
from services.scheduler.domain.order import Order, OrderState, Quote, with_replaced
from services.scheduler.domain.substitution import missing, substituted, takable
from services.scheduler.store import conditions as condition_store

# Each condition offers its substitute, which can be refused and can be short in turn.
SUBSTITUTION_MAX_ROUNDS = 2 * CONDITIONS_MAX + 1
# What the customer has paid, and what has been announced to them.
PAID = (OrderState.PAID,)
EXPECTED = (OrderState.PAID, OrderState.UPCOMING, OrderState.AWAITING_PAYMENT)

# Other tasks run after so much of it: the conditions of one order take some two milliseconds at most.
CONDITIONS_TURN_SECONDS = 0.005

Pasts = Mapping[OrderKey, Past]
_NO_PAST = Past()


@dataclass(frozen=True, slots=True)
class Priced:
    """An order, with its substitutes, what it costs, and what its conditions say of that."""

    order: Order
    answer: QuoteAnswer
    outcome: Outcome


async def pasts(
    context: Context, orders: Sequence[Order], states: Sequence[OrderState] = PAID
) -> Pasts:
    """What other cycles came to, of the orders whose conditions ask about it; one statement."""
    asking = [order for order in orders if asks_past(context.conditions(order))]
    if not asking:
        return {}
    async with context.database.read() as connection:
        return await condition_store.past(connection, asking, states)


async def price(
    context: Context,
    orders: Sequence[Order],
    known: Pasts,
    *,
    in_turn: bool = False,
    ample_stock: bool = False,
) -> list[Priced]:
    """Price orders, with substitutes where conditions want them; in their order.

    With `in_turn`, orders of one standing order are looked at as if those before had been paid; with
    `ample_stock`, as if there were enough of everything.
    """

    async def applied(orders: Sequence[Order], answers: Sequence[QuoteAnswer]) -> list[Priced]:
        short = {} if ample_stock else await _short(context, orders)
        return await apply_conditions(context, orders, answers, known, short, in_turn=in_turn)

    priced = await applied(orders, await quoted(context, orders))
    # By index, what was tried instead of something and could not be taken.
    refused: dict[int, set[str]] = {}
    for _ in range(SUBSTITUTION_MAX_ROUNDS - 1):
        tried = _tried(context, priced, refused)
        if not tried:
            break
        answers = await quoted(context, list(tried.values()))
        for (index, order), answer in zip(tried.items(), answers, strict=True):
            before = priced[index]
            if isinstance(answer, Quote) and takable(order, answer):
                priced[index] = Priced(order, answer, NO_OUTCOME)
            else:
                refused[index].update(_newly_taken(before.order, order))
                priced[index] = replace(before, answer=_also_off_sale(before.answer, answer))
        # Only these, and with them what is looked at as if they were paid.
        changed = {order.key.standing_order_key for order in tried.values()}
        indexes = [
            index for index, one in enumerate(priced) if one.order.key.standing_order_key in changed
        ]
        again = await applied(
            [priced[index].order for index in indexes], [priced[index].answer for index in indexes]
        )
        for index, one in zip(indexes, again, strict=True):
            priced[index] = one
    return priced


def _tried(
    context: Context, priced: Sequence[Priced], refused: dict[int, set[str]]
) -> dict[int, Order]:
    """By index, orders with the next substitute that was agreed on, where something is missing."""
    tried: dict[int, Order] = {}
    for index, one in enumerate(priced):
        lacking = missing(one.order, one.answer, one.outcome)
        if lacking is None:
            continue
        # A substitute that turns out short is not tried again either.
        refused.setdefault(index, set()).update(lacking.titles)
        conditions = context.conditions(one.order)
        order = substituted(one.order, lacking, conditions, refused[index], context.now)
        if order is not None:
            tried[index] = order
    return tried


def _newly_taken(before: Order, after: Order) -> set[str]:
    return {
        substitute.product
        for product, substitute in after.substitutes.items()
        if before.substitutes.get(product) != substitute
    }


def _also_off_sale(answer: QuoteAnswer, substitute: QuoteAnswer) -> QuoteAnswer:
    """What is known of an order without a price, with what is known of a substitute for it."""
    if isinstance(answer, Quote) or isinstance(substitute, Quote):
        return answer
    return replace(answer, discontinued=answer.discontinued | substitute.discontinued)


async def quoted(context: Context, orders: Sequence[Order]) -> list[QuoteAnswer]:
    """What orders cost now, or at their due times; substitutes name what they are taken for."""
    carts = [Cart(order.key, order.items, max(order.due_time, context.now)) for order in orders]
    answers = await context.clients.quote(carts)
    return [
        with_replaced(order, answer) if isinstance(answer, Quote) else answer
        for order, answer in zip(orders, answers, strict=True)
    ]


async def apply_conditions(
    context: Context,
    orders: Sequence[Order],
    answers: Sequence[QuoteAnswer],
    known: Pasts,
    short: Mapping[OrderKey, frozenset[str]],
    *,
    in_turn: bool = False,
) -> list[Priced]:
    """What the conditions of orders say of their quotes; in their order.

    Expressions take time, so other tasks have their turn in between, and what is done for a call ends
    with the call.
    """
    priced: list[Priced] = []
    passed: dict[StandingOrderKey, Past] = {}
    turn_end = time.monotonic() + CONDITIONS_TURN_SECONDS
    for order, answer in zip(orders, answers, strict=True):
        standing_order = context.standing_order(order)
        if not isinstance(answer, Quote) or not standing_order.conditions:
            priced.append(Priced(order, answer, NO_OUTCOME))
            continue
        if time.monotonic() > turn_end:
            await asyncio.sleep(0)
            turn_end = time.monotonic() + CONDITIONS_TURN_SECONDS
        past = passed.get(standing_order.key) or replace(
            known.get(order.key, _NO_PAST), paid_order_count=standing_order.paid_order_count
        )
        inputs = Inputs(answer, past, short.get(order.key, frozenset()))
        outcome = outcome_of(standing_order.conditions, order, inputs)
        priced.append(Priced(order, answer, outcome))
        if in_turn:
            goes_on = outcome.action in {None, Action.HOLD_AND_ASK, Action.DEFER}
            passed[standing_order.key] = past.with_order(order, answer) if goes_on else past
    return priced


async def _short(context: Context, orders: Sequence[Order]) -> dict[OrderKey, frozenset[str]]:
    asking = [order for order in orders if asks_stock(context.conditions(order))]
    answers = await context.clients.check_stock(asking) if asking else []
    return {order.key: short for order, short in zip(asking, answers, strict=True)}
