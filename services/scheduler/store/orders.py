"""Statements about orders."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from services.runtime.db import leases
from services.runtime.db.pool import Connection, copy
from services.runtime.db.statements import Command, Query
from services.scheduler.domain.ids import (
    CustomerId,
    MerchantId,
    OrderKey,
    StandingOrderId,
    StandingOrderKey,
)
from services.scheduler.domain.order import Decision, Order, OrderState
from services.scheduler.domain.rescheduling import LastOrder
from services.scheduler.store.order_rows import (
    COPIED,
    OrderRow,
    arrays_of,
    columns_of,
    dump_decisions,
    order_of,
    values_of,
)


class _NextOpenRow(NamedTuple):
    merchant: MerchantId
    standing_order: StandingOrderId
    cycle: int
    due_time: datetime


class _FirstRow(NamedTuple):
    time: datetime | None


class _HistoryRow(NamedTuple):
    history: list[dict[str, Any]]


# Statements that are given keys compare `state || ''`, which no index serves: by the index of a state
# the planner would read every order that is in it, wherever the statistics lag behind.

# An order that left the expected state meanwhile (was skipped, cancelled), or that the customer said
# yes to, stays as it is.
_UPDATE = Query(
    """
    UPDATE orders SET
        state = given.state, title = given.title, billing_mode = given.billing_mode,
        mandate = given.mandate, payment_window = given.payment_window, time_zone = given.time_zone,
        items = CAST(given.items AS jsonb), substitutes = CAST(given.substitutes AS jsonb),
        hold_until_time = given.hold_until_time, asks_condition = given.asks_condition,
        local_date = given.local_date, due_time = given.due_time, notice_lead = given.notice_lead,
        lines = CAST(given.lines AS jsonb), currency = given.currency,
        notified_minor = given.notified_minor, amount_minor = given.amount_minor,
        charge_not_before_time = given.charge_not_before_time, notice_time = given.notice_time,
        collect_time = given.collect_time, pay_time = given.pay_time,
        recheck_time = given.recheck_time, held_stage = given.held_stage,
        announcement_count = given.announcement_count, traceparent = given.traceparent,
        reasons = coalesce(string_to_array(nullif(given.reasons, ''), ','), '{}'),
        confirmed_reasons = coalesce(string_to_array(nullif(given.confirmed_reasons, ''), ','), '{}'),
        history = orders.history || CAST(given.history AS jsonb),
        update_time = :now, claim_time = NULL
    FROM unnest(
        CAST(:merchant AS text[]), CAST(:standing_order AS text[]), CAST(:cycle AS integer[]),
        CAST(:state AS text[]), CAST(:title AS text[]), CAST(:billing_mode AS text[]),
        CAST(:mandate AS text[]), CAST(:payment_window AS interval[]), CAST(:time_zone AS text[]),
        CAST(:items AS text[]), CAST(:substitutes AS text[]),
        CAST(:hold_until_time AS timestamptz[]), CAST(:asks_condition AS boolean[]),
        CAST(:local_date AS date[]), CAST(:due_time AS timestamptz[]),
        CAST(:notice_lead AS interval[]), CAST(:lines AS text[]), CAST(:currency AS text[]),
        CAST(:notified_minor AS bigint[]), CAST(:amount_minor AS bigint[]),
        CAST(:charge_not_before_time AS timestamptz[]), CAST(:notice_time AS timestamptz[]),
        CAST(:collect_time AS timestamptz[]), CAST(:pay_time AS timestamptz[]),
        CAST(:recheck_time AS timestamptz[]), CAST(:held_stage AS text[]),
        CAST(:announcement_count AS integer[]), CAST(:traceparent AS text[]),
        CAST(:reasons AS text[]), CAST(:confirmed_reasons AS text[]), CAST(:history AS text[]))
      AS given (merchant, standing_order, cycle, state, title, billing_mode, mandate,
                payment_window, time_zone, items, substitutes, hold_until_time, asks_condition,
                local_date, due_time, notice_lead, lines, currency, notified_minor, amount_minor,
                charge_not_before_time, notice_time, collect_time, pay_time, recheck_time,
                held_stage, announcement_count, traceparent, reasons, confirmed_reasons, history)
    WHERE orders.standing_order = given.standing_order AND orders.merchant = given.merchant
      AND orders.cycle = given.cycle AND orders.state || '' = :expected
      AND orders.confirmed_reasons
        = coalesce(string_to_array(nullif(given.confirmed_reasons, ''), ','), '{}')
    RETURNING orders.merchant, orders.standing_order, orders.cycle
    """,
    OrderKey,
)

# Whoever is looking at the order finds it changed; it is free to be looked at again.
_CONFIRM = Command("""
    UPDATE orders SET confirmed_reasons = :confirmed_reasons, recheck_time = :recheck_time,
        history = history || CAST(:history AS jsonb), update_time = :now, claim_time = NULL
    WHERE standing_order = :standing_order AND merchant = :merchant AND cycle = :cycle
      AND state = 'HELD'
""")

_GET = Query(
    """
    SELECT merchant, standing_order, cycle, customer, ship_to, state, title, billing_mode, mandate,
           payment_window, time_zone, items, substitutes, hold_until_time, asks_condition,
           local_date, due_time, notice_lead, lines, currency, notified_minor, amount_minor,
           charge_not_before_time, notice_time, collect_time, pay_time, recheck_time, held_stage,
           announcement_count, traceparent, reasons, confirmed_reasons, create_time, update_time
    FROM orders
    WHERE standing_order = :standing_order AND merchant = :merchant AND cycle = :cycle
    """,
    OrderRow,
)

_LIST = Query(
    """
    SELECT merchant, standing_order, cycle, customer, ship_to, state, title, billing_mode, mandate,
           payment_window, time_zone, items, substitutes, hold_until_time, asks_condition,
           local_date, due_time, notice_lead, lines, currency, notified_minor, amount_minor,
           charge_not_before_time, notice_time, collect_time, pay_time, recheck_time, held_stage,
           announcement_count, traceparent, reasons, confirmed_reasons, create_time, update_time
    FROM orders
    WHERE merchant = :merchant
      AND (CAST(:standing_order AS text) IS NULL OR standing_order = :standing_order)
      AND (standing_order, cycle) > (:after_standing_order, :after_cycle)
      AND (CAST(:state AS text) IS NULL OR state = :state)
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

_OPEN_LOCKED = Query(
    """
    SELECT merchant, standing_order, cycle, customer, ship_to, state, title, billing_mode, mandate,
           payment_window, time_zone, items, substitutes, hold_until_time, asks_condition,
           local_date, due_time, notice_lead, lines, currency, notified_minor, amount_minor,
           charge_not_before_time, notice_time, collect_time, pay_time, recheck_time, held_stage,
           announcement_count, traceparent, reasons, confirmed_reasons, create_time, update_time
    FROM orders
    WHERE standing_order = :standing_order AND merchant = :merchant
      AND state IN ('UPCOMING', 'HELD', 'AWAITING_PAYMENT')
    ORDER BY cycle FOR UPDATE
    """,
    OrderRow,
)

_WITHDRAWABLE_LOCKED = Query(
    """
    SELECT merchant, standing_order, cycle, customer, ship_to, state, title, billing_mode, mandate,
           payment_window, time_zone, items, substitutes, hold_until_time, asks_condition,
           local_date, due_time, notice_lead, lines, currency, notified_minor, amount_minor,
           charge_not_before_time, notice_time, collect_time, pay_time, recheck_time, held_stage,
           announcement_count, traceparent, reasons, confirmed_reasons, create_time, update_time
    FROM orders
    JOIN unnest(CAST(:merchant AS text[]), CAST(:standing_order AS text[]))
      AS asked (merchant, standing_order) USING (merchant, standing_order)
    WHERE state IN ('UPCOMING', 'HELD')
    ORDER BY standing_order, cycle FOR UPDATE OF orders
    """,
    OrderRow,
)

_ANNOUNCED = Query(
    """
    SELECT merchant, standing_order, cycle, customer, ship_to, state, title, billing_mode, mandate,
           payment_window, time_zone, items, substitutes, hold_until_time, asks_condition,
           local_date, due_time, notice_lead, lines, currency, notified_minor, amount_minor,
           charge_not_before_time, notice_time, collect_time, pay_time, recheck_time, held_stage,
           announcement_count, traceparent, reasons, confirmed_reasons, create_time, update_time
    FROM orders
    JOIN unnest(CAST(:merchant AS text[]), CAST(:standing_order AS text[]))
      AS asked (merchant, standing_order) USING (merchant, standing_order)
    WHERE state || '' = 'UPCOMING'
    ORDER BY charge_not_before_time, standing_order, cycle
    """,
    OrderRow,
)

_BY_KEY_LOCKED = Query(
    """
    SELECT merchant, standing_order, cycle, customer, ship_to, state, title, billing_mode, mandate,
           payment_window, time_zone, items, substitutes, hold_until_time, asks_condition,
           local_date, due_time, notice_lead, lines, currency, notified_minor, amount_minor,
           charge_not_before_time, notice_time, collect_time, pay_time, recheck_time, held_stage,
           announcement_count, traceparent, reasons, confirmed_reasons, create_time, update_time
    FROM orders
    JOIN unnest(CAST(:merchant AS text[]), CAST(:standing_order AS text[]), CAST(:cycle AS int[]))
      AS asked (merchant, standing_order, cycle) USING (merchant, standing_order, cycle)
    ORDER BY standing_order, cycle FOR UPDATE OF orders
    """,
    OrderRow,
)

_CLAIM_TO_COLLECT = Query(
    """
    UPDATE orders SET claim_time = now()
    FROM (
        SELECT standing_order, merchant, cycle FROM orders
        WHERE state = 'UPCOMING' AND collect_time <= :now
          AND (claim_time IS NULL OR claim_time < now() - make_interval(secs => :claim_seconds))
        ORDER BY collect_time LIMIT :limit FOR UPDATE SKIP LOCKED
    ) AS due
    WHERE orders.standing_order = due.standing_order AND orders.merchant = due.merchant
      AND orders.cycle = due.cycle
    RETURNING orders.merchant, orders.standing_order, orders.cycle, customer, ship_to, state, title,
              billing_mode, mandate, payment_window, time_zone, items, substitutes, hold_until_time,
              asks_condition, local_date, due_time, notice_lead, lines, currency, notified_minor,
              amount_minor, charge_not_before_time, notice_time, collect_time, pay_time,
              recheck_time, held_stage, announcement_count, traceparent, reasons, confirmed_reasons,
              create_time, update_time
    """,
    OrderRow,
)

_CLAIM_HELD = Query(
    """
    UPDATE orders SET claim_time = now()
    FROM (
        SELECT standing_order, merchant, cycle FROM orders
        WHERE state = 'HELD' AND recheck_time <= :now
          AND (claim_time IS NULL OR claim_time < now() - make_interval(secs => :claim_seconds))
        ORDER BY recheck_time LIMIT :limit FOR UPDATE SKIP LOCKED
    ) AS due
    WHERE orders.standing_order = due.standing_order AND orders.merchant = due.merchant
      AND orders.cycle = due.cycle
    RETURNING orders.merchant, orders.standing_order, orders.cycle, customer, ship_to, state, title,
              billing_mode, mandate, payment_window, time_zone, items, substitutes, hold_until_time,
              asks_condition, local_date, due_time, notice_lead, lines, currency, notified_minor,
              amount_minor, charge_not_before_time, notice_time, collect_time, pay_time,
              recheck_time, held_stage, announcement_count, traceparent, reasons, confirmed_reasons,
              create_time, update_time
    """,
    OrderRow,
)

_RELEASE = Command("""
    UPDATE orders SET claim_time = NULL
    FROM unnest(CAST(:merchant AS text[]), CAST(:standing_order AS text[]), CAST(:cycle AS int[]))
      AS claimed (merchant, standing_order, cycle)
    WHERE orders.standing_order = claimed.standing_order AND orders.merchant = claimed.merchant
      AND orders.cycle = claimed.cycle
""")

_LAST = Query(
    """
    SELECT cycle, local_date FROM orders
    WHERE standing_order = :standing_order AND merchant = :merchant
    ORDER BY cycle DESC LIMIT 1
    """,
    LastOrder,
)

_NEXT_OPEN = Query(
    """
    SELECT asked.merchant, asked.standing_order, asked.cycle,
           min(greatest(orders.due_time, orders.charge_not_before_time)) AS due_time
    FROM unnest(CAST(:merchant AS text[]), CAST(:standing_order AS text[]), CAST(:cycle AS int[]))
      AS asked (merchant, standing_order, cycle)
    JOIN orders ON orders.standing_order = asked.standing_order
      AND orders.merchant = asked.merchant AND orders.cycle > asked.cycle
    WHERE orders.state IN ('UPCOMING', 'HELD')
      AND greatest(orders.due_time, orders.charge_not_before_time) > :now
    GROUP BY asked.merchant, asked.standing_order, asked.cycle
    """,
    _NextOpenRow,
)

_FIRST_TO_COLLECT = Query(
    "SELECT min(collect_time) AS time FROM orders WHERE state = 'UPCOMING'", _FirstRow
)
_FIRST_HELD = Query("SELECT min(recheck_time) AS time FROM orders WHERE state = 'HELD'", _FirstRow)

_HISTORY = Query(
    """
    SELECT history FROM orders
    WHERE standing_order = :standing_order AND merchant = :merchant AND cycle = :cycle
    """,
    _HistoryRow,
)


async def insert(tx: Connection, orders: Sequence[Order], now: datetime) -> None:
    """Store new orders. Whoever does has moved their standing orders on, so none is there already."""
    if orders:
        rows = [(*values_of(order), now, now) for order in orders]
        await copy(tx, "orders", COPIED, rows)


async def update(
    tx: Connection, orders: Sequence[Order], expected: OrderState, now: datetime
) -> list[Order]:
    """Store changed orders, those that are still in the state that was expected; returns them."""
    if not orders:
        return []
    changed = set(await _UPDATE.all(tx, **columns_of(orders), expected=expected, now=now))
    return [order for order in orders if order.key in changed]


async def confirm(tx: Connection, order: Order, now: datetime) -> None:
    """Store the customer's yes to a held order that is locked."""
    await _CONFIRM.run(
        tx,
        **order.key._asdict(),
        confirmed_reasons=list(order.confirmed_reasons),
        recheck_time=order.recheck_time,
        history=dump_decisions(order.decisions),
        now=now,
    )


async def get(tx: Connection, key: OrderKey) -> OrderRow | None:
    """The row of an order, for showing; None if there is none."""
    return await _GET.one_or_none(tx, **key._asdict())


async def list_of_merchant(
    tx: Connection,
    merchant: MerchantId,
    *,
    standing_order: StandingOrderId | None,
    customer: CustomerId | None,
    state: str | None,
    due_from: datetime | None,
    due_before: datetime | None,
    after: tuple[str, int],
    limit: int,
) -> list[OrderRow]:
    """Rows of orders by standing order and cycle, after a position."""
    return await _LIST.all(
        tx,
        merchant=merchant,
        standing_order=standing_order,
        customer=customer,
        state=state,
        due_from=due_from,
        due_before=due_before,
        after_standing_order=after[0],
        after_cycle=after[1],
        limit=limit,
    )


async def open_orders(
    tx: Connection, merchant: MerchantId, standing_order: StandingOrderId
) -> list[Order]:
    """The orders of a standing order that are not over, locked."""
    rows = await _OPEN_LOCKED.all(tx, merchant=merchant, standing_order=standing_order)
    return [order_of(row) for row in rows]


async def withdrawable(tx: Connection, standing_orders: Sequence[StandingOrderKey]) -> list[Order]:
    """The announced and held orders of many standing orders (merchant, id), locked."""
    rows = await _WITHDRAWABLE_LOCKED.all(
        tx,
        merchant=[merchant for merchant, _ in standing_orders],
        standing_order=[standing_order for _, standing_order in standing_orders],
    )
    return [order_of(row) for row in rows]


async def announced(tx: Connection, standing_orders: Sequence[StandingOrderKey]) -> list[Order]:
    """The announced orders of many standing orders (merchant, id), the first to be charged first."""
    rows = await _ANNOUNCED.all(
        tx,
        merchant=[merchant for merchant, _ in standing_orders],
        standing_order=[standing_order for _, standing_order in standing_orders],
    )
    return [order_of(row) for row in rows]


async def by_key(tx: Connection, keys: Sequence[OrderKey]) -> dict[OrderKey, Order]:
    """Many orders, locked."""
    found = map(order_of, await _BY_KEY_LOCKED.all(tx, **arrays_of(keys)))
    return {order.key: order for order in found}


async def next_open_times(
    tx: Connection, keys: Sequence[OrderKey], now: datetime
) -> dict[OrderKey, datetime]:
    """By order, when the next one of its standing order is due that is announced or held already."""
    rows = await _NEXT_OPEN.all(tx, **arrays_of(keys), now=now)
    return {OrderKey(row.merchant, row.standing_order, row.cycle): row.due_time for row in rows}


async def next_open_time(
    tx: Connection, merchant: MerchantId, standing_order: StandingOrderId, now: datetime
) -> datetime | None:
    """When the next order of a standing order is due that is announced or held already."""
    key = OrderKey(merchant, standing_order, 0)
    return (await next_open_times(tx, [key], now)).get(key)


async def claim_to_collect(tx: Connection, now: datetime, limit: int) -> list[Order]:
    """Claim announced orders whose time to be paid has come, the longest due first."""
    return await _claim(tx, _CLAIM_TO_COLLECT, now, limit)


async def claim_held(tx: Connection, now: datetime, limit: int) -> list[Order]:
    """Claim held orders that are to be looked at again, the longest due first."""
    return await _claim(tx, _CLAIM_HELD, now, limit)


async def release(tx: Connection, keys: Sequence[OrderKey]) -> None:
    """Give claims back, so that they are taken up again at once."""
    await _RELEASE.run(tx, **arrays_of(keys))


async def first_to_collect(tx: Connection) -> datetime | None:
    """When the next order is to be collected, claimed or not."""
    return (await _FIRST_TO_COLLECT.one(tx)).time


async def first_held(tx: Connection) -> datetime | None:
    """When the next held order is to be looked at, claimed or not."""
    return (await _FIRST_HELD.one(tx)).time


async def last(
    tx: Connection, merchant: MerchantId, standing_order: StandingOrderId
) -> LastOrder | None:
    """The last cycle that has an order, and its date."""
    return await _LAST.one_or_none(tx, merchant=merchant, standing_order=standing_order)


async def history(tx: Connection, key: OrderKey) -> list[Decision]:
    """What was decided about an order, the oldest first."""
    row = await _HISTORY.one(tx, **key._asdict())
    return [
        Decision(datetime.fromisoformat(one["time"]), one["kind"], one["summary"], one["data"])
        for one in row.history
    ]


async def _claim(tx: Connection, claim: Query[OrderRow], now: datetime, limit: int) -> list[Order]:
    rows = await claim.all(tx, now=now, limit=limit, claim_seconds=leases.SUITE.seconds)
    return [order_of(row) for row in rows]
