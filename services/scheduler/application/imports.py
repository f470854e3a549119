"""Imports: a stream of rows of standing orders from another system, stored all or none."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NamedTuple

from recurring.scheduler.v1 import scheduler_pb2

from services.runtime.db import audit
from services.runtime.db.pool import Connection, Database
from services.runtime.errors import FieldViolation, Violations, already_exists
from services.runtime.messaging import outbox
from services.runtime.resource_names import ID_PATTERN
from services.runtime.rpc import validation
from services.scheduler import names, publishers
from services.scheduler.application import previews
from services.scheduler.application.previews import CyclePreview
from services.scheduler.application.sign_up import checked, note_unprotected, protected
from services.scheduler.application.standing_orders import give_back
from services.scheduler.clients import Clients
from services.scheduler.clients.questions import BATCH_MAX_ENTRIES
from services.scheduler.domain.charge_rules import NO_RULE_LEAD, RuleLead
from services.scheduler.domain.ids import MerchantId, StandingOrderId, StandingOrderKey
from services.scheduler.domain.price_agreements import PriceAgreement
from services.scheduler.domain.standing_order import StandingOrder, under_rule_lead
from services.scheduler.names import standing_order_name
from services.scheduler.store import purchases, sign_ups

PROBLEMS_MAX = 1000
SHADOW_MAX_ROWS = 1000
_ID_MAX_CHARACTERS = 63


@dataclass(frozen=True, slots=True)
class Row:
    """A row as it came: read as a standing order, it would take six times the memory."""

    number: int
    content: bytes
    # What it is billed in, and how early rule packs have it announced, once that is known.
    currency: str = ""
    rule_lead: RuleLead = NO_RULE_LEAD

    @property
    def message(self) -> scheduler_pb2.ImportRow:
        """What the caller sent."""
        return scheduler_pb2.ImportRow.FromString(self.content)

    @property
    def content_hash(self) -> bytes:
        """The same for the same row."""
        return hashlib.sha256(self.content).digest()


class Candidate(NamedTuple):
    """A row, and the standing order that it describes."""

    row: Row
    standing_order: StandingOrder


# The standing order of a row; None, with violations, if there is something wrong with it.
ReadRow = Callable[[Violations, scheduler_pb2.ImportRow, datetime], StandingOrder | None]


class RowProblem(NamedTuple):
    """Something wrong with a row."""

    number: int
    standing_order: str
    violation: FieldViolation


class ShadowBill(NamedTuple):
    """The coming cycles of a good row, as they would be billed."""

    number: int
    standing_order: StandingOrderId
    cycles: Sequence[CyclePreview]


@dataclass(slots=True)
class Book:
    """What has become of the rows so far."""

    merchant: MerchantId
    read: ReadRow
    now: datetime
    partial: bool
    allow_duplicate: bool
    # The good rows, in the batches in which they are stored.
    batches: list[list[Row]] = field(default_factory=list)
    problems: list[RowProblem] = field(default_factory=list)
    # What may have redeemed a promotion.
    protected: list[StandingOrderKey] = field(default_factory=list)
    # By standing order, how its prices are protected; of those whose are.
    agreements: dict[StandingOrderKey, tuple[PriceAgreement, ...]] = field(default_factory=dict)
    unchanged_count: int = 0
    refused_count: int = 0
    # Id -> the number of the row that has it.
    rows_by_id: dict[str, int] = field(default_factory=dict)
    # Hash of customer and product -> the number of the row that has them. Two of the same hash, by
    # which a good row would be refused, are in one of a hundred million books as large as may be.
    rows_by_item: dict[int, int] = field(default_factory=dict)

    def refuse(self, row: Row, violations: Violations) -> None:
        """Count a row as bad, and note why."""
        self.refused_count += 1
        standing_order = row.message.standing_order_id[:_ID_MAX_CHARACTERS]
        self.problems += [
            RowProblem(row.number, standing_order, violation) for violation in violations.found
        ]
        if len(self.problems) > 2 * PROBLEMS_MAX:
            self.drop_late_problems()

    def drop_late_problems(self) -> None:
        """Keep the problems that fit into the response: those of the first rows."""
        self.problems.sort(key=lambda problem: problem.number)
        del self.problems[PROBLEMS_MAX:]

    def good(
        self, candidates: Sequence[Candidate], violations: Sequence[Violations]
    ) -> list[Candidate]:
        """The candidates without a violation; the others are refused."""
        good: list[Candidate] = []
        for candidate, noted in zip(candidates, violations, strict=True):
            if noted.found:
                self.refuse(candidate.row, noted)
            else:
                good.append(candidate)
        return good

    @property
    def storable(self) -> bool:
        """Whether what is good may be stored."""
        return self.partial or not self.refused_count

    @property
    def accepted_count(self) -> int:
        """How many rows are good."""
        return sum(map(len, self.batches))


async def import_book(
    database: Database,
    clients: Clients,
    book: Book,
    batches: AsyncIterator[Sequence[Row]],
    *,
    shadow_cycle_count: int,
    dry_run: bool,
) -> list[ShadowBill]:
    """Check the rows of a book and store the good ones, all or none; return what they would bill."""
    async for rows in batches:
        await _check(database, clients, book, rows)
    shadow_bills = await _shadow_bills(database, clients, book, shadow_cycle_count)
    if not dry_run and book.storable:
        try:
            await _protect(clients, book)
            if book.storable:
                await _store(database, book)
        finally:
            await _give_back(database, clients, book)
    book.drop_late_problems()
    return shadow_bills


async def _check(database: Database, clients: Clients, book: Book, rows: Sequence[Row]) -> None:
    """Sort a batch into good rows, rows that are stored already, and bad ones."""
    ids = [row.message.standing_order_id for row in rows]
    async with database.read() as connection:
        stored = await sign_ups.import_hashes(
            connection, book.merchant, list(filter(ID_PATTERN.fullmatch, ids))
        )
    candidates = await asyncio.to_thread(_read_new, book, rows, stored)
    signed_up = await checked(clients, _standing_orders(candidates))
    candidates = [
        Candidate(
            replace(
                row,
                currency=standing_order.currency,
                rule_lead=RuleLead(standing_order.rule_lead, standing_order.notice_rule_pack),
            ),
            standing_order,
        )
        for (row, _), (standing_order, _) in zip(candidates, signed_up, strict=True)
    ]
    violations = [noted for _, noted in signed_up]
    if not book.allow_duplicate:
        _note_repeated(book, candidates, violations)
        async with database.read() as connection:
            await _note_duplicates(connection, book, candidates, violations)
    book.batches.append([good.row for good in book.good(candidates, violations)])
    book.drop_late_problems()


async def _protect(clients: Clients, book: Book) -> None:
    """Protect the sign-up prices, as late as can be: a product may be discontinued by now."""
    for index, rows in enumerate(book.batches):
        candidates = await _candidates(book, rows)
        answers = await protected(clients, _standing_orders(candidates))
        book.protected += [candidate.standing_order.key for candidate in candidates]
        violations = [Violations() for _ in rows]
        for noted, (standing_order, answer) in zip(violations, answers, strict=True):
            note_unprotected(noted, standing_order, answer)
            if standing_order.price_agreements:
                book.agreements[standing_order.key] = standing_order.price_agreements
        book.batches[index] = [good.row for good in book.good(candidates, violations)]


async def _give_back(database: Database, clients: Clients, book: Book) -> None:
    """Give back the promotions of rows that were not stored."""
    for first in range(0, len(book.protected), BATCH_MAX_ENTRIES):
        batch = book.protected[first : first + BATCH_MAX_ENTRIES]
        await give_back(database, clients, batch)


class _NotAllGoodError(Exception):
    """Rolls an import back whose rows are not all good; the book has their problems."""


async def _store(database: Database, book: Book) -> None:
    """Store all good rows, or none."""
    with suppress(_NotAllGoodError):
        await _store_all(database, book)


async def _store_all(database: Database, book: Book) -> None:
    async with database.begin() as tx:
        if not book.allow_duplicate:
            # Nobody else sets up standing orders of the merchant until these are stored.
            await purchases.lock_merchant(tx, book.merchant)
        for index, rows in enumerate(book.batches):
            candidates = await _candidates(book, rows)
            if not book.allow_duplicate:
                violations = [Violations() for _ in rows]
                await _note_duplicates(tx, book, candidates, violations)
                candidates = book.good(candidates, violations)
                book.batches[index] = [good.row for good in candidates]
            if book.storable:
                await _store_batch(tx, book, candidates)
        if not book.storable:
            raise _NotAllGoodError
        await audit.put_change(
            tx,
            scheduler_pb2.ImportStandingOrdersRequest(),
            None,
            scheduler_pb2.ImportStandingOrdersResponse(
                imported_count=book.accepted_count,
                unchanged_count=book.unchanged_count,
                refused_count=book.refused_count,
            ),
            before=None,
            resource=names.MERCHANT.format(book.merchant),
        )


async def _store_batch(tx: Connection, book: Book, candidates: Sequence[Candidate]) -> None:
    """Store standing orders. Raises ALREADY_EXISTS STANDING_ORDER_ALREADY_EXISTS."""
    standing_orders = [
        replace(one, price_agreements=book.agreements.get(one.key, ()))
        for one in _standing_orders(candidates)
    ]
    hashes = [candidate.row.content_hash for candidate in candidates]
    stored = await sign_ups.insert(tx, standing_orders, hashes)
    for standing_order in standing_orders:
        if standing_order.standing_order not in stored:
            name = standing_order_name(*standing_order.key)
            raise already_exists("STANDING_ORDER_ALREADY_EXISTS", name)
    await outbox.put(
        tx,
        [
            publishers.standing_order_changed(standing_order, "CREATED", book.now)
            for standing_order in standing_orders
        ],
    )


async def _shadow_bills(
    database: Database, clients: Clients, book: Book, count: int
) -> list[ShadowBill]:
    """The coming cycles of the first good rows, priced."""
    bills: list[ShadowBill] = []
    for rows in book.batches if count else ():
        if len(bills) == SHADOW_MAX_ROWS:
            break
        candidates = await _candidates(book, rows[: SHADOW_MAX_ROWS - len(bills)])
        standing_orders = _standing_orders(candidates)
        previewed = await previews.preview_all(database, clients, standing_orders, count, book.now)
        bills += [
            ShadowBill(row.number, standing_order.standing_order, cycles)
            for (row, standing_order), cycles in zip(candidates, previewed, strict=True)
        ]
    return bills


def _read_new(book: Book, rows: Sequence[Row], stored: Mapping[str, bytes]) -> list[Candidate]:
    """The rows of a batch that are new and have nothing wrong with them."""
    candidates: list[Candidate] = []
    for row in rows:
        message = row.message
        standing_order_id = message.standing_order_id
        first = row.number
        # What is no id may be of any length.
        if ID_PATTERN.fullmatch(standing_order_id):
            first = book.rows_by_id.setdefault(standing_order_id, row.number)
        if first == row.number and stored.get(standing_order_id) == row.content_hash:
            book.unchanged_count += 1
            continue
        violations = Violations()
        standing_order = None
        if first != row.number:
            violations.add("standing_order_id", f"row {first} has it already", "ROW_REPEATED")
        elif standing_order_id in stored:
            violations.add(
                "standing_order_id", "exists with other content", "STANDING_ORDER_ALREADY_EXISTS"
            )
        else:
            validation.note(violations, message)
            if not violations.found:
                standing_order = book.read(violations, message, book.now)
        if standing_order is None:
            book.refuse(row, violations)
        else:
            candidates.append(Candidate(row, standing_order))
    return candidates


async def _candidates(book: Book, rows: Sequence[Row]) -> list[Candidate]:
    """Good rows, read again."""

    def read() -> list[Candidate]:
        return [
            Candidate(
                row,
                under_rule_lead(replace(standing_order, currency=row.currency), row.rule_lead),
            )
            for row in rows
            if (standing_order := book.read(Violations(), row.message, book.now))
        ]

    return await asyncio.to_thread(read)


def _standing_orders(candidates: Sequence[Candidate]) -> list[StandingOrder]:
    return [candidate.standing_order for candidate in candidates]


def _note_repeated(
    book: Book, candidates: Sequence[Candidate], violations: Sequence[Violations]
) -> None:
    """Note the products that a customer has in an earlier row."""
    for (row, standing_order), noted in zip(candidates, violations, strict=True):
        for index, item in enumerate(standing_order.items):
            key = hash((standing_order.customer, item.product))
            first = book.rows_by_item.setdefault(key, row.number)
            if first != row.number:
                _note_duplicate(noted, index, f"row {first}")


async def _note_duplicates(
    connection: Connection,
    book: Book,
    candidates: Sequence[Candidate],
    violations: Sequence[Violations],
) -> None:
    """Note the products that a customer has in a live standing order."""
    customers = [standing_order.customer for _, standing_order in candidates]
    live = await purchases.live_of_customers(connection, book.merchant, customers)
    for (_, standing_order), noted in zip(candidates, violations, strict=True):
        for index, item in enumerate(standing_order.items):
            other = live.get((standing_order.customer, item.product))
            if other is not None:
                _note_duplicate(noted, index, standing_order_name(book.merchant, other))


def _note_duplicate(violations: Violations, index: int, first: str) -> None:
    violations.add(
        f"standing_order.items[{index}].product",
        f"{first} of the same customer has it already",
        "DUPLICATE_STANDING_ORDER",
    )
