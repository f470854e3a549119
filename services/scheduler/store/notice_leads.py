"""Standing orders of which it is to be asked how early their charges are announced."""

from collections.abc import Collection, Sequence
from datetime import datetime

from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query
from services.scheduler.domain.ids import StandingOrderKey
from services.scheduler.domain.standing_order import StandingOrder
from services.scheduler.names import MANDATE
from services.scheduler.store.standing_order_rows import arrays_of

# What is decided meanwhile by the lead before is not stored, since the version changes.
_REQUEST = Command("""
    UPDATE standing_orders SET lead_check_time = :now, version = version + 1
    FROM unnest(CAST(:merchants AS text[]), CAST(:customers AS text[]), CAST(:mandates AS text[]))
      AS changed (of_merchant, of_customer, of_mandate)
    WHERE merchant = of_merchant AND customer = of_customer AND mandate = of_mandate
      AND state || '' IN ('ACTIVE', 'PAUSED')
""")

# What was changed since it was read is left as it is, and asked about again.
_STORE = Query(
    """
    UPDATE standing_orders
    SET rule_lead = found.rule_lead, notice_rule_pack = found.notice_rule_pack,
        prepare_time = found.prepare_time, lead_check_time = NULL,
        version = standing_orders.version + 1, update_time = :now
    FROM unnest(CAST(:merchant AS text[]), CAST(:standing_order AS text[]), CAST(:version AS int[]),
                CAST(:rule_lead AS interval[]), CAST(:notice_rule_pack AS text[]),
                CAST(:prepare_time AS timestamptz[]))
      AS found (merchant, standing_order, version, rule_lead, notice_rule_pack, prepare_time)
    WHERE standing_orders.standing_order = found.standing_order
      AND standing_orders.merchant = found.merchant AND standing_orders.version = found.version
    RETURNING standing_orders.merchant, standing_orders.standing_order
    """,
    StandingOrderKey,
)


async def request_checks(tx: Connection, mandates: Collection[str], now: datetime) -> None:
    """Have it asked how early live standing orders under mandates (by name) are announced."""
    names = sorted(set(mandates))
    merchants, customers, _ = zip(*map(MANDATE.parse, names), strict=True)
    await _REQUEST.run(tx, merchants=merchants, customers=customers, mandates=names, now=now)


async def store(
    tx: Connection, standing_orders: Sequence[StandingOrder], now: datetime
) -> set[StandingOrderKey]:
    """Store the leads that were found; returns those not changed since they were read."""
    stored = await _STORE.all(
        tx,
        **arrays_of([one.key for one in standing_orders]),
        version=[one.version for one in standing_orders],
        rule_lead=[one.rule_lead for one in standing_orders],
        notice_rule_pack=[one.notice_rule_pack for one in standing_orders],
        prepare_time=[one.prepare_time for one in standing_orders],
        now=now,
    )
    return set(stored)
