"""What becomes of standing orders whose product went off sale for good."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from services.runtime.db.pool import Connection
from services.runtime.messaging import outbox
from services.scheduler.application import settlement
from services.scheduler.application.evaluation.context import Context
from services.scheduler.application.evaluation.pricing import Priced, price
from services.scheduler.domain.cycles import new_order, ordered_items
from services.scheduler.domain.ids import StandingOrderKey
from services.scheduler.domain.order import Order, Quote
from services.scheduler.domain.standing_order import StandingOrder, State
from services.scheduler.domain.substitution import DiscontinuedProduct, Unpriced, left_without
from services.scheduler.publishers import item_discontinued
from services.scheduler.store import products

LIVE = (State.ACTIVE, State.PAUSED)


class Decided(NamedTuple):
    """What becomes of a page of standing orders."""

    # With nothing that is agreed on instead.
    to_pause: list[StandingOrderKey]
    # With the title of what is taken instead; empty: nothing.
    to_notify: list[tuple[StandingOrder, str]]


async def decide(
    context: Context, product: DiscontinuedProduct, page: Sequence[StandingOrder]
) -> Decided:
    """Look for what each customer agreed to instead, as their next cycle would.

    One without a further cycle has nothing to change: an order that it has is left out in its time.
    """
    coming = [
        order for one in page if one.state in LIVE and (order := _next_order(one, context.now))
    ]
    decided = Decided([], [])
    for priced in await price(context, coming, {}, ample_stock=True) if coming else ():
        standing_order = context.standing_order(priced.order)
        is_left_without = isinstance(priced.answer, Unpriced) and left_without(
            priced.order, priced.answer, context.consents(priced.order)
        )
        if is_left_without and standing_order.state is State.ACTIVE:
            decided.to_pause.append(standing_order.key)
        else:
            decided.to_notify.append((standing_order, _substitute_title(priced, product)))
    return decided


async def store(
    tx: Connection,
    product: DiscontinuedProduct,
    reached: str,
    decided: Decided,
    failed: Sequence[StandingOrder],
    now: datetime,
    *,
    is_done: bool,
) -> None:
    """Pause and notify up to a standing order, unless another replica has done so.

    Those that failed alone are passed over, and remembered as walks of their own.
    """
    if not await products.advance_discontinued(tx, product, reached, is_done=is_done):
        return
    if failed:
        await products.insert_discontinued(
            tx, [product._replace(after="", only=one.standing_order) for one in failed]
        )
    await outbox.put(
        tx, [item_discontinued(one, product, title, now) for one, title in decided.to_notify]
    )
    await settlement.discontinue(tx, decided.to_pause, product.product, now)


def _next_order(standing_order: StandingOrder, now: datetime) -> Order | None:
    """The next order, with the standing order's own items, whatever that one cycle has."""
    cycle = standing_order.next_cycle
    date_ = standing_order.date(cycle) if cycle is not None else None
    if cycle is None or date_ is None:
        return None
    order = new_order(standing_order, cycle, date_, None, now)
    return order._replace(items=ordered_items(standing_order))


def _substitute_title(priced: Priced, product: DiscontinuedProduct) -> str:
    lines = priced.answer.lines if isinstance(priced.answer, Quote) else ()
    for line in lines:
        if any(replaced == product.product for replaced, _ in line.replaced):
            return line.title
    return ""
