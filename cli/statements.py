"""Statements of customers: as tables, and as files."""

from pathlib import Path
from typing import Annotated

import typer
from recurring.payments.v1 import payments_pb2 as pb

from cli.command import command, one_of
from cli.connect import Session
from cli.names import CUSTOMER, last_id, short_name
from cli.output import Columns
from cli.values import format_date, format_money, format_timestamp

SUMS_COLUMNS: Columns[pb.Statement.Sums] = {
    "opening balance": lambda it: format_money(it.opening_amount),
    "invoiced": lambda it: format_money(it.invoiced_amount),
    "paid": lambda it: format_money(it.paid_amount),
    "credited": lambda it: format_money(it.credited_amount),
    "refunded": lambda it: format_money(it.refunded_amount),
    "closing balance": lambda it: format_money(it.closing_amount),
    "due": lambda it: format_money(it.due_amount),
}
ENTRY_COLUMNS: Columns[pb.Statement.Entry] = {
    "booked": lambda it: format_timestamp(it.book_time),
    "entry": lambda it: pb.Statement.Entry.Type.Name(it.type),
    "document": lambda it: it.document_number,
    "for": lambda it: short_name(it.source),
    "amount": lambda it: format_money(it.amount),
    "balance": lambda it: format_money(it.balance),
}


def register(documents: typer.Typer) -> None:
    """Add `recurring documents statement`."""
    command(documents, "statement")(show_statement)


async def show_statement(
    session: Session,
    customer: Annotated[str, typer.Argument(metavar="CUSTOMER", help="Id or resource name.")],
    period: Annotated[
        str, typer.Argument(metavar="PERIOD", help="A month or a year: 2027-01, 2027.")
    ],
    file_format: Annotated[
        pb.DownloadDocumentRequest.Format.ValueType,
        one_of(pb.DownloadDocumentRequest.Format, "Save it as a file instead.", "--format"),
    ] = pb.DownloadDocumentRequest.FORMAT_UNSPECIFIED,
    language: Annotated[
        str, typer.Option(metavar="CODE", help="Of the file. Default: that of the documents.")
    ] = "",
    output: Annotated[
        Path | None, typer.Option(help="Where to save it. Default: here, by its name.")
    ] = None,
) -> None:
    """Show what a customer was invoiced, paid and got back in a month or a year."""
    name = f"{session.name(CUSTOMER, customer)}/statements/{period}"
    if file_format:
        download = pb.DownloadStatementRequest(
            name=name, format=file_format, language_code=language
        )
        file = await session.payments.DownloadStatement(download)
        session.output.save(file.content, output or Path(file.file_name), file.sha256)
        return
    if language or output:
        raise typer.BadParameter("is of a file", param_hint="'--language', '--output'")
    statement = await session.payments.GetStatement(pb.GetStatementRequest(name=name))
    if session.output.as_json:
        session.output.one(statement, {})
        return
    span = f"{format_date(statement.start_date)} to {format_date(statement.end_date)}"
    open_or_not = "" if statement.complete else ", not closed yet"
    buyer = f" ({statement.buyer.display_name})" if statement.HasField("buyer") else ""
    session.output.say(
        f"{last_id(statement.customer)}{buyer}, {span} ({statement.time_zone}){open_or_not}"
    )
    if statement.entries:
        session.output.many(statement.entries, ENTRY_COLUMNS, "")
    if statement.months:
        headers = ["month", *list(SUMS_COLUMNS)[:-1]]
        rows = [
            [
                format_date(month.start_date)[:7],
                *[show(sums) for show in list(SUMS_COLUMNS.values())[:-1]],
            ]
            for month in statement.months
            for sums in month.sums
        ]
        session.output.rows(headers, rows, "")
    session.output.many(statement.sums, SUMS_COLUMNS, "nothing was booked")
