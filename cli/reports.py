"""Reports from the books: sales, taxes, what customers owe, and what was recovered."""

import csv
import io
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
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
from cli.dunning import POLICY_COLUMNS
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
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")

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
    "policy": lambda it: str(it.policy_version),
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
    if _printed(session, rows, SALES_COLUMNS, as_csv=days.as_csv, kind=pb.ProductSales):
        return
    kept = [to_minor(it.net_amount) - to_minor(it.refunded_net_amount) for it in rows]
    highest = largest([it.net_amount.currency_code for it in rows], kept)
    lines = [
        [
            *(show(it) for show in SALES_COLUMNS.values()),
            format_minor(minor, it.net_amount.currency_code),
            bar(minor, highest[it.net_amount.currency_code]),
        ]
        for it, minor in zip(rows, kept, strict=True)
    ]
    for currency in sorted(highest):
        of_currency = [it for it in rows if it.net_amount.currency_code == currency]
        sums = [
            _sum(of_currency, field)
            for field in (
                "net_amount", "tax_amount", "refunded_net_amount", "refunded_tax_amount",
            )
        ]  # fmt: skip
        units = sum(it.quantity for it in of_currency)
        amounts = [format_minor(minor, currency) for minor in (*sums, sums[0] - sums[2])]
        lines.append(["total", "", str(units), "", *amounts, ""])
    _show(session, [*SALES_COLUMNS, "net kept", ""], lines, "nothing was sold", span(report))


async def tax_summaries(session: Session, days: Days) -> None:
    """Show the taxes that are owed, by destination and rate."""
    request = days.request(pb.ListTaxSummariesRequest, session.parent)
    report, rows = await read_report(session.payments.ListTaxSummaries, request, "tax_summaries")
    if _printed(session, rows, TAX_COLUMNS, as_csv=days.as_csv, kind=pb.TaxSummary):
        return
    owed = [to_minor(it.tax_amount) - to_minor(it.refunded_tax_amount) for it in rows]
    highest = largest([it.tax_amount.currency_code for it in rows], owed)
    lines = [
        [
            *(show(it) for show in TAX_COLUMNS.values()),
            format_minor(minor, it.tax_amount.currency_code),
            bar(minor, highest[it.tax_amount.currency_code]),
        ]
        for it, minor in zip(rows, owed, strict=True)
    ]
    for currency in sorted(highest):
        of_currency = [it for it in rows if it.tax_amount.currency_code == currency]
        minor = _sum(of_currency, "tax_amount") - _sum(of_currency, "refunded_tax_amount")
        blank = [""] * (len(TAX_COLUMNS) - 1)
        lines.append(["total", *blank, format_minor(minor, currency), ""])
    _show(session, [*TAX_COLUMNS, "owed", ""], lines, "nothing was sold", span(report))


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
    if _printed(session, rows, RECEIVABLE_COLUMNS, as_csv=as_csv, kind=pb.Receivable):
        return
    when = f"at {format_timestamp(report.as_of_time)} ({report.time_zone})"
    if by_customer:
        session.output.many(rows, RECEIVABLE_COLUMNS, f"nobody owed anything {when}")
        return
    lines = []
    for currency in sorted({it.amount.currency_code for it in rows}):
        of_currency = [it for it in rows if it.amount.currency_code == currency]
        sums = {age: _sum(of_currency, field) for age, field in AGES.items()}
        owed_minor = sum(sums.values())
        lines += [
            [age, format_minor(minor, currency), share(minor, owed_minor), bar(minor, owed_minor)]
            for age, minor in sums.items()
        ]
        lines.append(["together", format_minor(owed_minor, currency), "", ""])
    session.output.rows(["due", "amount", "share", ""], lines, f"nobody owed anything {when}")
    if rows:
        customers = len({it.customer for it in rows})
        session.output.say(f"{customers} customers, {when}")


async def dunning_outcomes(session: Session, days: Days) -> None:
    """Show what of declined charges was recovered, by the policy and attempt."""
    request = days.request(pb.ListDunningOutcomesRequest, session.parent)
    method = session.payments.ListDunningOutcomes
    report, rows = await read_report(method, request, "dunning_outcomes")
    if _printed(session, rows, OUTCOME_COLUMNS, as_csv=days.as_csv, kind=pb.DunningOutcome):
        return
    lines = [
        [
            *(show(it) for show in OUTCOME_COLUMNS.values()),
            bar(it.recovered_count, it.attempt_count),
        ]
        for it in rows
    ]
    for currency, version in sorted({(it.amount.currency_code, it.policy_version) for it in rows}):
        by_policy = [
            it for it in rows if (it.amount.currency_code, it.policy_version) == (currency, version)
        ]
        lines.append(_together(by_policy, currency))
    headers = [*OUTCOME_COLUMNS, ""]
    _show(session, headers, lines, "nothing was declined", f"first declined {span(report)}")
    for policy in {it.version: it for it in report.dunning_policies}.values():
        days_between, last_resort = (
            POLICY_COLUMNS[name](policy) for name in ("retries after days", "last resort")
        )
        session.output.say(
            f"policy {policy.version}: {POLICY_COLUMNS['schedule'](policy)}, "
            f"retries after days: {days_between}, last resort: {last_resort}"
        )


def _together(by_policy: Sequence[pb.DunningOutcome], currency: str) -> list[str]:
    """What became of all charges that one policy followed."""
    declined = [it for it in by_policy if it.attempt_number == 1]
    tried = sum(it.attempt_count for it in declined)
    recovered = sum(it.recovered_count for it in by_policy)
    return [
        *(str(by_policy[0].policy_version), "together", "", str(tried)),
        format_minor(_sum(declined, "amount"), currency),
        str(recovered),
        format_minor(_sum(by_policy, "recovered_amount"), currency),
        share(recovered, tried),
        str(sum(it.given_up_count for it in by_policy)),
        str(sum(it.open_count for it in by_policy)),
        bar(recovered, tried),
    ]


def _printed(
    session: Session,
    rows: Sequence[Any],
    columns: Columns[Any],
    *,
    as_csv: bool,
    kind: type[Message],
) -> bool:
    """Print rows for a program, if one reads them; whether that was so."""
    if session.output.as_json:
        session.output.many(rows, columns, "")
    elif as_csv:
        print_csv(kind, rows)
    return session.output.as_json or as_csv


def _show(
    session: Session, headers: Sequence[str], lines: Sequence[Sequence[str]], none: str, when: str
) -> None:
    """Print a table, and when it is of."""
    session.output.rows(headers, lines, f"{none} {when}")
    if lines:
        session.output.say(when)


def _sum(rows: Iterable[Any], field: str) -> int:
    return sum(to_minor(getattr(it, field)) for it in rows)


def largest(currencies: Sequence[str], amounts_minor: Sequence[int]) -> Counter[str]:
    """By currency, the largest amount."""
    found: Counter[str] = Counter()
    for currency, minor in zip(currencies, amounts_minor, strict=True):
        found[currency] = max(found[currency], minor)
    return found


def share(part: int, whole: int) -> str:
    """A part of a whole, in per cent."""
    return f"{Decimal(100 * part) / whole:.1f} %" if whole else ""


async def read_report(
    method: Callable[..., Any],
    request: Any,  # noqa: ANN401 - of that method
    field: str,
) -> tuple[Any, list[Any]]:
    """A report with the rows of all of its pages."""
    report = page = await method(request)
    while page.next_page_token:
        request.page_token = page.next_page_token
        page = await method(request)
        report.MergeFrom(page)
    return report, list(getattr(report, field))


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
    rows = []
    for message in messages:
        values = [getattr(message, field.name) for field in fields]
        [currency] = {it.currency_code for it in values if isinstance(it, money_pb2.Money)}
        rows.append([currency, *map(_cell, fields, values)])
    print_csv_rows(["currency", *(field.name for field in fields)], rows)


def print_csv_rows(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows for a spreadsheet. What it would take for a formula is marked as text."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(headers)
    writer.writerows([_plain_text(cell) for cell in row] for row in rows)
    sys.stdout.write(text.getvalue())
    sys.stdout.flush()


def plain_amount(minor: int, currency: str) -> str:
    """An amount as a plain decimal."""
    digits = minor_digits(currency)
    return f"{Decimal(minor).scaleb(-digits):.{digits}f}"


def _cell(field: Any, value: Any) -> str:  # noqa: ANN401 - of any field
    if isinstance(value, money_pb2.Money):
        return plain_amount(to_minor(value), value.currency_code)
    if isinstance(value, timestamp_pb2.Timestamp):
        return value.ToJsonString()
    if field.enum_type is not None:
        return str(field.enum_type.values_by_number[value].name)
    return str(value)


def _plain_text(cell: str) -> str:
    is_formula = cell.startswith(("=", "+", "-", "@")) and not _NUMBER.fullmatch(cell)
    return f"'{cell}" if is_formula else cell
