"""What was sent to customers, counted, and what it cost."""

import csv
import io
import sys
from collections.abc import Iterable
from decimal import Decimal
from typing import Annotated, Any

import typer
from google.type import date_pb2, money_pb2
from recurring.notify.v1 import notify_pb2 as pb

from cli.command import command, one_of
from cli.connect import Session, all_pages
from cli.output import Columns
from cli.values import NANOS_PER_UNIT, format_date, parse_date

Dimension = pb.NoticeStatistics.Dimension
BY_DEFAULT = (Dimension.Value("CHANNEL"), Dimension.Value("REGION"), Dimension.Value("STATE"))


def _decimal(money: money_pb2.Money) -> Decimal:
    """An amount with fractions of a cent, if it has any."""
    amount = Decimal(money.units) + Decimal(money.nanos) / NANOS_PER_UNIT
    cents = amount.quantize(Decimal("0.01"))
    return cents if cents == amount else amount.normalize()


def _name(enum: Any, number: int) -> str:  # noqa: ANN401 - enums share no type
    """The name of a value; empty if it is not set."""
    return str(enum.Name(number)) if number else ""


STATISTICS_COLUMNS: Columns[pb.NoticeStatistics] = {
    "day": lambda it: format_date(it.date),
    "channel": lambda it: _name(pb.Channel, it.channel),
    "country": lambda it: it.region_code,
    "kind": lambda it: _name(pb.NoticeKind, it.kind),
    "state": lambda it: _name(pb.Notice.Delivery.State, it.state),
    "messages": lambda it: str(it.delivery_count),
    "segments": lambda it: str(it.segment_count),
    "cost": lambda it: ", ".join(f"{_decimal(cost):f} {cost.currency_code}" for cost in it.costs),
}
# The columns of what rows are counted by.
_OF_DIMENSIONS = {
    "DAY": "day", "CHANNEL": "channel", "REGION": "country", "KIND": "kind", "STATE": "state",
}  # fmt: skip


def register(notices: typer.Typer) -> None:
    """Add the statistics to `recurring notices`."""
    command(notices, "statistics")(notice_statistics)


async def notice_statistics(
    session: Session,
    start: Annotated[
        date_pb2.Date | None,
        typer.Option(
            "--from", parser=parse_date, metavar="DATE", help="Default: the first of the month."
        ),
    ] = None,
    end: Annotated[
        date_pb2.Date | None,
        typer.Option("--to", parser=parse_date, metavar="DATE", help="Included. Default: today."),
    ] = None,
    by: Annotated[
        list[Dimension.ValueType] | None,
        one_of(Dimension, "By what they are counted. Default: channel, region and state.", "--by"),
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
) -> None:
    """Count the messages of days (UTC) by channel, country, kind and state, and what they cost."""
    dimensions = by or list(BY_DEFAULT)
    request = pb.ListNoticeStatisticsRequest(
        parent=session.parent, start_date=start, end_date=end, dimensions=dimensions
    )
    rows = await all_pages(session.notify.ListNoticeStatistics, request, "notice_statistics")
    if as_csv and not session.output.as_json:
        _print_csv(rows)
        return
    hidden = {
        column for name, column in _OF_DIMENSIONS.items() if Dimension.Value(name) not in dimensions
    }
    columns = {name: show for name, show in STATISTICS_COLUMNS.items() if name not in hidden}
    session.output.many(rows, columns, "no messages")


def _print_csv(rows: Iterable[pb.NoticeStatistics]) -> None:
    """Print rows for a spreadsheet, with a column of costs for each currency."""
    currencies = sorted({cost.currency_code for row in rows for cost in row.costs})
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    counted = [name for name in STATISTICS_COLUMNS if name != "cost"]
    writer.writerow([*counted, *(f"cost {currency}" for currency in currencies)])
    for row in rows:
        costs = {cost.currency_code: f"{_decimal(cost):f}" for cost in row.costs}
        writer.writerow(
            [
                *(STATISTICS_COLUMNS[name](row) for name in counted),
                *(costs.get(currency, "") for currency in currencies),
            ]
        )
    sys.stdout.write(text.getvalue())
    sys.stdout.flush()
