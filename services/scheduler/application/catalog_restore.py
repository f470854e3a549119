"""What the catalog knew by calls of the scheduler, asked for again after its database lost it.

Each question can be repeated: what the catalog knows, it keeps.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from services.runtime.db.pool import Database
from services.scheduler.application.collection import STOCK_HOLD
from services.scheduler.clients import Clients
from services.scheduler.clients.questions import ProtectionAnswer, SlotWish
from services.scheduler.domain.ids import (
    MerchantId,
    OrderKey,
    StandingOrderId,
    StandingOrderKey,
)
from services.scheduler.domain.order import Order, OrderState
from services.scheduler.domain.slots import SlotDate, booking_expire_time
from services.scheduler.domain.standing_order import StandingOrder
from services.scheduler.store import orders as order_store
from services.scheduler.store import standing_orders as standing_order_store

BATCH = 500
# For these, units are held or gone; for all of them, and announced ones, slots are booked.
_WITH_UNITS = (OrderState.AWAITING_PAYMENT, OrderState.PAID)


class Asked(NamedTuple):
    """What came of a batch of orders or standing orders."""

    standing_orders: int = 0
    orders: int = 0
    # What could not be had again, and why.
    problems: Sequence[tuple[OrderKey | StandingOrderKey, str]] = ()


async def ask_again(
    database: Database, clients: Clients, since: datetime, now: datetime
) -> AsyncIterator[Asked]:
    """Protect, hold and book again for all that has changed since an instant, batch by batch."""
    after = StandingOrderKey(MerchantId(""), StandingOrderId(""))
    while True:
        async with database.read() as connection:
            changed = await standing_order_store.changed_since(connection, since, after, BATCH)
        if not changed:
            break
        after = StandingOrderKey(changed[-1].merchant, changed[-1].standing_order)
        yield await _protected(clients, changed, since)
    last = OrderKey(MerchantId(""), StandingOrderId(""), 0)
    while True:
        async with database.read() as connection:
            found = await order_store.changed_since(connection, since, last, BATCH)
        if not found:
            break
        last = found[-1].key
        problems = await _held(clients, found, now)
        # Those that were paid meanwhile: the catalog may have had the event before it held anything.
        async with database.begin() as tx:
            present = await order_store.by_key(tx, [order.key for order in found])
        paid = [
            present[order.key]
            for order in found
            if order.state is not OrderState.PAID and present[order.key].state is OrderState.PAID
        ]
        if paid:
            problems += await _held(clients, paid, now)
        yield Asked(orders=len(found), problems=problems)


async def _protected(clients: Clients, changed: Sequence[StandingOrder], since: datetime) -> Asked:
    """Sign-up prices, offers and promotions: those of a new one as when it was new."""
    asked = [
        replace(
            standing_order,
            update_time=standing_order.create_time,
            next_cycle=standing_order.plan_first_cycle,
        )
        if standing_order.create_time >= since
        else standing_order
        for standing_order in changed
    ]
    answers = await clients.protect_prices(asked)
    problems = [
        (StandingOrderKey(standing_order.merchant, standing_order.standing_order), why)
        for standing_order, answer in zip(changed, answers, strict=True)
        for why in _unprotected(answer)
    ]
    return Asked(standing_orders=len(changed), problems=problems)


def _unprotected(answer: ProtectionAnswer) -> list[str]:
    reasons = [f"{product}: {reason}" for product, reason in answer.problems.items()]
    return [*reasons, *filter(None, (answer.promotion, answer.offer))]


async def _held(
    clients: Clients, found: Sequence[Order], now: datetime
) -> list[tuple[OrderKey | StandingOrderKey, str]]:
    """Hold units and book slots; what there is none of any more."""
    problems: list[tuple[OrderKey | StandingOrderKey, str]] = []
    holding = [order for order in found if order.state in _WITH_UNITS]
    if holding:
        short = await clients.hold_stock(holding, now + STOCK_HOLD)
        problems += [
            (order.key, f"{product}: OUT_OF_STOCK")
            for order, lacking in zip(holding, short, strict=True)
            for product in sorted(lacking)
        ]
    booking = [order for order in found if order.services]
    if booking:
        days = [SlotDate(order.local_date, order.due_time) for order in booking]
        booked = await clients.book_slots(
            [
                SlotWish(order, [day], booking_expire_time(day.due_time, now))
                for order, day in zip(booking, days, strict=True)
            ]
        )
        problems += [(order.key, "NO_SLOT") for order in booking if booked[order.key] is None]
    return problems
