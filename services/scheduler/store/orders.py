"""Statements about orders."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, NamedTuple

from services.runtime.db.pool import Connection, copy
from services.runtime.db.statements import Query, scalar
from services.scheduler.domain.ids import (
    CustomerId,
    MerchantId,
    OrderKey,
    StandingOrderId,
    StandingOrderKey,
)
from services.scheduler.domain.order import OPEN_STATES, Decision, Order, OrderState
from services.scheduler.domain.rescheduling import LastOrder
from services.scheduler.store import standing_order_rows
from services.scheduler.store.order_rows import (
    OrderRow,
    arrays_of,
    dump_decisions,
    is_moved,
    order_of,
    values_of,
)


class OrderFilter(NamedTuple):
    """Which of a merchant's orders to list; None: whatever it is."""

    merchant: MerchantId
    standing_order: StandingOrderId | None = None
    customer: CustomerId | None = None
    states: Sequence[str] | None = None
    due_from: datetime | None = None
    due_before: datetime | None = None


class _DeclineRow(NamedTuple):
    """An attempt at the payment of an order that was declined."""

    merchant: MerchantId
    standing_order: StandingOrderId
    cycle: int
    attempt: int


class _LocalDateRow(NamedTuple):
    merchant: MerchantId
    standing_order: StandingOrderId
    cycle: int
    local_date: date


class _NextOpenRow(NamedTuple):
    merchant: MerchantId
    standing_order: StandingOrderId
    cycle: int
    due_time: datetime


# Statements that are given keys compare `state || ''`, which no index serves: by the index of a state
# the planner would read every order that is in it, wherever the statistics lag behind.

# An order that was changed meanwhile (skipped, announced again, confirmed) stays as it is.
_UPDATE = Query(
    """
    UPDATE orders SET
        state = given.state, title = given.title, billing_mode = given.billing_mode,
        mandate = given.mandate, payment_window = given.payment_window, time_zone = given.time_zone,
        items = given.items, substitutes = given.substitutes,
        hold_until_time = given.hold_until_time, asks_condition = given.asks_condition,
        local_date = given.local_date, due_time = given.due_time, notice_lead = given.notice_lead,
        lines = given.lines, currency = given.currency, notified_minor = given.notified_minor,
        amount_minor = given.amount_minor, charge_not_before_time = given.charge_not_before_time,
        notice_time = given.notice_time, collect_time = given.collect_time,
        pay_time = given.pay_time, late_payment_until_time = given.late_payment_until_time,
        recheck_time = given.recheck_time,
        held_stage = given.held_stage, announcement_count = given.announcement_count,
        traceparent = given.traceparent, reasons = given.reasons,
        confirmed_reasons = given.confirmed_reasons, services = given.services,
        moved_from_date = given.moved_from_date,
        is_moved = orders.is_moved OR (CAST(:moves AS boolean[]))[given.ordinality],
        version = orders.version + 1, update_time = given.update_time
    FROM unnest(CAST(:orders AS order_rows[])) WITH ORDINALITY AS given
    WHERE orders.standing_order = given.standing_order AND orders.merchant = given.merchant
      AND orders.cycle = given.cycle AND orders.state || '' = :expected
      AND orders.version = given.version
    RETURNING orders.merchant, orders.standing_order, orders.cycle
    """,
    OrderKey,
)

_GET = Query(
    """
    SELECT * FROM order_rows
    WHERE standing_order = :standing_order AND merchant = :merchant AND cycle = :cycle
    """,
    OrderRow,
)

_LIST = Query(
    """
    SELECT * FROM order_rows
    WHERE merchant = :merchant
      AND (CAST(:standing_order AS text) IS NULL OR standing_order = :standing_order)
      AND (standing_order, cycle) > (:after_standing_order, :after_cycle)
      AND (CAST(:states AS text[]) IS NULL OR state = ANY (:states))
      -- The index of standing orders serves this one, so that orders need none of their own for it.
      AND (CAST(:customer AS text) IS NULL OR standing_order IN (
        SELECT standing_order FROM standing_orders
        WHERE merchant = :merchant AND customer = :customer))
      AND (CAST(:due_from AS timestamptz) IS NULL OR due_time >= :due_from)
      AND (CAST(:due_before AS timestamptz) IS NULL OR due_time < :due_before)
    ORDER BY standing_order, cycle LIMIT :limit
    """,
    OrderRow,
)

# With their state, which no index of the key has: each standing order has few that are open.
_OPEN_DUE = Query(
    """
    SELECT found.* FROM unnest(CAST(:merchant AS text[]), CAST(:standing_order AS text[]))
      AS given (of_merchant, of_standing_order)
    CROSS JOIN LATERAL (
        SELECT * FROM order_rows
        WHERE standing_order = of_standing_order AND merchant = of_merchant
          AND state || '' = ANY (CAST(:states AS text[]))
        OFFSET 0) AS found
    WHERE due_time >= :due_from AND due_time < :due_before
    """,
    OrderRow,
)

_OPEN_LOCKED = Query(
    """
    SELECT order_rows.* FROM order_rows
    JOIN unnest(CAST(:merchant AS text[]), CAST(:standing_order AS text[]))
      AS given (merchant, standing_order) USING (merchant, standing_order)
    WHERE state || '' = ANY (CAST(:states AS text[]))
    ORDER BY standing_order, cycle FOR UPDATE OF order_rows
    """,
    OrderRow,
)

_ANNOUNCED = Query(
    """
    SELECT order_rows.* FROM order_rows
    JOIN unnest(CAST(:merchant AS text[]), CAST(:standing_order AS text[]))
      AS given (merchant, standing_order) USING (merchant, standing_order)
    WHERE state || '' = 'UPCOMING'
    ORDER BY charge_not_before_time, standing_order, cycle
    """,
    OrderRow,
)

_BY_KEY_LOCKED = Query(
    """
    SELECT order_rows.* FROM order_rows
    JOIN unnest(CAST(:merchant AS text[]), CAST(:standing_order AS text[]), CAST(:cycle AS int[]))
      AS given (merchant, standing_order, cycle) USING (merchant, standing_order, cycle)
    ORDER BY standing_order, cycle FOR UPDATE OF order_rows
    """,
    OrderRow,
)

# By the key, and read to its end: what an operator asks after the catalog has lost its database.
_CHANGED_SINCE = Query(
    """
    SELECT * FROM order_rows
    WHERE (merchant, standing_order, cycle) > (:merchant, :standing_order, :cycle)
      AND update_time >= :since
      AND (state || '' IN ('AWAITING_PAYMENT', 'PAID')
           OR (state || '' = 'UPCOMING' AND services <> '{}'))
    ORDER BY merchant, standing_order, cycle LIMIT :limit
    """,
    OrderRow,
)

_LAST = Query(
    """
    SELECT cycle, local_date FROM orders
    WHERE standing_order = :standing_order AND merchant = :merchant
    ORDER BY cycle DESC LIMIT 1
    """,
    LastOrder,
)

_LOCAL_DATES = Query(
    """
    SELECT merchant, standing_order, cycle, local_date FROM orders
    JOIN unnest(CAST(:merchant AS text[]), CAST(:standing_order AS text[]), CAST(:cycle AS int[]))
      AS given (merchant, standing_order, cycle) USING (merchant, standing_order, cycle)
    """,
    _LocalDateRow,
)

_NEXT_OPEN = Query(
    """
    SELECT given.merchant, given.standing_order, given.cycle,
           min(greatest(orders.due_time, orders.charge_not_before_time)) AS due_time
    FROM unnest(CAST(:merchant AS text[]), CAST(:standing_order AS text[]), CAST(:cycle AS int[]))
      AS given (merchant, standing_order, cycle)
    JOIN orders ON orders.standing_order = given.standing_order
      AND orders.merchant = given.merchant AND orders.cycle > given.cycle
    WHERE orders.state IN ('UPCOMING', 'HELD')
      AND greatest(orders.due_time, orders.charge_not_before_time) > :now
    GROUP BY given.merchant, given.standing_order, given.cycle
    """,
    _NextOpenRow,
)

_KNOWN_DECLINES = Query(
    """
    SELECT merchant, standing_order, cycle, attempt
    FROM unnest(
        CAST(:merchant AS text[]), CAST(:standing_order AS text[]), CAST(:cycle AS int[]),
        CAST(:attempt AS int[]))
      AS declined (merchant, standing_order, cycle, attempt)
    JOIN order_decisions USING (merchant, standing_order, cycle)
    WHERE decisions @> jsonb_build_array(jsonb_build_object(
        'kind', 'PAYMENT_DECLINED', 'data', jsonb_build_object('attempt', attempt)))
    """,
    _DeclineRow,
)

_HISTORY: Query[list[dict[str, Any]]] = Query(
    """
    SELECT decisions FROM (
        SELECT 1 AS version, first_decisions AS decisions FROM orders
        WHERE standing_order = :standing_order AND merchant = :merchant AND cycle = :cycle
        UNION ALL
        SELECT version, decisions FROM order_decisions
        WHERE standing_order = :standing_order AND merchant = :merchant AND cycle = :cycle
    ) AS decided
    ORDER BY version
    """,
    scalar,
)


async def insert(tx: Connection, orders: Sequence[Order], now: datetime) -> None:
    """Store new orders. Whoever does has moved their standing orders on, so none is there already."""
    if orders:
        rows = [
            (*values_of(order, now), is_moved(order), dump_decisions(order.decisions))
            for order in orders
        ]
        await copy(tx, "orders", (*OrderRow._fields, "is_moved", "first_decisions"), rows)


async def update(
    tx: Connection, orders: Sequence[Order], expected: OrderState, now: datetime
) -> list[Order]:
    """Store changed orders, those that nothing else has changed since they were read; returns them."""
    if not orders:
        return []
    changed = await _UPDATE.all(
        tx,
        orders=[values_of(order, now) for order in orders],
        moves=[is_moved(order) for order in orders],
        expected=expected,
    )
    keys = set(changed)
    stored = [order for order in orders if order.key in keys]
    decided = [
        (*order.key, order.version + 1, dump_decisions(order.decisions))
        for order in stored
        if order.decisions
    ]
    if decided:
        await copy(tx, "order_decisions", (*OrderKey._fields, "version", "decisions"), decided)
    return stored


async def get(tx: Connection, key: OrderKey) -> OrderRow | None:
    """The row of an order, for showing; None if there is none."""
    return await _GET.one_or_none(tx, **key._asdict())


async def list_of_merchant(
    tx: Connection, wanted: OrderFilter, after: tuple[str, int], limit: int
) -> list[OrderRow]:
    """Rows of orders by standing order and cycle, after a position."""
    standing_order, cycle = after
    return await _LIST.all(
        tx, **wanted._asdict(), after_standing_order=standing_order, after_cycle=cycle, limit=limit
    )


async def open_orders(
    tx: Connection, keys: Sequence[StandingOrderKey], states: Sequence[OrderState] = OPEN_STATES
) -> list[Order]:
    """The orders of standing orders that are in one of the states, locked."""
    rows = await _OPEN_LOCKED.all(tx, **standing_order_rows.arrays_of(keys), states=list(states))
    return [order_of(row) for row in rows]


async def open_due(
    tx: Connection,
    keys: Sequence[StandingOrderKey],
    due_from: datetime,
    due_before: datetime,
) -> list[Order]:
    """The open orders of standing orders that are due from an instant on and before another."""
    rows = await _OPEN_DUE.all(
        tx,
        **standing_order_rows.arrays_of(keys),
        states=list(OPEN_STATES),
        due_from=due_from,
        due_before=due_before,
    )
    return [order_of(row) for row in rows]


async def announced(tx: Connection, keys: Sequence[StandingOrderKey]) -> list[Order]:
    """The announced orders of standing orders, the first to be charged first."""
    rows = await _ANNOUNCED.all(tx, **standing_order_rows.arrays_of(keys))
    return [order_of(row) for row in rows]


async def by_key(tx: Connection, keys: Sequence[OrderKey]) -> dict[OrderKey, Order]:
    """Many orders, locked."""
    orders = map(order_of, await _BY_KEY_LOCKED.all(tx, **arrays_of(keys)))
    return {order.key: order for order in orders}


async def next_open_times(
    tx: Connection, keys: Sequence[OrderKey], now: datetime
) -> dict[OrderKey, datetime]:
    """By order, when the next one of its standing order is due that is announced or held already."""
    rows = await _NEXT_OPEN.all(tx, **arrays_of(keys), now=now)
    return {OrderKey(row.merchant, row.standing_order, row.cycle): row.due_time for row in rows}


async def next_open_time(
    tx: Connection, standing_order: StandingOrderKey, now: datetime
) -> datetime | None:
    """When the next order of a standing order is due that is announced or held already."""
    key = OrderKey(*standing_order, 0)
    return (await next_open_times(tx, [key], now)).get(key)


async def changed_since(
    tx: Connection, since: datetime, after: OrderKey, limit: int
) -> list[Order]:
    """Orders after a key that have units or slots in the catalog, and have changed since an instant."""
    rows = await _CHANGED_SINCE.all(tx, **after._asdict(), since=since, limit=limit)
    return [order_of(row) for row in rows]


async def last(tx: Connection, standing_order: StandingOrderKey) -> LastOrder | None:
    """The last cycle that has an order, and its date."""
    return await _LAST.one_or_none(tx, **standing_order._asdict())


async def local_dates(tx: Connection, keys: Sequence[OrderKey]) -> dict[OrderKey, date]:
    """The dates of those of the orders that there are."""
    rows = await _LOCAL_DATES.all_for(tx, keys)
    return {OrderKey(*row[:3]): row.local_date for row in rows}


async def known_declines(
    tx: Connection, attempts: Sequence[tuple[OrderKey, int]]
) -> set[tuple[OrderKey, int]]:
    """Those of the attempts whose decline is in the history of their order."""
    declines = [_DeclineRow(*key, attempt) for key, attempt in attempts]
    known = await _KNOWN_DECLINES.all_for(tx, declines)
    return {(OrderKey(*row[:3]), row.attempt) for row in known}


async def history(tx: Connection, key: OrderKey) -> list[Decision]:
    """What was decided about an order, the oldest first."""
    return [
        Decision(**{**decision, "time": datetime.fromisoformat(decision["time"])})
        for decisions in await _HISTORY.all(tx, **key._asdict())
        for decision in decisions
    ]
