"""Rows of services: their slots by day, and what is booked of them."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import date
from typing import NamedTuple

from services.catalog.domain.bookings import BookedDay, Capacity
from services.catalog.domain.products import MerchantId, ProductKey, SlotKey
from services.catalog.names import ORDER
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query


class _OrderOfDayRow(NamedTuple):
    merchant: MerchantId
    standing_order: str
    cycle: int
    day: date


_INSERT = Command("""
    INSERT INTO capacities (merchant, product)
    SELECT merchant, product
    FROM unnest(CAST(:merchant AS text[]), CAST(:product AS text[])) AS service (merchant, product)
    ON CONFLICT (product, merchant) DO NOTHING
""")

_CAPACITIES = Query(
    """
    SELECT merchant, product, weekday_slots, exception_dates, exception_slots, is_awaited,
           freed_count, version
    FROM capacities
    JOIN unnest(CAST(:merchant AS text[]), CAST(:product AS text[])) AS wanted (merchant, product)
      USING (merchant, product)
    """,
    Capacity,
)

# Who changes bookings locks the rows of capacities first, in the order of their key, and then those of
# bookings, in the order of theirs; and those of stock and of holds before: so no two of them ever wait
# for each other.
_CAPACITIES_LOCKED = Query(
    """
    SELECT merchant, product, weekday_slots, exception_dates, exception_slots, is_awaited,
           freed_count, version
    FROM capacities
    JOIN unnest(CAST(:merchant AS text[]), CAST(:product AS text[])) AS wanted (merchant, product)
      USING (merchant, product)
    ORDER BY product, merchant FOR UPDATE OF capacities
    """,
    Capacity,
)

_UPDATE = Query(
    """
    UPDATE capacities
    SET weekday_slots = CAST(:weekday_slots AS integer[]),
        exception_dates = CAST(:exception_dates AS date[]),
        exception_slots = CAST(:exception_slots AS integer[]), version = version + 1
    WHERE product = :product AND merchant = :merchant
    RETURNING merchant, product, weekday_slots, exception_dates, exception_slots, is_awaited,
              freed_count, version
    """,
    Capacity,
)

_SET_AWAITED = Command("""
    UPDATE capacities SET is_awaited = true
    FROM unnest(CAST(:merchant AS text[]), CAST(:product AS text[])) AS given (merchant, product)
    WHERE capacities.product = given.product AND capacities.merchant = given.merchant
      AND NOT is_awaited
""")

_SET_FREED = Query(
    """
    UPDATE capacities SET is_awaited = false, freed_count = freed_count + 1
    FROM unnest(CAST(:merchant AS text[]), CAST(:product AS text[])) AS given (merchant, product)
    WHERE capacities.product = given.product AND capacities.merchant = given.merchant
      AND is_awaited
    RETURNING capacities.merchant, capacities.product, weekday_slots, exception_dates,
              exception_slots, is_awaited, freed_count, version
    """,
    Capacity,
)

_BOOKED_DAYS = Query(
    """
    SELECT merchant, product, day, slots, booked_slots, committed_slots
    FROM unnest(CAST(:merchant AS text[]), CAST(:product AS text[]))
      AS wanted (of_merchant, of_product)
    -- OFFSET has each service looked up by its key.
    CROSS JOIN LATERAL (
        SELECT * FROM booked_days
        WHERE product = of_product AND merchant = of_merchant AND day BETWEEN :first AND :last
        OFFSET 0) AS found
    ORDER BY day
    """,
    BookedDay,
)

_ADD_BOOKED = Command("""
    INSERT INTO booked_days (merchant, product, day, slots, booked_slots)
    SELECT merchant, product, day, slots, quantity
    FROM unnest(CAST(:merchant AS text[]), CAST(:product AS text[]), CAST(:day AS date[]),
                CAST(:slots AS integer[]), CAST(:quantity AS integer[]))
      AS booked (merchant, product, day, slots, quantity)
    ON CONFLICT (product, merchant, day) DO UPDATE
      SET booked_slots = booked_days.booked_slots + excluded.booked_slots
""")

_TAKE_BOOKED = Command("""
    UPDATE booked_days SET booked_slots = booked_slots - given.quantity * (1 - :is_paid),
                           committed_slots = committed_slots + given.quantity * :is_paid
    FROM unnest(CAST(:merchant AS text[]), CAST(:product AS text[]), CAST(:day AS date[]),
                CAST(:quantity AS integer[]))
      AS given (merchant, product, day, quantity)
    WHERE booked_days.product = given.product AND booked_days.merchant = given.merchant
      AND booked_days.day = given.day
""")

_SET_SLOTS = Command("""
    UPDATE booked_days SET slots = given.slots
    FROM unnest(CAST(:merchant AS text[]), CAST(:product AS text[]), CAST(:day AS date[]),
                CAST(:slots AS integer[]))
      AS given (merchant, product, day, slots)
    WHERE booked_days.product = given.product AND booked_days.merchant = given.merchant
      AND booked_days.day = given.day AND booked_days.slots <> given.slots
""")

_ORDERS_OF_DAYS = Query(
    """
    SELECT merchant, standing_order, cycle, day
    FROM generate_series(CAST(:first AS date), CAST(:last AS date), '1 day') AS wanted (at)
    CROSS JOIN LATERAL (
        SELECT * FROM slot_bookings
        WHERE merchant = :merchant AND day = CAST(wanted.at AS date) AND :product = ANY (products)
          AND state || '' IN ('HELD', 'COMMITTED')
        ORDER BY standing_order, cycle LIMIT :limit) AS found
    """,
    _OrderOfDayRow,
)


async def insert(tx: Connection, keys: Sequence[ProductKey]) -> None:
    """Create the capacity of new services: none on any day."""
    await _INSERT.run_for(tx, keys)


async def capacities(
    tx: Connection, keys: Iterable[ProductKey], *, lock: bool
) -> dict[ProductKey, Capacity]:
    """The capacity of those of the products that are services, locked if `lock` is set."""
    query = _CAPACITIES_LOCKED if lock else _CAPACITIES
    return {capacity.key: capacity for capacity in await query.all_for(tx, set(keys))}


async def update(tx: Connection, capacity: Capacity, days: Sequence[BookedDay]) -> Capacity:
    """Store the capacity of a service that is locked, and so of its days that have bookings."""
    slots = [capacity.slots_on(day.day) for day in days]
    await _SET_SLOTS.run_for(tx, days, slots=slots)
    return await _UPDATE.one(
        tx,
        **capacity.key._asdict(),
        weekday_slots=capacity.weekday_slots,
        exception_dates=capacity.exception_dates,
        exception_slots=capacity.exception_slots,
    )


async def set_awaited(tx: Connection, keys: Iterable[ProductKey]) -> None:
    """Remember that orders found no slots of services."""
    await _SET_AWAITED.run_for(tx, sorted(set(keys)))


async def set_freed(tx: Connection, keys: Iterable[ProductKey]) -> list[Capacity]:
    """Those of the services that orders wait for, as they are once that is published."""
    return await _SET_FREED.all_for(tx, sorted(set(keys)))


async def booked_days(
    tx: Connection, keys: Iterable[ProductKey], first: date, last: date
) -> list[BookedDay]:
    """The days of services in a span that slots were ever booked of, by date."""
    return await _BOOKED_DAYS.all_for(tx, set(keys), first=first, last=last)


async def add_booked(tx: Connection, booked: Sequence[tuple[SlotKey, int, int]]) -> None:
    """Count slots as booked: of each day, how many, and how many it has in all."""
    sums: Counter[SlotKey] = Counter()
    for key, quantity, _ in booked:
        sums[key] += quantity
    slots = {key: slots for key, _, slots in booked}
    await _ADD_BOOKED.run_for(
        tx, list(sums), quantity=list(sums.values()), slots=[slots[key] for key in sums]
    )


async def take_booked(
    tx: Connection, taken: Sequence[tuple[SlotKey, int]], *, is_paid: bool
) -> None:
    """Count booked slots as used by paid orders if `is_paid`, else as free."""
    sums: Counter[SlotKey] = Counter()
    for key, quantity in taken:
        sums[key] += quantity
    await _TAKE_BOOKED.run_for(tx, list(sums), quantity=list(sums.values()), is_paid=int(is_paid))


async def orders_of_days(
    tx: Connection, key: ProductKey, first: date, last: date, limit: int
) -> dict[date, list[str]]:
    """By day, the names of the first orders that have slots of a service, in their order."""
    orders: dict[date, list[str]] = defaultdict(list)
    rows = await _ORDERS_OF_DAYS.all(tx, **key._asdict(), first=first, last=last, limit=limit)
    for row in rows:
        orders[row.day].append(ORDER.format(row.merchant, row.standing_order, str(row.cycle)))
    return orders
