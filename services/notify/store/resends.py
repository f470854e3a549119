"""Copies of notices that operators had sent once more."""

from datetime import datetime

from services.notify.domain.notices import NoticeKey
from services.notify.domain.resending import Copies
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Query

_COPIES = Query(
    """
    SELECT count(*) FILTER (WHERE create_time > :since) AS day_count,
           min(create_time) FILTER (WHERE create_time > :since) AS oldest_time,
           max(create_time) FILTER (WHERE original_notice = :original_notice) AS last_time,
           count(*) FILTER (WHERE original_notice = :original_notice AND outcome IS NULL) > 0
               AS is_under_way,
           count(*) FILTER (WHERE original_notice = :original_notice AND outcome = 'DELIVERED') > 0
               AS is_delivered
    FROM notices
    WHERE customer = :customer AND merchant = :merchant AND original_notice <> ''
""",
    Copies,
)


async def copies(tx: Connection, original: NoticeKey, since: datetime) -> Copies:
    """What was sent once more to a customer since a time, and of a notice at all."""
    return await _COPIES.one(
        tx,
        **original.customer_key._asdict(),
        original_notice=original.notice,
        since=since,
    )
