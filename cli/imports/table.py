"""A CSV file of standing orders: a header, then a row each, in the words of the command."""

from collections.abc import Sequence
from functools import partial

import typer
from google.protobuf.message import Message
from recurring.scheduler.v1 import scheduler_pb2 as pb

from cli.imports.rows import CellReader, Kind
from cli.names import CUSTOMER, OFFER, PRODUCT, full_name
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
    "currency", "promotion", "offer",
)  # fmt: skip
ITEM_SEPARATOR = ";"


def _lacking(header: Sequence[str]) -> list[str]:
    """The columns of a schedule, unless one column has its rule."""
    needed = () if "rrule" in header else ("every", "start", "zone")
    return [name for name in needed if name not in header]


class _Reader:
    """Reads the cells of one standing order."""

    def __init__(self, reader: CellReader, merchant: str) -> None:
        self._merchant = merchant
        self._cells = reader.cells
        self._read, self._optional, self._note = reader.read, reader.optional, reader.note

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
        offer = self._optional("offer", partial(full_name, self._merchant, OFFER)) or ""
        try:
            return parse_protection(lock_cycles, lock_until, cap_percent, offer)
        except typer.BadParameter as error:
            self._note("offer" if offer else "cap_percent", error.message)
            return None


def _read_row(merchant: str, reader: CellReader) -> pb.ImportRow:
    return _Reader(reader, merchant).row()


STANDING_ORDERS = Kind(
    noun="standing order",
    message=pb.ImportRow,
    read_row=_read_row,
    required=REQUIRED,
    optional=OPTIONAL,
    json_ids=("standingOrderId", "standing_order_id"),
    key_of=lambda row: row.standing_order_id,
    columns_by_path={},
    lacking=_lacking,
)
