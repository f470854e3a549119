"""Slots of services: booked for orders that are announced, so that no notice names a full day."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta

from services.scheduler.application.evaluation.context import Context
from services.scheduler.clients.questions import SlotWish
from services.scheduler.domain.charge_rules import required_lead
from services.scheduler.domain.condition_outcomes import Evaluated
from services.scheduler.domain.ids import OrderKey
from services.scheduler.domain.order import Order, OrderReason
from services.scheduler.domain.slots import SlotDate, booking_expire_time, on_date, slot_dates
from services.scheduler.store import orders as order_store

# Of what is booked for an order before it is stored: longer than its event may take, which makes it
# longer. What is booked in vain becomes free again.
UNSTORED_BOOKING = timedelta(days=1)


async def booked(context: Context, evaluated: Sequence[Evaluated]) -> list[Evaluated]:
    """Evaluated orders, those of services on the day that they have slots on, or without one.

    Whoever has been a subscriber for longer is served first.
    """
    # With those that had slots, and take something else instead of the service now.
    wanting = {
        entry.order.key: entry
        for entry in evaluated
        if _goes_on(entry) and (_services(entry) or entry.order.services)
    }
    if not wanting:
        return list(evaluated)
    keys = sorted(wanting, key=lambda key: _seniority(context, wanting[key].order))
    dates = await _dates(context, [_with_lead(wanting[key]) for key in keys])
    expire_time = context.now + UNSTORED_BOOKING
    days = await context.clients.book_slots(
        [
            SlotWish(wanting[key].order, dates[key], expire_time, order_stored=False)
            for key in keys
            if dates[key]
        ]
    )
    return [
        _on_its_day(context, entry, dates[entry.order.key], days)
        if entry.order.key in wanting
        else entry
        for entry in evaluated
    ]


async def without_slot(context: Context, orders: Sequence[Order]) -> set[OrderKey]:
    """Announced orders whose slots are gone, released by hand or run out, and can't be had again."""
    wishes = [
        SlotWish(
            order,
            [SlotDate(order.local_date, order.due_time)],
            booking_expire_time(order.due_time, context.now),
        )
        for order in orders
    ]
    days = await context.clients.book_slots(wishes)
    return {order.key for order in orders if days[order.key] is None}


def _services(entry: Evaluated) -> tuple[str, ...]:
    quote = entry.evaluation.quote
    return quote.services if quote else ()


def _goes_on(entry: Evaluated) -> bool:
    return not entry.evaluation.problems and entry.outcome.action is None


def _with_lead(entry: Evaluated) -> Order:
    """The order with the lead that its notice will have."""
    evaluation = entry.evaluation
    required = required_lead(evaluation.rules or (), evaluation.mandate_lead)
    return entry.order._replace(notice_lead=max(entry.order.notice_lead, required.lead))


def _seniority(context: Context, order: Order) -> tuple[object, ...]:
    standing_order = context.standing_order(order)
    return standing_order.create_time, standing_order.standing_order, order.key.cycle


async def _dates(context: Context, orders: Sequence[Order]) -> dict[OrderKey, list[SlotDate]]:
    """By order, the days that will do; one statement where any of them may be moved."""
    movable = [
        order.key
        for order in orders
        if (standing_order := context.standing_order(order)).slot_days_before
        or standing_order.slot_days_after
    ]
    known: Mapping[OrderKey, date] = {}
    if movable:
        around = [key._replace(cycle=key.cycle + step) for key in movable for step in (-1, 1)]
        async with context.database.read() as connection:
            known = await order_store.local_dates(connection, around)
    return {
        order.key: slot_dates(
            order,
            context.standing_order(order),
            {
                cycle: known[key]
                for cycle in (order.key.cycle - 1, order.key.cycle + 1)
                if (key := order.key._replace(cycle=cycle)) in known
            },
            context.now,
        )
        for order in orders
    }


def _on_its_day(
    context: Context,
    entry: Evaluated,
    dates: Sequence[SlotDate],
    days: Mapping[OrderKey, date | None],
) -> Evaluated:
    order, day = entry.order, days.get(entry.order.key)
    if not _services(entry):
        return entry._replace(order=order._replace(services=()))
    slot = next((one for one in dates if one.day == day), None)
    if slot is None:
        problems = (*entry.evaluation.problems, OrderReason.NO_SLOT)
        return entry._replace(evaluation=replace(entry.evaluation, problems=problems))
    standing_order = context.standing_order(order)
    return entry._replace(order=on_date(order, slot, _services(entry), standing_order, context.now))
