"""What commands print: tables for people, protobuf JSON for programs."""

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from cli.errors import CommandError
from cli.shown import ShownOnly, shown

# A pipe has no width that a table would have to fit into; prose is folded at the other.
PIPED_WIDTH_COLUMNS = 400
PROSE_WIDTH_COLUMNS = 100

M = TypeVar("M", bound=Message)

# Header -> what the column shows of a resource.
Columns = Mapping[str, Callable[[M], str]]


class Output:
    """Prints results to standard output, in the form that was asked for."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        width = None if sys.stdout.isatty() else PIPED_WIDTH_COLUMNS
        self.console = Console(highlight=False, width=width)
        self.console.push_render_hook(ShownOnly())

    def one(self, message: M, columns: Columns[M]) -> None:
        """Show one resource, a line a column; columns that show nothing are left out."""
        if self.as_json:
            self.data(MessageToDict(message))
            return
        table = Table(show_header=False, box=None, pad_edge=False)
        table.add_column(style="bold")
        table.add_column(overflow="fold")
        for header, show in columns.items():
            if shown := show(message):
                table.add_row(header, Text(shown))
        self.table(table)

    def many(self, messages: Iterable[M], columns: Columns[M], nothing: str) -> None:
        """Show resources, a row each; `nothing` is said when there are none."""
        if self.as_json:
            self.data([MessageToDict(message) for message in messages])
            return
        rows = [[show(message) for show in columns.values()] for message in messages]
        self.rows(list(columns), rows, nothing)

    def rows(self, headers: Sequence[str], rows: Sequence[Sequence[str]], nothing: str) -> None:
        """Show rows of text for people."""
        if not rows:
            self.console.print(Text(nothing, style="dim"))
            return
        table = new_table(*headers)
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        self.table(table)

    def table(self, table: Table) -> None:
        """Show a table, as wide as it needs to be or the terminal allows."""
        self.console.print(table)

    def data(self, value: Any) -> None:  # noqa: ANN401 - whatever JSON can hold
        """Print a value as JSON."""
        # What is not seen is written as an escape, which means the same in JSON.
        sys.stdout.write(shown(json.dumps(value, indent=2, ensure_ascii=False)) + "\n")
        sys.stdout.flush()

    def save(self, content: bytes, target: Path, sha256: str) -> None:
        """Save a file that was downloaded, and say what it is."""
        try:
            target.write_bytes(content)
        except OSError as error:
            raise CommandError(f"{target}: {error.strerror}") from error
        if self.as_json:
            self.data({"file": str(target), "bytes": len(content), "sha256": sha256})
        else:
            self.say(f"{target}: {len(content)} bytes, SHA-256 {sha256}")

    def say(self, text: str) -> None:
        """Print a message for people; programs get data only."""
        if not self.as_json:
            self.console.print(Text(text))


def new_progress() -> Progress:
    """A bar over what is done, on a terminal; beside the output, which may go into a file."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )


def new_table(*headers: str) -> Table:
    """A table in the one style that the command has."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for header in headers:
        table.add_column(header, overflow="fold")
    return table
