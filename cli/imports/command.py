"""`recurring import FILE`."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from google.protobuf.json_format import MessageToDict
from recurring.scheduler.v1 import scheduler_pb2 as pb

from cli.command import FAILED, command
from cli.connect import Session
from cli.errors import CommandError
from cli.imports.rows import RowError
from cli.imports.sending import describe_errors, read_book, send, show_errors, summary, to_data
from cli.imports.table import STANDING_ORDERS
from cli.values import format_date, format_money


def register(app: typer.Typer) -> None:
    """Add the command to the app."""

    @command(app, "import")
    async def import_standing_orders(
        session: Session,
        file: Annotated[
            Path, typer.Argument(metavar="FILE", help="A .csv, .jsonl or .ndjson file.")
        ],
        dry_run: Annotated[
            bool, typer.Option("--dry-run", help="Validate the file, and store nothing.")
        ] = False,
        partial: Annotated[
            bool, typer.Option("--partial", help="Store the valid rows even if others are invalid.")
        ] = False,
        allow_duplicate: Annotated[
            bool,
            typer.Option(
                "--allow-duplicate",
                help="Accept several standing orders of a customer for one product.",
            ),
        ] = False,
        shadow: Annotated[
            int,
            typer.Option(
                min=0, max=12, help="Also show the prices of so many next cycles of each row."
            ),
        ] = 0,
    ) -> None:
        """Import standing orders of another system; docs/import.md describes the file.

        All rows are imported or none, unless --partial is given. Repeating an import changes nothing.
        """
        book = read_book(file, session.merchant, STANDING_ORDERS)
        if book.errors and not (dry_run or partial):
            raise CommandError(describe_errors(file, book.errors))
        config = pb.ImportConfig(
            parent=session.parent,
            dry_run=dry_run,
            partial=partial,
            allow_duplicate=allow_duplicate,
            shadow_cycle_count=shadow,
        )
        call, request = session.scheduler.ImportStandingOrders, pb.ImportStandingOrdersRequest
        response = await send(session, call, request, config, book.rows)
        good = len(book.rows) - response.unchanged_count - response.refused_count
        lines = [row.line for row in book.rows]
        errors = sorted([*book.errors, *_errors(response, lines)], key=lambda error: error.line)
        response.refused_count += len({error.line for error in book.errors})
        if book.errors and not partial:
            response.imported_count = 0
        if session.output.as_json:
            session.output.data(_data(response, errors, lines))
        else:
            _show(session, response, errors, lines)
            session.output.say(summary(response, good, dry_run=dry_run))
        if response.refused_count:
            raise typer.Exit(FAILED)


def _errors(response: pb.ImportStandingOrdersResponse, lines: Sequence[int]) -> Iterator[RowError]:
    """What the service found wrong, by line."""
    for problem in response.problems:
        yield RowError(
            lines[problem.row - 1],
            problem.standing_order_id,
            problem.field,
            problem.description,
            problem.reason,
        )


def _data(
    response: pb.ImportStandingOrdersResponse, errors: Sequence[RowError], lines: Sequence[int]
) -> dict[str, Any]:
    """The answer for programs, with the line of each row."""
    data = MessageToDict(response, always_print_fields_with_no_presence=True)
    for shadow_bill in data["shadowBills"]:
        shadow_bill["line"] = lines[shadow_bill["row"] - 1]
    data["problems"] = to_data(errors, "standingOrderId")
    return data


def _show(
    session: Session,
    response: pb.ImportStandingOrdersResponse,
    errors: Sequence[RowError],
    lines: Sequence[int],
) -> None:
    show_errors(session, errors, "standing order")
    if response.shadow_bills:
        session.output.rows(
            ["line", "standing order", "cycle", "date", "amount", "left out or not priced"],
            [
                [str(lines[bill.row - 1]), bill.standing_order_id, *_cycle(cycle)]
                for bill in response.shadow_bills
                for cycle in bill.cycles
            ],
            "",
        )


def _cycle(cycle: pb.CyclePreview) -> list[str]:
    reasons = [cycle.skip_reason] if cycle.skip_reason else list(cycle.problems)
    return [
        str(cycle.cycle),
        format_date(cycle.local_date),
        format_money(cycle.amount),
        ", ".join(map(pb.OrderReason.Name, reasons)),
    ]
