"""Rows of a file, and their errors before the service validates them."""

import codecs
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.json_format import ParseDict, ParseError
from recurring.scheduler.v1 import scheduler_pb2 as pb

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
    message: pb.ImportRow


@dataclass(frozen=True, slots=True)
class RowError:
    """Something wrong with one row; without a reason, it shows without asking the service."""

    line: int
    standing_order: str
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


def read_json_lines(text: str) -> Iterator[FileRow | RowError]:
    """The rows of a file with an ImportRow as protobuf JSON on each line; empty lines are none."""
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
            yield RowError(line, "", "", 'is not a JSON object such as {"standingOrderId": …}')
            continue
        standing_order = str(data.get("standingOrderId") or data.get("standing_order_id") or "")
        try:
            row = ParseDict(data, pb.ImportRow())
        except (ParseError, ValueError) as error:
            yield RowError(
                line, standing_order, "", f"does not fit ImportRow: {_first_line(error)}"
            )
            continue
        yield FileRow(line, row)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def sort_out(read: Iterable[FileRow | RowError]) -> Book:
    """A book of what was read; a row whose id a row before has is at error."""
    book = Book([], [])
    first: dict[str, int] = {}
    for row in read:
        if isinstance(row, RowError):
            book.errors.append(row)
            continue
        standing_order = row.message.standing_order_id
        before = first.setdefault(standing_order, row.line)
        if before == row.line:
            book.rows.append(row)
        else:
            description = f"line {before} has it already; keep one of them"
            book.errors.append(RowError(row.line, standing_order, "id", description))
    return book
