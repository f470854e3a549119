"""Rows of a file, and what is wrong with them before anybody is asked."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.json_format import ParseDict, ParseError
from recurring.scheduler.v1 import scheduler_pb2 as pb

from cli.errors import CommandError


@dataclass(frozen=True, slots=True)
class FileRow:
    """A row, and the line of the file that it begins on, from 1."""

    line: int
    message: pb.ImportRow


@dataclass(frozen=True, slots=True)
class Fault:
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
    faults: list[Fault]


def read_text(file: Path) -> str:
    """A file as text; raises CommandError if it is not UTF-8, or empty."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise CommandError(f"{file} cannot be read: {error.strerror}") from error
    try:
        # Some programs put a byte order mark in front.
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise CommandError(
            f"{file}, line {line}: is not UTF-8; save it as UTF-8, or convert it, for example"
            f" with `iconv -f windows-1252 -t utf-8 {file.name} > converted-{file.name}`"
        ) from error
    if not text.strip():
        raise CommandError(f"{file} is empty")
    return text


class _RepeatedKeyError(Exception):
    """A key that an object has twice."""


def _once_each(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object of JSON; where the parser would keep the last of two, neither is meant for sure."""
    found: dict[str, object] = {}
    for key, value in pairs:
        if key in found:
            raise _RepeatedKeyError(key)
        found[key] = value
    return found


def read_json_lines(text: str) -> Iterator[FileRow | Fault]:
    """The rows of a file with an ImportRow as protobuf JSON on each line; empty lines are none."""
    for line, content in enumerate(text.split("\n"), start=1):
        if not content.strip():
            continue
        try:
            data = json.loads(content, object_pairs_hook=_once_each)
        except _RepeatedKeyError as error:
            yield Fault(line, "", str(error), "comes twice in one object; keep one of them")
            continue
        except ValueError as error:
            yield Fault(line, "", "", f"is not JSON: {error}")
            continue
        if not isinstance(data, dict):
            yield Fault(line, "", "", 'is not a JSON object such as {"standingOrderId": …}')
            continue
        standing_order = str(data.get("standingOrderId") or data.get("standing_order_id") or "")
        try:
            row = ParseDict(data, pb.ImportRow())
        except (ParseError, ValueError) as error:
            yield Fault(line, standing_order, "", f"does not fit ImportRow: {_first_line(error)}")
            continue
        yield FileRow(line, row)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def sort_out(read: Iterable[FileRow | Fault]) -> Book:
    """A book of what was read; a row whose id a row before has is at fault."""
    book = Book([], [])
    first: dict[str, int] = {}
    for each in read:
        if isinstance(each, Fault):
            book.faults.append(each)
            continue
        standing_order = each.message.standing_order_id
        before = first.setdefault(standing_order, each.line)
        if before == each.line:
            book.rows.append(each)
        else:
            said = f"line {before} has it already; keep one of them"
            book.faults.append(Fault(each.line, standing_order, "id", said))
    return book
