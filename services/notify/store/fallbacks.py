"""Deliveries of other channels, made when they are needed."""

from collections.abc import Sequence
from datetime import datetime

from services.notify.domain.notices import DELIVERY_LIFETIME, NEVER_MUTED, DeliveryKey
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command

# Where the customer can be reached so and has not muted it, and the notice is neither over nor there.
_INSERT = Command("""
    INSERT INTO deliveries (merchant, customer, notice, channel, main, state, next_attempt_time,
                            give_up_time, failure_code, expire_time)
    SELECT merchant, customer, notice, channel, false, 'PENDING', :now, :give_up_time, '',
           main.expire_time
    FROM unnest(
        CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:notice AS text[]),
        CAST(:channel AS text[]))
      AS wanted (merchant, customer, notice, channel)
    JOIN notices USING (merchant, customer, notice)
    JOIN contacts USING (merchant, customer)
    CROSS JOIN LATERAL (
        SELECT expire_time FROM deliveries
        WHERE deliveries.customer = wanted.customer AND deliveries.merchant = wanted.merchant
          AND deliveries.notice = wanted.notice AND deliveries.main OFFSET 0) AS main
    WHERE outcome IS NULL AND facts <> ''
      AND CASE channel
          WHEN 'EMAIL' THEN email <> '' AND (NOT email_muted OR kind = ANY(:never_muted))
          ELSE phone <> '' AND NOT (kind = 'RECEIPT' AND sms_receipts_muted) END
    ON CONFLICT (customer, merchant, notice, channel) DO NOTHING
""")


async def insert(tx: Connection, wanted: Sequence[DeliveryKey], now: datetime) -> None:
    """Make the deliveries, due at once, of locked notices."""
    await _INSERT.run_for(
        tx,
        wanted,
        now=now,
        give_up_time=now + DELIVERY_LIFETIME,
        never_muted=sorted(NEVER_MUTED),
    )
