"""Standing orders: found, changed, paused, completed."""

from collections.abc import Sequence
from datetime import datetime

from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query
from services.scheduler.domain.ids import CustomerId, MerchantId, StandingOrderId, StandingOrderKey
from services.scheduler.domain.order import Order, OrderReason
from services.scheduler.domain.standing_order import Opening, StandingOrder, State
from services.scheduler.store.items import dump_changes
from services.scheduler.store.standing_order_rows import (
    StandingOrderRow,
    arrays_of,
    columns_of,
    standing_order_of,
)

_LIST = Query(
    """
    SELECT * FROM standing_order_rows
    WHERE merchant = :merchant AND standing_order > :after
      AND (CAST(:customer AS text) IS NULL OR customer = :customer)
      AND (CAST(:state AS text) IS NULL OR state = :state)
      AND (CAST(:product AS text) IS NULL OR standing_order IN (
        SELECT standing_order FROM standing_order_products
        WHERE merchant = :merchant AND product = :product AND standing_order > :after))
    ORDER BY standing_order LIMIT :limit
    """,
    StandingOrderRow,
)

# A forecast's: those that bill before an instant, or may do so.
_COMING = Query(
    """
    SELECT * FROM standing_order_rows
    WHERE merchant = :merchant AND standing_order > :after AND next_due_time < :before
      AND (state = 'ACTIVE' OR (state = 'PAUSED' AND resume_time < :before))
    ORDER BY standing_order LIMIT :limit
    """,
    StandingOrderRow,
)

_LIVE_OF_CUSTOMERS = Query(
    """
    SELECT found.* FROM unnest(CAST(:customers AS text[])) AS given (of_customer)
    CROSS JOIN LATERAL (
        SELECT * FROM standing_order_rows
        WHERE merchant = :merchant AND customer = of_customer AND state IN ('ACTIVE', 'PAUSED')
        OFFSET 0) AS found
    LIMIT :limit
    """,
    StandingOrderRow,
)

# As that of orders.
_CHANGED_SINCE = Query(
    """
    SELECT * FROM standing_order_rows
    WHERE (merchant, standing_order) > (:merchant, :standing_order)
      AND update_time >= :since AND state || '' IN ('ACTIVE', 'PAUSED')
    ORDER BY merchant, standing_order LIMIT :limit
    """,
    StandingOrderRow,
)

_GET = Query(
    """
    SELECT * FROM standing_order_rows
    WHERE standing_order = :standing_order AND merchant = :merchant
    """,
    StandingOrderRow,
)

_GET_LOCKED = Query(
    """
    SELECT * FROM standing_order_rows
    WHERE standing_order = :standing_order AND merchant = :merchant
    FOR UPDATE
    """,
    StandingOrderRow,
)

_BY_KEY = Query(
    """
    SELECT standing_order_rows.* FROM standing_order_rows
    JOIN unnest(CAST(:merchant AS text[]), CAST(:standing_order AS text[]))
      AS given (merchant, standing_order) USING (merchant, standing_order)
    """,
    StandingOrderRow,
)

_CHANGE = Query(
    """
    UPDATE standing_order_rows
    SET title = :title, items = CAST(:items AS jsonb), schedule = :schedule,
        billing_mode = :billing_mode, mandate = :mandate, ship_to = :ship_to,
        region_code = :region_code, tax_id = :tax_id,
        price_protection = CAST(:price_protection AS jsonb),
        price_agreements = CAST(:price_agreements AS jsonb),
        protection_end_time = :protection_end_time,
        protection_notice_time = :protection_notice_time,
        ending_promotion = CAST(:ending_promotion AS jsonb),
        promotion_notice_time = :promotion_notice_time,
        notice_lead = :notice_lead, rule_lead = :rule_lead,
        notice_rule_pack = :notice_rule_pack, payment_window = :payment_window,
        catch_up_mode = :catch_up_mode, catch_up_window = :catch_up_window,
        conditions = :conditions, repurchase_window = :repurchase_window,
        repurchase_action = :repurchase_action, slot_days_before = :slot_days_before,
        slot_days_after = :slot_days_after, state = :state,
        base_cycle = :base_cycle, last_nominal_date = :last_nominal_date,
        next_cycle = :next_cycle, next_due_time = :next_due_time,
        prepare_time = :prepare_time, last_cycle = :last_cycle, resume_time = :resume_time,
        last_due_time = :last_due_time,
        changes = CAST(:changes AS jsonb),
        dates_changed = dates_changed OR schedule <> :schedule OR base_cycle <> :base_cycle
                        OR :moves_cycle,
        update_time = :now, version = version + 1
    WHERE standing_order = :standing_order AND merchant = :merchant
    RETURNING *
    """,
    StandingOrderRow,
)

# A standing order that was changed since it was read is left as it is, and read again.
_ADVANCE = Query(
    """
    UPDATE standing_orders
    SET state = change.state, next_cycle = change.next_cycle, next_due_time = change.next_due_time,
        prepare_time = change.prepare_time, changes = CAST(change.changes AS jsonb),
        resume_time = change.resume_time, last_due_time = change.last_due_time,
        last_nominal_date = change.last_nominal_date,
        rule_lead = change.rule_lead, notice_rule_pack = change.notice_rule_pack,
        version = standing_orders.version + 1, update_time = :now
    FROM unnest(CAST(:merchant AS text[]), CAST(:standing_order AS text[]), CAST(:version AS int[]),
                CAST(:state AS text[]), CAST(:next_cycle AS int[]),
                CAST(:next_due_time AS timestamptz[]), CAST(:prepare_time AS timestamptz[]),
                CAST(:changes AS text[]), CAST(:resume_time AS timestamptz[]),
                CAST(:last_due_time AS timestamptz[]), CAST(:last_nominal_date AS date[]),
                CAST(:rule_lead AS interval[]), CAST(:notice_rule_pack AS text[]))
      AS change (merchant, standing_order, version, state, next_cycle, next_due_time, prepare_time,
                 changes, resume_time, last_due_time, last_nominal_date, rule_lead, notice_rule_pack)
    WHERE standing_orders.standing_order = change.standing_order
      AND standing_orders.merchant = change.merchant
      AND standing_orders.version = change.version AND standing_orders.state = :expected
    RETURNING standing_orders.merchant, standing_orders.standing_order
    """,
    StandingOrderKey,
)

_SETTLED = Command("""
    UPDATE standing_orders
    SET paid_order_count = paid_order_count + paid.count, update_time = :now,
        last_amount_minor = coalesce(paid.amount_minor, standing_orders.last_amount_minor),
        last_currency = CASE WHEN paid.amount_minor IS NULL THEN standing_orders.last_currency
                             ELSE paid.currency END,
        protection_saved_minor = protection_saved_minor + paid.saved_minor
    FROM (SELECT merchant, standing_order, count(*) AS count, sum(saved_minor) AS saved_minor,
                 (array_agg(amount_minor ORDER BY cycle DESC)
                  FILTER (WHERE amount_minor IS NOT NULL))[1] AS amount_minor,
                 (array_agg(currency ORDER BY cycle DESC))[1] AS currency
          FROM unnest(
            CAST(:merchant AS text[]), CAST(:standing_order AS text[]), CAST(:cycle AS int[]),
            CAST(:amount_minor AS bigint[]), CAST(:currency AS text[]),
            CAST(:saved_minor AS bigint[]))
          AS paid (merchant, standing_order, cycle, amount_minor, currency, saved_minor)
          GROUP BY merchant, standing_order) AS paid
    WHERE standing_orders.standing_order = paid.standing_order
      AND standing_orders.merchant = paid.merchant
""")

_COMPLETE = Query(
    """
    UPDATE standing_order_rows
    SET state = CASE WHEN last_cycle IS NULL THEN 'COMPLETED' ELSE 'CANCELLED' END,
        resume_time = NULL, update_time = :now, version = version + 1
    FROM unnest(CAST(:merchant AS text[]), CAST(:standing_order AS text[]))
      AS given (merchant, standing_order)
    WHERE standing_order_rows.standing_order = given.standing_order
      AND standing_order_rows.merchant = given.merchant
      AND state IN ('ACTIVE', 'PAUSED') AND next_cycle IS NULL
      AND NOT EXISTS (
        SELECT FROM orders WHERE orders.standing_order = standing_order_rows.standing_order
          AND orders.merchant = standing_order_rows.merchant
          AND orders.state IN ('UPCOMING', 'AWAITING_PAYMENT', 'HELD'))
    RETURNING standing_order_rows.*
    """,
    StandingOrderRow,
)

# A standing order without a further cycle has nothing to pause for. With a product: where that is still
# one of the items; without: where the merchant wants it of unpaid orders. `state || ''` keeps the index
# of all that are active out of the plan.
_PAUSE = Query(
    """
    UPDATE standing_order_rows
    SET state = 'PAUSED', resume_time = NULL, version = version + 1, update_time = :now
    FROM unnest(CAST(:merchant AS text[]), CAST(:standing_order AS text[]), CAST(:product AS text[]))
      AS given (merchant, standing_order, product)
    WHERE standing_order_rows.standing_order = given.standing_order
      AND standing_order_rows.merchant = given.merchant
      AND state || '' = 'ACTIVE' AND next_cycle IS NOT NULL
      AND CASE
        WHEN given.product = '' THEN (
          SELECT unpaid_policy = 'PAUSE' FROM scheduler_settings AS settings
          WHERE settings.merchant = given.merchant)
        ELSE EXISTS (
          SELECT FROM jsonb_array_elements(items) AS item WHERE item ->> 0 = given.product)
      END
    RETURNING standing_order_rows.*
    """,
    StandingOrderRow,
)

# Those that an unpaid order cancels, where the merchant wants that. Locked in the order of their keys.
_TO_CANCEL = Query(
    """
    SELECT standing_order_rows.* FROM standing_order_rows
    JOIN unnest(CAST(:merchant AS text[]), CAST(:standing_order AS text[]))
      AS given (merchant, standing_order) USING (merchant, standing_order)
    JOIN scheduler_settings AS settings USING (merchant)
    WHERE settings.unpaid_policy = 'CANCEL' AND next_cycle IS NOT NULL
      AND state || '' IN ('ACTIVE', 'PAUSED')
    ORDER BY merchant, standing_order FOR UPDATE OF standing_order_rows
    """,
    StandingOrderRow,
)


async def get(
    tx: Connection,
    merchant: MerchantId,
    standing_order: StandingOrderId,
    *,
    lock: bool = False,
) -> StandingOrder | None:
    """A standing order, locked until the transaction ends if asked for."""
    query = _GET_LOCKED if lock else _GET
    row = await query.one_or_none(tx, merchant=merchant, standing_order=standing_order)
    return standing_order_of(row) if row else None


async def list_of_merchant(
    tx: Connection,
    merchant: MerchantId,
    *,
    customer: CustomerId | None,
    state: str | None,
    product: str | None = None,
    after: str,
    limit: int,
) -> list[StandingOrder]:
    """A merchant's standing orders by id, after an id."""
    rows = await _LIST.all(
        tx,
        merchant=merchant,
        customer=customer,
        state=state,
        product=product,
        after=after,
        limit=limit,
    )
    return [standing_order_of(row) for row in rows]


async def coming(
    tx: Connection, merchant: MerchantId, before: datetime, after: str, limit: int
) -> list[StandingOrder]:
    """Standing orders by id, after an id, that bill before an instant or may do so."""
    rows = await _COMING.all(tx, merchant=merchant, before=before, after=after, limit=limit)
    # A forecast takes every order before for paid.
    return [standing_order_of(row._replace(waits_for_payment=False)) for row in rows]


async def live_of_customers(
    tx: Connection, merchant: MerchantId, customers: Sequence[CustomerId], limit: int
) -> list[StandingOrder]:
    """The standing orders of customers that have not ended, as if every order before were paid."""
    rows = await _LIVE_OF_CUSTOMERS.all(tx, merchant=merchant, customers=customers, limit=limit)
    return [standing_order_of(row._replace(waits_for_payment=False)) for row in rows]


async def by_key(
    tx: Connection, keys: Sequence[StandingOrderKey]
) -> dict[StandingOrderKey, StandingOrder]:
    """Many standing orders by key."""
    rows = await _BY_KEY.all(tx, **arrays_of(sorted(set(keys))))
    return {
        StandingOrderKey(row.merchant, row.standing_order): standing_order_of(row) for row in rows
    }


async def changed_since(
    tx: Connection, since: datetime, after: StandingOrderKey, limit: int
) -> list[StandingOrder]:
    """Live standing orders after a key that have changed since an instant."""
    rows = await _CHANGED_SINCE.all(tx, **after._asdict(), since=since, limit=limit)
    return [standing_order_of(row) for row in rows]


async def change(tx: Connection, standing_order: StandingOrder, now: datetime) -> StandingOrder:
    """Store what a caller's change made of a standing order that is locked."""
    moves_cycle = any(
        change.local_date is not None or change.order_now_time is not None
        for change in standing_order.changes.values()
    )
    row = await _CHANGE.one(tx, **columns_of(standing_order), moves_cycle=moves_cycle, now=now)
    return standing_order_of(row)


async def advance(
    tx: Connection, openings: Sequence[Opening], expected: State, now: datetime
) -> set[StandingOrderKey]:
    """Move standing orders on to their next cycle; returns those not changed since."""
    standing_orders = [opening.standing_order for opening in openings]
    advanced = await _ADVANCE.all(
        tx,
        **arrays_of([one.key for one in standing_orders]),
        version=[one.version for one in standing_orders],
        state=[one.state for one in standing_orders],
        next_cycle=[one.next_cycle for one in standing_orders],
        next_due_time=[one.next_due_time for one in standing_orders],
        prepare_time=[one.prepare_time for one in standing_orders],
        changes=[dump_changes(one.changes) for one in standing_orders],
        resume_time=[one.resume_time for one in standing_orders],
        last_due_time=[one.last_due_time for one in standing_orders],
        last_nominal_date=[one.last_nominal_date for one in standing_orders],
        rule_lead=[one.rule_lead for one in standing_orders],
        notice_rule_pack=[one.notice_rule_pack for one in standing_orders],
        expected=expected,
        now=now,
    )
    return set(advanced)


async def settled(tx: Connection, paid: Sequence[Order], now: datetime) -> None:
    """Count paid orders, and remember what the last of each standing order came to."""
    await _SETTLED.run(
        tx,
        **arrays_of([order.key.standing_order_key for order in paid]),
        cycle=[order.key.cycle for order in paid],
        # Of an order that was paid late it is not that of the cycle before: others were paid since.
        amount_minor=[
            None if OrderReason.PAID_LATE in order.reasons else order.amount_minor for order in paid
        ],
        currency=[order.currency for order in paid],
        saved_minor=[sum(line.protection_saved_minor for line in order.lines) for order in paid],
        now=now,
    )


async def complete(
    tx: Connection, keys: Sequence[StandingOrderKey], now: datetime
) -> list[StandingOrder]:
    """Complete those that have no further cycle and no open order; returns them."""
    rows = await _COMPLETE.all(tx, **arrays_of(sorted(set(keys))), now=now)
    return [standing_order_of(row) for row in rows]


async def pause_unpaid(
    tx: Connection, keys: Sequence[StandingOrderKey], now: datetime
) -> list[StandingOrder]:
    """Pause those with a further cycle whose merchant wants it of unpaid orders; returns them."""
    return await _pause(tx, [(key, "") for key in keys], now)


async def pause_without(
    tx: Connection, lacking: Sequence[tuple[StandingOrderKey, str]], now: datetime
) -> list[StandingOrder]:
    """Pause those with a further cycle that still have the product (id) beside them; returns them."""
    return await _pause(tx, lacking, now)


async def _pause(
    tx: Connection, given: Sequence[tuple[StandingOrderKey, str]], now: datetime
) -> list[StandingOrder]:
    distinct = sorted(set(given))
    rows = await _PAUSE.all(
        tx,
        **arrays_of([key for key, _ in distinct]),
        product=[product for _, product in distinct],
        now=now,
    )
    return [standing_order_of(row) for row in rows]


async def to_cancel(tx: Connection, keys: Sequence[StandingOrderKey]) -> list[StandingOrder]:
    """Those that an unpaid order cancels, by the policy of their merchant, locked."""
    rows = await _TO_CANCEL.all(tx, **arrays_of(sorted(set(keys))))
    return [standing_order_of(row) for row in rows]
