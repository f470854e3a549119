"""Services, whose stock is slots by day, and who gets which day. Pure functions."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from typing import NamedTuple

from services.catalog.domain.products import (
    Fault,
    Item,
    ItemFault,
    MerchantId,
    ProductId,
    ProductKey,
    SlotKey,
)
from services.catalog.domain.transitions import HoldState

WEEKDAYS = 7


@dataclass(frozen=True)
class Capacity:
    """How many slots a service has on which day."""

    merchant: MerchantId
    product: ProductId
    # From Monday on.
    weekday_slots: tuple[int, ...] = (0,) * WEEKDAYS
    # Days that have others than their weekday, and how many.
    exception_dates: tuple[date, ...] = ()
    exception_slots: tuple[int, ...] = ()
    # Whether an order found no slot since some were last freed or added.
    is_awaited: bool = False
    # How often that was published.
    freed_count: int = 0
    version: int = 1

    @property
    def key(self) -> ProductKey:
        """The service."""
        return ProductKey(self.merchant, self.product)

    @cached_property
    def exceptions(self) -> Mapping[date, int]:
        """The slots of days that have others than their weekday."""
        return dict(zip(self.exception_dates, self.exception_slots, strict=True))

    def slots_on(self, day: date) -> int:
        """How many slots there are on a day."""
        exception = self.exceptions.get(day)
        return self.weekday_slots[day.weekday()] if exception is None else exception


class BookedDay(NamedTuple):
    """What is booked of a service on a day."""

    merchant: MerchantId
    product: ProductId
    day: date
    slots: int
    booked_slots: int
    # Of those, for orders that were paid.
    committed_slots: int

    @property
    def key(self) -> SlotKey:
        """Which day of which service."""
        return SlotKey(self.merchant, self.product, self.day)


class SlotDate(NamedTuple):
    """A date that will do for an order, and when it is due then."""

    day: date
    due_time: datetime


class BookingRequest(NamedTuple):
    """Slots wanted for one order, on the first of its dates that is free."""

    order: str
    announcement_count: int
    items: tuple[Item, ...]
    dates: tuple[SlotDate, ...]
    expire_time: datetime
    # The order is paid, and what was booked for it was lost.
    paid: bool = False
    order_stored: bool = False


class Booking(NamedTuple):
    """The slots of an order, or that it ended."""

    order: str
    announcement_count: int
    state: HoldState
    # Empty where nothing was ever booked.
    items: tuple[Item, ...] = ()
    date: SlotDate | None = None
    # RELEASED: when it ran out; None if it was released by hand, or given up for something else.
    expire_time: datetime | None = None


class Granted(NamedTuple):
    """A request that gets its slots, and the date."""

    request: BookingRequest
    date: SlotDate


def to_book(
    requests: Sequence[BookingRequest], known: Mapping[str, Booking]
) -> tuple[list[BookingRequest], list[str]]:
    """The requests that want what is not booked yet, and the orders whose booking is given up for it.

    What was asked for before the order ended comes too late and changes nothing. Whoever has the slots
    on a day that will do keeps them, whichever day that is: a repeated request changes nothing.
    """
    wanted = {request.order: request for request in requests}
    changed = [
        request
        for order, request in wanted.items()
        if order not in known or _may_book(request, known[order])
    ]
    outdated = [
        request.order
        for request in changed
        if request.order in known and known[request.order].state in _MAY_BE_WANTED
    ]
    # An order that takes something else instead of a service only gives up what it has.
    return [request for request in changed if request.items], outdated


# What is held, and what was and may be booked again.
_MAY_BE_WANTED = frozenset({HoldState.HELD, HoldState.RELEASED})


def _may_book(request: BookingRequest, known: Booking) -> bool:
    match known.state:
        # Slots are never owed.
        case HoldState.COMMITTED | HoldState.BACKORDERED | HoldState.WAIVED:
            return False
        case HoldState.RELEASED:
            return request.announcement_count >= known.announcement_count
        case HoldState.ENDED:
            return request.announcement_count > known.announcement_count
        case HoldState.HELD:
            serves = known.date in request.dates and sorted(known.items) == sorted(request.items)
            return not serves and request.announcement_count >= known.announcement_count


def allocate(
    requests: Sequence[BookingRequest],
    capacities: Mapping[ProductKey, Capacity],
    booked: Mapping[SlotKey, int],
) -> tuple[list[Granted], dict[str, list[Fault]]]:
    """Give out slots, first come first served, each order on its first date with slots of all services.

    Returns what is granted, and for each other order what its first date lacks.
    """
    taken = dict(booked)
    granted: list[Granted] = []
    short: dict[str, list[Fault]] = {}
    for request in requests:
        lacking = [_lacking(request.items, one.day, capacities, taken) for one in request.dates]
        free = next(
            (one for one, faults in zip(request.dates, lacking, strict=True) if not faults), None
        )
        if free is None:
            short[request.order] = lacking[0]
            continue
        for item in request.items:
            key = SlotKey(*item.key, free.day)
            taken[key] = taken.get(key, 0) + item.quantity
        granted.append(Granted(request, free))
    return granted, short


def _lacking(
    items: Iterable[Item],
    day: date,
    capacities: Mapping[ProductKey, Capacity],
    taken: Mapping[SlotKey, int],
) -> list[Fault]:
    faults = []
    for item in items:
        free = capacities[item.key].slots_on(day) - taken.get(SlotKey(*item.key, day), 0)
        if free < item.quantity:
            faults.append(Fault(item.key, ItemFault.NO_SLOT, available_units=max(free, 0)))
    return faults


def booked_again(bookings: Iterable[Booking]) -> list[BookingRequest]:
    """What orders want once more whose bookings ran out or were released otherwise."""
    return [
        BookingRequest(
            booking.order,
            booking.announcement_count,
            booking.items,
            (booking.date,),
            booking.expire_time or booking.date.due_time,
            order_stored=True,
        )
        for booking in bookings
        if booking.state is HoldState.RELEASED and booking.date
    ]


def over_booked(capacity: Capacity, days: Iterable[BookedDay]) -> list[BookedDay]:
    """The days that have more slots booked than they would have."""
    return [day for day in days if day.booked_slots > capacity.slots_on(day.day)]
