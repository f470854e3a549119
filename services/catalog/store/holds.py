"""Rows of holds: what is held of the stock for each order, or that the order ended."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from services.catalog.domain.products import (
    Item,
    MerchantId,
    OrderKey,
    ProductId,
    ProductKey,
    StandingOrderId,
)
from services.catalog.domain.stock import Hold, HoldRequest, Stock
from services.catalog.domain.transitions import HOLD, HoldEvent, HoldState
from services.catalog.names import ORDER
from services.catalog.store import stock
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query


class _HoldRow(NamedTuple):
    merchant: MerchantId
    standing_order: StandingOrderId
    cycle: int
    announcement_count: int
    state: HoldState
    products: tuple[ProductId, ...]
    quantities: tuple[int, ...]
    expire_time: datetime | None
    due_time: datetime | None
    ordered_products: tuple[ProductId, ...] | None
    ordered_quantities: tuple[int, ...] | None


class _InsertedRow(NamedTuple):
    """What became of an order that units were wanted for."""

    merchant: MerchantId
    standing_order: StandingOrderId
    cycle: int
    state: HoldState


class _EndedHoldRow(NamedTuple):
    merchant: MerchantId
    product: ProductId
    quantity: int


_HOLDS_OF_ORDERS = Query(
    """
    SELECT merchant, standing_order, cycle, announcement_count, state, products, quantities,
           expire_time, due_time, ordered_products, ordered_quantities
    FROM stock_holds
    JOIN unnest(CAST(:merchant AS text[]), CAST(:standing_order AS text[]), CAST(:cycle AS int[]))
      AS wanted (merchant, standing_order, cycle) USING (merchant, standing_order, cycle)
    """,
    _HoldRow,
)

_EXPIRING = Query(
    """
    SELECT merchant, standing_order, cycle, announcement_count, state, products, quantities,
           expire_time, due_time, ordered_products, ordered_quantities
    FROM unnest(CAST(:buckets AS smallint[])) AS leased (bucket)
    CROSS JOIN LATERAL (
        SELECT * FROM stock_holds
        WHERE state = 'HELD' AND bucket = leased.bucket AND expire_time <= :now
          AND 'merchants/' || merchant || '/standingOrders/' || standing_order || '/orders/' || cycle
              <> ALL(CAST(:left_out AS text[]))
        ORDER BY expire_time LIMIT :limit) AS due
    LIMIT :limit
    """,
    _HoldRow,
)

# In the order of their key, as every statement that adds rows here: two of them never wait for each
# other. A row that another transaction has made since it was looked for decides by itself. An order
# that has ended with the same announcement only remembers what it would hold.
_INSERT_HOLDS = Query(
    """
    INSERT INTO stock_holds (merchant, standing_order, cycle, announcement_count, state, products,
                             quantities, expire_time, due_time, ordered_products,
                             ordered_quantities)
    SELECT merchant, standing_order, cycle, announcement_count, 'HELD', array_agg(product),
           array_agg(quantity), expire_time, due_time, string_to_array(ordered_products, chr(10)),
           CAST(string_to_array(ordered_quantities, chr(10)) AS int[])
    FROM unnest(CAST(:merchant AS text[]), CAST(:standing_order AS text[]), CAST(:cycle AS int[]),
                CAST(:announcement_count AS int[]), CAST(:product AS text[]),
                CAST(:quantity AS int[]), CAST(:expire_time AS timestamptz[]),
                CAST(:due_time AS timestamptz[]), CAST(:ordered_products AS text[]),
                CAST(:ordered_quantities AS text[]))
      AS wanted (merchant, standing_order, cycle, announcement_count, product, quantity, expire_time,
                 due_time, ordered_products, ordered_quantities)
    GROUP BY merchant, standing_order, cycle, announcement_count, expire_time, due_time,
             ordered_products, ordered_quantities
    ORDER BY standing_order, merchant, cycle
    ON CONFLICT (standing_order, merchant, cycle) DO UPDATE
      SET announcement_count = excluded.announcement_count,
          state = CASE WHEN stock_holds.state = 'ENDED'
                        AND stock_holds.announcement_count = excluded.announcement_count
                       THEN 'ENDED' ELSE 'HELD' END,
          products = excluded.products, quantities = excluded.quantities,
          expire_time = excluded.expire_time, due_time = excluded.due_time, hold_time = now(),
          ordered_products = excluded.ordered_products,
          ordered_quantities = excluded.ordered_quantities
      WHERE stock_holds.state IN ('RELEASED', 'ENDED')
        AND stock_holds.announcement_count <= excluded.announcement_count
    RETURNING merchant, standing_order, cycle, state
    """,
    _InsertedRow,
)

# Of orders that take nothing of the stock by now: what they had held is not taken once they are paid.
_FORGET_ITEMS = Command("""
    UPDATE stock_holds SET products = '{}', quantities = '{}', ordered_products = NULL,
        ordered_quantities = NULL,
        announcement_count = CASE state WHEN 'ENDED' THEN stock_holds.announcement_count
                                        ELSE wanted.announcement_count END
    FROM unnest(CAST(:merchant AS text[]), CAST(:standing_order AS text[]), CAST(:cycle AS int[]),
                CAST(:announcement_count AS int[]))
      AS wanted (merchant, standing_order, cycle, announcement_count)
    WHERE stock_holds.standing_order = wanted.standing_order
      AND stock_holds.merchant = wanted.merchant AND stock_holds.cycle = wanted.cycle
      AND state || '' IN ('RELEASED', 'ENDED')
""")

# By its key: `state || ''` keeps the planner from the index of a state, and from all that is in it.
_SETTLE_HOLDS = Query(
    """
    WITH settled AS (
        UPDATE stock_holds SET state = :state
        FROM unnest(CAST(:merchant AS text[]), CAST(:standing_order AS text[]), CAST(:cycle AS int[]))
          AS wanted (merchant, standing_order, cycle)
        WHERE stock_holds.standing_order = wanted.standing_order
          AND stock_holds.merchant = wanted.merchant
          AND stock_holds.cycle = wanted.cycle AND state || '' = 'HELD'
        RETURNING stock_holds.merchant, products, quantities)
    SELECT merchant, product, quantity
    FROM settled CROSS JOIN LATERAL unnest(products, quantities) AS held (product, quantity)
    """,
    _EndedHoldRow,
)

# As `_SETTLE_HOLDS`, of holds without units: what is owed, and what becomes of that.
_MOVE_BACKORDERS = Query(
    """
    WITH moved AS (
        UPDATE stock_holds SET state = :state, expire_time = NULL
        FROM unnest(CAST(:merchant AS text[]), CAST(:standing_order AS text[]), CAST(:cycle AS int[]))
          AS wanted (merchant, standing_order, cycle)
        WHERE stock_holds.standing_order = wanted.standing_order
          AND stock_holds.merchant = wanted.merchant
          AND stock_holds.cycle = wanted.cycle AND state || '' = ANY (CAST(:sources AS text[]))
        RETURNING stock_holds.merchant, products, quantities)
    SELECT merchant, product, quantity
    FROM moved CROSS JOIN LATERAL unnest(products, quantities) AS owed (product, quantity)
    """,
    _EndedHoldRow,
)

_DUE_BACKORDERS = Query(
    """
    SELECT merchant, standing_order, cycle, announcement_count, state, products, quantities,
           expire_time, due_time, ordered_products, ordered_quantities
    FROM unnest(CAST(:buckets AS smallint[])) AS leased (bucket)
    CROSS JOIN LATERAL (
        SELECT * FROM stock_holds
        WHERE state = 'BACKORDERED' AND bucket = leased.bucket AND expire_time <= :now
          AND 'merchants/' || merchant || '/standingOrders/' || standing_order || '/orders/' || cycle
              <> ALL(CAST(:left_out AS text[]))
        ORDER BY expire_time LIMIT :limit) AS due
    ORDER BY due_time LIMIT :limit
    """,
    _HoldRow,
)

_WAKE_BACKORDERS = Command("""
    UPDATE stock_holds SET expire_time = :now
    FROM unnest(CAST(:merchant AS text[]), CAST(:product AS text[])) AS given (merchant, product)
    WHERE state || '' = 'BACKORDERED' AND stock_holds.merchant = given.merchant
      AND given.product = ANY (products) AND expire_time IS NULL
""")

_POSTPONE_BACKORDERS = Command("""
    UPDATE stock_holds SET expire_time = NULL
    FROM unnest(CAST(:merchant AS text[]), CAST(:standing_order AS text[]), CAST(:cycle AS int[]))
      AS short (merchant, standing_order, cycle)
    WHERE stock_holds.standing_order = short.standing_order
      AND stock_holds.merchant = short.merchant AND stock_holds.cycle = short.cycle
""")

# As `_SETTLE_HOLDS`, of holds that nobody has made again since they were found to be over.
_EXPIRE_HOLDS = Query(
    """
    WITH released AS (
        UPDATE stock_holds SET state = 'RELEASED'
        FROM unnest(CAST(:merchant AS text[]), CAST(:standing_order AS text[]), CAST(:cycle AS int[]))
          AS wanted (merchant, standing_order, cycle)
        WHERE stock_holds.standing_order = wanted.standing_order
          AND stock_holds.merchant = wanted.merchant
          AND stock_holds.cycle = wanted.cycle AND state || '' = 'HELD' AND expire_time <= :now
        RETURNING stock_holds.merchant, products, quantities)
    SELECT merchant, product, quantity
    FROM released CROSS JOIN LATERAL unnest(products, quantities) AS held (product, quantity)
    """,
    _EndedHoldRow,
)

# Waits for a hold that is being made, so that the next statement sees it.
_INSERT_ENDED = Command("""
    INSERT INTO stock_holds (merchant, standing_order, cycle, announcement_count, state, products,
                             quantities)
    SELECT merchant, standing_order, cycle, announcement_count, 'ENDED', '{}', '{}'
    FROM unnest(CAST(:merchant AS text[]), CAST(:standing_order AS text[]), CAST(:cycle AS int[]),
                CAST(:announcement_count AS int[]))
      AS ended (merchant, standing_order, cycle, announcement_count)
    ORDER BY standing_order, merchant, cycle
    ON CONFLICT (standing_order, merchant, cycle) DO NOTHING
""")

_END_HOLDS = Query(
    """
    WITH ending AS (
        SELECT standing_order, merchant, cycle, state, ended.announcement_count
        FROM stock_holds
        JOIN unnest(CAST(:merchant AS text[]), CAST(:standing_order AS text[]),
                    CAST(:cycle AS int[]), CAST(:announcement_count AS int[]))
          AS ended (merchant, standing_order, cycle, announcement_count)
          USING (merchant, standing_order, cycle)
        WHERE state || '' IN ('HELD', 'RELEASED', 'ENDED')
          AND stock_holds.announcement_count + CAST(state = 'ENDED' AS int)
              <= ended.announcement_count
        ORDER BY standing_order, merchant, cycle FOR UPDATE OF stock_holds),
    ended AS (
        UPDATE stock_holds SET state = 'ENDED', announcement_count = ending.announcement_count
        FROM ending
        WHERE stock_holds.standing_order = ending.standing_order
          AND stock_holds.merchant = ending.merchant AND stock_holds.cycle = ending.cycle
        RETURNING stock_holds.merchant, ending.state, products, quantities)
    SELECT merchant, product, quantity
    FROM ended CROSS JOIN LATERAL unnest(products, quantities) AS held (product, quantity)
    WHERE state = 'HELD'
    """,
    _EndedHoldRow,
)


async def holds_of(tx: Connection, orders: Sequence[str]) -> dict[str, Hold]:
    """What there is of orders, by their names."""
    rows = await _HOLDS_OF_ORDERS.all_for(tx, [ORDER.key(order) for order in orders])
    return {hold.order: hold for hold in map(_hold, rows)}


async def expiring(
    tx: Connection, buckets: Sequence[int], now: datetime, limit: int, left_out: Sequence[str]
) -> dict[str, Hold]:
    """A batch of the holds that nobody settled in time, by the names of their orders, but for some."""
    rows = await _EXPIRING.all(tx, buckets=buckets, now=now, limit=limit, left_out=left_out)
    return {hold.order: hold for hold in map(_hold, rows)}


async def insert_holds(tx: Connection, wanted: Sequence[HoldRequest]) -> list[Stock]:
    """Hold stock for orders; returns the stock that changed.

    An order that another transaction has held for meanwhile keeps what it has. One that has ended holds
    nothing, and remembers what it would: it takes that if it is paid all the same.
    """
    items = [(request, item) for request in wanted for item in request.items]
    inserted = await _INSERT_HOLDS.all_for(
        tx,
        [ORDER.key(request.order) for request, _ in items],
        announcement_count=[request.announcement_count for request, _ in items],
        product=[item.key.product for _, item in items],
        quantity=[item.quantity for _, item in items],
        expire_time=[request.expire_time for request, _ in items],
        due_time=[request.due_time for request, _ in items],
        ordered_products=[_lines(i.key.product for i in r.ordered_items) for r, _ in items],
        ordered_quantities=[_lines(str(i.quantity) for i in r.ordered_items) for r, _ in items],
    )
    held = {OrderKey(*row[:3]) for row in inserted if row.state is HoldState.HELD}
    return await stock.add_held(
        tx, [item for request, item in items if ORDER.key(request.order) in held]
    )


async def forget_items(tx: Connection, wanted: Sequence[HoldRequest]) -> None:
    """Forget what was held for orders that take nothing of the stock any more."""
    await _FORGET_ITEMS.run_for(
        tx,
        [ORDER.key(request.order) for request in wanted],
        announcement_count=[request.announcement_count for request in wanted],
    )


async def settle_holds(tx: Connection, orders: Sequence[str], event: HoldEvent) -> list[Stock]:
    """Let the held units of orders leave the stock, or become available to be held once more."""
    state = HOLD.to(HoldState.HELD, event)
    settled = await _SETTLE_HOLDS.all_for(tx, [ORDER.key(order) for order in orders], state=state)
    return await stock.take_units(tx, _items(settled), taken=state is HoldState.COMMITTED)


async def move_backorders(tx: Connection, orders: Sequence[str], event: HoldEvent) -> list[Item]:
    """Owe units to paid orders, serve them or waive what is owed; returns the units that it is about.

    An order that another transaction has moved meanwhile is left as it is.
    """
    sources = HOLD.sources(event)
    [state] = {HOLD.to(source, event) for source in sources}
    keys = [ORDER.key(order) for order in orders]
    moved = await _MOVE_BACKORDERS.all_for(tx, keys, state=state, sources=sorted(sources))
    return _items(moved)


async def due_backorders(
    tx: Connection, buckets: Sequence[int], now: datetime, limit: int, left_out: Sequence[str]
) -> dict[str, Hold]:
    """A batch of what is owed and may be there by now, by the orders' names, but for some.

    The oldest comes first.
    """
    rows = await _DUE_BACKORDERS.all(tx, buckets=buckets, now=now, limit=limit, left_out=left_out)
    return {hold.order: hold for hold in map(_hold, rows)}


async def wake_backorders(tx: Connection, keys: Iterable[ProductKey], now: datetime) -> None:
    """Have orders looked at that are owed units of products."""
    await _WAKE_BACKORDERS.run_for(tx, sorted(set(keys)), now=now)


async def postpone_backorders(tx: Connection, orders: Sequence[str]) -> None:
    """Have orders wait for the next units that come."""
    await _POSTPONE_BACKORDERS.run_for(tx, [ORDER.key(order) for order in orders])


async def end_holds(tx: Connection, announcement_counts: Mapping[str, int]) -> list[Stock]:
    """Make the held units of orders that ended available again, and let none be held from now on.

    By order, how often it was announced: what is held for a later announcement stays.
    """
    orders = [ORDER.key(order) for order in announcement_counts]
    counts = list(announcement_counts.values())
    await _INSERT_ENDED.run_for(tx, orders, announcement_count=counts)
    ended = await _END_HOLDS.all_for(tx, orders, announcement_count=counts)
    return await stock.take_units(tx, _items(ended), taken=False)


async def expire_holds(tx: Connection, orders: Sequence[str], now: datetime) -> list[Stock]:
    """Make the units of holds that ran out available again; returns the stock that changed."""
    ended = await _EXPIRE_HOLDS.all_for(tx, [ORDER.key(order) for order in orders], now=now)
    return await stock.take_units(tx, _items(ended), taken=False)


def _lines(texts: Iterable[str]) -> str | None:
    """Arrays of arrays must be rectangular, so those of an order are lines of a text."""
    return "\n".join(texts) or None


def _items(rows: Sequence[_EndedHoldRow]) -> list[Item]:
    return [Item(ProductKey(row.merchant, row.product), row.quantity) for row in rows]


def _hold(row: _HoldRow) -> Hold:
    ordered = zip(row.ordered_products or (), row.ordered_quantities or (), strict=True)
    items = zip(row.products, row.quantities, strict=True)
    return Hold(
        ORDER.format(row.merchant, row.standing_order, str(row.cycle)),
        row.announcement_count,
        row.state,
        tuple(Item(ProductKey(row.merchant, product), quantity) for product, quantity in items),
        row.expire_time,
        row.due_time,
        tuple(Item(ProductKey(row.merchant, product), quantity) for product, quantity in ordered),
    )
