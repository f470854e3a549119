"""A CSV file of standing orders: a header, then a row each, in the words of the command."""

import csv
import difflib
import io
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import typer
from google.protobuf.message import Message
from recurring.scheduler.v1 import scheduler_pb2 as pb

from cli.errors import CommandError
from cli.imports.rows import FileRow, RowError
from cli.names import CUSTOMER, PRODUCT, full_name
from cli.schedules import parse_recurrence, parse_rule
from cli.standing_orders import items_of
from cli.terms import mandate_name, parse_protection
from cli.values import (
    parse_count,
    parse_date,
    parse_duration,
    parse_moment,
    parse_percent,
    parse_time_of_day,
    to_duration,
)

REQUIRED = ("id", "customer", "title", "items", "next_cycle", "next_date")
# When it falls due: in these columns, or in `rrule` alone.
SCHEDULE = ("every", "on", "start", "at", "zone", "count", "until")
OPTIONAL = (
    *SCHEDULE, "rrule", "mandate", "lead", "window", "lock_cycles", "lock_until", "cap_percent",
    "currency", "promotion",
)  # fmt: skip
COLUMNS = (*REQUIRED, *OPTIONAL)
ITEM_SEPARATOR = ";"
# What some programs put between columns, and what people call it.
SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}

Cells = Mapping[str, str]


def read_table(file: str, text: str, merchant: str) -> Iterator[FileRow | RowError]:
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
                    header = _read_header(file, values)
                else:
                    yield from _row(line, header, values, merchant)
            line = lines.line_num + 1
    except csv.Error as error:
        raise CommandError(f"{file}, line {line}: {error}{_hint(error)}") from error


def _hint(error: csv.Error) -> str:
    if "field larger" in str(error):
        return "; a quotation mark may be missing at a cell's end"
    return "; write a quotation mark inside a quoted cell twice"


def _read_header(file: str, values: list[str]) -> list[str]:
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
        _describe_unknown(value.strip())
        for value, name in zip(values, header, strict=True)
        if name and name not in COLUMNS
    ]
    if unknown:
        raise CommandError(
            f"{file}: unknown columns {', '.join(unknown)}; the first line must name columns out"
            f" of {', '.join(COLUMNS)}"
        )
    missing = [name for name in REQUIRED if name not in header]
    if "rrule" not in header:
        missing += [name for name in ("every", "start", "zone") if name not in header]
    if missing:
        raise CommandError(f"{file}: add the missing columns {', '.join(missing)}")
    return header


def _column(value: str) -> str:
    """A column's name: capitals and blanks around it do not make it another."""
    name = value.strip()
    return name.lower() if name.isascii() else name


def _describe_unknown(name: str) -> str:
    near = difflib.get_close_matches(name.lower().replace(" ", "_"), COLUMNS, 1)
    return f"{name!r} (meant {near[0]!r}?)" if near else repr(name)


def _row(
    line: int, header: list[str], values: list[str], merchant: str
) -> Iterator[FileRow | RowError]:
    stripped = [value.strip() for value in values]
    standing_order = stripped[header.index("id")] if header.index("id") < len(stripped) else ""
    names = [*header, *([""] * (len(stripped) - len(header)))]
    unnamed = [
        f"column {place} has {value!r}, but no name in the header"
        for place, (name, value) in enumerate(zip(names, stripped, strict=False), start=1)
        if value and not name
    ]
    if unnamed:
        more = "; quote cells that contain commas" if len(stripped) > len(header) else ""
        yield RowError(line, standing_order, "", "; ".join(unnamed) + more)
        return
    if len(stripped) < len(header):
        description = (
            f"has {len(stripped)} columns, the header {len(header)}; write empty cells, too"
        )
        yield RowError(line, standing_order, "", description)
        return
    cells = {name: value for name, value in zip(names, stripped, strict=True) if name}
    reader = _Reader(line, cells, merchant)
    row = reader.row()
    if reader.errors:
        yield from reader.errors
    else:
        yield FileRow(line, row)


class _Reader:
    """Reads the cells of one row, noting each that cannot be read."""

    def __init__(self, line: int, cells: Cells, merchant: str) -> None:
        self.errors: list[RowError] = []
        self._line = line
        self._cells = cells
        self._merchant = merchant

    def row(self) -> pb.ImportRow:
        """The row; meaningless if there are errors."""
        customer = self._read("customer", lambda text: full_name(self._merchant, CUSTOMER, text))
        mandate = self._optional("mandate", partial(self._mandate, customer or "")) or ""
        return pb.ImportRow(
            standing_order_id=self._read("id", str),
            next_cycle=self._read("next_cycle", parse_count),
            next_date=self._read("next_date", parse_date),
            standing_order=pb.StandingOrder(
                customer=customer,
                title=self._read("title", str),
                items=self._read("items", self._items),
                schedule=self._schedule(),
                billing_mode=pb.AUTOMATIC if mandate else pb.PAY_ON_NOTICE,
                mandate=mandate,
                price_protection=self._protection(),
                currency=self._optional("currency", str) or "",
                promotion_code=(self._optional("promotion", str) or "").upper(),
                notice_lead=to_duration(self._optional("lead", parse_duration)),
                payment_window=to_duration(self._optional("window", parse_duration)),
            ),
        )

    def _mandate(self, customer: str, text: str) -> str:
        """A mandate's full name; its id alone means one of the row's customer."""
        return mandate_name(partial(full_name, self._merchant), customer, text)

    def _schedule(self) -> pb.Schedule | None:
        rule = self._cells.get("rrule", "")
        if rule:
            for name in SCHEDULE:
                if self._cells.get(name):
                    self._note(name, "must be empty: rrule says it already")
            return pb.Schedule(rrule=parse_rule(rule))
        on = self._cells.get("on", "")
        schedule = self._read("every", lambda every: parse_recurrence(every, on)) or pb.Schedule()
        parts: dict[str, Message | None] = {
            "start_date": self._read("start", parse_date),
            "local_time": self._optional("at", parse_time_of_day),
            "end_date": self._optional("until", parse_date),
        }
        for name, part in parts.items():
            if part is not None:
                getattr(schedule, name).CopyFrom(part)
        schedule.time_zone = self._read("zone", str) or ""
        count = self._optional("count", parse_count)
        if count is not None and schedule.HasField("end_date"):
            self._note("count", "must be empty where until is given: there is one end")
        elif count is not None:
            schedule.cycle_count = count
        return schedule

    def _items(self, text: str) -> list[pb.Item]:
        texts = [part.strip() for part in text.split(ITEM_SEPARATOR)]
        if not all(texts):
            raise typer.BadParameter(f"{text!r}: there is nothing between or beside two semicolons")
        return items_of(partial(full_name, self._merchant, PRODUCT), texts)

    def _protection(self) -> pb.PriceProtection | None:
        lock_cycles = self._optional("lock_cycles", parse_count)
        lock_until = self._optional("lock_until", parse_moment)
        cap_percent = self._optional("cap_percent", parse_percent)
        try:
            return parse_protection(lock_cycles, lock_until, cap_percent)
        except typer.BadParameter as error:
            self._note("cap_percent", error.message)
            return None

    def _read(self, column: str, parse: Callable[[str], Any]) -> Any:  # noqa: ANN401
        """A cell that must be there; None, with a error, if it is not or cannot be read."""
        if not self._cells.get(column):
            self._note(column, "must not be empty")
            return None
        return self._optional(column, parse)

    def _optional(self, column: str, parse: Callable[[str], Any]) -> Any:  # noqa: ANN401
        text = self._cells.get(column, "")
        if not text:
            return None
        try:
            return parse(text)
        except typer.BadParameter as error:
            # What reads two columns at once says which of them it means.
            option = str(error.param_hint or "").strip("'").removeprefix("--")
            self._note(option if option in SCHEDULE else column, error.message)
            return None

    def _note(self, column: str, description: str) -> None:
        standing_order = self._cells.get("id", "")
        self.errors.append(RowError(self._line, standing_order, column, description))
