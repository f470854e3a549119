"""Single cycles of a standing order: leave out, change, restore, bring forward."""

from typing import Annotated

import typer
from google.type import date_pb2, postal_address_pb2
from recurring.scheduler.v1 import scheduler_pb2 as pb

from cli.command import command, group
from cli.connect import Session, new_request_id
from cli.names import STANDING_ORDER
from cli.preview import StandingOrderArgument
from cli.standing_orders import STANDING_ORDER_COLUMNS, item_options
from cli.values import parse_address, parse_date

cycles = group("Single cycles to come; the standing order itself stays as it is.")

CycleArgument = Annotated[int, typer.Argument(metavar="CYCLE", min=1, help="Its number, from 1.")]


@command(cycles, "skip")
async def skip_cycle(
    session: Session,
    standing_order: StandingOrderArgument,
    cycle: Annotated[
        int | None,
        typer.Argument(metavar="CYCLE", min=1, help="Default: the next that can be left out."),
    ] = None,
) -> None:
    """Leave out one cycle."""
    request = pb.SkipCycleRequest(
        name=session.name(STANDING_ORDER, standing_order),
        cycle=cycle or 0,
        request_id=new_request_id(),
    )
    session.output.one(await session.scheduler.SkipCycle(request), STANDING_ORDER_COLUMNS)


@command(cycles, "restore")
async def restore_cycle(
    session: Session, standing_order: StandingOrderArgument, cycle: CycleArgument
) -> None:
    """Take back what was changed for one cycle, or that it was left out."""
    request = pb.RestoreCycleRequest(
        name=session.name(STANDING_ORDER, standing_order), cycle=cycle, request_id=new_request_id()
    )
    session.output.one(await session.scheduler.RestoreCycle(request), STANDING_ORDER_COLUMNS)


@command(cycles, "change")
async def change_cycle(
    session: Session,
    standing_order: StandingOrderArgument,
    cycle: CycleArgument,
    day: Annotated[
        date_pb2.Date | None,
        typer.Option("--date", parser=parse_date, metavar="DATE", help="When it takes place."),
    ] = None,
    items: Annotated[
        list[str] | None,
        typer.Option("--item", metavar="PRODUCT=QUANTITY", help="All of them, as often as needed."),
    ] = None,
    ship_to: Annotated[
        postal_address_pb2.PostalAddress | None,
        typer.Option(parser=parse_address, metavar="STREET, PLACE, GB"),
    ] = None,
) -> None:
    """Change the date, the items or the address of one cycle and of no other."""
    change = pb.CycleChange(
        cycle=cycle, local_date=day, items=item_options(session, items), ship_to=ship_to
    )
    request = pb.ChangeCycleRequest(
        name=session.name(STANDING_ORDER, standing_order),
        change=change,
        request_id=new_request_id(),
    )
    session.output.one(await session.scheduler.ChangeCycle(request), STANDING_ORDER_COLUMNS)


@command(cycles, "order-now")
async def order_now(session: Session, standing_order: StandingOrderArgument) -> None:
    """Bring the next cycle forward to now; it adds none."""
    request = pb.OrderNowRequest(
        name=session.name(STANDING_ORDER, standing_order), request_id=new_request_id()
    )
    session.output.one(await session.scheduler.OrderNow(request), STANDING_ORDER_COLUMNS)
