"""Rows of bookings: the slots of each order, or that it ended. They work as those of holds do."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import NamedTuple

from services.catalog.domain.bookings import Booking, Capacity, Granted, SlotDate
from services.catalog.domain.products import (
    Item,
    MerchantId,
    OrderKey,
    ProductId,
    ProductKey,
    SlotKey,
    StandingOrderId,
)
from services.catalog.domain.transitions import HOLD, HoldEvent, HoldState
from services.catalog.names import ORDER
from services.catalog.store import capacities
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query


class _BookingRow(NamedTuple):
    merchant: MerchantId
    standing_order: StandingOrderId
    cycle: int
    announcement_count: int
    state: HoldState
    products: tuple[ProductId, ...]
    quantities: tuple[int, ...]
    day: date | None
    expire_time: datetime | None
    due_time: datetime | None


class _SlotRow(NamedTuple):
    merchant: MerchantId
    product: ProductId
    day: date
    quantity: int


_BOOKINGS_OF_ORDERS = Query(
    """
    SELECT merchant, standing_order, cycle, announcement_count, state, products, quantities, day,
           expire_time, due_time
    FROM slot_bookings
    JOIN unnest(CAST(:merchant AS text[]), CAST(:standing_order AS text[]), CAST(:cycle AS int[]))
      AS wanted (merchant, standing_order, cycle) USING (merchant, standing_order, cycle)
    """,
    _BookingRow,
)

_EXPIRING = Query(
    """
    SELECT merchant, standing_order, cycle, announcement_count, state, products, quantities, day,
           expire_time, due_time
    FROM unnest(CAST(:buckets AS smallint[])) AS leased (bucket)
    CROSS JOIN LATERAL (
        SELECT * FROM slot_bookings
        WHERE state = 'HELD' AND bucket = leased.bucket AND expire_time <= :now
          AND 'merchants/' || merchant || '/standingOrders/' || standing_order || '/orders/' || cycle
              <> ALL(CAST(:left_out AS text[]))
        ORDER BY expire_time LIMIT :limit) AS due
    LIMIT :limit
    """,
    _BookingRow,
)

# In the order of their key, as every statement that adds rows here.
_INSERT = Query(
    """
    INSERT INTO slot_bookings (merchant, standing_order, cycle, announcement_count, state, products,
                               quantities, day, expire_time, due_time, order_stored)
    SELECT merchant, standing_order, cycle, announcement_count, 'HELD', array_agg(product),
           array_agg(quantity), day, expire_time, due_time, order_stored
    FROM unnest(CAST(:merchant AS text[]), CAST(:standing_order AS text[]), CAST(:cycle AS int[]),
                CAST(:announcement_count AS int[]), CAST(:product AS text[]),
                CAST(:quantity AS int[]), CAST(:day AS date[]), CAST(:expire_time AS timestamptz[]),
                CAST(:due_time AS timestamptz[]), CAST(:order_stored AS boolean[]))
      AS wanted (merchant, standing_order, cycle, announcement_count, product, quantity, day,
                 expire_time, due_time, order_stored)
    GROUP BY merchant, standing_order, cycle, announcement_count, day, expire_time, due_time,
             order_stored
    ORDER BY standing_order, merchant, cycle
    ON CONFLICT (standing_order, merchant, cycle) DO UPDATE
      SET announcement_count = excluded.announcement_count, state = 'HELD',
          products = excluded.products, quantities = excluded.quantities, day = excluded.day,
          expire_time = excluded.expire_time, due_time = excluded.due_time,
          order_stored = excluded.order_stored, book_time = now()
      WHERE slot_bookings.state IN ('RELEASED', 'ENDED')
        AND slot_bookings.announcement_count + CAST(slot_bookings.state = 'ENDED' AS int)
            <= excluded.announcement_count
    RETURNING merchant, standing_order, cycle
    """,
    OrderKey,
)

# By its key: `state || ''` keeps the planner from the index of a state. Of those that are released only
# what ran out by itself keeps its time.
_SETTLE = Query(
    """
    WITH settled AS (
        UPDATE slot_bookings
        SET state = :state, expire_time = CASE WHEN :state = 'COMMITTED' THEN expire_time END
        FROM unnest(CAST(:merchant AS text[]), CAST(:standing_order AS text[]), CAST(:cycle AS int[]))
          AS wanted (merchant, standing_order, cycle)
        WHERE slot_bookings.standing_order = wanted.standing_order
          AND slot_bookings.merchant = wanted.merchant
          AND slot_bookings.cycle = wanted.cycle AND state || '' = 'HELD'
        RETURNING slot_bookings.merchant, products, quantities, day)
    SELECT merchant, product, day, quantity
    FROM settled CROSS JOIN LATERAL unnest(products, quantities) AS booked (product, quantity)
    """,
    _SlotRow,
)

# As if they had been released before they ran out.
_GIVE_UP = Command("""
    UPDATE slot_bookings SET expire_time = NULL
    FROM unnest(CAST(:merchant AS text[]), CAST(:standing_order AS text[]), CAST(:cycle AS int[]))
      AS wanted (merchant, standing_order, cycle)
    WHERE slot_bookings.standing_order = wanted.standing_order
      AND slot_bookings.merchant = wanted.merchant
      AND slot_bookings.cycle = wanted.cycle AND state || '' = 'RELEASED'
""")

_KEEP = Command("""
    UPDATE slot_bookings SET order_stored = true, expire_time = greatest(expire_time, kept.until)
    FROM unnest(CAST(:merchant AS text[]), CAST(:standing_order AS text[]), CAST(:cycle AS int[]),
                CAST(:expire_time AS timestamptz[]))
      AS kept (merchant, standing_order, cycle, until)
    WHERE slot_bookings.standing_order = kept.standing_order
      AND slot_bookings.merchant = kept.merchant
      AND slot_bookings.cycle = kept.cycle AND state || '' = 'HELD'
""")

_EXPIRE = Query(
    """
    WITH released AS (
        UPDATE slot_bookings SET state = 'RELEASED'
        FROM unnest(CAST(:merchant AS text[]), CAST(:standing_order AS text[]), CAST(:cycle AS int[]))
          AS wanted (merchant, standing_order, cycle)
        WHERE slot_bookings.standing_order = wanted.standing_order
          AND slot_bookings.merchant = wanted.merchant
          AND slot_bookings.cycle = wanted.cycle AND state || '' = 'HELD' AND expire_time <= :now
        RETURNING slot_bookings.merchant, products, quantities, day)
    SELECT merchant, product, day, quantity
    FROM released CROSS JOIN LATERAL unnest(products, quantities) AS booked (product, quantity)
    """,
    _SlotRow,
)

# Waits for a booking that is being made, so that the next statement sees it. Only a merchant that has
# services can have one.
_INSERT_ENDED = Command("""
    INSERT INTO slot_bookings (merchant, standing_order, cycle, announcement_count, state, products,
                               quantities)
    SELECT merchant, standing_order, cycle, announcement_count, 'ENDED', '{}', '{}'
    FROM unnest(CAST(:merchant AS text[]), CAST(:standing_order AS text[]), CAST(:cycle AS int[]),
                CAST(:announcement_count AS int[]))
      AS ended (merchant, standing_order, cycle, announcement_count)
    WHERE (SELECT true FROM products
           WHERE products.merchant = ended.merchant AND products.capacity_by_day LIMIT 1)
    ORDER BY standing_order, merchant, cycle
    ON CONFLICT (standing_order, merchant, cycle) DO NOTHING
""")

_END = Query(
    """
    WITH ending AS (
        SELECT standing_order, merchant, cycle, state, ended.announcement_count
        FROM slot_bookings
        JOIN unnest(CAST(:merchant AS text[]), CAST(:standing_order AS text[]),
                    CAST(:cycle AS int[]), CAST(:announcement_count AS int[]))
          AS ended (merchant, standing_order, cycle, announcement_count)
          USING (merchant, standing_order, cycle)
        WHERE state || '' IN ('HELD', 'RELEASED', 'ENDED')
          AND slot_bookings.announcement_count + CAST(state = 'ENDED' AS int)
              <= ended.announcement_count
        ORDER BY standing_order, merchant, cycle FOR UPDATE OF slot_bookings),
    ended AS (
        UPDATE slot_bookings SET state = 'ENDED', announcement_count = ending.announcement_count
        FROM ending
        WHERE slot_bookings.standing_order = ending.standing_order
          AND slot_bookings.merchant = ending.merchant AND slot_bookings.cycle = ending.cycle
        RETURNING slot_bookings.merchant, ending.state, products, quantities, day)
    SELECT merchant, product, day, quantity
    FROM ended CROSS JOIN LATERAL unnest(products, quantities) AS booked (product, quantity)
    WHERE state = 'HELD'
    """,
    _SlotRow,
)


async def bookings_of(tx: Connection, orders: Sequence[str]) -> dict[str, Booking]:
    """What there is of orders, by their names."""
    rows = await _BOOKINGS_OF_ORDERS.all_for(tx, [ORDER.key(order) for order in orders])
    return {booking.order: booking for booking in map(_booking, rows)}


async def expiring(
    tx: Connection, buckets: Sequence[int], now: datetime, limit: int, left_out: Sequence[str]
) -> dict[str, Booking]:
    """A batch of the bookings that nobody settled in time, by their orders' names, but for some."""
    rows = await _EXPIRING.all(tx, buckets=buckets, now=now, limit=limit, left_out=left_out)
    return {booking.order: booking for booking in map(_booking, rows)}


async def insert(
    tx: Connection, granted: Sequence[Granted], services: Mapping[ProductKey, Capacity]
) -> None:
    """Book slots for orders.

    An order that another transaction has ended or booked for meanwhile keeps what it has.
    """
    booked = [(*entry, item) for entry in granted for item in entry.request.items]
    inserted = set(
        await _INSERT.all_for(
            tx,
            [ORDER.key(request.order) for request, _, _ in booked],
            announcement_count=[request.announcement_count for request, _, _ in booked],
            product=[item.key.product for _, _, item in booked],
            quantity=[item.quantity for _, _, item in booked],
            day=[at.day for _, at, _ in booked],
            expire_time=[request.expire_time for request, _, _ in booked],
            due_time=[at.due_time for _, at, _ in booked],
            order_stored=[request.order_stored for request, _, _ in booked],
        )
    )
    slots = [
        (SlotKey(*item.key, at.day), item.quantity, services[item.key].slots_on(at.day))
        for request, at, item in booked
        if ORDER.key(request.order) in inserted
    ]
    await capacities.add_booked(tx, slots)


async def settle(tx: Connection, orders: Sequence[str], event: HoldEvent) -> set[ProductKey]:
    """Let the slots of orders be used, or become free to be booked once more; of which services."""
    state = HOLD.to(HoldState.HELD, event)
    keys = [ORDER.key(order) for order in orders]
    settled = await _SETTLE.all_for(tx, keys, state=state)
    if state is HoldState.RELEASED:
        await _GIVE_UP.run_for(tx, keys)
    return await _take(tx, settled, is_paid=state is HoldState.COMMITTED)


async def keep(tx: Connection, expire_times: Mapping[str, datetime]) -> None:
    """Let the bookings of orders, by their names, run out at these instants, if that is later."""
    orders = [ORDER.key(order) for order in expire_times]
    await _KEEP.run_for(tx, orders, expire_time=list(expire_times.values()))


async def end(tx: Connection, announcement_counts: Mapping[str, int]) -> set[ProductKey]:
    """Free the slots of orders that ended, and let none be booked from now on; of which services.

    By order, how often it was announced: what is booked for a later announcement stays.
    """
    orders = [ORDER.key(order) for order in announcement_counts]
    counts = list(announcement_counts.values())
    await _INSERT_ENDED.run_for(tx, orders, announcement_count=counts)
    ended = await _END.all_for(tx, orders, announcement_count=counts)
    return await _take(tx, ended, is_paid=False)


async def expire(tx: Connection, orders: Sequence[str], now: datetime) -> set[ProductKey]:
    """Free the slots of bookings that ran out; of which services."""
    ended = await _EXPIRE.all_for(tx, [ORDER.key(order) for order in orders], now=now)
    return await _take(tx, ended, is_paid=False)


async def _take(tx: Connection, rows: Sequence[_SlotRow], *, is_paid: bool) -> set[ProductKey]:
    taken = [(SlotKey(row.merchant, row.product, row.day), row.quantity) for row in rows]
    await capacities.take_booked(tx, taken, is_paid=is_paid)
    return {key.product_key for key, _ in taken}


def _booking(row: _BookingRow) -> Booking:
    items = zip(row.products, row.quantities, strict=True)
    return Booking(
        ORDER.format(row.merchant, row.standing_order, str(row.cycle)),
        row.announcement_count,
        row.state,
        tuple(Item(ProductKey(row.merchant, product), quantity) for product, quantity in items),
        SlotDate(row.day, row.due_time) if row.day and row.due_time else None,
        row.expire_time,
    )
