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
from cli.values import ADDRESS_HELP, parse_address, parse_date

cycles = group("Skip or change single future cycles, without a change of the standing order.")

CycleArgument = Annotated[
    int, typer.Argument(metavar="CYCLE", min=1, help="The number of the cycle, from 1.")
]


@command(cycles, "skip")
async def skip_cycle(
    session: Session,
    standing_order: StandingOrderArgument,
    cycle: Annotated[
        int | None,
        typer.Argument(
            metavar="CYCLE", min=1, help="Its number. Default: the next one that can be skipped."
        ),
    ] = None,
) -> None:
    """Skip one cycle."""
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
    """Undo the changes or the skip of one cycle."""
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
        typer.Option("--date", parser=parse_date, metavar="DATE", help="The new date."),
    ] = None,
    items: Annotated[
        list[str] | None,
        typer.Option(
            "--item", metavar="PRODUCT=QUANTITY", help="All items of the cycle. Repeatable."
        ),
    ] = None,
    ship_to: Annotated[
        postal_address_pb2.PostalAddress | None,
        typer.Option(parser=parse_address, metavar="ADDRESS", help=ADDRESS_HELP),
    ] = None,
) -> None:
    """Change the date, the items or the address of one cycle only."""
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
    """Bring the next cycle forward to now; no cycle is added."""
    request = pb.OrderNowRequest(
        name=session.name(STANDING_ORDER, standing_order), request_id=new_request_id()
    )
    session.output.one(await session.scheduler.OrderNow(request), STANDING_ORDER_COLUMNS)
