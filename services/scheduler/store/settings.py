"""Rows of merchants' settings, and what their policy on unpaid orders finds."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.scheduler.domain.ids import MerchantId, OrderKey
from services.scheduler.domain.settings import SchedulerSettings, UnpaidPolicy

# An order is over long before so many cycles have passed.
UNPAID_LOOK_BACK_CYCLES = 100

_GET = text("SELECT * FROM scheduler_settings WHERE merchant = :merchant")

_ENSURE = text("""
    INSERT INTO scheduler_settings (merchant, unpaid_policy, version)
    VALUES (:merchant, :unpaid_policy, :version)
    ON CONFLICT (merchant) DO NOTHING
""")

_GET_LOCKED = text("SELECT * FROM scheduler_settings WHERE merchant = :merchant FOR UPDATE")

_CHANGE = text("""
    UPDATE scheduler_settings SET unpaid_policy = :unpaid_policy, version = version + 1
    WHERE merchant = :merchant
    RETURNING *
""")

# An order is unpaid while its payment is asked for, and from its due time on. One that waits itself
# is unpaid, too: cycles that wait go on in their order.
_UNPAID_BEFORE = text("""
    SELECT asked.merchant, asked.standing_order, asked.cycle, max(before.cycle) AS unpaid
    FROM unnest(CAST(:merchant AS text[]), CAST(:standing_order AS text[]), CAST(:cycle AS int[]))
      AS asked (merchant, standing_order, cycle)
    JOIN orders AS before
      ON before.standing_order = asked.standing_order AND before.merchant = asked.merchant
      AND before.cycle < asked.cycle AND before.cycle >= asked.cycle - :look_back
    WHERE before.state = 'AWAITING_PAYMENT'
       OR (before.state = 'UPCOMING' AND before.due_time <= :now)
       OR (before.state = 'HELD' AND 'PREVIOUS_UNPAID' = ANY (before.reasons))
    GROUP BY asked.merchant, asked.standing_order, asked.cycle
""")


async def get(
    tx: AsyncConnection, merchant: MerchantId, *, lock: bool = False
) -> SchedulerSettings:
    """A merchant's settings, or those that hold where none were stored; locked if asked for."""
    default = SchedulerSettings(merchant)
    if lock:
        # There must be a row to lock.
        await tx.execute(_ENSURE, _columns(default))
    found = await tx.execute(_GET_LOCKED if lock else _GET, {"merchant": merchant})
    row = found.one_or_none()
    return default if row is None else _settings(row)


async def change(tx: AsyncConnection, settings: SchedulerSettings) -> SchedulerSettings:
    """Store what a caller's change made of settings that are locked."""
    return _settings((await tx.execute(_CHANGE, _columns(settings))).one())


async def unpaid_before(
    tx: AsyncConnection, keys: Sequence[OrderKey], now: datetime
) -> Mapping[OrderKey, int]:
    """By order, the last cycle of its standing order before it that is unpaid, if there is one."""
    rows = await tx.execute(
        _UNPAID_BEFORE,
        {
            "merchant": [key.merchant for key in keys],
            "standing_order": [key.standing_order for key in keys],
            "cycle": [key.cycle for key in keys],
            "look_back": UNPAID_LOOK_BACK_CYCLES,
            "now": now,
        },
    )
    return {OrderKey(row.merchant, row.standing_order, row.cycle): row.unpaid for row in rows}


def _columns(settings: SchedulerSettings) -> dict[str, Any]:
    return {
        "merchant": settings.merchant,
        "unpaid_policy": settings.unpaid_policy,
        "version": settings.version,
    }


def _settings(row: Any) -> SchedulerSettings:  # noqa: ANN401 - a row
    return SchedulerSettings(row.merchant, UnpaidPolicy(row.unpaid_policy), row.version)
