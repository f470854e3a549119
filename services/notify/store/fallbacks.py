"""Deliveries of other channels, made when they are needed."""

from collections.abc import Mapping
from datetime import datetime

from services.notify.domain.notices import DELIVERY_LIFETIME, WAITING_QUIET_HOURS, DeliveryKey
from services.notify.domain.planning import PlannedSend
from services.notify.domain.transitions import DeliveryState
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command

# Of a notice that is neither over nor there, nor erased.
_INSERT = Command("""
    INSERT INTO deliveries (merchant, customer, notice, channel, main, state, next_attempt_time,
                            give_up_time, failure_code, expire_time, evidence)
    SELECT merchant, customer, notice, channel, false, :pending, wanted.next_attempt_time,
           wanted.give_up_time, wanted.failure_code, main.expire_time, main.evidence
    FROM unnest(
        CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:notice AS text[]),
        CAST(:channel AS text[]), CAST(:next_attempt_time AS timestamptz[]),
        CAST(:give_up_time AS timestamptz[]), CAST(:failure_code AS text[]))
      AS wanted (merchant, customer, notice, channel, next_attempt_time, give_up_time,
                 failure_code)
    JOIN notices USING (merchant, customer, notice)
    CROSS JOIN LATERAL (
        SELECT expire_time, evidence FROM deliveries
        WHERE deliveries.customer = wanted.customer AND deliveries.merchant = wanted.merchant
          AND deliveries.notice = wanted.notice AND deliveries.main OFFSET 0) AS main
    WHERE outcome IS NULL AND facts <> ''
    ON CONFLICT (customer, merchant, notice, channel) DO NOTHING
""")


async def insert(tx: Connection, wanted: Mapping[DeliveryKey, PlannedSend], now: datetime) -> None:
    """Make the deliveries of locked notices."""
    sends = wanted.values()
    await _INSERT.run_for(
        tx,
        wanted,
        next_attempt_time=[send.attempt_time for send in sends],
        give_up_time=[send.send_time + DELIVERY_LIFETIME for send in sends],
        failure_code=[WAITING_QUIET_HOURS if send.send_time > now else "" for send in sends],
        pending=DeliveryState.PENDING,
    )
