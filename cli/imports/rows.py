"""Rows of a file, and their errors before the service validates them."""

import codecs
import shlex
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import Message

from cli.errors import CommandError
from cli.json_text import REPEATED_KEY, RepeatedKeyError, load_json

# UTF-32's begins with UTF-16's, so it comes first.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_LOOKED_AT_BYTES = 4096


@dataclass(frozen=True, slots=True)
class FileRow:
    """A row, and the line of the file that it begins on, from 1."""

    line: int
    message: Any


@dataclass(frozen=True, slots=True)
class RowError:
    """Something wrong with one row; without a reason, it shows without asking the service."""

    line: int
    # What the row describes, as it is written.
    row_id: str
    # A column, or a path in the row; empty where it is the whole row.
    field: str
    description: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Book:
    """What a file has: the rows that could be read, and what is wrong with the others."""

    rows: list[FileRow]
    errors: list[RowError]


def read_text(file: Path) -> str:
    """A file as text; raises CommandError if it is not UTF-8, has a NUL, or is empty."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise CommandError(f"{file} cannot be read: {error.strerror}") from error
    if encoding := other_encoding(content):
        raise CommandError(
            f"{file} is {encoding}, not UTF-8; save it as UTF-8, or convert it with"
            f" `{_conversion(file, encoding)}`"
        )
    try:
        # Some programs put a byte order mark in front.
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        guess = "windows-1252"
        hint = (
            f", or, if it is {guess}, convert it with `{_conversion(file, guess)}`"
            if _is_windows_1252(content)
            else ""
        )
        raise CommandError(f"{file}, line {line}: is not UTF-8; save it as UTF-8{hint}") from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise CommandError(
            f"{file}, line {line}: has a NUL; it is damaged, or no text: save it again"
        )
    if not text.strip():
        raise CommandError(f"{file} is empty")
    return text


def other_encoding(content: bytes) -> str:
    """The encoding that a file shows to have, by iconv's name for it; empty where it shows none.

    Text in UTF-16 without a byte order mark has a zero in each second byte where it is Latin.
    """
    for mark, name in _MARKS:
        if content.startswith(mark):
            return name
    start = content[:_LOOKED_AT_BYTES]
    for name, zeros, others in (
        ("utf-16le", start[1::2], start[0::2]),
        ("utf-16be", start[0::2], start[1::2]),
    ):
        if 0 in zeros and 0 not in others and zeros.count(0) * 2 > len(zeros):
            return name
    return ""


def _conversion(file: Path, encoding: str) -> str:
    source, target = (
        shlex.quote(str(path)) for path in (file, file.with_name(f"utf-8-{file.name}"))
    )
    return f"iconv -f {encoding} -t utf-8 {source} > {target}"


def _is_windows_1252(content: bytes) -> bool:
    try:
        content.decode("windows-1252")
    except UnicodeDecodeError:
        return False
    return True


class CellReader:
    """Reads the cells of one row, noting each that cannot be read."""

    def __init__(self, line: int, cells: Mapping[str, str]) -> None:
        self.errors: list[RowError] = []
        self.cells = cells
        self._line = line

    def read(self, column: str, parse: Callable[[str], Any]) -> Any:  # noqa: ANN401
        """A cell that must be there; None, with an error, if it is not or cannot be read."""
        if not self.cells.get(column):
            self.note(column, "must not be empty")
            return None
        return self.optional(column, parse)

    def optional(self, column: str, parse: Callable[[str], Any]) -> Any:  # noqa: ANN401
        """A cell that may be empty; None if it is, and, with an error, if it cannot be read."""
        text = self.cells.get(column, "")
        if not text:
            return None
        try:
            return parse(text)
        except typer.BadParameter as error:
            # What reads two columns at once says which of them it means.
            option = str(error.param_hint or "").strip("'").removeprefix("--")
            self.note(option if option in self.cells else column, error.message)
            return None

    def note(self, column: str, description: str) -> None:
        """An error in a column."""
        row_id = self.cells.get("id", "")
        self.errors.append(RowError(self._line, row_id, column, description))


@dataclass(frozen=True, slots=True)
class Kind:
    """What the rows of a file describe, and how a table of it is written."""

    noun: str
    message: type[Message]
    # Reads a row of a table, of a merchant; what it returns counts only without errors.
    read_row: Callable[[str, CellReader], Message]
    # The columns: those that must be there, and those that may.
    required: Sequence[str]
    optional: Sequence[str]
    # The names of a row's id in JSON, in the message and in JSON.
    json_ids: Sequence[str]
    # What no other row may have, and how it is shown.
    key_of: Callable[[Any], Hashable]
    # The paths of fields, and the columns that they are read from, the longest path first: the service
    # names paths. No column: it is named as the rest of the path.
    columns_by_path: Mapping[str, str]
    # Which columns are needed beside the required ones, by those that there are.
    lacking: Callable[[Sequence[str]], list[str]] = lambda _: []

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns."""
        return (*self.required, *self.optional)

    def column_of(self, path: str) -> str:
        """The column that a field is read from; the path itself if there is none."""
        for prefix, column in self.columns_by_path.items():
            if path == prefix or path.startswith((f"{prefix}.", f"{prefix}[")):
                return column or path.removeprefix(prefix).lstrip(".")
        return path


def read_json_lines(text: str, kind: Kind) -> Iterator[FileRow | RowError]:
    """The rows of a file with a message as protobuf JSON on each line; empty lines are none."""
    for line, content in enumerate(text.split("\n"), start=1):
        if not content.strip():
            continue
        try:
            data = load_json(content)
        except RepeatedKeyError as error:
            yield RowError(line, "", error.key, REPEATED_KEY)
            continue
        except ValueError as error:
            yield RowError(line, "", "", f"is not JSON: {error}")
            continue
        if not isinstance(data, dict):
            example = f'such as {{"{kind.json_ids[0]}": …}}'
            yield RowError(line, "", "", f"is not a JSON object {example}")
            continue
        row_id = next((str(data[name]) for name in kind.json_ids if data.get(name)), "")
        try:
            row = ParseDict(data, kind.message())
        except (ParseError, ValueError) as error:
            name = kind.message.DESCRIPTOR.name
            yield RowError(line, row_id, "", f"does not fit {name}: {_first_line(error)}")
            continue
        yield FileRow(line, row)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def sort_out(read: Iterable[FileRow | RowError], kind: Kind) -> Book:
    """A book of what was read; a row whose id a row before has is at error."""
    book = Book([], [])
    first: dict[Hashable, int] = {}
    for row in read:
        if isinstance(row, RowError):
            book.errors.append(row)
            continue
        key = kind.key_of(row.message)
        before = first.setdefault(key, row.line)
        if before == row.line:
            book.rows.append(row)
        else:
            description = f"line {before} has it already; keep one of them"
            book.errors.append(RowError(row.line, str(key), "id", description))
    return book
