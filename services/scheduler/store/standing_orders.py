"""Rows of standing orders."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.runtime.db import leases
from services.runtime.db.pool import to_json
from services.scheduler.domain.ids import CustomerId, MerchantId, StandingOrderId, StandingOrderKey
from services.scheduler.domain.order import Order
from services.scheduler.domain.purchases import RepurchaseAction, RepurchaseRule
from services.scheduler.domain.standing_order import (
    CatchUp,
    CatchUpMode,
    Opening,
    StandingOrder,
    State,
)
from services.scheduler.domain.terms import BillingMode
from services.scheduler.store import conditions, schedules
from services.scheduler.store.items import dump_changes, dump_items, load_change, load_items

_LIST = text("""
    SELECT * FROM standing_orders
    WHERE merchant = :merchant AND standing_order > :after
      AND (CAST(:customer AS text) IS NULL OR customer = :customer)
      AND (CAST(:state AS text) IS NULL OR state = :state)
    ORDER BY standing_order LIMIT :limit
""")

# Of the merchant's settings, for those who decide about cycles: few rows, looked at once a statement.
_WAITS_FOR_PAYMENT = """
    standing_orders.merchant IN (
        SELECT merchant FROM scheduler_settings WHERE unpaid_policy = 'WAIT') AS waits_for_payment
"""

_ONE = f"""
    SELECT *, {_WAITS_FOR_PAYMENT} FROM standing_orders
    WHERE standing_order = :standing_order AND merchant = :merchant
"""  # noqa: S608 - a constant of this module

_GET = text(_ONE)

_GET_LOCKED = text(_ONE + " FOR UPDATE OF standing_orders")

_BY_KEY = text(f"""
    SELECT standing_orders.*, {_WAITS_FOR_PAYMENT} FROM standing_orders
    JOIN unnest(CAST(:merchant AS text[]), CAST(:standing_order AS text[]))
      AS asked (merchant, standing_order) USING (merchant, standing_order)
""")  # noqa: S608 - a constant of this module

_CHANGE = text("""
    UPDATE standing_orders
    SET title = :title, items = CAST(:items AS jsonb), schedule = :schedule,
        billing_mode = :billing_mode, mandate = :mandate, ship_to = :ship_to,
        notice_lead = :notice_lead, payment_window = :payment_window,
        catch_up_mode = :catch_up_mode, catch_up_window = :catch_up_window,
        conditions = :conditions, repurchase_window = :repurchase_window,
        repurchase_action = :repurchase_action, state = :state,
        base_cycle = :base_cycle, last_nominal_date = :last_nominal_date,
        next_cycle = :next_cycle, next_due_time = :next_due_time,
        prepare_time = :prepare_time, last_cycle = :last_cycle, resume_time = :resume_time,
        last_due_time = :last_due_time,
        changes = CAST(:changes AS jsonb),
        dates_changed = dates_changed OR schedule <> :schedule OR base_cycle <> :base_cycle
                        OR :moves_cycle,
        update_time = :now, version = version + 1, claim_time = NULL
    WHERE standing_order = :standing_order AND merchant = :merchant
    RETURNING *
""")

_CLAIM_DUE = text(f"""
    UPDATE standing_orders SET claim_time = now()
    FROM (
        SELECT standing_order, merchant FROM standing_orders
        WHERE state = 'ACTIVE' AND prepare_time <= :now
          AND (claim_time IS NULL OR claim_time < now() - make_interval(secs => :claim_seconds))
        ORDER BY prepare_time LIMIT :limit FOR UPDATE SKIP LOCKED
    ) AS due
    WHERE standing_orders.standing_order = due.standing_order
      AND standing_orders.merchant = due.merchant
    RETURNING standing_orders.*, {_WAITS_FOR_PAYMENT}
""")  # noqa: S608 - a constant of this module

# The earlier of two times, either of which may be missing: a pause is over when it ends by itself, or
# when it has swallowed the last cycle.
_CLAIM_RESTED = text("""
    UPDATE standing_orders SET claim_time = now()
    FROM (
        SELECT standing_order, merchant FROM standing_orders
        WHERE state = 'PAUSED' AND next_cycle IS NOT NULL
          AND least(resume_time, last_due_time) <= :now
          AND (claim_time IS NULL OR claim_time < now() - make_interval(secs => :claim_seconds))
        ORDER BY least(resume_time, last_due_time) LIMIT :limit FOR UPDATE SKIP LOCKED
    ) AS due
    WHERE standing_orders.standing_order = due.standing_order
      AND standing_orders.merchant = due.merchant
    RETURNING standing_orders.*
""")

# A standing order that was changed since it was claimed is left as it is, and claimed again.
_ADVANCE = text("""
    UPDATE standing_orders
    SET state = change.state, next_cycle = change.next_cycle, next_due_time = change.next_due_time,
        prepare_time = change.prepare_time, changes = CAST(change.changes AS jsonb),
        resume_time = change.resume_time, last_due_time = change.last_due_time,
        last_nominal_date = change.last_nominal_date,
        version = standing_orders.version + 1, update_time = :now, claim_time = NULL
    FROM unnest(CAST(:merchant AS text[]), CAST(:standing_order AS text[]), CAST(:version AS int[]),
                CAST(:state AS text[]), CAST(:next_cycle AS int[]),
                CAST(:next_due_time AS timestamptz[]), CAST(:prepare_time AS timestamptz[]),
                CAST(:changes AS text[]), CAST(:resume_time AS timestamptz[]),
                CAST(:last_due_time AS timestamptz[]), CAST(:last_nominal_date AS date[]))
      AS change (merchant, standing_order, version, state, next_cycle, next_due_time, prepare_time,
                 changes, resume_time, last_due_time, last_nominal_date)
    WHERE standing_orders.standing_order = change.standing_order
      AND standing_orders.merchant = change.merchant
      AND standing_orders.version = change.version AND standing_orders.state = :expected
    RETURNING standing_orders.merchant, standing_orders.standing_order
""")

_RELEASE = text("""
    UPDATE standing_orders SET claim_time = NULL
    FROM unnest(CAST(:merchant AS text[]), CAST(:standing_order AS text[]))
      AS claimed (merchant, standing_order)
    WHERE standing_orders.standing_order = claimed.standing_order
      AND standing_orders.merchant = claimed.merchant
""")

_FIRST_DUE = text("SELECT min(prepare_time) FROM standing_orders WHERE state = 'ACTIVE'")
_FIRST_RESTED = text("""
    SELECT min(least(resume_time, last_due_time)) FROM standing_orders
    WHERE state = 'PAUSED' AND next_cycle IS NOT NULL
""")

_SETTLED = text("""
    UPDATE standing_orders
    SET paid_order_count = paid_order_count + paid.count, last_amount_minor = paid.amount_minor,
        last_currency = paid.currency, update_time = :now
    FROM (SELECT merchant, standing_order, count(*) AS count,
                 (array_agg(amount_minor ORDER BY cycle DESC))[1] AS amount_minor,
                 (array_agg(currency ORDER BY cycle DESC))[1] AS currency
          FROM unnest(
            CAST(:merchant AS text[]), CAST(:standing_order AS text[]), CAST(:cycle AS int[]),
            CAST(:amount_minor AS bigint[]), CAST(:currency AS text[]))
          AS paid (merchant, standing_order, cycle, amount_minor, currency)
          GROUP BY merchant, standing_order) AS paid
    WHERE standing_orders.standing_order = paid.standing_order
      AND standing_orders.merchant = paid.merchant
""")

_COMPLETE = text("""
    UPDATE standing_orders
    SET state = CASE WHEN last_cycle IS NULL THEN 'COMPLETED' ELSE 'CANCELLED' END,
        resume_time = NULL, update_time = :now, version = version + 1
    FROM unnest(CAST(:merchant AS text[]), CAST(:standing_order AS text[]))
      AS asked (merchant, standing_order)
    WHERE standing_orders.standing_order = asked.standing_order
      AND standing_orders.merchant = asked.merchant
      AND state IN ('ACTIVE', 'PAUSED') AND next_cycle IS NULL
      AND NOT EXISTS (
        SELECT FROM orders WHERE orders.standing_order = standing_orders.standing_order
          AND orders.merchant = standing_orders.merchant
          AND orders.state IN ('UPCOMING', 'AWAITING_PAYMENT', 'HELD'))
    RETURNING standing_orders.*
""")


# A standing order without a further cycle has nothing to rest from.
# Where asked, only those whose merchant wants it of unpaid orders.
_PAUSE = text("""
    UPDATE standing_orders
    SET state = 'PAUSED', resume_time = NULL, version = version + 1, update_time = :now,
        claim_time = NULL
    FROM unnest(CAST(:merchant AS text[]), CAST(:standing_order AS text[]))
      AS asked (merchant, standing_order)
    WHERE standing_orders.standing_order = asked.standing_order
      AND standing_orders.merchant = asked.merchant
      AND state = 'ACTIVE' AND next_cycle IS NOT NULL
      AND (NOT CAST(:by_policy AS boolean) OR asked.merchant IN (
        SELECT merchant FROM scheduler_settings WHERE unpaid_policy = 'PAUSE'))
    RETURNING standing_orders.*
""")


async def get(
    tx: AsyncConnection,
    merchant: MerchantId,
    standing_order: StandingOrderId,
    *,
    lock: bool = False,
) -> StandingOrder | None:
    """A standing order, locked until the transaction ends if asked for."""
    row = (
        await tx.execute(
            _GET_LOCKED if lock else _GET,
            {"merchant": merchant, "standing_order": standing_order},
        )
    ).one_or_none()
    return standing_order_of(row, waits_for_payment=row.waits_for_payment) if row else None


async def list_of_merchant(
    tx: AsyncConnection,
    merchant: MerchantId,
    *,
    customer: CustomerId | None,
    state: str | None,
    after: str,
    limit: int,
) -> list[StandingOrder]:
    """A merchant's standing orders by id, after an id."""
    rows = await tx.execute(
        _LIST,
        {
            "merchant": merchant,
            "customer": customer,
            "state": state,
            "after": after,
            "limit": limit,
        },
    )
    return [standing_order_of(row) for row in rows]


async def by_key(
    tx: AsyncConnection, keys: Sequence[StandingOrderKey]
) -> dict[StandingOrderKey, StandingOrder]:
    """Many standing orders by (merchant, standing order)."""
    rows = await tx.execute(_BY_KEY, _keys(sorted(set(keys))))
    return {
        StandingOrderKey(row.merchant, row.standing_order): standing_order_of(
            row, waits_for_payment=row.waits_for_payment
        )
        for row in rows
    }


async def change(
    tx: AsyncConnection, standing_order: StandingOrder, now: datetime
) -> StandingOrder:
    """Store what a caller's change made of a standing order that is locked."""
    moves_cycle = any(
        change.local_date is not None or change.order_now_time is not None
        for change in standing_order.changes.values()
    )
    row = await tx.execute(
        _CHANGE, {**columns_of(standing_order), "moves_cycle": moves_cycle, "now": now}
    )
    return standing_order_of(row.one())


async def claim_due(tx: AsyncConnection, now: datetime, limit: int) -> list[StandingOrder]:
    """Claim standing orders with a cycle to prepare, the longest due first."""
    rows = await tx.execute(
        _CLAIM_DUE, {"now": now, "limit": limit, "claim_seconds": leases.SUITE.seconds}
    )
    return [standing_order_of(row, waits_for_payment=row.waits_for_payment) for row in rows]


async def claim_rested(tx: AsyncConnection, now: datetime, limit: int) -> list[StandingOrder]:
    """Claim paused standing orders whose pause or last cycle is over, the longest over first."""
    rows = await tx.execute(
        _CLAIM_RESTED, {"now": now, "limit": limit, "claim_seconds": leases.SUITE.seconds}
    )
    return [standing_order_of(row) for row in rows]


async def advance(
    tx: AsyncConnection, openings: Sequence[Opening], expected: State, now: datetime
) -> set[StandingOrderKey]:
    """Move claimed standing orders on to their next cycle; returns those not changed since."""
    rows = await tx.execute(
        _ADVANCE,
        {
            **_keys([o.before.key for o in openings]),
            "version": [o.before.version for o in openings],
            "state": [o.before.state for o in openings],
            "next_cycle": [o.place.next_cycle for o in openings],
            "next_due_time": [o.place.next_due_time for o in openings],
            "prepare_time": [o.place.prepare_time for o in openings],
            "changes": [dump_changes(o.place.changes) for o in openings],
            "resume_time": [o.before.resume_time for o in openings],
            "last_due_time": [o.standing_order.last_due_time for o in openings],
            "last_nominal_date": [o.place.last_nominal_date for o in openings],
            "expected": expected,
            "now": now,
        },
    )
    return {StandingOrderKey(row.merchant, row.standing_order) for row in rows}


async def release(tx: AsyncConnection, keys: Sequence[StandingOrderKey]) -> None:
    """Give claims back, so that they are taken up again at once."""
    await tx.execute(_RELEASE, _keys(keys))


async def first_due(tx: AsyncConnection) -> datetime | None:
    """When the next cycle is to be prepared, claimed or not."""
    return (await tx.execute(_FIRST_DUE)).scalar_one()  # type: ignore[no-any-return]


async def first_rested(tx: AsyncConnection) -> datetime | None:
    """When the next pause, or the last cycle in one, is over; claimed or not."""
    return (await tx.execute(_FIRST_RESTED)).scalar_one()  # type: ignore[no-any-return]


async def settled(tx: AsyncConnection, paid: Sequence[Order], now: datetime) -> None:
    """Count paid orders, and remember what the last of each standing order came to."""
    await tx.execute(
        _SETTLED,
        {
            **_keys([order.key.standing_order_key for order in paid]),
            "cycle": [order.key.cycle for order in paid],
            "amount_minor": [order.amount_minor for order in paid],
            "currency": [order.currency for order in paid],
            "now": now,
        },
    )


async def complete(
    tx: AsyncConnection, keys: Sequence[StandingOrderKey], now: datetime
) -> list[StandingOrder]:
    """Complete those that have no further cycle and no open order; returns them."""
    rows = await tx.execute(_COMPLETE, {**_keys(sorted(set(keys))), "now": now})
    return [standing_order_of(row) for row in rows]


async def pause_unpaid(
    tx: AsyncConnection, keys: Sequence[StandingOrderKey], now: datetime
) -> list[StandingOrder]:
    """Pause those whose merchant wants it where an order ended unpaid; returns them."""
    return await _pause(tx, keys, now, by_policy=True)


async def pause(
    tx: AsyncConnection, keys: Sequence[StandingOrderKey], now: datetime
) -> list[StandingOrder]:
    """Pause those that have a further cycle; returns them."""
    return await _pause(tx, keys, now, by_policy=False)


async def _pause(
    tx: AsyncConnection, keys: Sequence[StandingOrderKey], now: datetime, *, by_policy: bool
) -> list[StandingOrder]:
    parameters = {**_keys(sorted(set(keys))), "now": now, "by_policy": by_policy}
    return [standing_order_of(row) for row in await tx.execute(_PAUSE, parameters)]


def columns_of(standing_order: StandingOrder) -> dict[str, Any]:
    """The columns that a change of a standing order can change, and its key."""
    return {
        "merchant": standing_order.merchant,
        "standing_order": standing_order.standing_order,
        "title": standing_order.title,
        "items": dump_items(standing_order.items),
        "schedule": schedules.dump(standing_order.schedule),
        "billing_mode": standing_order.billing_mode,
        "mandate": standing_order.mandate,
        "ship_to": standing_order.ship_to,
        "notice_lead": standing_order.notice_lead,
        "payment_window": standing_order.payment_window,
        "catch_up_mode": standing_order.catch_up.mode,
        "catch_up_window": standing_order.catch_up.window,
        "conditions": conditions.dump(standing_order.conditions),
        **_repurchase_columns(standing_order.repurchase),
        "state": standing_order.state,
        "base_cycle": standing_order.base_cycle,
        "plan_first_cycle": standing_order.plan_first_cycle,
        "last_nominal_date": standing_order.last_nominal_date,
        "next_cycle": standing_order.next_cycle,
        "next_due_time": standing_order.next_due_time,
        "prepare_time": standing_order.prepare_time,
        "last_cycle": standing_order.last_cycle,
        "resume_time": standing_order.resume_time,
        "last_due_time": standing_order.last_due_time,
        "changes": dump_changes(standing_order.changes),
    }


def _repurchase_columns(rule: RepurchaseRule | None) -> dict[str, Any]:
    return {
        "repurchase_window": rule.window if rule else None,
        "repurchase_action": rule.action if rule else RepurchaseAction.SKIP,
    }


def dump_data(data: Any) -> str | None:  # noqa: ANN401 - any JSON
    """Plain data as JSON text; None for none."""
    return None if data is None else to_json(data)


def _keys(keys: Sequence[StandingOrderKey]) -> dict[str, list[str]]:
    return {"merchant": [key[0] for key in keys], "standing_order": [key[1] for key in keys]}


def standing_order_of(row: Any, *, waits_for_payment: bool = False) -> StandingOrder:  # noqa: ANN401
    """A standing order from its row, and from what its merchant's settings mean for it."""
    return StandingOrder(
        merchant=row.merchant,
        standing_order=row.standing_order,
        customer=row.customer,
        title=row.title,
        items=load_items(row.items),
        schedule=schedules.load(row.schedule),
        billing_mode=BillingMode[row.billing_mode],
        mandate=row.mandate,
        ship_to=row.ship_to,
        price_protection=row.price_protection,
        notice_lead=row.notice_lead,
        payment_window=row.payment_window,
        create_time=row.create_time,
        update_time=row.update_time,
        state=State[row.state],
        base_cycle=row.base_cycle,
        plan_first_cycle=row.plan_first_cycle,
        last_nominal_date=row.last_nominal_date,
        next_cycle=row.next_cycle,
        next_due_time=row.next_due_time,
        prepare_time=row.prepare_time,
        catch_up=CatchUp(CatchUpMode[row.catch_up_mode], row.catch_up_window),
        conditions=conditions.load(row.conditions),
        repurchase=(
            RepurchaseRule(row.repurchase_window, RepurchaseAction[row.repurchase_action])
            if row.repurchase_window is not None
            else None
        ),
        waits_for_payment=waits_for_payment,
        last_cycle=row.last_cycle,
        resume_time=row.resume_time,
        changes={int(cycle): load_change(data) for cycle, data in row.changes.items()},
        paid_order_count=row.paid_order_count,
        last_amount_minor=row.last_amount_minor,
        last_currency=row.last_currency,
        version=row.version,
    )
