"""A CSV file: a header, then a row each, whatever its columns mean."""

import csv
import difflib
import io
from collections.abc import Iterator

from cli.errors import CommandError
from cli.imports.rows import CellReader, FileRow, Kind, RowError

# What some programs put between columns, and what people call it.
SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}


def read_table(file: str, text: str, kind: Kind, merchant: str) -> Iterator[FileRow | RowError]:
    """The rows of a file, or what is wrong with each.

    Raises CommandError if the header is not one of this format.
    """
    # A cell may hold line breaks; a row is where it begins.
    lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] | None = None
    line = 1
    try:
        for values in lines:
            # Spreadsheets end a table with rows of commas; they say no more than an empty line.
            if any(value.strip() for value in values):
                if header is None:
                    header = _read_header(file, values, kind)
                else:
                    yield from _row(line, header, values, kind, merchant)
            line = lines.line_num + 1
    except csv.Error as error:
        raise CommandError(f"{file}, line {line}: {error}{_hint(error)}") from error


def _hint(error: csv.Error) -> str:
    if "field larger" in str(error):
        return "; a quotation mark may be missing at a cell's end"
    return "; write a quotation mark inside a quoted cell twice"


def _read_header(file: str, values: list[str], kind: Kind) -> list[str]:
    """The columns' names; empty for a column without a name, which must stay empty."""
    marks = [mark for mark in SEPARATORS if mark in "".join(values)]
    if marks and len(values) <= 1:
        raise CommandError(
            f"{file}: columns must be separated by commas, not by {SEPARATORS[marks[0]]};"
            " save it as plain CSV"
        )
    header = [_column(value) for value in values]
    repeated = sorted({name for name in header if name and header.count(name) > 1})
    if repeated:
        raise CommandError(f"{file}: {', '.join(repeated)}: each column once; drop the others")
    unknown = [
        _describe_unknown(value.strip(), kind)
        for value, name in zip(values, header, strict=True)
        if name and name not in kind.columns
    ]
    if unknown:
        raise CommandError(
            f"{file}: unknown columns {', '.join(unknown)}; the first line must name columns out"
            f" of {', '.join(kind.columns)}"
        )
    missing = [name for name in kind.required if name not in header] + kind.lacking(header)
    if missing:
        raise CommandError(f"{file}: add the missing columns {', '.join(missing)}")
    return header


def _column(value: str) -> str:
    """A column's name: capitals and blanks around it do not make it another."""
    name = value.strip()
    return name.lower() if name.isascii() else name


def _describe_unknown(name: str, kind: Kind) -> str:
    near = difflib.get_close_matches(name.lower().replace(" ", "_"), kind.columns, 1)
    return f"{name!r} (meant {near[0]!r}?)" if near else repr(name)


def _row(
    line: int, header: list[str], values: list[str], kind: Kind, merchant: str
) -> Iterator[FileRow | RowError]:
    stripped = [value.strip() for value in values]
    row_id = stripped[header.index("id")] if header.index("id") < len(stripped) else ""
    names = [*header, *([""] * (len(stripped) - len(header)))]
    unnamed = [
        f"column {place} has {value!r}, but no name in the header"
        for place, (name, value) in enumerate(zip(names, stripped, strict=False), start=1)
        if value and not name
    ]
    if unnamed:
        more = "; quote cells that contain commas" if len(stripped) > len(header) else ""
        yield RowError(line, row_id, "", "; ".join(unnamed) + more)
        return
    if len(stripped) < len(header):
        description = (
            f"has {len(stripped)} columns, the header {len(header)}; write empty cells, too"
        )
        yield RowError(line, row_id, "", description)
        return
    cells = {name: value for name, value in zip(names, stripped, strict=True) if name}
    reader = CellReader(line, cells)
    row = kind.read_row(merchant, reader)
    if reader.errors:
        yield from reader.errors
    else:
        yield FileRow(line, row)
