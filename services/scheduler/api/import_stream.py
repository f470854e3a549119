"""What the caller of an import sends: a config, then rows."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import grpc
from recurring.scheduler.v1 import scheduler_pb2

from services.runtime import rules
from services.runtime.access import caller
from services.runtime.errors import FieldViolation, Problem, Violations
from services.scheduler.api.reading import MERCHANT
from services.scheduler.peers import BATCH_MAX_ENTRIES

IMPORT_MAX_ROWS = 200_000
# Whoever sends nothing for so long makes room.
IMPORT_IDLE_SECONDS = 30.0
# Keeps what other services are asked at once well below the size of a message.
BATCH_MAX_ITEMS = 5_000

Requests = AsyncIterator[scheduler_pb2.ImportStandingOrdersRequest]


@dataclass(frozen=True, slots=True)
class Row:
    """A row as it came."""

    number: int
    message: scheduler_pb2.ImportRow

    @property
    def standing_order(self) -> str:
        """The id that its standing order gets."""
        return self.message.standing_order_id

    @property
    def content_hash(self) -> bytes:
        """The same for the same row."""
        return hashlib.sha256(self.message.SerializeToString(deterministic=True)).digest()


async def never_idle(requests: Requests) -> Requests:
    """What a caller sends. Raises DEADLINE_EXCEEDED if it sends nothing for too long."""
    sent = aiter(requests)
    while True:
        try:
            async with asyncio.timeout(IMPORT_IDLE_SECONDS):
                request = await anext(sent, None)
        except TimeoutError:
            raise Problem(
                grpc.StatusCode.DEADLINE_EXCEEDED,
                "DEADLINE_EXCEEDED",
                f"nothing came for {IMPORT_IDLE_SECONDS:g} s; nothing was imported",
            ) from None
        if request is None:
            return
        yield request


async def read_config(requests: Requests) -> scheduler_pb2.ImportConfig:
    """The first message of an import, from a caller who may import for that merchant."""
    first = await anext(requests, None)
    if first is None or first.WhichOneof("content") != "config":
        raise Problem(
            grpc.StatusCode.INVALID_ARGUMENT,
            "CONFIG_MISSING",
            "the first message must have the config",
            (FieldViolation("config", "CONFIG_MISSING", "must be in the first message"),),
        )
    rules.check(first)
    (merchant,) = MERCHANT.parse(first.config.parent)
    caller().check(merchant)
    return first.config


async def batches(requests: Requests) -> AsyncIterator[list[Row]]:
    """The rows that follow, numbered from 1, as they come in."""
    rows: list[Row] = []
    number = items = 0
    async for request in requests:
        number += 1
        violations = Violations()
        is_row = request.WhichOneof("content") == "row"
        violations.require("row", f"must be set in message {number + 1}", met=is_row)
        violations.check()
        if number > IMPORT_MAX_ROWS:
            raise Problem(
                grpc.StatusCode.INVALID_ARGUMENT,
                "IMPORT_TOO_LARGE",
                f"an import has at most {IMPORT_MAX_ROWS} rows; send it in parts",
            )
        if len(rows) == BATCH_MAX_ENTRIES or items >= BATCH_MAX_ITEMS:
            yield rows
            rows, items = [], 0
        rows.append(Row(number, request.row))
        items += len(request.row.standing_order.items)
    if rows:
        yield rows
