"""Any import of a file: reading it, sending it, saying what became of it."""

from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

from cli.connect import Session
from cli.errors import CommandError
from cli.imports.cells import read_table
from cli.imports.rows import Book, FileRow, Kind, RowError, read_json_lines, read_text, sort_out
from cli.output import new_progress

IMPORT_DEADLINE_SECONDS = 600.0
# More would scroll away what there is to read.
SHOWN_ERRORS_MAX = 50
# What shows without asking the service has no reason of its.
UNREADABLE = "UNREADABLE"
CSV = "CSV"
SUFFIXES = {".csv": CSV, ".jsonl": "JSON Lines", ".ndjson": "JSON Lines"}


def read_book(file: Path, merchant: str, kind: Kind) -> Book:
    """All rows of a file, and what is wrong with those that cannot be read.

    Raises CommandError if the file as a whole cannot be read, or has no rows.
    """
    format_name = SUFFIXES.get(file.suffix.lower())
    if format_name is None:
        raise CommandError(f"{file}: name it {', '.join(SUFFIXES)}, for what it contains")
    text = read_text(file)
    if format_name == CSV:
        book = sort_out(read_table(str(file), text, kind, merchant), kind)
    else:
        book = sort_out(read_json_lines(text, kind), kind)
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


async def send(
    session: Session,
    call: Any,  # noqa: ANN401 - a method that takes a stream
    request: Any,  # noqa: ANN401 - the type of its requests
    config: Any,  # noqa: ANN401
    rows: Sequence[FileRow],
) -> Any:  # noqa: ANN401 - the response of any import
    """Send a config and rows to an import, and wait for its answer."""
    with new_progress() as progress:
        task = progress.add_task("sending", total=len(rows))

        def sent(count: int) -> None:
            progress.update(task, completed=count)
            if count == len(rows):
                # The service reports at the end only how far it is with them.
                progress.add_task(
                    "checking" if config.dry_run else "checking and storing", total=None
                )

        return await call(
            _requests(request, config, rows, sent),
            metadata=session.metadata,
            timeout=IMPORT_DEADLINE_SECONDS,
        )


async def _requests(
    request: Any,  # noqa: ANN401 - the type of an import's requests
    config: Any,  # noqa: ANN401
    rows: Sequence[FileRow],
    sent: Callable[[int], None],
) -> AsyncIterator[Any]:
    """The stream; of a large book, the service takes rows no faster than it checks them."""
    yield request(config=config)
    for count, row in enumerate(rows):
        sent(count)
        yield request(row=row.message)
    sent(len(rows))


def to_data(errors: Sequence[RowError], id_name: str) -> list[dict[str, Any]]:
    """What is wrong with rows, for programs."""
    return [
        {
            "line": error.line,
            id_name: error.row_id,
            "field": error.field,
            "reason": error.reason or UNREADABLE,
            "description": error.description,
        }
        for error in errors
    ]


def show_errors(session: Session, errors: Sequence[RowError], noun: str) -> None:
    """What is wrong with rows, for people."""
    if errors:
        session.output.rows(
            ["line", noun, "field", "reason", "what is wrong"],
            [
                [
                    str(error.line),
                    error.row_id,
                    error.field,
                    error.reason or UNREADABLE,
                    error.description,
                ]
                for error in errors
            ],
            "",
        )


def summary(response: Any, good: int, *, dry_run: bool) -> str:  # noqa: ANN401
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
