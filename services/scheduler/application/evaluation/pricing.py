"""What orders cost, and what their conditions say of it: the same for workers and for previews."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from services.scheduler.application.evaluation.context import Context
from services.scheduler.clients.questions import Cart, QuoteAnswer
from services.scheduler.domain.conditions import (
    CONDITIONS_MAX,
    NO_OUTCOME,
    Action,
    Inputs,
    OrderHistory,
    Outcome,
    needs_history,
    needs_stock,
    outcome_of,
)
from services.scheduler.domain.ids import OrderKey, StandingOrderKey
from services.scheduler.domain.order import (
    SUBSTITUTES_MAX,
    Order,
    OrderState,
    Quote,
    with_replaced,
)
from services.scheduler.domain.standing_order import StandingOrder
from services.scheduler.domain.substitution import (
    amounts_of,
    dearer,
    missing,
    substituted,
    takable,
)
from services.scheduler.store import conditions as condition_store

# Each condition and item offers substitutes, each of which can be refused and can be short in turn.
SUBSTITUTION_MAX_ROUNDS = 2 * (CONDITIONS_MAX + SUBSTITUTES_MAX) + 1
# What the customer has paid, and what has been announced to them.
PAID = (OrderState.PAID,)
EXPECTED = (OrderState.PAID, OrderState.UPCOMING, OrderState.AWAITING_PAYMENT)

# Other tasks run after so much of it: the conditions of one order take some two milliseconds at most.
CONDITIONS_TURN_SECONDS = 0.005

OrderHistories = Mapping[OrderKey, OrderHistory]
_NO_HISTORY = OrderHistory()
NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Priced:
    """An order, with its substitutes, what it costs, and what its conditions say of that."""

    order: Order
    answer: QuoteAnswer
    outcome: Outcome
    # The products of which there are too few, as far as anybody has to know.
    short: frozenset[str] = frozenset()


async def order_histories(
    context: Context, orders: Sequence[Order], states: Sequence[OrderState] = PAID
) -> OrderHistories:
    """What other cycles came to, of the orders whose conditions need it; one statement."""
    concerned = [order for order in orders if needs_history(context.conditions(order))]
    if not concerned:
        return {}
    async with context.database.read() as connection:
        return await condition_store.order_histories(connection, concerned, states)


async def price(
    context: Context,
    orders: Sequence[Order],
    histories: OrderHistories,
    *,
    in_turn: bool = False,
    ample_stock: bool = False,
) -> list[Priced]:
    """Price orders, with substitutes where conditions want them; in their order.

    With `in_turn`, orders of one standing order are evaluated as if those before had been paid; with
    `ample_stock`, as if there were enough of everything.
    """

    async def applied(orders: Sequence[Order], answers: Sequence[QuoteAnswer]) -> list[Priced]:
        short = {} if ample_stock else await _short(context, orders)
        return await apply_conditions(context, orders, answers, histories, short, in_turn=in_turn)

    first = await applied(orders, await quoted(context, orders))
    priced = list(first)
    # By index, what was tried instead of something and could not be taken.
    refused: dict[int, set[str]] = {}
    for _ in range(SUBSTITUTION_MAX_ROUNDS - 1):
        tried = _tried(context, priced, refused)
        if not tried:
            break
        answers = await quoted(context, list(tried.values()))
        for (index, order), answer in zip(tried.items(), answers, strict=True):
            before = priced[index]
            above = _dearer(context, first[index], order, answer)
            if isinstance(answer, Quote) and takable(order, answer) and not above:
                priced[index] = Priced(order, answer, NO_OUTCOME)
            else:
                refused[index].update(above or _newly_taken(before.order, order))
                priced[index] = replace(before, answer=_ruled_out(before.answer, answer, above))
        # Only these, and with them what is evaluated as if they were paid.
        changed = {order.key.standing_order_key for order in tried.values()}
        indexes = [
            index
            for index, entry in enumerate(priced)
            if entry.order.key.standing_order_key in changed
        ]
        again = await applied(
            [priced[index].order for index in indexes], [priced[index].answer for index in indexes]
        )
        for index, entry in zip(indexes, again, strict=True):
            priced[index] = entry
    return priced


def _tried(
    context: Context, priced: Sequence[Priced], refused: dict[int, set[str]]
) -> dict[int, Order]:
    """By index, orders with the next substitute that was agreed on, where something is missing."""
    tried: dict[int, Order] = {}
    for index, entry in enumerate(priced):
        consents = context.consents(entry.order)
        lacking = missing(entry.order, entry.answer, entry.outcome, entry.short, consents)
        if lacking is None:
            continue
        # A substitute that turns out short is not tried again either.
        refused.setdefault(index, set()).update(lacking.titles)
        order = substituted(entry.order, lacking, consents, refused[index], context.now)
        if order is not None:
            tried[index] = order
    return tried


def _newly_taken(before: Order, after: Order) -> set[str]:
    return {
        substitute.product
        for product, substitute in after.substitutes.items()
        if before.substitutes.get(product) != substitute
    }


def _dearer(context: Context, first: Priced, order: Order, answer: QuoteAnswer) -> set[str]:
    """The substitutes that cost more than their customer agreed to."""
    if not isinstance(answer, Quote):
        return set()
    amounts = amounts_of(first.order, first.answer)
    return dearer(first.order, amounts, order, answer, context.consents(order))


def _ruled_out(answer: QuoteAnswer, substitute: QuoteAnswer, above: set[str]) -> QuoteAnswer:
    """What is known of an order without a price, with what is known of a substitute for it."""
    if isinstance(answer, Quote):
        return answer
    gone = frozenset() if isinstance(substitute, Quote) else substitute.ruled_out
    return replace(answer, ruled_out=answer.ruled_out | gone | above)


def cart_of(order: Order, standing_order: StandingOrder, now: datetime) -> Cart:
    """What an order costs is asked for by this: of now, or of its due time."""
    return Cart(
        order.key,
        order.items,
        max(order.due_time, now),
        standing_order.create_time,
        order.region_code,
        order.currency,
        order.tax_id,
        standing_order.agreement_of(order.key.cycle),
    )


async def quoted(context: Context, orders: Sequence[Order]) -> list[QuoteAnswer]:
    """What orders cost now, or at their due times; substitutes name what they are taken for."""
    carts = [cart_of(order, context.standing_order(order), context.now) for order in orders]
    answers = await context.clients.quote(carts)
    return [
        with_replaced(order, answer) if isinstance(answer, Quote) else answer
        for order, answer in zip(orders, answers, strict=True)
    ]


async def apply_conditions(
    context: Context,
    orders: Sequence[Order],
    answers: Sequence[QuoteAnswer],
    histories: OrderHistories,
    short: Mapping[OrderKey, frozenset[str]],
    *,
    in_turn: bool = False,
) -> list[Priced]:
    """What the conditions of orders say of their quotes; in their order.

    Expressions take time, so other tasks have their turn in between, and what is done for a call ends
    with the call.
    """
    priced: list[Priced] = []
    running: dict[StandingOrderKey, OrderHistory] = {}
    turn_end = time.monotonic() + CONDITIONS_TURN_SECONDS
    for order, answer in zip(orders, answers, strict=True):
        standing_order = context.standing_order(order)
        if not isinstance(answer, Quote) or not standing_order.conditions:
            priced.append(Priced(order, answer, NO_OUTCOME, short.get(order.key, NOTHING)))
            continue
        if time.monotonic() > turn_end:
            await asyncio.sleep(0)
            turn_end = time.monotonic() + CONDITIONS_TURN_SECONDS
        history = running.get(standing_order.key) or replace(
            histories.get(order.key, _NO_HISTORY), paid_order_count=standing_order.paid_order_count
        )
        inputs = Inputs(answer, history, short.get(order.key, NOTHING))
        outcome = outcome_of(standing_order.conditions, order, inputs)
        priced.append(Priced(order, answer, outcome, inputs.short))
        if in_turn:
            goes_on = outcome.action in {None, Action.HOLD_AND_ASK, Action.DEFER}
            running[standing_order.key] = history.with_order(order, answer) if goes_on else history
    return priced


async def _short(context: Context, orders: Sequence[Order]) -> dict[OrderKey, frozenset[str]]:
    concerned = [
        order
        for order in orders
        if needs_stock(context.conditions(order))
        or any(item.substitutes for item in context.standing_order(order).items)
    ]
    answers = await context.clients.check_stock(concerned) if concerned else []
    return {order.key: short for order, short in zip(concerned, answers, strict=True)}
