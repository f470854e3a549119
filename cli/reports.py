"""Reports from the books: sales, taxes, what customers owe, and what was recovered."""

import csv
import io
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

import typer
from google.protobuf import timestamp_pb2
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
    format_timestamp,
    minor_digits,
    parse_date,
    parse_moment,
    to_minor,
    to_timestamp,
)

BAR_WIDTH = 16
PAGE_SIZE = 1000
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
RECEIVABLE_COLUMNS: Columns[pb.Receivable] = {
    "customer": lambda it: last_id(it.customer),
    "charges": lambda it: str(it.charge_count),
    "oldest due": lambda it: format_timestamp(it.oldest_due_time),
    "current": lambda it: format_money(it.current_amount),
    "1-30 days": lambda it: format_money(it.days_1_to_30_amount),
    "31-60 days": lambda it: format_money(it.days_31_to_60_amount),
    "61-90 days": lambda it: format_money(it.days_61_to_90_amount),
    "over 90 days": lambda it: format_money(it.over_90_days_amount),
    "together": lambda it: format_money(it.amount),
}
OUTCOME_COLUMNS: Columns[pb.DunningOutcome] = {
    "attempt": lambda it: str(it.attempt_number),
    "by": lambda it: pb.DunningOutcome.Means.Name(it.means),
    "tried": lambda it: str(it.attempt_count),
    "amount": lambda it: format_money(it.amount),
    "recovered": lambda it: str(it.recovered_count),
    "amount recovered": lambda it: format_money(it.recovered_amount),
    "rate": lambda it: share(it.recovered_count, it.attempt_count),
    "given up": lambda it: str(it.given_up_count),
    "open": lambda it: str(it.open_count),
}
AGES = {
    "current": "current_amount",
    "1-30 days": "days_1_to_30_amount",
    "31-60 days": "days_31_to_60_amount",
    "61-90 days": "days_61_to_90_amount",
    "over 90 days": "over_90_days_amount",
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
            page_size=PAGE_SIZE,
        )


def register(books: typer.Typer) -> None:
    """Add the reports to `recurring books`."""
    command(books, "sales")(product_sales)
    command(books, "tax")(tax_summaries)
    command(books, "receivables")(receivables)
    command(books, "recovered")(dunning_outcomes)


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


async def receivables(
    session: Session,
    at: Annotated[
        datetime | None, typer.Option(parser=parse_moment, metavar="TIME", help="Default: now.")
    ] = None,
    zone: Annotated[
        str, typer.Option(help="IANA zone of the days. Default: that of the documents.")
    ] = "",
    by_customer: Annotated[
        bool, typer.Option("--by-customer", help="One row for each customer and currency.")
    ] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, by customer.")] = False,
) -> None:
    """Show what customers owe, by how long ago it was due."""
    request = pb.ListReceivablesRequest(
        parent=session.parent,
        as_of_time=to_timestamp(at),
        time_zone=zone,
        page_size=PAGE_SIZE,
    )
    report, rows = await read_report(session.payments.ListReceivables, request, "receivables")
    if as_csv:
        print_csv(pb.Receivable, rows)
        return
    when = f"{format_timestamp(report.as_of_time)} ({report.time_zone})"
    if by_customer or session.output.as_json:
        session.output.many(rows, RECEIVABLE_COLUMNS, f"nobody owed anything at {when}")
        return
    lines = []
    for currency in sorted({it.amount.currency_code for it in rows}):
        of_currency = [it for it in rows if it.amount.currency_code == currency]
        sums = {
            age: sum(to_minor(getattr(it, field)) for it in of_currency)
            for age, field in AGES.items()
        }
        owed_minor = sum(sums.values())
        lines += [
            [age, format_minor(minor, currency), share(minor, owed_minor), bar(minor, owed_minor)]
            for age, minor in sums.items()
        ]
        lines.append(["together", format_minor(owed_minor, currency), "", ""])
    headers = ["due", "amount", "share", ""]
    session.output.rows(headers, lines, f"nobody owed anything at {when}")
    if rows:
        customers = len({it.customer for it in rows})
        session.output.say(f"{customers} customers, at {when}")


async def dunning_outcomes(session: Session, days: Days) -> None:
    """Show what of declined charges was recovered, by attempt."""
    request = days.request(pb.ListDunningOutcomesRequest, session.parent)
    method = session.payments.ListDunningOutcomes
    report, rows = await read_report(method, request, "dunning_outcomes")
    if days.as_csv:
        print_csv(pb.DunningOutcome, rows)
        return
    if session.output.as_json:
        session.output.many(rows, OUTCOME_COLUMNS, "")
        return
    lines = [[show(it) for show in OUTCOME_COLUMNS.values()] for it in rows]
    for currency in sorted({it.amount.currency_code for it in rows}):
        of_currency = [it for it in rows if it.amount.currency_code == currency]
        declined = [it for it in of_currency if it.attempt_number == 1]
        tried = sum(it.attempt_count for it in declined)
        recovered = sum(it.recovered_count for it in of_currency)
        lines.append(
            [
                *("together", "", str(tried)),
                format_minor(sum(to_minor(it.amount) for it in declined), currency),
                str(recovered),
                format_minor(sum(to_minor(it.recovered_amount) for it in of_currency), currency),
                share(recovered, tried),
                str(sum(it.given_up_count for it in of_currency)),
                str(sum(it.open_count for it in of_currency)),
            ]
        )
    session.output.rows(list(OUTCOME_COLUMNS), lines, f"nothing was declined {span(report)}")
    if rows:
        session.output.say(f"first declined {span(report)}")


def share(part: int, whole: int) -> str:
    """A part of a whole, in per cent."""
    return f"{Decimal(100 * part) / whole:.1f} %" if whole else ""


async def read_report(
    method: Callable[..., Any],
    request: Any,  # noqa: ANN401 - of that method
    field: str,
) -> tuple[Any, list[Any]]:
    """The first page of a report, which says what it is of, and all of its rows."""
    first = await method(request)
    rows, page = [*getattr(first, field)], first
    while page.next_page_token:
        request.page_token = page.next_page_token
        page = await method(request)
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
    fields: Any = list(kind.DESCRIPTOR.fields)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["currency", *(field.name for field in fields)])
    for message in messages:
        values = [getattr(message, field.name) for field in fields]
        [currency] = {it.currency_code for it in values if isinstance(it, money_pb2.Money)}
        writer.writerow([currency, *map(_cell, fields, values)])
    sys.stdout.write(text.getvalue())
    sys.stdout.flush()


def _cell(field: Any, value: Any) -> str:  # noqa: ANN401 - of any field
    if isinstance(value, money_pb2.Money):
        digits = minor_digits(value.currency_code)
        return f"{Decimal(to_minor(value)).scaleb(-digits):.{digits}f}"
    if isinstance(value, timestamp_pb2.Timestamp):
        return value.ToJsonString()
    if field.enum_type is not None:
        return str(field.enum_type.values_by_number[value].name)
    # A spreadsheet takes it for a formula.
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@")):
        return f"'{value}"
    return str(value)
