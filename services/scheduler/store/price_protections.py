"""Standing orders whose prices are protected, and those whose protection is about to end."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from services.runtime.db.pool import Connection
from services.runtime.db.statements import Query
from services.scheduler.domain.ids import CustomerId, MerchantId, StandingOrderId, StandingOrderKey
from services.scheduler.domain.standing_order import StandingOrder
from services.scheduler.store import price_agreements
from services.scheduler.store.standing_order_rows import (
    StandingOrderRow,
    arrays_of,
    standing_order_of,
)


class ProtectionFilter(NamedTuple):
    """Which protections are listed; None: all."""

    merchant: MerchantId
    customer: CustomerId | None
    standing_order: StandingOrderId | None
    product: str | None
    end_before_time: datetime | None


_LIST = Query(
    """
    SELECT * FROM standing_order_rows
    WHERE merchant = :merchant AND standing_order > :after AND price_protection IS NOT NULL
      AND state IN ('ACTIVE', 'PAUSED')
      AND (protection_end_time IS NULL OR protection_end_time > :now)
      AND (CAST(:customer AS text) IS NULL OR customer = :customer)
      AND (CAST(:of_standing_order AS text) IS NULL OR standing_order = :of_standing_order)
      AND (CAST(:product AS text) IS NULL
           OR price_agreements -> -1 -> 'prices' ->> CAST(:product AS text) IS NOT NULL)
      AND (CAST(:end_before_time AS timestamptz) IS NULL
           OR protection_end_time < :end_before_time)
    ORDER BY standing_order LIMIT :limit
    """,
    StandingOrderRow,
)

# What was changed since it was read is left as it is, and read again.
_PUT_NOTIFIED = Query(
    """
    UPDATE standing_orders
    SET price_agreements = CAST(notified.price_agreements AS jsonb), protection_notice_time = NULL,
        version = standing_orders.version + 1
    FROM unnest(CAST(:merchant AS text[]), CAST(:standing_order AS text[]), CAST(:version AS int[]),
                CAST(:price_agreements AS text[]))
      AS notified (merchant, standing_order, version, price_agreements)
    WHERE standing_orders.standing_order = notified.standing_order
      AND standing_orders.merchant = notified.merchant AND standing_orders.version = notified.version
    RETURNING standing_orders.merchant, standing_orders.standing_order
    """,
    StandingOrderKey,
)


async def standing(
    tx: Connection, wanted: ProtectionFilter, now: datetime, after: str, limit: int
) -> list[StandingOrder]:
    """Standing orders by id, after an id, whose prices are protected still."""
    rows = await _LIST.all(
        tx,
        merchant=wanted.merchant,
        customer=wanted.customer,
        of_standing_order=wanted.standing_order,
        product=wanted.product,
        end_before_time=wanted.end_before_time,
        now=now,
        after=after,
        limit=limit,
    )
    return [standing_order_of(row) for row in rows]


async def put_notified(
    tx: Connection, standing_orders: Sequence[StandingOrder]
) -> set[StandingOrderKey]:
    """Remember whose customer was notified; returns those not changed since they were read."""
    notified = await _PUT_NOTIFIED.all(
        tx,
        **arrays_of([one.key for one in standing_orders]),
        version=[one.version for one in standing_orders],
        price_agreements=[price_agreements.dump(one.price_agreements) for one in standing_orders],
    )
    return set(notified)
