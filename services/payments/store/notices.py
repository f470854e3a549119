"""The notices that are kept as evidence."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from services.payments.domain.consent import BillingMode, Notice
from services.payments.domain.keys import ChargeKey, CustomerId, MerchantId
from services.payments.store import keys
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query


class _NoticeRow(NamedTuple):
    merchant: MerchantId
    customer: CustomerId
    charge: str
    notice: str
    amount_minor: int
    currency: str
    charge_not_before_time: datetime
    deliver_time: datetime
    billing_mode: str


_INSERT = Command("""
    INSERT INTO notices (merchant, customer, charge, notice, amount_minor, currency,
                         charge_not_before_time, deliver_time, billing_mode)
    SELECT * FROM unnest(
        CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:charge AS text[]),
        CAST(:notice AS text[]), CAST(:amount_minor AS bigint[]), CAST(:currency AS text[]),
        CAST(:charge_not_before_time AS timestamptz[]), CAST(:deliver_time AS timestamptz[]),
        CAST(:billing_mode AS text[]))
    ON CONFLICT (customer, merchant, charge, notice) DO NOTHING
""")

# What the customer heard last is what counts.
_LATEST = Query(
    """
    SELECT DISTINCT ON (customer, merchant, charge)
           merchant, customer, charge, notice, amount_minor, currency, charge_not_before_time,
           deliver_time, billing_mode
    FROM notices
    JOIN unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]), CAST(:charge AS text[]))
      AS asked (customer, merchant, charge) USING (customer, merchant, charge)
    ORDER BY customer, merchant, charge, deliver_time DESC, notice DESC
""",
    _NoticeRow,
)


async def insert(tx: Connection, notices: Sequence[Notice]) -> None:
    """Keep what delivered notices promised; what is kept already stays."""
    await _INSERT.run(
        tx,
        **keys.owners([notice.charge.owner for notice in notices]),
        charge=[notice.charge.charge for notice in notices],
        notice=[notice.notice for notice in notices],
        amount_minor=[notice.amount_minor for notice in notices],
        currency=[notice.currency for notice in notices],
        charge_not_before_time=[notice.charge_not_before_time for notice in notices],
        deliver_time=[notice.deliver_time for notice in notices],
        billing_mode=[notice.billing_mode for notice in notices],
    )


async def latest(tx: Connection, wanted: Iterable[ChargeKey]) -> dict[ChargeKey, Notice]:
    """The last notice delivered about each charge that had any."""
    rows = await _LATEST.all(tx, **keys.charges(wanted))
    return {found.charge: found for found in map(_notice, rows)}


def _notice(row: _NoticeRow) -> Notice:
    return Notice(
        charge=keys.charge_of(row),
        notice=row.notice,
        amount_minor=row.amount_minor,
        currency=row.currency,
        charge_not_before_time=row.charge_not_before_time,
        deliver_time=row.deliver_time,
        billing_mode=BillingMode[row.billing_mode],
    )
