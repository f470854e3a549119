"""What was sold beside what is expected, or was forecast once."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated

import typer
from google.protobuf.json_format import ParseDict, ParseError
from google.type import date_pb2
from recurring.payments.v1 import payments_pb2
from recurring.scheduler.v1 import scheduler_pb2

from cli.command import command
from cli.connect import Session
from cli.errors import CommandError
from cli.forecast import FORECAST_TIMEOUT_SECONDS
from cli.names import last_id
from cli.reports import (
    BAR_WIDTH,
    PAGE_SIZE,
    largest,
    plain_amount,
    print_csv_rows,
    read_report,
    share,
    span,
)
from cli.values import format_minor, from_date, parse_date, to_date, to_minor

FILE_MAX_BYTES = 64 * 1024**2
# Of a bar: what is sold, and what is expected.
SOLD, EXPECTED = "█", "░"


@dataclass
class Sum:
    """Units of a product, and what customers pay for them, taxes included."""

    units: int = 0
    gross_minor: int = 0


# By product and currency.
Sums = dict[tuple[str, str], Sum]


def register(books: typer.Typer) -> None:
    """Add `recurring books forecast`."""
    command(books, "forecast")(forecast_and_sales)


async def forecast_and_sales(
    session: Session,
    start: Annotated[
        date_pb2.Date | None,
        typer.Option(
            "--from", parser=parse_date, metavar="DATE", help="Default: the first of the month."
        ),
    ] = None,
    end: Annotated[
        date_pb2.Date | None,
        typer.Option(
            "--to", parser=parse_date, metavar="DATE", help="Default: the last day of the month."
        ),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Compare what `recurring forecast --json` said then with what was sold.",
        ),
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
) -> None:
    """Show what was sold and is expected yet, or how a forecast of then turned out."""
    if against is not None:
        if start or end:
            raise typer.BadParameter("a forecast has its own days", param_hint="'--against'")
        await _compare(session, read_forecast(against), as_csv=as_csv)
        return
    report, sold = await _sold(session, start, None)
    today = from_date(report.end_date)
    last = end or to_date(_last_of_month(today))
    request = scheduler_pb2.ForecastDemandRequest(parent=session.parent, end_date=last)
    response = await session.scheduler.ForecastDemand(request, timeout=FORECAST_TIMEOUT_SECONDS)
    expected = _sums_of(response.forecasts)
    if as_csv:
        _print_csv(sold, "expected", expected)
        return
    _show_expected(session, sold, expected, f"{span(report)}, and until {from_date(last)}")


def _last_of_month(day: date) -> date:
    next_month = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
    return next_month - timedelta(days=1)


def _show_expected(session: Session, sold: Sums, expected: Sums, days: str) -> None:
    together: Counter[tuple[str, str]] = Counter()
    for sums in (sold, expected):
        for key, it in sums.items():
            together[key] += it.gross_minor
    widest = largest([currency for _, currency in together], list(together.values()))
    rows = []
    for key in sorted(together):
        product, currency = key
        was, will = sold.get(key, Sum()), expected.get(key, Sum())
        rows.append(
            [
                product or "(no lines)",
                *(str(was.units), format_minor(was.gross_minor, currency)),
                *(str(will.units), format_minor(will.gross_minor, currency)),
                format_minor(together[key], currency),
                _bar(was.gross_minor, will.gross_minor, widest[currency]),
            ]
        )
    for currency in sorted(widest):
        was_minor, will_minor = (
            sum(it.gross_minor for (_, code), it in sums.items() if code == currency)
            for sums in (sold, expected)
        )
        all_minor = was_minor + will_minor
        rows.append(
            [
                *("total", "", format_minor(was_minor, currency)),
                *("", format_minor(will_minor, currency), format_minor(all_minor, currency)),
                f"{share(was_minor, all_minor)} sold",
            ]
        )
    headers = ["product", "units sold", "sold", "units expected", "expected", "together", ""]
    _print(session, headers, rows, f"nothing was sold or is expected {days}", days)


def _bar(sold_minor: int, expected_minor: int, widest_minor: int) -> str:
    if widest_minor <= 0:
        return ""
    sold = sold_minor * BAR_WIDTH // widest_minor
    both = (sold_minor + expected_minor) * BAR_WIDTH // widest_minor
    return SOLD * sold + EXPECTED * (both - sold)


async def _compare(
    session: Session, forecasts: Sequence[scheduler_pb2.DemandForecast], *, as_csv: bool
) -> None:
    days = [from_date(forecast.date) for forecast in forecasts]
    report, sold = await _sold(session, to_date(min(days)), None)
    today = from_date(report.end_date)
    if max(days) < today:
        report, sold = await _sold(session, to_date(min(days)), to_date(max(days)))
    last = from_date(report.end_date)
    forecast = _sums_of(it for it in forecasts if from_date(it.date) <= last)
    if as_csv:
        _print_csv(sold, "forecast", forecast)
        return
    keys = sorted({*forecast, *sold})
    widest = largest(
        [currency for _, currency in keys],
        [max(sums.get(key, Sum()).gross_minor for sums in (forecast, sold)) for key in keys],
    )
    rows = []
    for key in keys:
        product, currency = key
        said, was = forecast.get(key, Sum()), sold.get(key, Sum())
        difference_minor = was.gross_minor - said.gross_minor
        rows.append(
            [
                product or "(no lines)",
                *(str(said.units), str(was.units), f"{was.units - said.units:+d}"),
                *(format_minor(it.gross_minor, currency) for it in (said, was)),
                format_minor(difference_minor, currency),
                share(was.gross_minor, said.gross_minor),
                _bar(was.gross_minor, max(0, -difference_minor), widest[currency]),
            ]
        )
    headers = [
        "product", "units forecast", "units sold", "units more", "forecast", "sold", "difference",
        "of the forecast", "",
    ]  # fmt: skip
    _print(session, headers, rows, f"nothing was forecast or sold {span(report)}", span(report))


def _print(
    session: Session, headers: Sequence[str], rows: Sequence[Sequence[str]], none: str, days: str
) -> None:
    if session.output.as_json:
        session.output.data([dict(zip(headers, row, strict=True)) for row in rows])
        return
    session.output.rows(headers, rows, none)
    if rows:
        session.output.say(days)


def _print_csv(sold: Sums, name: str, others: Sums) -> None:
    """Print for a spreadsheet what was sold of each product beside what was said of it."""
    rows = []
    for key in sorted({*sold, *others}):
        product, currency = key
        was, said = sold.get(key, Sum()), others.get(key, Sum())
        amounts = [plain_amount(it.gross_minor, currency) for it in (was, said)]
        rows.append([currency, product, str(was.units), amounts[0], str(said.units), amounts[1]])
    print_csv_rows(["currency", "product", "units_sold", "sold", f"units_{name}", name], rows)


async def _sold(
    session: Session, start: date_pb2.Date | None, end: date_pb2.Date | None
) -> tuple[payments_pb2.ListProductSalesResponse, Sums]:
    request = payments_pb2.ListProductSalesRequest(
        parent=session.parent, start_date=start, end_date=end, page_size=PAGE_SIZE
    )
    report, rows = await read_report(session.payments.ListProductSales, request, "product_sales")
    return report, {
        (last_id(it.product), it.net_amount.currency_code): Sum(
            it.quantity, to_minor(it.net_amount) + to_minor(it.tax_amount)
        )
        for it in rows
    }


def _sums_of(forecasts: Iterable[scheduler_pb2.DemandForecast]) -> Sums:
    sums: Sums = defaultdict(Sum)
    for it in forecasts:
        of_product = sums[last_id(it.product), it.gross_revenue.currency_code]
        of_product.units += it.units
        of_product.gross_minor += to_minor(it.gross_revenue)
    return dict(sums)


def read_forecast(file: Path) -> list[scheduler_pb2.DemandForecast]:
    """What `recurring forecast --json` wrote. Raises CommandError for anything else."""
    try:
        with file.open("rb") as opened:
            content = opened.read(FILE_MAX_BYTES + 1)
        if len(content) > FILE_MAX_BYTES:
            raise CommandError(f"{file}: has more than {FILE_MAX_BYTES} bytes")
        read = [ParseDict(it, scheduler_pb2.DemandForecast()) for it in json.loads(content)]
        if not read or not all(it.date.day and it.product for it in read):
            raise CommandError(f"{file}: is a forecast of nothing")
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}") from error
    except (ValueError, TypeError, ParseError) as error:
        raise CommandError(f"{file}: is not what `recurring forecast --json` prints") from error
    return read
