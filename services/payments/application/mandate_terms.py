"""What says how early charges are announced: the scheduler is notified when it changes."""

from collections.abc import Mapping
from datetime import datetime

from services.payments import publishers
from services.payments.domain.keys import CustomerKey, MandateKey
from services.payments.domain.rules import NoticeTerms
from services.payments.store import mandates as store
from services.runtime.db.pool import Connection
from services.runtime.messaging.events import OutboxEvent


async def changed_events(
    tx: Connection, before: Mapping[MandateKey, NoticeTerms], now: datetime
) -> list[OutboxEvent]:
    """One event for each of the mandates whose charges are bound by other terms than before."""
    customers = {CustomerKey(key.merchant, key.customer) for key in before}
    present = await store.notice_terms(tx, customers) if customers else {}
    return [
        publishers.mandate_terms_changed(key, terms, now)
        for key, terms in sorted(present.items())
        if key in before and terms != before[key]
    ]
