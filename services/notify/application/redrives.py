"""Notices that were given up for a cause outside, sent again in sets."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from services.notify.application import resends
from services.notify.domain.notices import Contact, CustomerKey, MerchantId, NoticeKey
from services.notify.domain.resending import Resend, Skip, judged
from services.notify.store import contacts, notices
from services.notify.store import resends as resend_store
from services.notify.store.resends import GivenUp, GivenUpFilter
from services.runtime.db.pool import Connection
from services.runtime.mutations import Applied


@dataclass(frozen=True, slots=True)
class WantedRedrive:
    """A caller's wish to have a page of what was given up sent again."""

    merchant: MerchantId
    filter: GivenUpFilter
    # The last of the page before.
    after: tuple[datetime, str, str]
    limit: int
    request_id: str


class Redrive(NamedTuple):
    """What became of a page of notices that were given up."""

    redrive_count: int
    skips: Mapping[Skip, int]
    # The last of the page; None: there are no more after it.
    last: GivenUp | None


class _Judged(NamedTuple):
    """A page, and which of it are sent again."""

    found: list[GivenUp]
    accepted: list[Resend]
    skips: Mapping[Skip, int]
    reached: Mapping[CustomerKey, Contact]

    def redrive(self, limit: int) -> Redrive:
        last = self.found[limit - 1] if len(self.found) > limit else None
        return Redrive(len(self.accepted), self.skips, last)


async def preview(connection: Connection, wanted: WantedRedrive, now: datetime) -> Redrive:
    """What would be sent again now; stores nothing."""
    return (await _judge(connection, wanted, now, lock=False)).redrive(wanted.limit)


async def redrive(tx: Connection, wanted: WantedRedrive, now: datetime) -> Applied[Redrive]:
    """Send a page of what was given up again, each as a copy of its own."""
    page = await _judge(tx, wanted, now, lock=True)
    await resends.send_copies(tx, page.accepted, page.reached, wanted.request_id, now)
    return Applied(page.redrive(wanted.limit))


async def _judge(tx: Connection, wanted: WantedRedrive, now: datetime, *, lock: bool) -> _Judged:
    # One more than are dealt with shows that there are more.
    found = await resend_store.given_up(
        tx, wanted.merchant, wanted.filter, wanted.after, wanted.limit + 1
    )
    channels = {
        NoticeKey(wanted.merchant, it.customer, it.original_notice): it.channel
        for it in found[: wanted.limit]
    }
    customers = {key.customer_key for key in channels}
    if lock:
        # The contacts' locks let one copy at a time be made of each notice.
        await contacts.lock(tx, customers)
    originals = await notices.named(tx, list(channels))
    asked = await resends.wishes(
        tx, [(originals[key], channel) for key, channel in channels.items()], now
    )
    reached = await contacts.as_reached(tx, customers)
    verdicts = judged(asked, reached, now)
    return _Judged(
        found,
        [it for it, skip in zip(asked, verdicts, strict=True) if skip is None],
        Counter(skip for skip in verdicts if skip is not None),
        reached,
    )
