"""Services: how many slots their days have, and what is booked of them."""

from collections.abc import Callable
from typing import Annotated

import typer
from google.type import date_pb2
from recurring.catalog.v1 import catalog_pb2 as pb

from cli.command import command, group
from cli.connect import Session, new_request_id
from cli.names import PRODUCT, last_id, short_name
from cli.output import Columns
from cli.products import ProductArgument
from cli.values import format_date, parse_date, parse_number

capacity = group("Show and set how many slots services have by day.")

WEEKDAYS = 7
# Of one day, in a table.
SHOWN_ORDERS = 3

CAPACITY_COLUMNS: Columns[pb.Capacity] = {
    "product": lambda it: last_id(it.name.removesuffix("/capacity")),
    "Mon to Sun": lambda it: ",".join(map(str, it.weekday_slots)),
    "exceptions": lambda it: ", ".join(
        f"{format_date(exception.date)}={exception.slots}" for exception in it.exceptions
    ),
}
DAY_COLUMNS: Columns[pb.CapacityDay] = {
    "date": lambda it: format_date(it.date),
    "slots": lambda it: str(it.slots),
    "booked": lambda it: str(it.booked_slots or ""),
    "paid": lambda it: str(it.committed_slots or ""),
    "free": lambda it: str(it.free_slots),
    "orders": lambda it: (
        ", ".join(short_name(order) for order in it.orders[:SHOWN_ORDERS])
        + (" ..." if len(it.orders) > SHOWN_ORDERS else "")
    ),
}


def parse_weekday_slots(text: str) -> list[int]:
    """The slots of seven weekdays: "5,5,5,5,5,0,0"."""
    slots = [parse_number(part, 0) for part in text.split(",")]
    if len(slots) != WEEKDAYS:
        raise typer.BadParameter("must be seven numbers, from Monday to Sunday")
    return slots


@command(capacity, "show")
async def show_capacity(session: Session, product: ProductArgument) -> None:
    """Show the capacity of a service: its slots on each weekday, and on single dates."""
    session.output.one(await _get(session, product), CAPACITY_COLUMNS)


@command(capacity, "set")
async def set_capacity(
    session: Session,
    product: ProductArgument,
    weekdays: Annotated[
        str,
        typer.Argument(
            metavar="MON,TUE,WED,THU,FRI,SAT,SUN",
            help='Slots of each weekday: "5,5,5,5,5,0,0".',
        ),
    ],
) -> None:
    """Set the slots of each weekday; those of single dates stay."""

    slots = parse_weekday_slots(weekdays)

    def change(found: pb.Capacity) -> None:
        found.weekday_slots[:] = slots

    await _change(session, product, change)


@command(capacity, "except")
async def except_day(
    session: Session,
    product: ProductArgument,
    on: Annotated[
        date_pb2.Date, typer.Option(parser=parse_date, metavar="DATE", help="Which day.")
    ],
    slots: Annotated[
        int | None, typer.Option(min=0, help="Its slots. Default: those of its weekday again.")
    ] = None,
) -> None:
    """Set the slots of a single date, such as a holiday."""

    def change(found: pb.Capacity) -> None:
        others = [exception for exception in found.exceptions if exception.date != on]
        del found.exceptions[:]
        found.exceptions.extend(others)
        if slots is not None:
            found.exceptions.append(pb.CapacityException(date=on, slots=slots))

    await _change(session, product, change)


@command(capacity, "days")
async def list_days(
    session: Session,
    product: ProductArgument,
    start: Annotated[
        date_pb2.Date | None,
        typer.Option("--from", parser=parse_date, metavar="DATE", help="Default: today."),
    ] = None,
    end: Annotated[
        date_pb2.Date | None,
        typer.Option(
            "--to", parser=parse_date, metavar="DATE", help="Default: 30 days after the first."
        ),
    ] = None,
) -> None:
    """List days with the slots that are booked and free, and for whom."""
    request = pb.GetCapacityCalendarRequest(
        name=_name(session, product), start_date=start, end_date=end
    )
    calendar = await session.catalog.GetCapacityCalendar(request)
    session.output.many(calendar.days, DAY_COLUMNS, "no days")


async def _get(session: Session, product: str) -> pb.Capacity:
    request = pb.GetCapacityRequest(name=_name(session, product))
    found: pb.Capacity = await session.catalog.GetCapacity(request)
    return found


async def _change(session: Session, product: str, change: Callable[[pb.Capacity], None]) -> None:
    """Change what there is, unless somebody else has meanwhile."""
    found = await _get(session, product)
    change(found)
    request = pb.UpdateCapacityRequest(capacity=found, request_id=new_request_id())
    session.output.one(await session.catalog.UpdateCapacity(request), CAPACITY_COLUMNS)


def _name(session: Session, product: str) -> str:
    return f"{session.name(PRODUCT, product)}/capacity"
