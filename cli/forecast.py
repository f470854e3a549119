"""What a merchant's standing orders will want, as a table and a small plot."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Annotated

import typer
from google.type import date_pb2
from recurring.scheduler.v1 import scheduler_pb2 as pb

from cli.command import command
from cli.connect import Session
from cli.names import PRODUCT, last_id
from cli.output import Columns
from cli.values import format_date, format_minor, format_money, from_date, parse_date, to_minor

# A year of many standing orders is priced cart by cart.
FORECAST_TIMEOUT_SECONDS = 120.0
PLOT_WIDTH_MAX = 62
BLOCKS = " ▁▂▃▄▅▆▇█"

FORECAST_COLUMNS: Columns[pb.DemandForecast] = {
    "date": lambda it: format_date(it.date),
    "product": lambda it: last_id(it.product),
    "units": lambda it: str(it.units),
    "revenue": lambda it: format_money(it.revenue),
    "at list price": lambda it: format_money(it.list_revenue),
    "with taxes": lambda it: format_money(it.gross_revenue),
}


@dataclass
class ProductDemand:
    """What all days together want of one product, in minor units of one currency."""

    units: int = 0
    revenue_minor: int = 0
    list_revenue_minor: int = 0
    gross_revenue_minor: int = 0
    by_day: dict[date, int] = field(default_factory=lambda: defaultdict(int))


def register(app: typer.Typer) -> None:
    """Add `recurring forecast`."""
    command(app, "forecast")(forecast_demand)


async def forecast_demand(
    session: Session,
    start: Annotated[
        date_pb2.Date | None,
        typer.Option(
            "--from", parser=parse_date, metavar="DATE", help="The first day. Default: today."
        ),
    ] = None,
    end: Annotated[
        date_pb2.Date | None,
        typer.Option(
            "--to", parser=parse_date, metavar="DATE", help="The last day. Default: 30 days later."
        ),
    ] = None,
    product: Annotated[str, typer.Option(help="Only this product.")] = "",
    by_day: Annotated[
        bool, typer.Option("--by-day", help="One row for each day and product.")
    ] = False,
) -> None:
    """Show the expected units and revenue by product, and the cost of price protection."""
    request = pb.ForecastDemandRequest(parent=session.parent, start_date=start, end_date=end)
    response = await session.scheduler.ForecastDemand(request, timeout=FORECAST_TIMEOUT_SECONDS)
    wanted = session.name(PRODUCT, product) if product else ""
    forecasts = [forecast for forecast in response.forecasts if wanted in ("", forecast.product)]
    if by_day or session.output.as_json:
        session.output.many(forecasts, FORECAST_COLUMNS, "no standing order wants anything")
        return
    days = days_of(forecasts, start, end)
    headers = [
        "product",
        "units",
        "revenue",
        "at list price",
        "protection",
        "with taxes",
        _span(days),
    ]
    rows = [
        [
            last_id(name),
            str(demand.units),
            format_minor(demand.revenue_minor, currency),
            format_minor(demand.list_revenue_minor, currency),
            format_minor(demand.revenue_minor - demand.list_revenue_minor, currency),
            format_minor(demand.gross_revenue_minor, currency),
            plot([demand.by_day.get(day, 0) for day in days]),
        ]
        for (name, currency), demand in sorted(by_product(forecasts).items())
    ]
    session.output.rows(headers, rows, "no standing order wants anything")


def by_product(forecasts: Iterable[pb.DemandForecast]) -> dict[tuple[str, str], ProductDemand]:
    """The sums over all days, by product and currency."""
    sums: dict[tuple[str, str], ProductDemand] = defaultdict(ProductDemand)
    for forecast in forecasts:
        demand = sums[forecast.product, forecast.revenue.currency_code]
        demand.units += forecast.units
        demand.revenue_minor += to_minor(forecast.revenue)
        demand.list_revenue_minor += to_minor(forecast.list_revenue)
        demand.gross_revenue_minor += to_minor(forecast.gross_revenue)
        demand.by_day[from_date(forecast.date)] += forecast.units
    return sums


def days_of(
    forecasts: Sequence[pb.DemandForecast], start: date_pb2.Date | None, end: date_pb2.Date | None
) -> list[date]:
    """Every day that a plot shows: those asked for, or else from the first wanted to the last."""
    if not forecasts:
        return []
    first = from_date(start or forecasts[0].date)
    last = from_date(end or forecasts[-1].date)
    return [first + timedelta(days=day) for day in range((last - first).days + 1)]


def plot(numbers: Sequence[int], width: int = PLOT_WIDTH_MAX) -> str:
    """Numbers as a row of blocks, the largest the tallest; days share blocks if they are many.

    Whatever is more than nothing can be seen.
    """
    share = -(-len(numbers) // width) or 1
    sums = [sum(numbers[start : start + share]) for start in range(0, len(numbers), share)]
    tallest = max(sums, default=0) or 1
    return "".join(BLOCKS[-(-number * (len(BLOCKS) - 1) // tallest)] for number in sums)


def _span(days: Sequence[date]) -> str:
    return f"{days[0]} … {days[-1]}" if days else ""
