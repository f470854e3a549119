"""Taking over a book of standing orders: a stream of rows, all or nothing."""

import asyncio
import pickle
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime

from recurring.scheduler.v1 import scheduler_pb2
from sqlalchemy.ext.asyncio import AsyncConnection

from services.runtime.crypto.encryption import Keyring
from services.runtime.db import audit
from services.runtime.db.pool import Database
from services.runtime.errors import FieldViolation, Violations, already_exists
from services.runtime.messaging import outbox
from services.runtime.resource_names import ID_PATTERN
from services.runtime.rpc import validation
from services.runtime.rpc.limits import ConcurrencyLimiter, exhausted
from services.runtime.workers.clock import Clock
from services.scheduler import names, publishers
from services.scheduler.api.import_stream import (
    BATCH_MAX_ITEMS,
    Requests,
    Row,
    batches,
    never_idle,
    read_config,
)
from services.scheduler.api.reading import read_standing_order
from services.scheduler.api.responses import preview_message
from services.scheduler.api.schedules import read_calendar_date
from services.scheduler.application import previews
from services.scheduler.application.sign_up import note_items, sign_up_violations
from services.scheduler.clients import Clients
from services.scheduler.domain import calendar
from services.scheduler.domain.ids import MerchantId, StandingOrderId
from services.scheduler.domain.standing_order import StandingOrder
from services.scheduler.domain.takeover import nearest_dates, taken_over
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
SHADOW_MAX_ROWS = 1000
_ID_MAX_CHARACTERS = 63

Response = scheduler_pb2.ImportStandingOrdersResponse


@dataclass(frozen=True, slots=True)
class Accepted:
    """A row with nothing wrong about it."""

    number: int
    content_hash: bytes
    template: StandingOrder


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
    keyring: Keyring
    partial: bool
    allow_duplicate: bool
    # As they are stored: at most BATCH_MAX_ENTRIES rows with BATCH_MAX_ITEMS items a batch.
    batches: list[Packed] = field(default_factory=list)
    problems: list[scheduler_pb2.ImportProblem] = field(default_factory=list)
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
            scheduler_pb2.ImportProblem(
                row=number,
                standing_order_id=standing_order[:_ID_MAX_CHARACTERS],
                field=each.field,
                reason=each.reason,
                description=each.description,
            )
            for each in found
        ]
        if len(self.problems) > 2 * PROBLEMS_MAX:
            self.keep_first_problems()

    def keep_first_problems(self) -> None:
        """Forget the problems that nobody will be told."""
        self.problems.sort(key=lambda problem: problem.row)
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


class ImportMethods:
    """The method of recurring.scheduler.v1.SchedulerService that takes over standing orders."""

    database: Database
    _clock: Clock
    _clients: Clients
    _importing: ConcurrencyLimiter

    async def ImportStandingOrders(self, requests: Requests, _context: object) -> Response:
        """Take over standing orders from another system."""
        sent = never_idle(requests)
        config = await read_config(sent)
        merchant = names.parse_merchant(config.parent)
        async with AsyncExitStack() as place:
            try:
                async with asyncio.timeout(IMPORTS_WAIT_SECONDS):
                    await place.enter_async_context(self._importing.of(merchant))
            except TimeoutError:
                message = (
                    f"{IMPORTS_OF_MERCHANT_MAX} import of the merchant"
                    f" or {IMPORTS_AT_ONCE_MAX} in all are running"
                )
                raise exhausted("IMPORTS_BUSY", message, IMPORTS_RETRY_SECONDS) from None
            return await self._import(merchant, config, sent)

    async def _import(
        self, merchant: MerchantId, config: scheduler_pb2.ImportConfig, requests: Requests
    ) -> Response:
        book = Book(
            merchant,
            self._clock.now(),
            self.database.keyring,
            partial=config.partial,
            allow_duplicate=config.allow_duplicate,
        )
        async for rows in batches(requests):
            await self._check(book, rows)
        shadow_bills = await self._shadow_bills(book, config.shadow_cycle_count)
        if not config.dry_run and book.storable:
            await self._protect(book)
            if book.storable:
                await self._store_book(book)
        book.keep_first_problems()
        return Response(
            imported_count=book.accepted_count if book.storable else 0,
            unchanged_count=book.unchanged_count,
            refused_count=book.refused_count,
            problems=book.problems,
            shadow_bills=shadow_bills,
        )

    async def _check(self, book: Book, rows: Sequence[Row]) -> None:
        """Sort a batch into good rows, rows that are here already, and bad ones."""
        async with self.database.read() as connection:
            known = await sign_ups.import_hashes(
                connection,
                book.merchant,
                [row.standing_order for row in rows if ID_PATTERN.fullmatch(row.standing_order)],
            )
        # Their expressions take time to check: others are served meanwhile.
        accepted = await asyncio.to_thread(_read_rows, book, rows, known)
        noted = await sign_up_violations(self._clients, [one.template for one in accepted])
        if not book.allow_duplicate:
            _note_repeated(book, accepted, noted)
            async with self.database.read() as connection:
                await _note_duplicates(connection, book, accepted, noted)
        book.batches.append(Packed.of(_without_bad(book, accepted, noted)))
        book.keep_first_problems()

    async def _protect(self, book: Book) -> None:
        """Have the sign-up prices remembered, as late as can be: a product may have gone by now."""
        for place, packed in enumerate(book.batches):
            batch = packed.rows
            answers = await self._clients.protect_prices([one.template for one in batch])
            noted = [Violations() for _ in batch]
            for one, found, problems in zip(batch, noted, answers, strict=True):
                template = one.template
                note_items(
                    found, template.merchant, "standing_order.items", template.items, problems
                )
            _drop_bad(book, place, batch, noted)

    async def _store_book(self, book: Book) -> None:
        """Store all good rows, or none."""
        async with self.database.begin() as tx:
            if not book.allow_duplicate:
                await _refuse_duplicates(tx, book)
                if not book.storable:
                    return
            for packed in book.batches:
                batch = packed.rows
                templates = [one.template for one in batch]
                hashes = [one.content_hash for one in batch]
                stored = await sign_ups.insert(tx, templates, hashes)
                for template in templates:
                    if template.standing_order not in stored:
                        name = standing_order_name(book.merchant, template.standing_order)
                        raise already_exists("STANDING_ORDER_ALREADY_EXISTS", name)
                await outbox.put(
                    tx,
                    [
                        publishers.standing_order_changed(one, "CREATED", book.now)
                        for one in templates
                    ],
                )
            await audit.put(
                tx,
                scheduler_pb2.ImportStandingOrdersRequest(),
                None,
                Response(
                    imported_count=book.accepted_count,
                    unchanged_count=book.unchanged_count,
                    refused_count=book.refused_count,
                ),
                resource=names.MERCHANT.format(book.merchant),
            )

    async def _shadow_bills(self, book: Book, count: int) -> list[scheduler_pb2.ShadowBill]:
        """The coming cycles of the first good rows, priced."""
        bills: list[scheduler_pb2.ShadowBill] = []
        batch: list[Accepted] = []
        for one in book.accepted if count else ():
            batch.append(one)
            items = sum(len(each.template.items) for each in batch) * count
            if items >= BATCH_MAX_ITEMS:
                bills += await self._shadow_batch(batch, count)
                batch = []
            if len(bills) + len(batch) == SHADOW_MAX_ROWS:
                break
        return bills + await self._shadow_batch(batch, count)

    async def _shadow_batch(
        self, batch: Sequence[Accepted], count: int
    ) -> list[scheduler_pb2.ShadowBill]:
        templates = [one.template for one in batch]
        found = await previews.preview_all(
            self.database, self._clients, templates, count, self._clock.now()
        )
        bills = []
        for one, coming in zip(batch, found, strict=True):
            cycles = [preview_message(preview) for preview in coming]
            for cycle in cycles:
                # Dates and amounts are what can be compared, and a thousand rows fit in one answer.
                cycle.ClearField("lines")
            bills.append(
                scheduler_pb2.ShadowBill(
                    row=one.number, standing_order_id=one.template.standing_order, cycles=cycles
                )
            )
        return bills


def _read_rows(book: Book, rows: Sequence[Row], known: Mapping[str, bytes]) -> list[Accepted]:
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
        template = None
        if first != row.number:
            violations.add("standing_order_id", f"row {first} has it already", "ROW_REPEATED")
        elif row.standing_order in known:
            violations.add(
                "standing_order_id", "exists with other content", "STANDING_ORDER_ALREADY_EXISTS"
            )
        else:
            template = _read_row(violations, book, row.message)
        if template is None:
            book.refuse(row.number, row.standing_order, violations.found)
        else:
            accepted.append(Accepted(row.number, content_hash, template))
    return accepted


def _read_row(
    violations: Violations, book: Book, message: scheduler_pb2.ImportRow
) -> StandingOrder | None:
    """The standing order of a row; None, with violations, if there is something wrong with it."""
    validation.note(violations, message)
    if violations.found:
        return None
    next_date = read_calendar_date(violations, "next_date", message.next_date)
    template = read_standing_order(
        book.merchant,
        StandingOrderId(message.standing_order_id),
        message.standing_order,
        book.now,
        book.keyring,
        violations,
        began_elsewhere=True,
    )
    if template is None or violations.found:
        return None
    placed = taken_over(template, message.next_cycle, next_date)
    if placed is None:
        nearest = " and ".join(map(str, nearest_dates(template.schedule, next_date)))
        violations.add(
            "next_date",
            f"must be a date of the schedule; near it are {nearest or 'none'}",
            "NEXT_DATE_NOT_SCHEDULED",
        )
    elif next_date < calendar.utc_to_local_date(book.now, template.schedule.time_zone):
        violations.add("next_date", "must not be past", "NEXT_DATE_PAST")
        return None
    return placed


def _note_repeated(book: Book, batch: Sequence[Accepted], noted: Sequence[Violations]) -> None:
    """Note the products that a customer has in a row before."""
    for one, violations in zip(batch, noted, strict=True):
        for place, item in enumerate(one.template.items):
            first = book.wanted.setdefault(hash((one.template.customer, item.product)), one.number)
            if first != one.number:
                _note_duplicate(violations, place, f"row {first}")


async def _note_duplicates(
    connection: AsyncConnection, book: Book, batch: Sequence[Accepted], noted: Sequence[Violations]
) -> None:
    """Note the products that a customer has in a standing order that is live already."""
    customers = [one.template.customer for one in batch]
    live = await purchases.live_of_customers(connection, book.merchant, customers)
    for one, violations in zip(batch, noted, strict=True):
        for place, item in enumerate(one.template.items):
            found = live.get((one.template.customer, item.product))
            if found is not None:
                name = standing_order_name(book.merchant, found)
                _note_duplicate(violations, place, name)


def _note_duplicate(violations: Violations, place: int, first: str) -> None:
    violations.add(
        f"standing_order.items[{place}].product",
        f"{first} of the same customer has it already",
        "DUPLICATE_STANDING_ORDER",
    )


async def _refuse_duplicates(tx: AsyncConnection, book: Book) -> None:
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
            book.refuse(one.number, one.template.standing_order, violations.found)
        else:
            good.append(one)
    return good
