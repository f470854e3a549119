"""What orders cost, and what their conditions say of it: the same for workers and for previews."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from services.runtime.db.pool import Database
from services.scheduler.clients import Cart, Clients, QuoteAnswer
from services.scheduler.domain.conditions import (
    CONDITIONS_MAX,
    NO_RULING,
    Action,
    Condition,
    Facts,
    Past,
    Ruling,
    asks_past,
    asks_stock,
    rule,
)
from services.scheduler.domain.ids import OrderKey, StandingOrderKey
from services.scheduler.domain.order import Order, OrderState, Quote, with_replaced
from services.scheduler.domain.standing_order import StandingOrder
from services.scheduler.domain.substitution import missing, substituted, takable
from services.scheduler.store import conditions as condition_rows

# Each condition offers its substitute, which can be refused and can be short in turn.
SUBSTITUTION_MAX_ROUNDS = 2 * CONDITIONS_MAX + 1
# What the customer has paid, and what they have been told that they will.
PAID = (OrderState.PAID,)
EXPECTED = (OrderState.PAID, OrderState.UPCOMING, OrderState.AWAITING_PAYMENT)

# Others are served after so much judging: one order takes some two milliseconds at most.
JUDGE_TURN_SECONDS = 0.005

Templates = Mapping[StandingOrderKey, StandingOrder]
Pasts = Mapping[OrderKey, Past]
_NO_PAST = Past()


@dataclass(frozen=True, slots=True)
class Priced:
    """An order, with its substitutes, what it costs, and what its conditions say of that."""

    order: Order
    answer: QuoteAnswer
    ruling: Ruling


def template_of(order: Order, standing_orders: Templates) -> StandingOrder:
    """The standing order that an order belongs to."""
    return standing_orders[order.key.standing_order_key]


async def pasts(
    database: Database,
    orders: Sequence[Order],
    standing_orders: Templates,
    states: Sequence[OrderState] = PAID,
) -> Pasts:
    """What other cycles came to, of the orders whose conditions ask about it; one statement."""
    asking = [one for one in orders if asks_past(_conditions(one, standing_orders))]
    if not asking:
        return {}
    async with database.read() as connection:
        return await condition_rows.past(connection, asking, states)


async def price(
    clients: Clients,
    orders: Sequence[Order],
    standing_orders: Templates,
    known: Pasts,
    now: datetime,
    *,
    in_turn: bool = False,
    ample_stock: bool = False,
) -> list[Priced]:
    """Price orders, with substitutes where conditions want them; in their order.

    With `in_turn`, orders of one standing order are looked at as if those before had been paid; with
    `ample_stock`, as if there were enough of everything.
    """
    answers = await quoted(clients, orders, now)
    short = {} if ample_stock else await _short(clients, orders, standing_orders)
    priced = await judge(orders, answers, standing_orders, known, short, in_turn=in_turn)
    # By place, what was tried instead of something and could not be taken.
    refused: dict[int, set[str]] = {}
    for _ in range(SUBSTITUTION_MAX_ROUNDS - 1):
        tried = _tried(priced, standing_orders, refused, now)
        if not tried:
            break
        asked = await quoted(clients, list(tried.values()), now)
        for (place, order), answer in zip(tried.items(), asked, strict=True):
            before = priced[place]
            if isinstance(answer, Quote) and takable(order, answer):
                priced[place] = Priced(order, answer, NO_RULING)
            else:
                refused[place].update(_newly_taken(before.order, order))
                priced[place] = replace(before, answer=_also_off_sale(before.answer, answer))
        # Only these, and with them what is looked at as if they were paid.
        changed = {_standing_order(order) for order in tried.values()}
        places = [at for at, one in enumerate(priced) if _standing_order(one.order) in changed]
        wanted = [priced[at].order for at in places]
        short = {} if ample_stock else await _short(clients, wanted, standing_orders)
        judged = await judge(
            wanted,
            [priced[at].answer for at in places],
            standing_orders,
            known,
            short,
            in_turn=in_turn,
        )
        for at, one in zip(places, judged, strict=True):
            priced[at] = one
    return priced


def _tried(
    priced: Sequence[Priced],
    standing_orders: Templates,
    refused: dict[int, set[str]],
    now: datetime,
) -> dict[int, Order]:
    """By place, orders with the next substitute that was agreed on, where something is missing."""
    tried: dict[int, Order] = {}
    for place, one in enumerate(priced):
        lacking = missing(one.order, one.answer, one.ruling)
        if lacking is None:
            continue
        # A substitute that turns out short is not tried again either.
        refused.setdefault(place, set()).update(lacking.titles)
        conditions = _conditions(one.order, standing_orders)
        order = substituted(one.order, lacking, conditions, refused[place], now)
        if order is not None:
            tried[place] = order
    return tried


def _newly_taken(before: Order, after: Order) -> set[str]:
    return {
        one.product
        for product, one in after.substitutes.items()
        if before.substitutes.get(product) != one
    }


def _also_off_sale(answer: QuoteAnswer, substitute: QuoteAnswer) -> QuoteAnswer:
    """What is known of an order without a price, with what is known of a substitute for it."""
    if isinstance(answer, Quote) or isinstance(substitute, Quote):
        return answer
    return replace(answer, discontinued=answer.discontinued | substitute.discontinued)


async def quoted(clients: Clients, orders: Sequence[Order], now: datetime) -> list[QuoteAnswer]:
    """What orders cost now, or at their due times; substitutes name what they are taken for."""
    answers = await clients.quote([_cart(one, now) for one in orders])
    return [
        with_replaced(order, answer) if isinstance(answer, Quote) else answer
        for order, answer in zip(orders, answers, strict=True)
    ]


def _standing_order(order: Order) -> StandingOrderKey:
    return order.key.standing_order_key


async def judge(
    orders: Sequence[Order],
    answers: Sequence[QuoteAnswer],
    standing_orders: Templates,
    known: Pasts,
    short: Mapping[OrderKey, frozenset[str]],
    *,
    in_turn: bool = False,
) -> list[Priced]:
    """Judge orders by their conditions; in their order.

    Expressions take time, so others have their turn in between, and what is judged for a call ends with
    the call.
    """
    judged: list[Priced] = []
    passed: dict[StandingOrderKey, Past] = {}
    turn_end = time.monotonic() + JUDGE_TURN_SECONDS
    for order, answer in zip(orders, answers, strict=True):
        standing_order = template_of(order, standing_orders)
        if not isinstance(answer, Quote) or not standing_order.conditions:
            judged.append(Priced(order, answer, NO_RULING))
            continue
        if time.monotonic() > turn_end:
            await asyncio.sleep(0)
            turn_end = time.monotonic() + JUDGE_TURN_SECONDS
        key = _standing_order(order)
        past = passed.get(key) or replace(
            known.get(order.key, _NO_PAST), paid_order_count=standing_order.paid_order_count
        )
        facts = Facts(answer, past, short.get(order.key, frozenset()))
        ruling = rule(standing_order.conditions, order, facts)
        judged.append(Priced(order, answer, ruling))
        if in_turn:
            goes_on = ruling.action in {None, Action.HOLD_AND_ASK, Action.DEFER}
            passed[key] = past.with_order(order, answer) if goes_on else past
    return judged


async def _short(
    clients: Clients, orders: Sequence[Order], standing_orders: Templates
) -> dict[OrderKey, frozenset[str]]:
    asking = [one for one in orders if asks_stock(_conditions(one, standing_orders))]
    found = await clients.check_stock(asking) if asking else []
    return {order.key: short for order, short in zip(asking, found, strict=True)}


def _conditions(order: Order, standing_orders: Templates) -> Sequence[Condition]:
    return template_of(order, standing_orders).conditions


def _cart(order: Order, now: datetime) -> Cart:
    return Cart(order.key, order.items, max(order.due_time, now))
