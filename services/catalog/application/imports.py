"""Imports: a stream of rows of products or prices, stored all or none."""

from collections.abc import Awaitable, Callable, Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Generic, NamedTuple, TypeVar

from google.protobuf.message import Message

from services.catalog.application import prices, products
from services.catalog.domain.prices import Price
from services.catalog.domain.products import (
    EFFECTIVE_TIME_GRACE,
    MerchantId,
    PriceKey,
    Product,
    ProductKey,
)
from services.catalog.names import MERCHANT, PRICE
from services.catalog.store import imports as import_store
from services.catalog.store import prices as price_store
from services.catalog.store import products as product_store
from services.runtime.db import audit
from services.runtime.db.pool import Connection, Database
from services.runtime.errors import FieldViolation, Violations
from services.runtime.messaging import outbox

# So many rows are decided and stored with one statement a step.
BATCH_ROWS = 500
PROBLEMS_MAX = 1000

_EXISTS = FieldViolation("product_id", "PRODUCT_ALREADY_EXISTS", "exists with other content")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Row(Generic[T]):
    """A row as it was read, numbered from 1."""

    number: int
    # What it describes, as it came.
    id: str
    # None: it cannot be read, as the violations say.
    value: T | None
    violations: Sequence[FieldViolation] = ()


class RowProblem(NamedTuple):
    """Something wrong with a row."""

    number: int
    id: str
    violation: FieldViolation


class NewPrice(NamedTuple):
    """A price to add."""

    price: Price
    # False: it takes effect with the import.
    is_dated: bool


@dataclass(slots=True)
class Book:
    """What has become of the rows so far."""

    merchant: MerchantId
    now: datetime
    partial: bool
    dry_run: bool
    accepted_count: int = 0
    unchanged_count: int = 0
    refused_count: int = 0
    problems: list[RowProblem] = field(default_factory=list)
    # Key -> the number of the row that has it.
    numbers: dict[Hashable, int] = field(default_factory=dict)

    def refuse(self, row: Row[T], violations: Sequence[FieldViolation]) -> None:
        """Count a row as bad, and note why, as far as it fits into the response."""
        self.refused_count += 1
        free = PROBLEMS_MAX - len(self.problems)
        self.problems += [RowProblem(row.number, row.id, noted) for noted in violations[:free]]

    def is_repeated(self, row: Row[T], key: Hashable, violations: Violations, path: str) -> bool:
        """Whether a row before has the same key, which is noted."""
        first = self.numbers.setdefault(key, row.number)
        if first != row.number:
            violations.add(path, f"row {first} has it already", "ROW_REPEATED")
        return first != row.number

    @property
    def storable(self) -> bool:
        """Whether what is good may be stored."""
        return self.partial or not self.refused_count

    @property
    def imported_count(self) -> int:
        """How many rows were stored, or would be."""
        return self.accepted_count if self.storable else 0


# Decides about rows and stores the good ones.
Store = Callable[[Connection, Book, Sequence[Row[T]]], Awaitable[None]]


class _TakenBackError(Exception):
    """Rolls an import back: it was tried only, or has bad rows; the book says what was found."""


async def import_rows(
    database: Database,
    book: Book,
    rows: Sequence[Row[T]],
    store: Store[T],
    request: Message,
    respond: Callable[[Book], Message],
) -> None:
    """Store the good rows, all or none; a dry run does the same and takes it back."""
    with suppress(_TakenBackError):
        async with database.begin() as tx:
            await import_store.lock_merchant(tx, book.merchant)
            await store(tx, book, rows)
            if book.dry_run or not book.storable:
                raise _TakenBackError
            resource = MERCHANT.format(book.merchant)
            await audit.put_change(tx, request, None, respond(book), before=None, resource=resource)
    # A row that could not be added is found after the others of its batch.
    book.problems.sort(key=lambda problem: problem.number)


async def store_products(tx: Connection, book: Book, rows: Sequence[Row[Product]]) -> None:
    """Add products that are new and have nothing wrong with them."""
    for batch in _batches(rows):
        await _store_products(tx, book, batch)


async def store_prices(tx: Connection, book: Book, rows: Sequence[Row[NewPrice]]) -> None:
    """Add prices that are new and have nothing wrong with them, and announce them."""
    # All at once, in the order of their keys, so that none waits for whoever waits for another.
    keys = {row.value.price.key.product_key for row in rows if row.value is not None}
    await product_store.products_by_key(tx, keys, lock=True)
    for batch in _batches(rows):
        await _store_prices(tx, book, batch)


def _batches(rows: Sequence[Row[T]]) -> list[Sequence[Row[T]]]:
    return [rows[first : first + BATCH_ROWS] for first in range(0, len(rows), BATCH_ROWS)]


async def _store_products(tx: Connection, book: Book, rows: Sequence[Row[Product]]) -> None:
    keys: set[ProductKey] = set()
    for row in rows:
        if row.value is not None:
            keys.update((row.value.key, *(part.key for part in row.value.parts)))
    known = await product_store.products_by_key(tx, keys)
    stored = dict(known)
    new: dict[ProductKey, tuple[Row[Product], Product]] = {}
    for row in rows:
        violations = Violations()
        product = _decided(book, row, stored, known, violations)
        if violations.found or row.violations:
            book.refuse(row, [*row.violations, *violations.found])
        elif product is not None:
            known[product.key] = product
            new[product.key] = row, product
    added = await product_store.insert_products(tx, [product for _, product in new.values()])
    book.accepted_count += len(added)
    for key, (row, _) in new.items():
        if key not in added:
            book.refuse(row, [_EXISTS])


def _decided(
    book: Book,
    row: Row[Product],
    stored: dict[ProductKey, Product],
    known: dict[ProductKey, Product],
    violations: Violations,
) -> Product | None:
    """The product that a row adds; None if it adds none."""
    if row.value is None or book.is_repeated(row, row.value.key, violations, "product_id"):
        return None
    product = products.with_parts(violations, row.value, known)
    present = stored.get(product.key)
    if present is None:
        return product
    if product.description == present.description:
        book.unchanged_count += 1
    else:
        violations.add(_EXISTS.field, _EXISTS.description, _EXISTS.reason)
    return None


async def _store_prices(tx: Connection, book: Book, rows: Sequence[Row[NewPrice]]) -> None:
    wanted = [row.value.price for row in rows if row.value is not None]
    stored = await price_store.in_the_way(tx, wanted)
    by_id = {price.key: price for price in stored}
    by_instant = {_instant(price): price for price in stored if price.withdraw_time is None}
    new: list[tuple[Row[NewPrice], Price]] = []
    for row in rows:
        violations = Violations()
        price = _decided_price(book, row, by_id, by_instant, violations)
        if violations.found or row.violations:
            book.refuse(row, [*row.violations, *violations.found])
        elif price is not None:
            by_instant[_instant(price)] = price
            new.append((row, price))
    added = await prices.add_all(tx, [price for _, price in new])
    await outbox.put(tx, added.events)
    book.accepted_count += len(new) - len(added.problems)
    for index, problem in sorted(added.problems.items()):
        path = "price_id" if problem.reason == prices.PRICE_ALREADY_EXISTS else "parent"
        book.refuse(new[index][0], [FieldViolation(path, problem.reason, problem.message)])


def _decided_price(
    book: Book,
    row: Row[NewPrice],
    by_id: dict[PriceKey, Price],
    by_instant: dict[tuple[ProductKey, str, datetime], Price],
    violations: Violations,
) -> Price | None:
    """The price that a row adds; None if it adds none."""
    if row.value is None or book.is_repeated(row, row.value.price.key, violations, "price_id"):
        return None
    price, is_dated = row.value
    stored = by_id.get(price.key)
    if stored is not None and _is_same(price, stored, is_dated=is_dated):
        book.unchanged_count += 1
        return None
    other = stored or by_instant.get(_instant(price))
    if other is not None:
        what = "was withdrawn" if other.withdraw_time else "exists already, with other content"
        rule = f"{PRICE.format(*other.key)} {what}"
        violations.add("price_id", rule, prices.PRICE_ALREADY_EXISTS)
        return None
    is_past = price.effective_time < book.now - EFFECTIVE_TIME_GRACE
    violations.require("price.effective_time", "must not be past", met=not is_past)
    return price


def _is_same(price: Price, stored: Price, *, is_dated: bool) -> bool:
    return stored == replace(
        price,
        effective_time=price.effective_time if is_dated else stored.effective_time,
        announce_time=stored.announce_time,
        version=stored.version,
    )


def _instant(price: Price) -> tuple[ProductKey, str, datetime]:
    return price.key.product_key, price.currency, price.effective_time
