"""Rows of merchants' settings, and what their policy on unpaid orders finds."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query
from services.scheduler.domain.ids import MerchantId, OrderKey, StandingOrderId
from services.scheduler.domain.settings import SchedulerSettings, UnpaidPolicy
from services.scheduler.store.order_rows import arrays_of

# An order is over long before so many cycles have passed.
UNPAID_LOOK_BACK_CYCLES = 100


class _SettingsRow(NamedTuple):
    merchant: MerchantId
    unpaid_policy: str
    late_payment_days: int
    action_page_uri: str
    version: int


class _UnpaidRow(NamedTuple):
    merchant: MerchantId
    standing_order: StandingOrderId
    cycle: int
    unpaid: int


_GET = Query(
    """
    SELECT merchant, unpaid_policy, late_payment_days, action_page_uri, version FROM scheduler_settings
    WHERE merchant = :merchant
    """,
    _SettingsRow,
)

_ENSURE = Command("""
    INSERT INTO scheduler_settings (merchant, unpaid_policy, late_payment_days, action_page_uri,
                                    version)
    VALUES (:merchant, :unpaid_policy, :late_payment_days, :action_page_uri, :version)
    ON CONFLICT (merchant) DO NOTHING
""")

_GET_LOCKED = Query(
    """
    SELECT merchant, unpaid_policy, late_payment_days, action_page_uri, version FROM scheduler_settings
    WHERE merchant = :merchant FOR UPDATE
    """,
    _SettingsRow,
)

_CHANGE = Query(
    """
    UPDATE scheduler_settings
    SET unpaid_policy = :unpaid_policy, late_payment_days = :late_payment_days,
        action_page_uri = :action_page_uri, version = version + 1
    WHERE merchant = :merchant
    RETURNING merchant, unpaid_policy, late_payment_days, action_page_uri, version
    """,
    _SettingsRow,
)

# An order is unpaid while its payment is asked for, and from its due time on. One that waits itself
# is unpaid, too: cycles that wait go on in their order.
_UNPAID_BEFORE = Query(
    """
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
    """,
    _UnpaidRow,
)


async def get(tx: Connection, merchant: MerchantId, *, lock: bool = False) -> SchedulerSettings:
    """A merchant's settings, or those that hold where none were stored; locked if asked for."""
    default = SchedulerSettings(merchant)
    if lock:
        # There must be a row to lock.
        await _ENSURE.run(tx, **_columns(default))
    row = await (_GET_LOCKED if lock else _GET).one_or_none(tx, merchant=merchant)
    return default if row is None else _settings(row)


async def change(tx: Connection, settings: SchedulerSettings) -> SchedulerSettings:
    """Store what a caller's change made of settings that are locked."""
    return _settings(await _CHANGE.one(tx, **_columns(settings)))


async def unpaid_before(
    tx: Connection, keys: Sequence[OrderKey], now: datetime
) -> Mapping[OrderKey, int]:
    """By order, the last cycle of its standing order before it that is unpaid, if there is one."""
    rows = await _UNPAID_BEFORE.all(
        tx, **arrays_of(keys), look_back=UNPAID_LOOK_BACK_CYCLES, now=now
    )
    return {OrderKey(row.merchant, row.standing_order, row.cycle): row.unpaid for row in rows}


def _columns(settings: SchedulerSettings) -> dict[str, Any]:
    return {
        "merchant": settings.merchant,
        "unpaid_policy": settings.unpaid_policy,
        "late_payment_days": settings.late_payment_days,
        "action_page_uri": settings.action_page_uri,
        "version": settings.version,
    }


def _settings(row: _SettingsRow) -> SchedulerSettings:
    return SchedulerSettings(
        row.merchant,
        UnpaidPolicy(row.unpaid_policy),
        row.late_payment_days,
        row.action_page_uri,
        row.version,
    )
