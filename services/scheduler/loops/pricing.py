"""What orders cost, and what their conditions say of it: the same for loops and for previews."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from services.runtime.database import Database
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
from services.scheduler.domain.order import Order, OrderKey, OrderState, Quote
from services.scheduler.domain.rulings import substituted
from services.scheduler.domain.standing_order import StandingOrder
from services.scheduler.peers import Cart, Peers, QuoteAnswer
from services.scheduler.store import conditions as condition_rows

# Each condition takes its substitute once, and then the order is looked at as it is.
SUBSTITUTION_MAX_ROUNDS = CONDITIONS_MAX + 1
# What the customer has paid, and what they have been told that they will.
PAID = (OrderState.PAID,)
EXPECTED = (OrderState.PAID, OrderState.UPCOMING, OrderState.AWAITING_PAYMENT)

# Others are served after so much judging: one order takes some two milliseconds at most.
JUDGE_TURN_SECONDS = 0.005

Templates = Mapping[tuple[str, str], StandingOrder]
Pasts = Mapping[OrderKey, Past]
_NO_PAST = Past()


@dataclass(frozen=True, slots=True)
class Priced:
    """An order, with its substitutes, what it costs, and what its conditions say of that."""

    order: Order
    answer: QuoteAnswer
    ruling: Ruling


def template_of(order: Order, templates: Templates) -> StandingOrder:
    """The standing order that an order belongs to."""
    return templates[order.key.merchant, order.key.standing_order]


async def pasts(
    database: Database,
    orders: Sequence[Order],
    templates: Templates,
    states: Sequence[OrderState] = PAID,
) -> Pasts:
    """What other cycles came to, of the orders whose conditions ask about it; one statement."""
    asking = [one for one in orders if asks_past(_conditions(one, templates))]
    if not asking:
        return {}
    async with database.read() as connection:
        return await condition_rows.past(connection, asking, states)


async def price(
    peers: Peers,
    orders: Sequence[Order],
    templates: Templates,
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
    answers = await peers.quote([_cart(one, now) for one in orders])
    short = {} if ample_stock else await _short(peers, orders, templates)
    priced = await judge(orders, answers, templates, known, short, in_turn=in_turn)
    untakable: set[int] = set()
    for _ in range(SUBSTITUTION_MAX_ROUNDS - 1):
        taken = {
            place: order
            for place, one in enumerate(priced)
            if one.ruling.action is Action.SUBSTITUTE
            and place not in untakable
            and (order := substituted(one.order, one.ruling, now))
        }
        if not taken:
            break
        asked = await peers.quote([_cart(one, now) for one in taken.values()])
        for (place, order), answer in zip(taken.items(), asked, strict=True):
            if isinstance(answer, Quote):
                priced[place] = Priced(order, answer, NO_RULING)
            else:
                # It is left out as it was.
                untakable.add(place)
        # Only these, and with them what is looked at as if they were paid.
        changed = {_standing_order(order) for order in taken.values()}
        places = [at for at, one in enumerate(priced) if _standing_order(one.order) in changed]
        wanted = [priced[at].order for at in places]
        short = {} if ample_stock else await _short(peers, wanted, templates)
        judged = await judge(
            wanted, [priced[at].answer for at in places], templates, known, short, in_turn=in_turn
        )
        for at, one in zip(places, judged, strict=True):
            priced[at] = one
    return priced


def _standing_order(order: Order) -> tuple[str, str]:
    return (order.key.merchant, order.key.standing_order)


async def judge(
    orders: Sequence[Order],
    answers: Sequence[QuoteAnswer],
    templates: Templates,
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
    passed: dict[tuple[str, str], Past] = {}
    turn_end = time.monotonic() + JUDGE_TURN_SECONDS
    for order, answer in zip(orders, answers, strict=True):
        template = template_of(order, templates)
        if not isinstance(answer, Quote) or not template.conditions:
            judged.append(Priced(order, answer, NO_RULING))
            continue
        if time.monotonic() > turn_end:
            await asyncio.sleep(0)
            turn_end = time.monotonic() + JUDGE_TURN_SECONDS
        key = _standing_order(order)
        past = passed.get(key) or replace(
            known.get(order.key, _NO_PAST), paid_order_count=template.paid_order_count
        )
        facts = Facts(answer, past, short.get(order.key, frozenset()))
        ruling = rule(template.conditions, order, facts)
        judged.append(Priced(order, answer, ruling))
        if in_turn:
            goes_on = ruling.action in {None, Action.HOLD_AND_ASK, Action.DEFER}
            passed[key] = past.with_order(order, answer) if goes_on else past
    return judged


async def _short(
    peers: Peers, orders: Sequence[Order], templates: Templates
) -> dict[OrderKey, frozenset[str]]:
    asking = [one for one in orders if asks_stock(_conditions(one, templates))]
    found = await peers.check_stock(asking) if asking else []
    return {order.key: short for order, short in zip(asking, found, strict=True)}


def _conditions(order: Order, templates: Templates) -> Sequence[Condition]:
    return template_of(order, templates).conditions


def _cart(order: Order, now: datetime) -> Cart:
    return Cart(order.key, order.items, max(order.due_time, now))
