"""Customers are notified once before their promotion ends: from when on they pay more, and how much."""

from collections.abc import Sequence
from datetime import datetime

from services.runtime.db.pool import Connection
from services.runtime.messaging import outbox
from services.runtime.money import Money
from services.scheduler.application import new_links
from services.scheduler.application.evaluation.context import Context
from services.scheduler.application.evaluation.pricing import quoted
from services.scheduler.domain.action_links import OFFERED_WITH_PRICE
from services.scheduler.domain.cycles import order_of_cycle
from services.scheduler.domain.ids import OrderKey
from services.scheduler.domain.order import Quote
from services.scheduler.domain.promotion_ends import PromotionEnd, first_cycle_after
from services.scheduler.domain.standing_order import StandingOrder
from services.scheduler.publishers import promotion_ending
from services.scheduler.store import promotion_endings as store


async def find(context: Context, standing_orders: Sequence[StandingOrder]) -> list[PromotionEnd]:
    """From when on standing orders cost more, of those that do; one call to the catalog."""
    firsts = {
        one.key: (one, cycle)
        for one in standing_orders
        if (cycle := first_cycle_after(one)) is not None
    }
    wanted = [
        order
        for one, cycle in firsts.values()
        for number in (cycle - 1, cycle)
        if (order := order_of_cycle(one, number, context.now)) is not None
    ]
    answers = zip(wanted, await quoted(context, wanted), strict=True)
    amounts = {
        order.key: Money(quote.amount_minor, quote.currency)
        for order, quote in answers
        if isinstance(quote, Quote)
    }
    return [
        end
        for one, cycle in firsts.values()
        if (end := _end(one, cycle, amounts)) is not None and end.is_news
    ]


def _end(
    standing_order: StandingOrder, cycle: int, amounts: dict[OrderKey, Money]
) -> PromotionEnd | None:
    date, promotion = standing_order.date(cycle), standing_order.ending_promotion
    if date is None or promotion is None:
        return None
    before, first = (OrderKey(*standing_order.key, number) for number in (cycle - 1, cycle))
    return PromotionEnd(
        standing_order,
        promotion,
        cycle,
        date.due_at,
        amounts.get(first),
        amounts.get(before),
    )


async def notify(
    tx: Connection,
    standing_orders: Sequence[StandingOrder],
    ends: Sequence[PromotionEnd],
    now: datetime,
) -> None:
    """Publish what was found, and forget the promotions of all that have not changed since."""
    unchanged = await store.put_notified(tx, standing_orders)
    published = [end for end in ends if end.standing_order.key in unchanged]
    concerned = [end.standing_order for end in published]
    links = await new_links.of_standing_orders(tx, concerned, OFFERED_WITH_PRICE, now)
    await outbox.put(
        tx,
        [promotion_ending(end, links.get(end.standing_order.key, ""), now) for end in published],
    )
