"""Claims of standing orders with something due, and how they go on."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from services.runtime.db import leases
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query
from services.scheduler.domain.ids import StandingOrderKey
from services.scheduler.domain.standing_order import Opening, StandingOrder, State
from services.scheduler.store.items import dump_changes
from services.scheduler.store.standing_order_rows import (
    StandingOrderRow,
    arrays_of,
    standing_order_of,
)


class _TimeRow(NamedTuple):
    time: datetime | None


_CLAIM_DUE = Query(
    """
    UPDATE standing_order_rows SET claim_time = now()
    FROM (
        SELECT standing_order, merchant FROM standing_orders
        WHERE state = 'ACTIVE' AND prepare_time <= :now
          AND (claim_time IS NULL OR claim_time < now() - make_interval(secs => :claim_seconds))
        ORDER BY prepare_time LIMIT :limit FOR UPDATE SKIP LOCKED
    ) AS due
    WHERE standing_order_rows.standing_order = due.standing_order
      AND standing_order_rows.merchant = due.merchant
    RETURNING standing_order_rows.*
    """,
    StandingOrderRow,
)

# The earlier of two times, either of which may be missing: a pause is over when it ends by itself, or
# when the last cycle has fallen due in it.
_CLAIM_TO_RESUME = Query(
    """
    UPDATE standing_order_rows SET claim_time = now()
    FROM (
        SELECT standing_order, merchant FROM standing_orders
        WHERE state = 'PAUSED' AND next_cycle IS NOT NULL
          AND least(resume_time, last_due_time) <= :now
          AND (claim_time IS NULL OR claim_time < now() - make_interval(secs => :claim_seconds))
        ORDER BY least(resume_time, last_due_time) LIMIT :limit FOR UPDATE SKIP LOCKED
    ) AS due
    WHERE standing_order_rows.standing_order = due.standing_order
      AND standing_order_rows.merchant = due.merchant
    RETURNING standing_order_rows.*
    """,
    StandingOrderRow,
)

# A standing order that was changed since it was claimed is left as it is, and claimed again.
_ADVANCE = Query(
    """
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
    """,
    StandingOrderKey,
)

_RELEASE = Command("""
    UPDATE standing_orders SET claim_time = NULL
    FROM unnest(CAST(:merchant AS text[]), CAST(:standing_order AS text[]))
      AS given (merchant, standing_order)
    WHERE standing_orders.standing_order = given.standing_order
      AND standing_orders.merchant = given.merchant
""")

_FIRST_DUE = Query(
    """
    SELECT min(prepare_time) AS time FROM standing_orders WHERE state = 'ACTIVE'
    """,
    _TimeRow,
)

_FIRST_TO_RESUME = Query(
    """
    SELECT min(least(resume_time, last_due_time)) AS time FROM standing_orders
    WHERE state = 'PAUSED' AND next_cycle IS NOT NULL
    """,
    _TimeRow,
)


async def claim_due(tx: Connection, now: datetime, limit: int) -> list[StandingOrder]:
    """Claim standing orders with a cycle to prepare, the longest due first."""
    rows = await _CLAIM_DUE.all(tx, now=now, limit=limit, claim_seconds=leases.SUITE.seconds)
    return [standing_order_of(row) for row in rows]


async def claim_to_resume(tx: Connection, now: datetime, limit: int) -> list[StandingOrder]:
    """Claim paused standing orders whose pause or last cycle is over, the longest over first."""
    rows = await _CLAIM_TO_RESUME.all(tx, now=now, limit=limit, claim_seconds=leases.SUITE.seconds)
    return [standing_order_of(row) for row in rows]


async def advance(
    tx: Connection, openings: Sequence[Opening], expected: State, now: datetime
) -> set[StandingOrderKey]:
    """Move claimed standing orders on to their next cycle; returns those not changed since."""
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
        expected=expected,
        now=now,
    )
    return set(advanced)


async def release(tx: Connection, keys: Sequence[StandingOrderKey]) -> None:
    """Give claims back, so that they are taken up again at once."""
    await _RELEASE.run(tx, **arrays_of(keys))


async def first_due_time(tx: Connection) -> datetime | None:
    """When the next cycle is to be prepared, claimed or not."""
    return (await _FIRST_DUE.one(tx)).time


async def first_resume_time(tx: Connection) -> datetime | None:
    """When the next pause, or the last cycle in one, is over; claimed or not."""
    return (await _FIRST_TO_RESUME.one(tx)).time
