"""Services: from requests to the domain, and from the domain to messages."""

from collections.abc import Sequence
from datetime import date, timedelta

from google.protobuf.message import Message
from recurring.catalog.v1 import catalog_pb2 as pb

from services.catalog.api.requests import read_items_of
from services.catalog.api.responses import item_message, problem_messages
from services.catalog.application.bookings import Booked, CalendarDay
from services.catalog.application.stock import OrderHold
from services.catalog.domain.bookings import Booking, BookingRequest, Capacity, Granted, SlotDate
from services.catalog.names import CAPACITY, ORDER, PRODUCT
from services.runtime.db import audit
from services.runtime.errors import Violations
from services.runtime.rpc.conversions import (
    etag,
    optional_timestamp,
    read_date,
    read_timestamp,
    to_date,
)
from services.runtime.rpc.names import read_name

CALENDAR_DEFAULT_DAYS = 30
CALENDAR_MAX_DAYS = 92
# Of a forecast, the longest that there is.
SUPPLY_MAX_DAYS = 400


def read_capacity(message: pb.Capacity) -> Capacity:
    """What the capacity of a service is to be."""
    key = read_name(CAPACITY, message.name)
    violations = Violations()
    days: dict[date, int] = {}
    for index, exception in enumerate(message.exceptions):
        field = f"capacity.exceptions[{index}].date"
        day = read_date(violations, field, exception.date)
        if day in days:
            violations.add(field, "must not be that of an exception before", "DATE_TWICE")
        days[day] = exception.slots
    violations.check()
    dates = tuple(sorted(days))
    return Capacity(
        *key,
        weekday_slots=tuple(message.weekday_slots),
        exception_dates=dates,
        exception_slots=tuple(days[day] for day in dates),
    )


def capacity_message(capacity: Capacity) -> pb.Capacity:
    """The capacity of a service as callers see it."""
    return pb.Capacity(
        name=CAPACITY.format(*capacity.key),
        weekday_slots=capacity.weekday_slots,
        exceptions=[
            pb.CapacityException(date=to_date(day), slots=slots)
            for day, slots in capacity.exceptions.items()
        ],
        etag=etag(capacity.version),
    )


def read_span(request: pb.GetCapacityCalendarRequest, today: date) -> tuple[date, date]:
    """The first and the last day of a calendar."""
    return _read_span(request, today, CALENDAR_DEFAULT_DAYS, CALENDAR_MAX_DAYS)


def read_supply_span(request: pb.BatchCheckSupplyRequest) -> tuple[date, date] | None:
    """The days that the capacity of services is wanted of; None: of none."""
    if not request.HasField("start_date"):
        return None
    return _read_span(request, date.min, 0, SUPPLY_MAX_DAYS)


def _read_span(
    request: pb.GetCapacityCalendarRequest | pb.BatchCheckSupplyRequest,
    today: date,
    default_days: int,
    most_days: int,
) -> tuple[date, date]:
    violations = Violations()
    first = _read_day(violations, request, "start_date", today)
    violations.check()
    # The calendar ends with the year 9999.
    default = first + min(timedelta(days=default_days), date.max - first)
    last = _read_day(violations, request, "end_date", default)
    met = 0 <= (last - first).days <= most_days
    violations.require(
        "end_date", f"must be the first day or at most {most_days} days after it", met=met
    )
    violations.check()
    return first, last


def _read_day(violations: Violations, request: Message, field: str, default: date) -> date:
    if not request.HasField(field):
        return default
    return read_date(violations, field, getattr(request, field))


def calendar_message(days: Sequence[CalendarDay]) -> pb.CapacityCalendar:
    """The days of a service."""
    return pb.CapacityCalendar(
        days=[
            pb.CapacityDay(
                date=to_date(entry.day.day),
                slots=entry.day.slots,
                booked_slots=entry.day.booked_slots,
                committed_slots=entry.day.committed_slots,
                free_slots=entry.day.slots - entry.day.booked_slots,
                orders=entry.orders,
            )
            for entry in days
        ]
    )


def read_booking(violations: Violations, field: str, entry: pb.SlotRequest) -> BookingRequest:
    """Slots wanted for one order."""
    merchant = ORDER.key(entry.order).merchant
    return BookingRequest(
        order=entry.order,
        announcement_count=entry.announcement_count,
        items=read_items_of(violations, f"{field}.items", merchant, entry.items),
        dates=tuple(
            SlotDate(
                read_date(violations, f"{field}.dates[{index}].date", one.date),
                read_timestamp(violations, f"{field}.dates[{index}].due_time", one.due_time),
            )
            for index, one in enumerate(entry.dates)
        ),
        expire_time=read_timestamp(violations, f"{field}.expire_time", entry.expire_time),
        paid=entry.paid,
        order_stored=entry.order_stored,
    )


def booked_response(orders: Sequence[str], booked: Booked) -> pb.BatchBookSlotsResponse:
    """The day of each order, or what its first date lacks."""
    return pb.BatchBookSlotsResponse(
        results=[
            pb.SlotResult(
                date=to_date(booked.days[order]) if order in booked.days else None,
                problems=problem_messages(booked.short.get(order, ())),
            )
            for order in orders
        ]
    )


def booking_change(granted: Granted) -> audit.Change:
    """What was booked for an order."""
    request = granted.request
    after = {
        "order": request.order,
        "items": [
            {"product": PRODUCT.format(*item.key), "quantity": item.quantity}
            for item in request.items
        ],
        "date": str(granted.date.day),
    }
    return audit.Change(ORDER.key(request.order).merchant, request.order, after)


def booking_message(booking: Booking) -> pb.Booking:
    """The slots of an order as callers see them."""
    return pb.Booking(
        state=pb.StockHold.State.Value(booking.state),
        date=to_date(booking.date.day) if booking.date else None,
        items=map(item_message, booking.items),
        expire_time=optional_timestamp(booking.expire_time),
    )


def hold_message(held: OrderHold) -> pb.StockHold:
    """What is held for an order as callers see it."""
    booking = booking_message(held.booking) if held.booking else None
    if held.hold is None:
        return pb.StockHold(order=held.order, booking=booking)
    return pb.StockHold(
        order=held.order,
        state=pb.StockHold.State.Value(held.hold.state),
        items=map(item_message, held.hold.items),
        expire_time=optional_timestamp(held.hold.expire_time),
        due_time=optional_timestamp(held.hold.due_time),
        booking=booking,
    )
