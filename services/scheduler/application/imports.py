"""Taking over a book of standing orders: a stream of rows, all or nothing."""

import asyncio
import hashlib
import pickle
import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from recurring.scheduler.v1 import scheduler_pb2

from services.runtime.db import audit
from services.runtime.db.pool import Connection, Database
from services.runtime.errors import FieldViolation, Violations, already_exists
from services.runtime.messaging import outbox
from services.runtime.resource_names import ID_PATTERN
from services.runtime.rpc.limits import ConcurrencyLimiter, exhausted
from services.scheduler import names, publishers
from services.scheduler.application import previews
from services.scheduler.application.previews import CyclePreview
from services.scheduler.application.sign_up import note_items, sign_up_violations
from services.scheduler.clients import Clients
from services.scheduler.domain.ids import MerchantId, StandingOrderId
from services.scheduler.domain.standing_order import StandingOrder
from services.scheduler.names import standing_order_name
from services.scheduler.store import purchases, sign_ups

# All rows of an import are in memory until they are stored, which takes 130 MiB at the worst.
IMPORTS_AT_ONCE_MAX = 2
# So that no merchant takes the room of all.
IMPORTS_OF_MERCHANT_MAX = 1
# An import that broke off keeps its place until the service has heard of it and undone what it began:
# whoever sends the book again at once waits for that place rather than be sent away.
IMPORTS_WAIT_SECONDS = 5.0
# When there may be room again.
IMPORTS_RETRY_SECONDS = 10.0
PROBLEMS_MAX = 1000
# Keeps what other services are asked at once well below the size of a message.
BATCH_MAX_ITEMS = 5_000
SHADOW_MAX_ROWS = 1000
_ID_MAX_CHARACTERS = 63


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


@dataclass(frozen=True, slots=True)
class Accepted:
    """A row with nothing wrong about it."""

    number: int
    content_hash: bytes
    standing_order: StandingOrder


@dataclass(frozen=True, slots=True)
class Packed:
    """Good rows while they wait to be stored. As objects, they take some thirty times as much."""

    count: int
    data: bytes

    @classmethod
    def of(cls, rows: Sequence[Accepted]) -> "Packed":
        """Rows, packed."""
        return cls(len(rows), zlib.compress(pickle.dumps(rows), zlib.Z_BEST_SPEED))

    @property
    def rows(self) -> list[Accepted]:
        """The rows again."""
        rows: list[Accepted] = pickle.loads(zlib.decompress(self.data))  # noqa: S301 # nosec B301 - packed above
        return rows


@dataclass(slots=True)
class Book:
    """What has become of the rows so far."""

    merchant: MerchantId
    now: datetime
    partial: bool
    allow_duplicate: bool
    # As they are stored: at most BATCH_MAX_ENTRIES rows with BATCH_MAX_ITEMS items a batch.
    batches: list[Packed] = field(default_factory=list)
    problems: list[RowProblem] = field(default_factory=list)
    unchanged_count: int = 0
    refused_count: int = 0
    # Id -> the row that has it.
    seen: dict[str, int] = field(default_factory=dict)
    # Hash of customer and product -> the row that has them. Two of the same hash, by which a good row
    # would be refused, are in one of a hundred million books as large as may be.
    wanted: dict[int, int] = field(default_factory=dict)

    def refuse(self, number: int, standing_order: str, found: Sequence[FieldViolation]) -> None:
        """Count a row as bad, and note why."""
        self.refused_count += 1
        self.problems += [
            RowProblem(number, standing_order[:_ID_MAX_CHARACTERS], violation)
            for violation in found
        ]
        if len(self.problems) > 2 * PROBLEMS_MAX:
            self.keep_first_problems()

    def keep_first_problems(self) -> None:
        """Forget the problems that nobody will be told."""
        self.problems.sort(key=lambda problem: problem.number)
        del self.problems[PROBLEMS_MAX:]

    @property
    def storable(self) -> bool:
        """Whether what is good may be stored."""
        return self.partial or not self.refused_count

    @property
    def accepted(self) -> Iterator[Accepted]:
        """The good rows."""
        return (one for batch in self.batches for one in batch.rows)

    @property
    def accepted_count(self) -> int:
        """How many there are."""
        return sum(batch.count for batch in self.batches)


@asynccontextmanager
async def place_for(limiter: ConcurrencyLimiter, merchant: MerchantId) -> AsyncIterator[None]:
    """A place for an import of a merchant, waited for. Raises RESOURCE_EXHAUSTED IMPORTS_BUSY."""
    async with AsyncExitStack() as place:
        try:
            async with asyncio.timeout(IMPORTS_WAIT_SECONDS):
                await place.enter_async_context(limiter.of(merchant))
        except TimeoutError:
            message = (
                f"{IMPORTS_OF_MERCHANT_MAX} import of the merchant"
                f" or {IMPORTS_AT_ONCE_MAX} in all are running"
            )
            raise exhausted("IMPORTS_BUSY", message, IMPORTS_RETRY_SECONDS) from None
        yield


async def take_over(
    database: Database,
    clients: Clients,
    book: Book,
    batches: AsyncIterator[Sequence[Row]],
    read: ReadRow,
    *,
    shadow_cycle_count: int,
    dry_run: bool,
) -> list[ShadowBill]:
    """Check the rows of a book and store the good ones, all or none; return what they would bill."""
    async for rows in batches:
        await _check(database, clients, book, rows, read)
    shadow_bills = await _shadow_bills(database, clients, book, shadow_cycle_count)
    if not dry_run and book.storable:
        await _protect(clients, book)
        if book.storable:
            await _store_book(database, book)
    book.keep_first_problems()
    return shadow_bills


async def _check(
    database: Database, clients: Clients, book: Book, rows: Sequence[Row], read: ReadRow
) -> None:
    """Sort a batch into good rows, rows that are here already, and bad ones."""
    async with database.read() as connection:
        known = await sign_ups.import_hashes(
            connection,
            book.merchant,
            [row.standing_order for row in rows if ID_PATTERN.fullmatch(row.standing_order)],
        )
    # Their expressions take time to check: others are served meanwhile.
    accepted = await asyncio.to_thread(_read_rows, book, rows, known, read)
    noted = await sign_up_violations(clients, [one.standing_order for one in accepted])
    if not book.allow_duplicate:
        _note_repeated(book, accepted, noted)
        async with database.read() as connection:
            await _note_duplicates(connection, book, accepted, noted)
    book.batches.append(Packed.of(_without_bad(book, accepted, noted)))
    book.keep_first_problems()


async def _protect(clients: Clients, book: Book) -> None:
    """Have the sign-up prices remembered, as late as can be: a product may have gone by now."""
    for place, packed in enumerate(book.batches):
        batch = packed.rows
        answers = await clients.protect_prices([one.standing_order for one in batch])
        noted = [Violations() for _ in batch]
        for one, found, problems in zip(batch, noted, answers, strict=True):
            standing_order = one.standing_order
            note_items(
                found,
                standing_order.merchant,
                "standing_order.items",
                standing_order.items,
                problems,
            )
        _drop_bad(book, place, batch, noted)


async def _store_book(database: Database, book: Book) -> None:
    """Store all good rows, or none."""
    async with database.begin() as tx:
        if not book.allow_duplicate:
            await _refuse_duplicates(tx, book)
            if not book.storable:
                return
        for packed in book.batches:
            batch = packed.rows
            standing_orders = [one.standing_order for one in batch]
            hashes = [one.content_hash for one in batch]
            stored = await sign_ups.insert(tx, standing_orders, hashes)
            for standing_order in standing_orders:
                if standing_order.standing_order not in stored:
                    name = standing_order_name(book.merchant, standing_order.standing_order)
                    raise already_exists("STANDING_ORDER_ALREADY_EXISTS", name)
            await outbox.put(
                tx,
                [
                    publishers.standing_order_changed(one, "CREATED", book.now)
                    for one in standing_orders
                ],
            )
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


async def _shadow_bills(
    database: Database, clients: Clients, book: Book, count: int
) -> list[ShadowBill]:
    """The coming cycles of the first good rows, priced."""
    bills: list[ShadowBill] = []
    batch: list[Accepted] = []
    for one in book.accepted if count else ():
        batch.append(one)
        items = sum(len(each.standing_order.items) for each in batch) * count
        if items >= BATCH_MAX_ITEMS:
            bills += await _shadow_batch(database, clients, batch, count, book.now)
            batch = []
        if len(bills) + len(batch) == SHADOW_MAX_ROWS:
            break
    return bills + await _shadow_batch(database, clients, batch, count, book.now)


async def _shadow_batch(
    database: Database, clients: Clients, batch: Sequence[Accepted], count: int, now: datetime
) -> list[ShadowBill]:
    standing_orders = [one.standing_order for one in batch]
    found = await previews.preview_all(database, clients, standing_orders, count, now)
    return [
        ShadowBill(one.number, one.standing_order.standing_order, cycles)
        for one, cycles in zip(batch, found, strict=True)
    ]


def _read_rows(
    book: Book, rows: Sequence[Row], known: Mapping[str, bytes], read: ReadRow
) -> list[Accepted]:
    """The rows of a batch that are new and have nothing wrong with them."""
    accepted: list[Accepted] = []
    for row in rows:
        content_hash = row.content_hash
        first = row.number
        # What is no id may be of any length.
        if ID_PATTERN.fullmatch(row.standing_order):
            first = book.seen.setdefault(row.standing_order, row.number)
        if first == row.number and known.get(row.standing_order) == content_hash:
            book.unchanged_count += 1
            continue
        violations = Violations()
        standing_order = None
        if first != row.number:
            violations.add("standing_order_id", f"row {first} has it already", "ROW_REPEATED")
        elif row.standing_order in known:
            violations.add(
                "standing_order_id", "exists with other content", "STANDING_ORDER_ALREADY_EXISTS"
            )
        else:
            standing_order = read(violations, row.message, book.now)
        if standing_order is None:
            book.refuse(row.number, row.standing_order, violations.found)
        else:
            accepted.append(Accepted(row.number, content_hash, standing_order))
    return accepted


def _note_repeated(book: Book, batch: Sequence[Accepted], noted: Sequence[Violations]) -> None:
    """Note the products that a customer has in a row before."""
    for one, violations in zip(batch, noted, strict=True):
        for place, item in enumerate(one.standing_order.items):
            first = book.wanted.setdefault(
                hash((one.standing_order.customer, item.product)), one.number
            )
            if first != one.number:
                _note_duplicate(violations, place, f"row {first}")


async def _note_duplicates(
    connection: Connection, book: Book, batch: Sequence[Accepted], noted: Sequence[Violations]
) -> None:
    """Note the products that a customer has in a standing order that is live already."""
    customers = [one.standing_order.customer for one in batch]
    live = await purchases.live_of_customers(connection, book.merchant, customers)
    for one, violations in zip(batch, noted, strict=True):
        for place, item in enumerate(one.standing_order.items):
            found = live.get((one.standing_order.customer, item.product))
            if found is not None:
                name = standing_order_name(book.merchant, found)
                _note_duplicate(violations, place, name)


def _note_duplicate(violations: Violations, place: int, first: str) -> None:
    violations.add(
        f"standing_order.items[{place}].product",
        f"{first} of the same customer has it already",
        "DUPLICATE_STANDING_ORDER",
    )


async def _refuse_duplicates(tx: Connection, book: Book) -> None:
    """Look once more, where nobody sets up others meanwhile, and keep them out until it is stored."""
    await purchases.lock_merchant(tx, book.merchant)
    for place, packed in enumerate(book.batches):
        batch = packed.rows
        noted = [Violations() for _ in batch]
        await _note_duplicates(tx, book, batch, noted)
        _drop_bad(book, place, batch, noted)


def _drop_bad(
    book: Book, place: int, batch: Sequence[Accepted], noted: Sequence[Violations]
) -> None:
    """Leave in the batch at a place what nothing was noted about."""
    good = _without_bad(book, batch, noted)
    # Mostly all are, and are packed already.
    if len(good) < len(batch):
        book.batches[place] = Packed.of(good)


def _without_bad(
    book: Book, batch: Sequence[Accepted], noted: Sequence[Violations]
) -> list[Accepted]:
    """The rows of a batch without those about which something was noted, which are refused."""
    good: list[Accepted] = []
    for one, violations in zip(batch, noted, strict=True):
        if violations.found:
            book.refuse(one.number, one.standing_order.standing_order, violations.found)
        else:
            good.append(one)
    return good
