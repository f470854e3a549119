"""Services: their capacity by day, and the slots that are booked of it for orders.

Whoever changes bookings locks the capacity of the services first (store/capacities.py).
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import NamedTuple

from services.catalog.application import products
from services.catalog.domain.bookings import (
    BookedDay,
    Booking,
    BookingRequest,
    Capacity,
    Granted,
    allocate,
    booked_again,
    over_booked,
    to_book,
)
from services.catalog.domain.products import Fault, ProductKey, SlotKey
from services.catalog.domain.transitions import HoldEvent, HoldState
from services.catalog.names import CAPACITY
from services.catalog.publishers import slots_freed
from services.catalog.store import bookings as booking_store
from services.catalog.store import capacities as capacity_store
from services.catalog.store import products as product_store
from services.runtime.db.pool import Connection
from services.runtime.errors import Problem, wrong_state
from services.runtime.messaging import outbox
from services.runtime.messaging.events import OutboxEvent
from services.runtime.mutations import Applied
from services.runtime.rpc.conversions import check_etag

# That one refusal names.
OVER_BOOKED_MAX_DAYS = 20
# That the calendar names of one day.
CALENDAR_MAX_ORDERS = 100


class Booked(NamedTuple):
    """What came of a batch of requests."""

    granted: list[Granted]
    # By order, the day that it has its slots on.
    days: Mapping[str, date]
    # By order, what its first date lacks.
    short: Mapping[str, list[Fault]]
    events: list[OutboxEvent]


class CalendarDay(NamedTuple):
    """What there is of a service on a day, and for which orders."""

    day: BookedDay
    orders: Sequence[str]


# --- capacity --------------------------------------------------------------------------------------


async def capacity_of(connection: Connection, key: ProductKey, *, lock: bool = False) -> Capacity:
    """The capacity of a service.

    Raises NOT_FOUND PRODUCT_NOT_FOUND, FAILED_PRECONDITION CAPACITY_NOT_TRACKED.
    """
    await products.existing(connection, key)
    found = await capacity_store.capacities(connection, [key], lock=lock)
    if key not in found:
        raise wrong_state("CAPACITY_NOT_TRACKED", "the product's capacity is not by day")
    return found[key]


async def change(
    tx: Connection, wanted: Capacity, present_etag: str, now: datetime
) -> Applied[Capacity]:
    """Change the capacity of a service as a whole.

    Raises as `capacity_of`, FAILED_PRECONDITION CAPACITY_BELOW_BOOKED, and ABORTED if the etag is
    another version's.
    """
    present = await capacity_of(tx, wanted.key, lock=True)
    check_etag(present_etag, present.version, CAPACITY.format(*wanted.key))
    booked = await capacity_store.booked_days(tx, [wanted.key], now.date(), date.max)
    over = over_booked(wanted, booked)
    if over:
        raise _below_booked(over, wanted)
    changed = await capacity_store.update(tx, wanted, booked)
    return Applied(changed, before=present, events=await _freed(tx, [wanted.key], now))


def _below_booked(over: Sequence[BookedDay], wanted: Capacity) -> Problem:
    first = over[0]
    named = over[:OVER_BOOKED_MAX_DAYS]
    return wrong_state(
        "CAPACITY_BELOW_BOOKED",
        f"more slots are booked than there would be, on {len(over)} days: {first.booked_slots} on "
        f"{first.day}, which would have {wanted.slots_on(first.day)}",
        dates=",".join(str(day.day) for day in named),
        booked_slots=",".join(str(day.booked_slots) for day in named),
    )


async def calendar(
    connection: Connection, key: ProductKey, first: date, last: date
) -> list[CalendarDay]:
    """Each day of a span with the slots of a service. Raises as `capacity_of`."""
    capacity = await capacity_of(connection, key)
    found = await capacity_store.booked_days(connection, [key], first, last)
    orders = await capacity_store.orders_of_days(connection, key, first, last, CALENDAR_MAX_ORDERS)
    booked = {day.day: day for day in found}
    return [
        CalendarDay(
            booked.get(day) or BookedDay(*key, day, capacity.slots_on(day), 0, 0),
            orders.get(day, ()),
        )
        for day in _days(first, last)
    ]


async def unused_slots(
    connection: Connection, keys: Collection[ProductKey], first: date, last: date
) -> dict[ProductKey, list[tuple[date, int]]]:
    """By service, how many slots each day of a span has that no paid order uses."""
    services = await capacity_store.capacities(connection, keys, lock=False)
    found = await capacity_store.booked_days(connection, services, first, last)
    used = {day.key: day.committed_slots for day in found}
    return {
        key: [
            (day, capacity.slots_on(day) - used.get(SlotKey(*key, day), 0))
            for day in _days(first, last)
        ]
        for key, capacity in services.items()
    }


def _days(first: date, last: date) -> list[date]:
    return [first + timedelta(days=index) for index in range((last - first).days + 1)]


# --- bookings --------------------------------------------------------------------------------------


async def book(tx: Connection, wanted: Sequence[BookingRequest], now: datetime) -> Booked:
    """Book slots for orders, in their order; items that are no services need none.

    Those of an order that is paid count as used at once.
    """
    orders = [request.order for request in wanted]
    known = await booking_store.bookings_of(tx, orders)
    keys = {item.key for request in wanted for item in request.items}
    services = await capacity_store.capacities(tx, keys | _booked_keys(known), lock=True)
    if known:
        # They have not changed any more since their services are locked.
        known = await booking_store.bookings_of(tx, orders)
    requests = [
        request._replace(items=tuple(item for item in request.items if item.key in services))
        for request in wanted
    ]
    new, outdated = to_book(requests, known)
    freed = await booking_store.settle(tx, outdated, HoldEvent.RELEASE)
    granted, short = allocate(new, services, await _booked(tx, new))
    await booking_store.insert(tx, granted, services)
    paid = [request.order for request in wanted if request.paid]
    if paid:
        await booking_store.settle(tx, paid, HoldEvent.COMMIT)
    events = await _freed(tx, freed, now)
    await capacity_store.set_awaited(
        tx, (fault.key for faults in short.values() for fault in faults)
    )
    kept = {
        order: booking.date.day
        for order, booking in known.items()
        if order not in outdated
        and booking.date
        and booking.state in (HoldState.HELD, HoldState.COMMITTED)
        if order not in short
    }
    days = {**kept, **{entry.request.order: entry.date.day for entry in granted}}
    return Booked(granted, days, short, events)


async def _booked(tx: Connection, requests: Sequence[BookingRequest]) -> dict[SlotKey, int]:
    """How many slots are booked of the services that requests name, on all days that may matter."""
    days = [one.day for request in requests for one in request.dates]
    if not days:
        return {}
    keys = {item.key for request in requests for item in request.items}
    found = await capacity_store.booked_days(tx, keys, min(days), max(days))
    return {day.key: day.booked_slots for day in found}


async def keep(tx: Connection, expire_times: Mapping[str, datetime]) -> None:
    """Keep the slots of orders, by their names, until these instants.

    Slots that an order has given up since, or that were released by hand, stay free.
    """
    known = await _locked(tx, list(expire_times))
    ran_out = [it for it in known.values() if it.expire_time]
    await _book_again(tx, known, booked_again(ran_out))
    await booking_store.keep(tx, expire_times)


async def commit(tx: Connection, orders: Sequence[str]) -> None:
    """Count the slots of orders as used."""
    known = await _locked(tx, orders)
    await _book_again(tx, known, booked_again(known.values()))
    await booking_store.settle(tx, list(known), HoldEvent.COMMIT)


async def _locked(tx: Connection, orders: Sequence[str]) -> dict[str, Booking]:
    """The bookings of orders, by their names, as they are once their services are locked."""
    known = await booking_store.bookings_of(tx, orders)
    await capacity_store.capacities(tx, _booked_keys(known), lock=True)
    # One of them may have run out before.
    return await booking_store.bookings_of(tx, orders) if known else known


async def _book_again(
    tx: Connection, known: Mapping[str, Booking], late: Sequence[BookingRequest]
) -> None:
    """Book slots whose bookings were released, if they are free; their services are locked."""
    if not late:
        return
    services = await capacity_store.capacities(tx, _booked_keys(known), lock=False)
    granted, _ = allocate(late, services, await _booked(tx, late))
    await booking_store.insert(tx, granted, services)


async def end(tx: Connection, ended: Sequence[tuple[str, int]], now: datetime) -> None:
    """Free the slots of orders that ended, and let none be booked for them.

    Of each order, how often it had been announced by then.
    """
    known = await booking_store.bookings_of(tx, [order for order, _ in ended])
    await capacity_store.capacities(tx, _booked_keys(known), lock=True)
    # One that was left out twice ended with its latest announcement.
    freed = await booking_store.end(tx, dict(sorted(ended)))
    await outbox.put(tx, await _freed(tx, freed, now))


async def expire(tx: Connection, due: Mapping[str, Booking], now: datetime) -> None:
    """Free the slots of those bookings that nobody settled in time, by the names of their orders."""
    await capacity_store.capacities(tx, _booked_keys(due), lock=True)
    freed = await booking_store.expire(tx, list(due), now)
    await outbox.put(tx, await _freed(tx, freed, now))


async def booking_of(connection: Connection, order: str) -> Booking | None:
    """The slots of an order; None if none were ever booked."""
    booking = (await booking_store.bookings_of(connection, [order])).get(order)
    return booking if booking and booking.date else None


async def release(tx: Connection, known: Mapping[str, Booking], now: datetime) -> list[OutboxEvent]:
    """Free the slots of orders, by their names, that nobody will settle; the events of it."""
    await capacity_store.capacities(tx, _booked_keys(known), lock=True)
    freed = await booking_store.settle(tx, list(known), HoldEvent.RELEASE)
    return await _freed(tx, freed, now)


def _booked_keys(known: Mapping[str, Booking]) -> set[ProductKey]:
    return {item.key for booking in known.values() for item in booking.items}


async def _freed(tx: Connection, keys: Iterable[ProductKey], now: datetime) -> list[OutboxEvent]:
    """The events of services that have slots again which orders wait for."""
    freed = {capacity.key: capacity for capacity in await capacity_store.set_freed(tx, keys)}
    known = await product_store.products_by_key(tx, freed)
    return [slots_freed(product, freed[key].freed_count, now) for key, product in known.items()]
