"""Reports from the books: what was sold, and which taxes are owed."""

import csv
import io
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any

import typer
from google.protobuf.message import Message
from google.type import date_pb2, money_pb2
from recurring.payments.v1 import payments_pb2 as pb

from cli.command import command
from cli.connect import Session
from cli.names import last_id
from cli.output import Columns
from cli.values import (
    format_date,
    format_minor,
    format_money,
    format_rate,
    minor_digits,
    parse_date,
    to_minor,
)

BAR_WIDTH = 16
BLOCKS = " ▏▎▍▌▋▊▉█"

SALES_COLUMNS: Columns[pb.ProductSales] = {
    "product": lambda it: last_id(it.product) or "(no lines)",
    "title": lambda it: it.title,
    "units": lambda it: str(it.quantity),
    "orders": lambda it: str(it.charge_count),
    "net": lambda it: format_money(it.net_amount),
    "taxes": lambda it: format_money(it.tax_amount),
    "net given back": lambda it: format_money(it.refunded_net_amount),
    "taxes given back": lambda it: format_money(it.refunded_tax_amount),
}
TAX_COLUMNS: Columns[pb.TaxSummary] = {
    "to": lambda it: it.region_code,
    "tax": lambda it: last_id(it.tax_rate),
    "title": lambda it: it.title,
    "rate": lambda it: format_rate(it.rate_ppm),
    "treatment": lambda it: it.treatment,
    "on": lambda it: format_money(it.net_amount),
    "payable": lambda it: format_money(it.tax_amount),
    "on, given back": lambda it: format_money(it.refunded_net_amount),
    "given back": lambda it: format_money(it.refunded_tax_amount),
    "account": lambda it: last_id(it.account),
}


@dataclass(frozen=True)
class Days:
    """The options of a report about a range of days."""

    start: Annotated[
        date_pb2.Date | None,
        typer.Option(
            "--from", parser=parse_date, metavar="DATE", help="Default: the first of the month."
        ),
    ] = None
    end: Annotated[
        date_pb2.Date | None,
        typer.Option("--to", parser=parse_date, metavar="DATE", help="Included. Default: today."),
    ] = None
    zone: Annotated[
        str, typer.Option(help="IANA zone of the days. Default: that of the documents.")
    ] = ""
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False

    def request(self, kind: Callable[..., Any], parent: str) -> Any:  # noqa: ANN401 - of that kind
        """A request for these days."""
        return kind(
            parent=parent,
            start_date=self.start,
            end_date=self.end,
            time_zone=self.zone,
            page_size=1000,
        )


def register(books: typer.Typer) -> None:
    """Add the reports to `recurring books`."""
    command(books, "sales")(product_sales)
    command(books, "tax")(tax_summaries)


async def product_sales(session: Session, days: Days) -> None:
    """Show what was sold of each product and given back, by currency."""
    request = days.request(pb.ListProductSalesRequest, session.parent)
    report, rows = await read_report(session.payments.ListProductSales, request, "product_sales")
    if session.output.as_json:
        session.output.many(rows, SALES_COLUMNS, "")
        return
    if days.as_csv:
        print_csv(pb.ProductSales, rows)
        return
    kept = {id(it): to_minor(it.net_amount) - to_minor(it.refunded_net_amount) for it in rows}
    largest: Counter[str] = Counter()
    for it in rows:
        currency = it.net_amount.currency_code
        largest[currency] = max(largest[currency], kept[id(it)])
    lines = [
        [
            *(show(it) for show in SALES_COLUMNS.values()),
            format_minor(kept[id(it)], it.net_amount.currency_code),
            bar(kept[id(it)], largest[it.net_amount.currency_code]),
        ]
        for it in rows
    ]
    for currency in sorted(largest):
        of_currency = [it for it in rows if it.net_amount.currency_code == currency]
        sums = [
            format_minor(sum(to_minor(getattr(it, field)) for it in of_currency), currency)
            for field in (
                "net_amount", "tax_amount", "refunded_net_amount", "refunded_tax_amount",
            )
        ]  # fmt: skip
        kept_minor = sum(kept[id(it)] for it in of_currency)
        units = sum(it.quantity for it in of_currency)
        lines.append(["total", "", str(units), "", *sums, format_minor(kept_minor, currency), ""])
    session.output.rows([*SALES_COLUMNS, "net kept", ""], lines, f"nothing was sold {span(report)}")
    if rows:
        session.output.say(span(report))


async def tax_summaries(session: Session, days: Days) -> None:
    """Show the taxes that are owed, by destination and rate."""
    request = days.request(pb.ListTaxSummariesRequest, session.parent)
    report, rows = await read_report(session.payments.ListTaxSummaries, request, "tax_summaries")
    if session.output.as_json:
        session.output.many(rows, TAX_COLUMNS, "")
        return
    if days.as_csv:
        print_csv(pb.TaxSummary, rows)
        return
    owed: Counter[str] = Counter()
    lines = []
    for it in rows:
        currency = it.tax_amount.currency_code
        owed_minor = to_minor(it.tax_amount) - to_minor(it.refunded_tax_amount)
        owed[currency] += owed_minor
        lines.append(
            [*(show(it) for show in TAX_COLUMNS.values()), format_minor(owed_minor, currency)]
        )
    lines += [
        ["total", *[""] * (len(TAX_COLUMNS) - 1), format_minor(minor, currency)]
        for currency, minor in sorted(owed.items())
    ]
    session.output.rows([*TAX_COLUMNS, "owed"], lines, f"nothing was sold {span(report)}")
    if rows:
        session.output.say(span(report))


async def read_report(
    method: Callable[..., Any],
    request: Any,  # noqa: ANN401 - of that method
    field: str,
) -> tuple[Any, list[Any]]:
    """The first page of a report, which says what it is of, and all of its rows."""
    first = await method(request)
    rows, page = [*getattr(first, field)], first
    # The same days for each page, whatever day it is meanwhile.
    token_request = type(request)()
    token_request.CopyFrom(request)
    while page.next_page_token:
        token_request.page_token = page.next_page_token
        page = await method(token_request)
        rows += getattr(page, field)
    return first, rows


def span(report: Any) -> str:  # noqa: ANN401 - any report
    """Which days a report is of, in words."""
    return (
        f"{format_date(report.start_date)} to {format_date(report.end_date)} ({report.time_zone})"
    )


def bar(number: int, largest: int, width: int = BAR_WIDTH) -> str:
    """A number as a bar, the largest the widest; whatever is more than nothing can be seen."""
    if number <= 0 or largest <= 0:
        return ""
    eighths = max(1, number * width * 8 // largest)
    return "█" * (eighths // 8) + (BLOCKS[eighths % 8] if eighths % 8 else "")


def print_csv(kind: type[Message], messages: Iterable[Message]) -> None:
    """Print rows for a spreadsheet; its columns are named as the contract's fields.

    Amounts are plain decimals; all of a row have one currency, which has a column.
    """
    names = [field.name for field in kind.DESCRIPTOR.fields]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["currency", *names])
    for message in messages:
        values = [getattr(message, name) for name in names]
        [currency] = {it.currency_code for it in values if isinstance(it, money_pb2.Money)}
        writer.writerow([currency, *map(_cell, values)])
    sys.stdout.write(text.getvalue())
    sys.stdout.flush()


def _cell(value: Any) -> str:  # noqa: ANN401 - of any field
    if isinstance(value, money_pb2.Money):
        digits = minor_digits(value.currency_code)
        return f"{Decimal(to_minor(value)).scaleb(-digits):.{digits}f}"
    shown = str(value)
    # A spreadsheet takes it for a formula.
    return (
        f"'{shown}" if shown.startswith(("=", "+", "-", "@")) and isinstance(value, str) else shown
    )
