"""What the caller of an import sends, a config and then rows; and what it is answered."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Generic, TypeVar

from recurring.catalog.v1 import catalog_pb2 as pb

from services.catalog.api.price_requests import read_price
from services.catalog.api.requests import read_product
from services.catalog.application.imports import BATCH_ROWS, Book, NewPrice, Row
from services.catalog.domain.prices import AmountSteps
from services.catalog.domain.products import (
    MerchantId,
    PriceId,
    PriceKey,
    Product,
    ProductId,
    ProductKey,
)
from services.catalog.names import MERCHANT, PRODUCT
from services.runtime.auth.call_context import caller
from services.runtime.errors import Violations
from services.runtime.rpc import validation
from services.runtime.rpc.imports import config_missing, drain, too_large

IMPORT_MAX_ROWS = 50_000
# Of the rows as they are sent.
IMPORT_MAX_BYTES = 16 * 1024**2
# What is no id may be of any length.
_SHOWN_ID_MAX_CHARACTERS = 127

# Of requests with a config or a row.
Requests = AsyncIterator[Any]
M = TypeVar("M", pb.NewProduct, pb.NewPrice)
D = TypeVar("D")
Res = TypeVar("Res", pb.ImportProductsResponse, pb.ImportPricesResponse)
# Reads a row by its number.
ReadRow = Callable[[int, M], Row[D]]


@dataclass(frozen=True, slots=True)
class Importer(Generic[M, D, Res]):
    """How one kind of rows is read, and what is answered."""

    # What the audit calls the method by.
    request: pb.ImportProductsRequest | pb.ImportPricesRequest
    reader: Callable[[MerchantId, datetime], ReadRow[M, D]]
    respond: Callable[[Book], Res]


async def read_config(requests: Requests) -> pb.ImportConfig:
    """The first message of an import, from a caller who may import for that merchant."""
    first = await anext(requests, None)
    if first is None or first.WhichOneof("content") != "config":
        raise config_missing()
    validation.check(first)
    caller().check(MERCHANT.key(first.config.parent))
    config: pb.ImportConfig = first.config
    return config


async def read_rows(requests: Requests, read: ReadRow[M, D]) -> list[Row[D]]:
    """The rows that follow, numbered from 1. Raises INVALID_ARGUMENT IMPORT_TOO_LARGE."""
    read_before: list[Row[D]] = []
    batch: list[M] = []
    size_bytes = 0
    async for request in requests:
        number = len(read_before) + len(batch) + 1
        violations = Violations()
        is_row = request.WhichOneof("content") == "row"
        violations.require("row", f"must be set in message {number + 1}", met=is_row)
        violations.check()
        size_bytes += request.row.ByteSize()
        if number > IMPORT_MAX_ROWS:
            await drain(requests)
            raise too_large(IMPORT_MAX_ROWS, "rows")
        if size_bytes > IMPORT_MAX_BYTES:
            await drain(requests)
            raise too_large(IMPORT_MAX_BYTES, "bytes")
        batch.append(request.row)
        if len(batch) == BATCH_ROWS:
            read_before += await asyncio.to_thread(_read_batch, len(read_before), batch, read)
            batch = []
    return read_before + await asyncio.to_thread(_read_batch, len(read_before), batch, read)


def _read_batch(before: int, batch: Sequence[M], read: ReadRow[M, D]) -> list[Row[D]]:
    return [read(number, row) for number, row in enumerate(batch, start=before + 1)]


def product_rows(merchant: MerchantId, now: datetime) -> ReadRow[pb.NewProduct, Product]:
    """What reads the rows of products of a merchant."""

    def read(number: int, row: pb.NewProduct) -> Row[Product]:
        violations = Violations()
        validation.note(violations, row)
        product = None
        if not violations.found:
            key = ProductKey(merchant, ProductId(row.product_id))
            product = read_product(violations, "product", key, row.product, now)
        return _row(number, row.product_id, product, violations)

    return read


def price_rows(
    steps: AmountSteps, merchant: MerchantId, now: datetime
) -> ReadRow[pb.NewPrice, NewPrice]:
    """What reads the rows of prices of a merchant's products, in amounts that can be charged."""

    def read(number: int, row: pb.NewPrice) -> Row[NewPrice]:
        violations = Violations()
        validation.note(violations, row)
        price = None
        if not violations.found:
            product = PRODUCT.key(row.parent)
            met = product.merchant == merchant
            violations.require("parent", "must be a product of the same merchant", met=met)
            key = PriceKey(*product, PriceId(row.price_id))
            # Of a row that was imported before, the time is past by now.
            price = read_price(violations, "price", key, row.price, now, steps, may_be_past=True)
        shown = f"{row.parent.rpartition('/')[2]}/{row.price_id}"
        is_dated = row.price.HasField("effective_time")
        new = None if price is None else NewPrice(price, is_dated)
        return _row(number, shown, new, violations)

    return read


def _row(number: int, shown: str, value: D | None, violations: Violations) -> Row[D]:
    readable = None if violations.found else value
    return Row(number, shown[:_SHOWN_ID_MAX_CHARACTERS], readable, violations.found)


def products_response(book: Book) -> pb.ImportProductsResponse:
    """What became of an import of products, on the wire."""
    return pb.ImportProductsResponse(
        imported_count=book.imported_count,
        unchanged_count=book.unchanged_count,
        refused_count=book.refused_count,
        problems=_problems(book),
    )


def prices_response(book: Book) -> pb.ImportPricesResponse:
    """What became of an import of prices, on the wire."""
    return pb.ImportPricesResponse(
        imported_count=book.imported_count,
        unchanged_count=book.unchanged_count,
        refused_count=book.refused_count,
        problems=_problems(book),
    )


def _problems(book: Book) -> list[pb.ImportProblem]:
    return [
        pb.ImportProblem(
            row=problem.number,
            id=problem.id,
            field=problem.violation.field,
            reason=problem.violation.reason,
            description=problem.violation.description,
        )
        for problem in book.problems
    ]


PRODUCTS = Importer(pb.ImportProductsRequest(), product_rows, products_response)


def price_importer(steps: AmountSteps) -> Importer[pb.NewPrice, NewPrice, pb.ImportPricesResponse]:
    """How prices are imported, in amounts that can be charged."""
    return Importer(pb.ImportPricesRequest(), partial(price_rows, steps), prices_response)
