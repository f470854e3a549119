"""`recurring import FILE`."""

import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from google.protobuf.json_format import MessageToDict
from recurring.scheduler.v1 import scheduler_pb2 as pb
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from cli.command import FAILED, command
from cli.connect import Session
from cli.errors import CommandError
from cli.imports.rows import Book, FileRow, RowError, read_json_lines, read_text, sort_out
from cli.imports.table import read_table
from cli.values import format_date, format_money

IMPORT_DEADLINE_SECONDS = 600.0
# More would scroll away what there is to read.
SHOWN_ERRORS_MAX = 50
# What shows without asking the service has no reason of its.
UNREADABLE = "UNREADABLE"
SUFFIXES = {".csv": "CSV", ".jsonl": "JSON Lines", ".ndjson": "JSON Lines"}


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
        book = read_book(file, session.merchant)
        if book.errors and not (dry_run or partial):
            raise CommandError(describe_errors(file, book.errors))
        config = pb.ImportConfig(
            parent=session.parent,
            dry_run=dry_run,
            partial=partial,
            allow_duplicate=allow_duplicate,
            shadow_cycle_count=shadow,
        )
        response = await _send(session, config, book.rows)
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


def read_book(file: Path, merchant: str) -> Book:
    """All rows of a file, and what is wrong with those that cannot be read.

    Raises CommandError if the file as a whole cannot be read, or has no rows.
    """
    kind = SUFFIXES.get(file.suffix.lower())
    if kind is None:
        raise CommandError(f"{file}: name it {', '.join(SUFFIXES)}, for what it contains")
    text = read_text(file)
    read = read_table(str(file), text, merchant) if kind == "CSV" else read_json_lines(text)
    book = sort_out(read)
    if not (book.rows or book.errors):
        raise CommandError(f"{file} has no rows")
    return book


def describe_errors(file: Path, errors: Sequence[RowError]) -> str:
    """What is wrong with a file that is not sent, line by line."""
    shown = [
        f"  line {error.line}: {error.field}: {error.description}"
        if error.field
        else f"  line {error.line}: {error.description}"
        for error in sorted(errors, key=lambda error: error.line)[:SHOWN_ERRORS_MAX]
    ]
    if len(errors) > SHOWN_ERRORS_MAX:
        shown.append(f"  and {len(errors) - SHOWN_ERRORS_MAX} more")
    return "\n".join(
        [f"{file}: nothing was sent; mend these; --dry-run shows what else is wrong", *shown]
    )


async def _send(
    session: Session, config: pb.ImportConfig, rows: Sequence[FileRow]
) -> pb.ImportStandingOrdersResponse:
    with _new_progress() as progress:
        task = progress.add_task("sending", total=len(rows))

        def sent(count: int) -> None:
            progress.update(task, completed=count)
            if count == len(rows):
                # How far the service is with them, it tells at the end only.
                progress.add_task(
                    "checking" if config.dry_run else "checking and storing", total=None
                )

        answer: pb.ImportStandingOrdersResponse = await session.scheduler.ImportStandingOrders(
            _requests(config, rows, sent),
            metadata=session.metadata,
            timeout=IMPORT_DEADLINE_SECONDS,
        )
    return answer


async def _requests(
    config: pb.ImportConfig, rows: Sequence[FileRow], sent: Callable[[int], None]
) -> AsyncIterator[pb.ImportStandingOrdersRequest]:
    """The stream; of a large book, the service takes rows no faster than it checks them."""
    yield pb.ImportStandingOrdersRequest(config=config)
    for count, row in enumerate(rows):
        sent(count)
        yield pb.ImportStandingOrdersRequest(row=row.message)
    sent(len(rows))


def _new_progress() -> Progress:
    """A bar over rows; beside the output, which may go into a file."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )


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
    data["problems"] = [
        {
            "line": error.line,
            "standingOrderId": error.standing_order,
            "field": error.field,
            "reason": error.reason or UNREADABLE,
            "description": error.description,
        }
        for error in errors
    ]
    return data


def _show(
    session: Session,
    response: pb.ImportStandingOrdersResponse,
    errors: Sequence[RowError],
    lines: Sequence[int],
) -> None:
    output = session.output
    if errors:
        output.rows(
            ["line", "standing order", "field", "reason", "what is wrong"],
            [
                [
                    str(error.line),
                    error.standing_order,
                    error.field,
                    error.reason or UNREADABLE,
                    error.description,
                ]
                for error in errors
            ],
            "",
        )
    if response.shadow_bills:
        output.rows(
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


def summary(response: pb.ImportStandingOrdersResponse, good: int, *, dry_run: bool) -> str:
    """What became of a file, in a sentence; `good` rows could be stored."""
    would = "would be " if dry_run else ""
    imported = response.imported_count
    parts = [f"{imported} {would}imported"]
    if response.unchanged_count:
        parts.append(f"{response.unchanged_count} imported before")
    if response.refused_count:
        parts.append(f"{response.refused_count} refused")
    if response.refused_count and good and not imported:
        parts.append(
            f"{good} good, but it is all or nothing: mend the refused ones, or say --partial"
        )
    return "; ".join(parts)
