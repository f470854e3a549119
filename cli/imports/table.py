"""A CSV file of standing orders: a header, then a row each, in the words of the command."""

import csv
import difflib
import io
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import typer
from google.protobuf.message import Message
from recurring.scheduler.v1 import scheduler_pb2 as pb

from cli.errors import CommandError
from cli.imports.rows import Fault, FileRow
from cli.names import CUSTOMER, PRODUCT, full_name
from cli.schedules import parse_recurrence
from cli.standing_orders import parse_item
from cli.terms import parse_protection
from cli.values import (
    parse_date,
    parse_duration,
    parse_moment,
    parse_time_of_day,
    to_duration,
)

REQUIRED = ("id", "customer", "title", "items", "next_cycle", "next_date")
# When it falls due: in these columns, or in `rrule` alone.
SCHEDULE = ("every", "on", "start", "at", "zone", "count", "until")
OPTIONAL = (
    *SCHEDULE, "rrule", "mandate", "lead", "window", "lock_cycles", "lock_until", "cap_percent",
)  # fmt: skip
COLUMNS = (*REQUIRED, *OPTIONAL)
ITEM_SEPARATOR = ";"

Cells = Mapping[str, str]


def read_table(file: str, text: str, merchant: str) -> Iterator[FileRow | Fault]:
    """The rows of a file, or what is wrong with each.

    Raises CommandError if the header is not one of this format.
    """
    # A cell may hold line breaks; a row is where it begins.
    lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    line = 1
    try:
        header = next(lines, [])
        _check_header(file, header)
        line = lines.line_num + 1
        for values in lines:
            if values:
                yield from _row(line, header, values, merchant)
            line = lines.line_num + 1
    except csv.Error as error:
        raise CommandError(
            f"{file}, line {line}: {error}; write a quotation mark inside a quoted cell twice"
        ) from error


def _check_header(file: str, header: list[str]) -> None:
    if len(header) <= 1 and any(mark in "".join(header) for mark in ";\t|"):
        raise CommandError(f"{file}: columns must be separated by commas; save it as plain CSV")
    repeated = sorted({name for name in header if header.count(name) > 1})
    if repeated:
        raise CommandError(f"{file}: {', '.join(repeated)}: each column once; drop the others")
    unknown = [_describe_unknown(name) for name in header if name not in COLUMNS]
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


def _describe_unknown(name: str) -> str:
    near = difflib.get_close_matches(name.strip().lower(), COLUMNS, 1)
    return f"{name!r} (meant {near[0]!r}?)" if near else repr(name)


def _row(
    line: int, header: list[str], values: list[str], merchant: str
) -> Iterator[FileRow | Fault]:
    if len(values) != len(header):
        yield Fault(
            line,
            values[0],
            "",
            f"has {len(values)} columns, the header {len(header)}; quote cells that contain commas",
        )
        return
    cells = {name: value.strip() for name, value in zip(header, values, strict=True)}
    found = _Reader(line, cells, merchant)
    row = found.row()
    if found.faults:
        yield from found.faults
    else:
        yield FileRow(line, row)


class _Reader:
    """Reads the cells of one row, noting each that cannot be read."""

    def __init__(self, line: int, cells: Cells, merchant: str) -> None:
        self.faults: list[Fault] = []
        self._line = line
        self._cells = cells
        self._merchant = merchant

    def row(self) -> pb.ImportRow:
        """The row; meaningless if there are faults."""
        customer = self._read("customer", lambda text: full_name(self._merchant, CUSTOMER, text))
        mandate = self._cells.get("mandate", "")
        if mandate and "/" not in mandate:
            mandate = f"{customer}/mandates/{mandate}"
        return pb.ImportRow(
            standing_order_id=self._read("id", str),
            next_cycle=self._read("next_cycle", _parse_number),
            next_date=self._read("next_date", parse_date),
            standing_order=pb.StandingOrder(
                customer=customer,
                title=self._read("title", str),
                items=self._read("items", self._items),
                schedule=self._schedule(),
                billing_mode=pb.AUTOMATIC if mandate else pb.PAY_ON_NOTICE,
                mandate=mandate,
                price_protection=self._protection(),
                notice_lead=to_duration(self._optional("lead", parse_duration)),
                payment_window=to_duration(self._optional("window", parse_duration)),
            ),
        )

    def _schedule(self) -> pb.Schedule | None:
        rule = self._cells.get("rrule", "")
        if rule:
            for name in SCHEDULE:
                if self._cells.get(name):
                    self._note(name, "must be empty: rrule says it already")
            # A cell on one line is easier to write than two lines in a cell.
            return pb.Schedule(rrule=rule.replace(" RRULE:", "\nRRULE:"))
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
        count = self._optional("count", _parse_number)
        if count is not None and schedule.HasField("end_date"):
            self._note("count", "must be empty where until is given: there is one end")
        elif count is not None:
            schedule.cycle_count = count
        return schedule

    def _items(self, text: str) -> list[pb.Item]:
        return [
            pb.Item(product=full_name(self._merchant, PRODUCT, product), quantity=quantity)
            for product, quantity in map(parse_item, text.replace(" ", "").split(ITEM_SEPARATOR))
        ]

    def _protection(self) -> pb.PriceProtection | None:
        lock_cycles = self._optional("lock_cycles", _parse_number)
        lock_until = self._optional("lock_until", parse_moment)
        cap_percent = self._optional("cap_percent", _parse_number)
        try:
            return parse_protection(lock_cycles, lock_until, cap_percent)
        except typer.BadParameter as error:
            self._note("cap_percent", error.message)
            return None

    def _read(self, column: str, parse: Callable[[str], Any]) -> Any:  # noqa: ANN401
        """A cell that must be there; None, with a fault, if it is not or cannot be read."""
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
            self._note(column, error.message)
            return None

    def _note(self, column: str, description: str) -> None:
        standing_order = self._cells.get("id", "")
        self.faults.append(Fault(self._line, standing_order, column, description))


def _parse_number(text: str) -> int:
    # What does not fit into the contract's 32 bits is out of every range anyway.
    if not (text.isascii() and text.isdecimal() and len(text) <= len("999999999")):
        raise typer.BadParameter(f"{text!r} is not a whole number")
    return int(text)
