"""What is to come of a standing order: as a list, as a calendar, and before and after a change."""

from calendar import Calendar, month_name
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Annotated

import typer
from recurring.payments.v1 import payments_pb2
from recurring.scheduler.v1 import scheduler_pb2 as pb
from rich.columns import Columns as SideBySide
from rich.text import Text

from cli.command import command
from cli.connect import Session
from cli.names import STANDING_ORDER, last_id
from cli.output import PROSE_WIDTH_COLUMNS, Columns
from cli.values import format_date, format_money, format_timestamp, from_date

StandingOrderArgument = Annotated[
    str, typer.Argument(metavar="STANDING_ORDER", help="Id or resource name.")
]

# A day with its mark is four columns wide; a week is seven of them.
DAY_WIDTH = 4
WEEKDAYS = ("Mo", "Tu", "We", "Th", "Fr", "Sa", "Su")
LEGEND = "[31] due   (31) left out   !31! something is in the way"
SIDE_BY_SIDE = ("cycle", "date", "amount", "", "would be", "amount")

PREVIEW_COLUMNS: Columns[pb.CyclePreview] = {
    "cycle": lambda it: str(it.cycle),
    "date": lambda it: format_date(it.local_date),
    "due": lambda it: format_timestamp(it.due_time),
    "announced": lambda it: format_timestamp(it.notice_time),
    "items": lambda it: ", ".join(f"{line.quantity} {last_id(line.product)}" for line in it.lines),
    "amount": lambda it: format_money(it.amount),
    "why": lambda it: ", ".join(
        sorted({step.kind for line in it.lines for step in line.adjustments})
    ),
    "left out": lambda it: pb.OrderReason.Name(it.skip_reason) if it.skip_reason else "",
    "in the way": lambda it: ", ".join(map(pb.OrderReason.Name, it.problems)),
    "mandate": lambda it: ", ".join(map(payments_pb2.RefusalReason.Name, it.mandate_reasons)),
    "conditions": lambda it: " ".join(it.unmet_conditions),
}


def register(app: typer.Typer) -> None:
    """Add `recurring preview`."""
    command(app, "preview")(preview_cycles)


async def preview_cycles(
    session: Session,
    standing_order: StandingOrderArgument,
    cycles: Annotated[int, typer.Option(min=1, help="How many cycles.")] = 12,
    calendar: Annotated[bool, typer.Option(help="Also show a calendar.")] = True,
) -> None:
    """Show the next cycles of a standing order: dates, amounts and reasons. Nothing is stored."""
    request = pb.PreviewCyclesRequest(
        name=session.name(STANDING_ORDER, standing_order), cycle_count=cycles
    )
    response = await session.scheduler.PreviewCycles(request)
    if calendar and response.cycles and not session.output.as_json:
        grids = SideBySide(months(response.cycles), padding=(0, 3))
        session.output.console.print(grids, width=PROSE_WIDTH_COLUMNS)
        session.output.say(f"{LEGEND}\n")
    session.output.many(response.cycles, PREVIEW_COLUMNS, "no further cycles")


def months(cycles: Iterable[pb.CyclePreview]) -> list[Text]:
    """Each month that has a cycle, as a grid of its days with those of cycles marked."""
    marked = {from_date(cycle.local_date): cycle for cycle in cycles}
    months = sorted({(day.year, day.month) for day in marked})
    return [_month(year, month, marked) for year, month in months]


def side_by_side(response: pb.PreviewStandingOrderUpdateResponse) -> list[Sequence[str]]:
    """A row a cycle: as it is, and as a change would make it where that is different."""
    before = {cycle.cycle: cycle for cycle in response.before}
    after = {cycle.cycle: cycle for cycle in response.after}
    rows: list[Sequence[str]] = []
    for cycle in sorted(before | after):
        was, would_be = _date_and_amount(before.get(cycle)), _date_and_amount(after.get(cycle))
        arrow = "=" if was == would_be else "→"
        rows.append((str(cycle), *was, arrow, *would_be))
    return rows


def _date_and_amount(cycle: pb.CyclePreview | None) -> tuple[str, str]:
    if cycle is None:
        return "none", ""
    if cycle.skip_reason:
        return format_date(cycle.local_date), pb.OrderReason.Name(cycle.skip_reason)
    problems = map(pb.OrderReason.Name, cycle.problems)
    shown = ", ".join(filter(None, [format_money(cycle.amount), *problems]))
    return format_date(cycle.local_date), shown


def _month(year: int, month: int, marked: Mapping[date, pb.CyclePreview]) -> Text:
    title = f"{month_name[month]} {year}".center(DAY_WIDTH * len(WEEKDAYS))
    grid = Text(no_wrap=True)
    grid.append(f"{title}\n", style="bold")
    grid.append("".join(f" {name} " for name in WEEKDAYS) + "\n", style="dim")
    for week in Calendar().monthdatescalendar(year, month):
        for day in week:
            grid.append(*(_day(day, marked.get(day)) if day.month == month else ("    ", "")))
        grid.append("\n")
    return grid


def _day(day: date, cycle: pb.CyclePreview | None) -> tuple[str, str]:
    if cycle is None:
        return f" {day.day:2} ", ""
    if cycle.skip_reason:
        return f"({day.day:2})", "dim"
    if cycle.problems:
        return f"!{day.day:2}!", "bold red"
    return f"[{day.day:2}]", "bold green"
