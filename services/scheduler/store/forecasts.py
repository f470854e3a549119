"""What a forecast reads, in pages."""

from datetime import datetime

from services.runtime.db.pool import Connection
from services.runtime.db.statements import Query
from services.scheduler.domain.ids import MerchantId
from services.scheduler.domain.order import Order
from services.scheduler.domain.standing_order import StandingOrder
from services.scheduler.store.order_rows import OrderRow, order_of
from services.scheduler.store.standing_order_rows import StandingOrderRow, standing_order_of

_LIVE = Query(
    """
    SELECT merchant, standing_order, customer, title, items, schedule, billing_mode, mandate,
           ship_to, price_protection, notice_lead, payment_window, create_time, update_time,
           state, base_cycle, plan_first_cycle, last_nominal_date, next_cycle, next_due_time,
           prepare_time, catch_up_mode, catch_up_window, conditions, repurchase_window,
           repurchase_action, last_cycle, resume_time, changes, paid_order_count,
           last_amount_minor, last_currency, version,
           false AS waits_for_payment
    FROM standing_orders
    WHERE merchant = :merchant AND standing_order > :after AND next_due_time < :before
      AND (state = 'ACTIVE' OR (state = 'PAUSED' AND resume_time < :before))
    ORDER BY standing_order LIMIT :limit
    """,
    StandingOrderRow,
)

_OPEN = Query(
    """
    SELECT merchant, standing_order, cycle, customer, ship_to, state, title, billing_mode, mandate,
           payment_window, time_zone, items, substitutes, hold_until_time, asks_condition,
           local_date, due_time, notice_lead, lines, currency, notified_minor, amount_minor,
           charge_not_before_time, notice_time, collect_time, pay_time, recheck_time, held_stage,
           announcement_count, traceparent, reasons, confirmed_reasons, create_time, update_time
    FROM orders
    WHERE merchant = :merchant AND due_time >= :due_from AND due_time < :due_before
      AND state IN ('UPCOMING', 'HELD', 'AWAITING_PAYMENT')
      AND (standing_order, cycle) > (:after_standing_order, :after_cycle)
    ORDER BY standing_order, cycle LIMIT :limit
    """,
    OrderRow,
)


async def live_standing_orders(
    tx: Connection, merchant: MerchantId, before: datetime, after: str, limit: int
) -> list[StandingOrder]:
    """Standing orders by id, after an id, that bill before an instant or may do so."""
    rows = await _LIVE.all(tx, merchant=merchant, before=before, after=after, limit=limit)
    return [standing_order_of(row) for row in rows]


async def open_orders(
    tx: Connection,
    merchant: MerchantId,
    due_from: datetime,
    due_before: datetime,
    after: tuple[str, int],
    limit: int,
) -> list[Order]:
    """Orders that are not over and due between two instants, after a position."""
    rows = await _OPEN.all(
        tx,
        merchant=merchant,
        due_from=due_from,
        due_before=due_before,
        after_standing_order=after[0],
        after_cycle=after[1],
        limit=limit,
    )
    return [order_of(row) for row in rows]
