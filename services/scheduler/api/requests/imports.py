"""What the caller of an import sends: a config, then rows."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime

from recurring.scheduler.v1 import scheduler_pb2 as pb

from services.runtime.auth.call_context import caller
from services.runtime.crypto.encryption import Keyring
from services.runtime.errors import Problem, Violations
from services.runtime.rpc import validation
from services.runtime.rpc.imports import config_missing, drain, too_large
from services.scheduler import names
from services.scheduler.api.requests.schedules import read_calendar_date
from services.scheduler.api.requests.standing_orders import read_standing_order
from services.scheduler.application.imports import Row
from services.scheduler.clients.questions import BATCH_MAX_ENTRIES
from services.scheduler.domain import calendar
from services.scheduler.domain.ids import MerchantId, StandingOrderId
from services.scheduler.domain.imports import continued, nearest_dates
from services.scheduler.domain.standing_order import StandingOrder

IMPORT_MAX_ROWS = 200_000
# Each is kept until the end, to find the customers who would have a product twice.
IMPORT_MAX_ITEMS = 400_000
# Of the rows as they are sent, which are kept until the end.
IMPORT_MAX_BYTES = 48 * 1024**2
# Keeps one request to another service well below the maximum size of a message.
BATCH_MAX_ITEMS = 5_000
# A row may be as large as a message.
BATCH_MAX_BYTES = 1024**2

Requests = AsyncIterator[pb.ImportStandingOrdersRequest]


@dataclass(slots=True)
class Size:
    """How much some rows are."""

    rows: int = 0
    items: int = 0
    size_bytes: int = 0

    def add(self, row: pb.ImportRow) -> None:
        """One more row."""
        self.rows += 1
        self.items += len(row.standing_order.items)
        self.size_bytes += row.ByteSize()

    @property
    def is_full(self) -> bool:
        """Whether they are a batch."""
        return (
            self.rows >= BATCH_MAX_ENTRIES
            or self.items >= BATCH_MAX_ITEMS
            or self.size_bytes >= BATCH_MAX_BYTES
        )

    def check(self) -> None:
        """Raise IMPORT_TOO_LARGE if they are more than one import may have."""
        for has, most, what in (
            (self.rows, IMPORT_MAX_ROWS, "rows"),
            (self.items, IMPORT_MAX_ITEMS, "items"),
            (self.size_bytes, IMPORT_MAX_BYTES, "bytes"),
        ):
            if has > most:
                raise too_large(most, what)


async def read_config(requests: Requests) -> pb.ImportConfig:
    """The first message of an import, from a caller who may import for that merchant."""
    first = await anext(requests, None)
    if first is None or first.WhichOneof("content") != "config":
        raise config_missing()
    validation.check(first)
    merchant = names.MERCHANT.key(first.config.parent)
    caller().check(merchant)
    return first.config


async def batches(requests: Requests) -> AsyncIterator[list[Row]]:
    """The rows that follow, numbered from 1, as they come in."""
    rows: list[Row] = []
    batch, whole = Size(), Size()
    async for request in requests:
        violations = Violations()
        is_row = request.WhichOneof("content") == "row"
        violations.require("row", f"must be set in message {whole.rows + 2}", met=is_row)
        violations.check()
        whole.add(request.row)
        try:
            whole.check()
        except Problem:
            await drain(requests)
            raise
        if batch.is_full:
            yield rows
            rows, batch = [], Size()
        rows.append(Row(whole.rows, request.row.SerializeToString(deterministic=True)))
        batch.add(request.row)
    if rows:
        yield rows


def read_row(
    merchant: MerchantId,
    keyring: Keyring,
    violations: Violations,
    message: pb.ImportRow,
    now: datetime,
) -> StandingOrder | None:
    """The standing order of a valid row; None, with violations, if it describes none."""
    next_date = read_calendar_date(violations, "next_date", message.next_date)
    standing_order = read_standing_order(
        merchant,
        StandingOrderId(message.standing_order_id),
        message.standing_order,
        now,
        keyring,
        violations,
        began_elsewhere=True,
    )
    if standing_order is None or violations.found:
        return None
    going_on = continued(standing_order, message.next_cycle, next_date)
    if going_on is None:
        nearest = " and ".join(map(str, nearest_dates(standing_order.schedule, next_date)))
        violations.add(
            "next_date",
            f"must be a date of the schedule; near it are {nearest or 'none'}",
            "NEXT_DATE_NOT_SCHEDULED",
        )
    elif next_date < calendar.utc_to_local_date(now, standing_order.schedule.time_zone):
        violations.add("next_date", "must not be past", "NEXT_DATE_PAST")
        return None
    return going_on
