"""What is above the messages of a day that a merchant allows, gathered in one message."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from services.notify.domain.frequency import allot, is_mandatory, next_free
from services.notify.domain.notices import WAITING_DIGEST, Channel, CustomerKey
from services.notify.domain.quiet_hours import deadline, send_time
from services.notify.store.attempts import Outgoing

Address = tuple[CustomerKey, Channel]


class Held(NamedTuple):
    """A delivery that waits for a later message, and until when."""

    outgoing: Outgoing
    until: datetime


def is_capped(outgoing: Outgoing) -> bool:
    """Whether a delivery that was not tried yet counts among the messages of a day."""
    notice, delivery = outgoing.notice, outgoing.delivery
    return (
        outgoing.daily_message_max > 0
        and outgoing.readable
        # What cannot be sent fails by itself.
        and bool(outgoing.address)
        and delivery.attempt_count == 0
        # What an operator has sent once more is wanted now.
        and not notice.original_notice
        and not is_mandatory(notice.kind, deadline(notice.promise, delivery.expire_time))
    )


def address_of(outgoing: Outgoing) -> Address:
    """Whom a delivery reaches, and how."""
    return outgoing.notice.customer_key, outgoing.delivery.channel


def gathered(
    due: Sequence[Outgoing], sent: Mapping[Address, Sequence[datetime]], now: datetime
) -> tuple[list[Outgoing], list[Held]]:
    """What is due by the messages that say it, and what waits for a later one.

    A message of several notices is the first of them, with the others as members. One that was tried
    keeps its notices.
    """
    tried: dict[tuple[Address, str], list[Outgoing]] = defaultdict(list)
    waiting: dict[Address, list[Outgoing]] = defaultdict(list)
    messages: list[list[Outgoing]] = []
    for outgoing in due:
        digest = outgoing.delivery.digest_notice
        if digest:
            tried[address_of(outgoing), digest].append(outgoing)
        elif is_capped(outgoing):
            waiting[address_of(outgoing)].append(outgoing)
        else:
            messages.append([outgoing])
    held: list[Held] = []
    for address, group in waiting.items():
        before = sent.get(address, ())
        most = group[0].daily_message_max
        is_digest = any(it.delivery.failure_code == WAITING_DIGEST for it in group)
        now_sent, later = allot(group, before, most, now, is_digest=is_digest)
        messages += [[first._replace(counts=True), *rest] for first, *rest in now_sent]
        free = next_free([*before, *(now for _ in now_sent)], most, now)
        held += [Held(it, _by_day(it, free)) for it in later]
    order = {id(outgoing.notice): index for index, outgoing in enumerate(due)}
    messages += tried.values()
    messages.sort(key=lambda message: order[id(message[0].notice)])
    return [_together(message) for message in messages], held


def _together(message: Sequence[Outgoing]) -> Outgoing:
    """The notices of a message as the first of them, with the others as its members."""
    first, *others = message
    if not others:
        return first
    digest = first.delivery.digest_notice or first.notice.notice
    marked = [it._replace(delivery=it.delivery._replace(digest_notice=digest)) for it in message]
    return marked[0]._replace(members=tuple(marked[1:]))


def _by_day(outgoing: Outgoing, free: datetime) -> datetime:
    """The first instant from one on that is in no quiet hours."""
    kind, channel = outgoing.notice.kind, outgoing.delivery.channel
    return send_time(kind, channel, free, outgoing.time_zone, None)
