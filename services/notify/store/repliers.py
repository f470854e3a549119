"""Whom a message can be from, and what they were sent that it can be about."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from services.notify.domain.notices import (
    CustomerId,
    CustomerKey,
    Facts,
    MerchantId,
    NoticeId,
    NoticeKey,
    NoticeKind,
)
from services.notify.domain.replies.decisions import ANSWERED_KINDS, REPLY_WINDOW
from services.notify.domain.replies.inbound import Inbound, SenderNumbers
from services.notify.store import contacts
from services.notify.store.facts import facts_of
from services.runtime.crypto.encryption import UnreadableError
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Query

# Customers of one phone, over all merchants: a family has some.
CUSTOMERS_MAX = 20
# The newest notices of a customer that a reply can be about.
NOTICES_MAX = 40


class _ReplierRow(NamedTuple):
    """A customer whose phone wrote a message, by the message's number."""

    number: int
    merchant: MerchantId
    customer: CustomerId
    bind_time: datetime
    sms_stop_time: datetime | None


class _SentRow(NamedTuple):
    """A notice that a reply can be about."""

    merchant: MerchantId
    customer: CustomerId
    notice: NoticeId
    kind: NoticeKind
    subject_resource: str
    create_time: datetime
    is_live: bool
    facts: bytes


# The contact is locked against being erased, as those of notices are.
_OF_PHONES = Query(
    """
    SELECT its.number, merchant, customer, contacts.bind_time, contacts.sms_stop_time
    FROM (
        SELECT asked.number, found.merchant, found.customer
        FROM unnest(
            CAST(:number AS integer[]), CAST(:reply_index AS bytea[]), CAST(:recipient AS text[]))
          AS asked (number, reply_index, recipient)
        CROSS JOIN LATERAL (
            SELECT merchant, customer FROM contacts
            WHERE contacts.reply_index = asked.reply_index AND contacts.reply_index <> ''
              AND phone_lapse_time IS NULL
              AND CASE WHEN asked.recipient = ANY(CAST(:own_numbers AS text[]))
                       THEN merchant IN (
                           SELECT own.merchant
                           FROM unnest(CAST(:own_merchants AS text[]), CAST(:own_numbers AS text[]))
                             AS own (merchant, number)
                           WHERE own.number = asked.recipient)
                       ELSE merchant <> ALL(CAST(:own_merchants AS text[])) END
            ORDER BY merchant, customer LIMIT :limit) AS found) AS its
    JOIN contacts USING (customer, merchant)
    ORDER BY customer, merchant
    FOR KEY SHARE OF contacts
""",
    _ReplierRow,
)

_STOP = Query(
    """
    UPDATE contacts SET sms_stop_time = :now, version = version + 1
    FROM unnest(CAST(:merchant AS text[]), CAST(:customer AS text[])) AS named (merchant, customer)
    WHERE contacts.customer = named.customer AND contacts.merchant = named.merchant
      AND sms_stop_time IS NULL
    RETURNING contacts.merchant, contacts.customer
""",
    CustomerKey,
)

# Messages that were refused while none were wanted say nothing about the phone.
_START = Query(
    """
    UPDATE contacts SET sms_stop_time = NULL, sms_failure_count = 0, sms_retry_time = NULL,
        version = version + 1
    FROM unnest(CAST(:merchant AS text[]), CAST(:customer AS text[])) AS named (merchant, customer)
    WHERE contacts.customer = named.customer AND contacts.merchant = named.merchant
      AND sms_stop_time IS NOT NULL
    RETURNING contacts.merchant, contacts.customer
""",
    CustomerKey,
)

# What went out by SMS since the phone was bound, the newest first. It is live until a later event has
# made it untrue, or its time is over.
_SENT = Query(
    """
    SELECT merchant, customer, notice, kind, subject_resource, create_time,
           coalesce(expire_time > :now, true) AND NOT EXISTS (
               SELECT FROM superseded_kinds AS known
               WHERE known.customer = sent.customer AND known.merchant = sent.merchant
                 AND known.subject_resource = sent.subject_resource
                 AND known.before_time > sent.occur_time AND sent.kind = ANY (known.kinds))
             AS is_live,
           facts
    FROM (
        SELECT named.merchant, named.customer, its.*
        FROM unnest(
            CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:bind_time AS timestamptz[]))
          AS named (merchant, customer, bind_time)
        CROSS JOIN LATERAL (
            SELECT notice, kind, subject_resource, create_time, occur_time, position, facts,
                   sms.expire_time
            FROM notices
            CROSS JOIN LATERAL (
                SELECT deliveries.expire_time FROM deliveries
                WHERE deliveries.customer = notices.customer
                  AND deliveries.merchant = notices.merchant
                  AND deliveries.notice = notices.notice AND channel = 'SMS'
                  AND attempt_count > 0 AND state <> 'FAILED' OFFSET 0) AS sms
            WHERE notices.customer = named.customer AND notices.merchant = named.merchant
              AND kind = ANY(CAST(:kinds AS text[])) AND create_time > :since
              AND create_time >= named.bind_time AND facts <> ''
            ORDER BY position DESC LIMIT :limit) AS its) AS sent
    ORDER BY create_time DESC, position DESC
""",
    _SentRow,
)


@dataclass(frozen=True, slots=True)
class Replier:
    """A customer from whose phone a message came."""

    key: CustomerKey
    bind_time: datetime
    is_stopped: bool


@dataclass(frozen=True, slots=True)
class SentNotice:
    """A notice that went to a customer's phone, and that a reply can be about."""

    customer: CustomerKey
    subject_resource: str
    create_time: datetime
    # Whether what it says is still true.
    is_live: bool
    facts: Facts


async def of_messages(
    tx: Connection, messages: Sequence[Inbound], senders: SenderNumbers
) -> list[list[Replier]]:
    """The customers from whose phone each message can be, of the merchants whose number it came to."""
    asked = [
        (number, reply_index, message.recipient)
        for number, message in enumerate(messages)
        for reply_index in tx.keyring.keyed_hashes(message.phone, *contacts.REPLY_INDEX_AAD)
    ]
    rows = await _OF_PHONES.all_for(
        tx,
        asked,
        number=[number for number, _, _ in asked],
        reply_index=[reply_index for _, reply_index, _ in asked],
        recipient=[recipient for _, _, recipient in asked],
        own_merchants=list(senders.of_merchants),
        own_numbers=list(senders.of_merchants.values()),
        limit=CUSTOMERS_MAX,
    )
    found: list[list[Replier]] = [[] for _ in messages]
    for row in rows:
        key = CustomerKey(row.merchant, row.customer)
        replier = Replier(key, row.bind_time, row.sms_stop_time is not None)
        found[row.number].append(replier)
    return found


async def sent(
    tx: Connection, repliers: Collection[Replier], now: datetime
) -> dict[CustomerKey, list[SentNotice]]:
    """What customers were sent by SMS that a reply can be about, the newest first."""
    by_key = {replier.key: replier for replier in repliers}
    rows = await _SENT.all_for(
        tx,
        by_key,
        bind_time=[replier.bind_time for replier in by_key.values()],
        kinds=sorted(ANSWERED_KINDS | {NoticeKind.REPLY}),
        since=now - REPLY_WINDOW,
        now=now,
        limit=NOTICES_MAX,
    )
    found: dict[CustomerKey, list[SentNotice]] = {key: [] for key in by_key}
    for row in rows:
        if (notice := _sent(tx, row)) is not None:
            found[notice.customer].append(notice)
    return found


async def stop(
    tx: Connection, customers: Collection[CustomerKey], now: datetime
) -> set[CustomerKey]:
    """Send customers no SMS any more; returns those who got some before."""
    return set(await _STOP.all_for(tx, sorted(customers), now=now))


async def start(tx: Connection, customers: Collection[CustomerKey]) -> set[CustomerKey]:
    """Send customers SMS again; returns those who got none before."""
    return set(await _START.all_for(tx, sorted(customers)))


def _sent(tx: Connection, row: _SentRow) -> SentNotice | None:
    try:
        facts = facts_of(tx, NoticeKey(row.merchant, row.customer, row.notice), row.kind, row.facts)
    except UnreadableError:
        # One that does not open must not hold up the others.
        return None
    if facts is None:
        return None
    customer = CustomerKey(row.merchant, row.customer)
    return SentNotice(customer, row.subject_resource, row.create_time, row.is_live, facts)
