"""When customers' months are summed up, and the notices that a summary is made of."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from services.notify.domain.monthly_summaries import COMING, SUMMED_UP, MadeNotice
from services.notify.domain.notices import (
    CustomerId,
    CustomerKey,
    MerchantId,
    NoticeId,
    NoticeKey,
    NoticeKind,
)
from services.notify.store.facts import facts_of
from services.runtime.crypto.encryption import UnreadableError
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query

# The last ones of a customer's month; nobody is sent more.
NOTICES_OF_MONTH_MAX = 1000
# A customer's standing orders, by the last of each kind of notice about them.
LATEST_NOTICES_MAX = 400


class DueSummary(NamedTuple):
    """A customer, and when their month is summed up."""

    merchant: MerchantId
    customer: CustomerId
    summary_due_time: datetime

    @property
    def customer_key(self) -> CustomerKey:
        """Whose it is."""
        return CustomerKey(self.merchant, self.customer)


class NextSummary(NamedTuple):
    """When a customer's next month is summed up after one was; None: it is not."""

    merchant: MerchantId
    customer: CustomerId
    summary_due_time: datetime
    next_due_time: datetime | None


class WantedMonth(NamedTuple):
    """The notices of a customer that were made from a time on and before another."""

    merchant: MerchantId
    customer: CustomerId
    start_time: datetime
    end_time: datetime


@dataclass(frozen=True)
class _MadeRow:
    merchant: MerchantId
    customer: CustomerId
    notice: NoticeId
    kind: NoticeKind
    subject_resource: str
    occur_time: datetime
    facts: bytes


_SCHEDULE = Command("""
    UPDATE contacts SET summary_due_time = wanted.summary_due_time
    FROM unnest(
        CAST(:merchant AS text[]), CAST(:customer AS text[]),
        CAST(:summary_due_time AS timestamptz[])) AS wanted (merchant, customer, summary_due_time)
    WHERE contacts.customer = wanted.customer AND contacts.merchant = wanted.merchant
      AND contacts.summary_due_time IS NULL
""")

_DUE = Query(
    """
    SELECT due.merchant, due.customer, due.summary_due_time
    FROM unnest(CAST(:buckets AS smallint[])) AS leased (bucket)
    CROSS JOIN LATERAL (
        SELECT merchant, customer, summary_due_time FROM contacts
        WHERE bucket = leased.bucket AND summary_due_time <= :now
        ORDER BY summary_due_time LIMIT :limit) AS due
    LIMIT :limit
""",
    DueSummary,
)

# Another replica may have been quicker: what it has put off already is not returned.
_PUT_OFF = Query(
    """
    UPDATE contacts SET summary_due_time = wanted.next_due_time
    FROM unnest(
        CAST(:merchant AS text[]), CAST(:customer AS text[]),
        CAST(:summary_due_time AS timestamptz[]), CAST(:next_due_time AS timestamptz[]))
      AS wanted (merchant, customer, summary_due_time, next_due_time)
    WHERE contacts.customer = wanted.customer AND contacts.merchant = wanted.merchant
      AND contacts.summary_due_time = wanted.summary_due_time
    RETURNING contacts.merchant, contacts.customer
""",
    CustomerKey,
)

_MADE = Query(
    """
    SELECT wanted.merchant, wanted.customer, notice, kind, subject_resource, occur_time, facts
    FROM unnest(
        CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:start_time AS timestamptz[]),
        CAST(:end_time AS timestamptz[])) AS wanted (merchant, customer, start_time, end_time)
    CROSS JOIN LATERAL (
        SELECT notice, kind, subject_resource, occur_time, facts FROM notices
        WHERE notices.customer = wanted.customer AND notices.merchant = wanted.merchant
          AND create_time >= wanted.start_time AND create_time < wanted.end_time
          AND kind = ANY(CAST(:kinds AS text[])) AND original_notice = ''
        ORDER BY create_time DESC LIMIT :limit OFFSET 0) AS made
""",
    _MadeRow,
)

# Of each kind, the last one about each standing order, among the latest of all.
_LATEST = Query(
    """
    SELECT wanted.merchant, wanted.customer, notice, kind, subject_resource, occur_time, facts
    FROM unnest(CAST(:merchant AS text[]), CAST(:customer AS text[])) AS wanted (merchant, customer)
    CROSS JOIN LATERAL (
        SELECT DISTINCT ON (split_part(subject_resource, '/orders/', 1), kind)
               notice, kind, subject_resource, occur_time, facts
        FROM (
            SELECT notice, kind, subject_resource, occur_time, facts FROM notices
            WHERE notices.customer = wanted.customer AND notices.merchant = wanted.merchant
              AND kind = ANY(CAST(:kinds AS text[])) AND original_notice = ''
            ORDER BY create_time DESC LIMIT :limit) AS newest
        ORDER BY split_part(subject_resource, '/orders/', 1), kind, occur_time DESC
        OFFSET 0) AS latest
""",
    _MadeRow,
)


async def schedule(tx: Connection, wanted: Collection[DueSummary]) -> None:
    """Have months summed up of customers of whom none is to be yet."""
    if wanted:
        # Rows are locked in the order of their key.
        await _SCHEDULE.run_for(tx, sorted(wanted))


async def due(
    tx: Connection, buckets: Sequence[int], now: datetime, limit: int
) -> list[DueSummary]:
    """A batch of customers whose month is to be summed up now."""
    return await _DUE.all(tx, buckets=buckets, now=now, limit=limit)


async def put_off(tx: Connection, wanted: Collection[NextSummary]) -> set[CustomerKey]:
    """Store when the next month is summed up; returns those of whom nobody else has meanwhile."""
    return set(await _PUT_OFF.all_for(tx, sorted(wanted)))


async def made(
    tx: Connection, wanted: Collection[WantedMonth]
) -> dict[CustomerKey, list[MadeNotice]]:
    """The notices of months that a summary adds up."""
    rows = await _MADE.all_for(tx, wanted, kinds=sorted(SUMMED_UP), limit=NOTICES_OF_MONTH_MAX)
    return _by_customer(tx, rows)


async def latest(
    tx: Connection, customers: Collection[CustomerKey]
) -> dict[CustomerKey, list[MadeNotice]]:
    """The last notices of each kind that say what comes next of a standing order."""
    rows = await _LATEST.all_for(tx, customers, kinds=sorted(COMING), limit=LATEST_NOTICES_MAX)
    return _by_customer(tx, rows)


def _by_customer(tx: Connection, rows: Sequence[_MadeRow]) -> dict[CustomerKey, list[MadeNotice]]:
    found: dict[CustomerKey, list[MadeNotice]] = {}
    for row in rows:
        key = NoticeKey(row.merchant, row.customer, row.notice)
        try:
            facts = facts_of(tx, key, row.kind, row.facts)
        except UnreadableError:
            facts = None
        notice = MadeNotice(key, row.kind, row.subject_resource, row.occur_time, facts)
        found.setdefault(key.customer_key, []).append(notice)
    return found
