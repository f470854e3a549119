"""Attempts at deliveries: which are due, where they go, and which may begin."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from services.notify.domain.attachments import Attachment, AttachmentProblem
from services.notify.domain.notices import (
    DELIVERY_LIFETIME,
    FAILURE_UNREADABLE,
    WAITING_DIGEST,
    WAITING_QUIET_HOURS,
    Addressee,
    Channel,
    CustomerId,
    CustomerKey,
    Delivery,
    MerchantId,
    Notice,
    NoticeId,
    NoticeKey,
    NoticeKind,
    is_muted,
)
from services.notify.domain.routes import Route
from services.notify.domain.transitions import DeliveryState
from services.notify.store import codes, contacts, deliveries
from services.notify.store.deliveries import DeliveryRow, Texts, delivery_of, texts_of
from services.notify.store.notices import NoticeRow, notice_of
from services.runtime.crypto.encryption import UnreadableError, decrypt, encrypt
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query


# The fields of NoticeRow come first, then the others of DeliveryRow, then its own.
@dataclass
class _DueRow(DeliveryRow, NoticeRow):
    """A delivery with its notice, and where it goes."""

    own_address: bytes | None
    address: bytes | None
    address_version: int | None
    display_name: bytes | None
    contact_locale: str | None
    merchant_display_name: str | None
    complaint_address: str | None
    daily_message_max: int
    time_zone: str
    sms_receipts_muted: bool
    email_muted: bool
    summaries_muted: bool


# Addresses are those of the moment of sending; a code goes to the phone that it is to prove.
_DUE = Query(
    """
    SELECT merchant, customer, notice, notices.position, notices.kind, notices.subject_resource,
           notices.promised_amount_minor, notices.promised_currency, notices.charge_not_before,
           notices.notice_lead, notices.billing_mode, notices.traceparent, notices.occur_time,
           notices.create_time, notices.price, notices.price_announce_time,
           notices.standing_orders, notices.facts, notices.original_notice,
           channel, main, deliveries.state, subject, text, secret_text, next_attempt_time,
           give_up_time, attempt_count, deliver_time, failure_code, deliveries.expire_time,
           deliveries.locale, deliveries.template, evidence, accept_time, gateway,
           gateway_message, digest_notice, own_address,
           CASE WHEN own_address IS NOT NULL THEN own_address
                WHEN channel = 'EMAIL' THEN CASE
                    WHEN contacts.email_bind_time IS NOT NULL
                        OR NOT coalesce(proved_email_only, false)
                    THEN contacts.email END
                WHEN kind = 'PHONE_CODE' THEN phone_codes.phone
                WHEN contacts.phone_lapse_time IS NULL AND contacts.sms_stop_time IS NULL
                THEN contacts.phone END AS address,
           CASE WHEN channel = 'SMS' AND kind <> 'PHONE_CODE' AND own_address IS NULL
                THEN contacts.bind_count
                ELSE 0 END AS address_version,
           contacts.display_name, contacts.locale AS contact_locale, merchant_display_name,
           complaint_address, coalesce(daily_message_max, 0) AS daily_message_max,
           coalesce(nullif(contacts.time_zone, ''), notify_settings.time_zone, '') AS time_zone,
           coalesce(sms_receipts_muted, false) AS sms_receipts_muted,
           coalesce(email_muted, false) AS email_muted,
           coalesce(summaries_muted, false) AS summaries_muted
    FROM (
        SELECT due.* FROM unnest(CAST(:buckets AS smallint[])) AS leased (bucket)
        CROSS JOIN LATERAL (
            SELECT customer, merchant, notice, channel FROM deliveries
            WHERE state = 'PENDING' AND bucket = leased.bucket
              AND has_attachment = :has_attachment AND channel = :channel
              AND next_attempt_time <= :now
            ORDER BY next_attempt_time LIMIT :limit) AS due
        LIMIT :limit) AS due
    JOIN deliveries USING (customer, merchant, notice, channel)
    JOIN notices USING (customer, merchant, notice)
    LEFT JOIN contacts USING (customer, merchant)
    LEFT JOIN notify_settings USING (merchant)
    LEFT JOIN phone_codes USING (customer, merchant, notice)
    ORDER BY notices.position
""",
    _DueRow,
)


class _BegunRow(NamedTuple):
    """A delivery whose first attempt may begin."""

    merchant: MerchantId
    customer: CustomerId
    notice: NoticeId
    channel: Channel


# The words are stored before they are sent: who sends again, sends the same under the same key.
# Only as it was read: another process may have begun with the same, or said it in another message. A
# message that says one such notice is not begun at all.
_BEGIN = Query(
    """
    WITH begun AS MATERIALIZED (
        SELECT * FROM unnest(
            CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:notice AS text[]),
            CAST(:channel AS text[]), CAST(:attempt_count AS integer[]), CAST(:message AS integer[]),
            CAST(:delivery_count AS integer[]), CAST(:locale AS text[]), CAST(:template AS text[]),
            CAST(:subject AS bytea[]), CAST(:text AS bytea[]), CAST(:digest_notice AS text[]),
            CAST(:counted_time AS timestamptz[]), CAST(:gateway AS text[]))
          AS begun (merchant, customer, notice, channel, attempt_count, message, delivery_count, locale,
                    template, subject, text, digest_notice, counted_time, gateway)
    ), unchanged AS MATERIALIZED (
        -- Of messages that say several notices.
        SELECT message, delivery_count FROM begun
        JOIN deliveries USING (customer, merchant, notice, channel, attempt_count)
        WHERE delivery_count > 1 AND deliveries.state = :pending AND EXISTS (
            SELECT FROM notices
            WHERE notices.customer = begun.customer AND notices.merchant = begun.merchant
              AND notices.notice = begun.notice AND notices.facts <> '')
        ORDER BY customer, merchant, notice, channel FOR UPDATE OF deliveries
    )
    UPDATE deliveries SET attempt_count = deliveries.attempt_count + 1, locale = begun.locale,
        template = begun.template, subject = begun.subject, text = begun.text,
        digest_notice = begun.digest_notice, counted_time = begun.counted_time,
        gateway = begun.gateway
    FROM begun
    WHERE deliveries.customer = begun.customer AND deliveries.merchant = begun.merchant
      AND deliveries.notice = begun.notice AND deliveries.channel = begun.channel
      AND deliveries.state = :pending AND deliveries.attempt_count = begun.attempt_count
      -- Who was erased since it was read leaves no text behind.
      AND EXISTS (
          SELECT FROM notices
          WHERE notices.customer = begun.customer AND notices.merchant = begun.merchant
            AND notices.notice = begun.notice AND notices.facts <> '')
      AND (begun.delivery_count = 1 OR begun.message IN (
          SELECT message FROM unchanged GROUP BY message, delivery_count
          HAVING count(*) = delivery_count))
    RETURNING deliveries.merchant, deliveries.customer, deliveries.notice, deliveries.channel
""",
    _BegunRow,
)

# What is above the messages of a day waits; its time to be tried begins when it may be.
_HOLD = Command("""
    UPDATE deliveries SET next_attempt_time = held.until, failure_code = :waiting,
        give_up_time = held.until + CAST(:lifetime AS interval)
    FROM unnest(
        CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:notice AS text[]),
        CAST(:channel AS text[]), CAST(:until AS timestamptz[]))
      AS held (merchant, customer, notice, channel, until)
    WHERE deliveries.customer = held.customer AND deliveries.merchant = held.merchant
      AND deliveries.notice = held.notice AND deliveries.channel = held.channel
      AND deliveries.state = :pending AND deliveries.attempt_count = 0
""")


class _CountedRow(NamedTuple):
    """When a message was sent that counts among those of a day."""

    merchant: MerchantId
    customer: CustomerId
    channel: Channel
    counted_time: datetime


_COUNTED = Query(
    """
    SELECT merchant, customer, channel, counted_time
    FROM unnest(CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:channel AS text[]))
      AS named (merchant, customer, channel)
    CROSS JOIN LATERAL (
        SELECT counted_time FROM deliveries
        WHERE deliveries.customer = named.customer AND deliveries.merchant = named.merchant
          AND deliveries.channel = named.channel AND counted_time > :since
        OFFSET 0) AS sent
""",
    _CountedRow,
)


class _LastRow(NamedTuple):
    """When the last of what waits for a customer on a channel is tried next."""

    merchant: MerchantId
    customer: CustomerId
    channel: Channel
    next_attempt_time: datetime


# Messages to one customer by one channel go out in their order. One that waits for the morning holds up
# no other, which may have a deadline.
_LAST = Query(
    """
    SELECT merchant, customer, channel, next_attempt_time
    FROM unnest(CAST(:merchant AS text[]), CAST(:customer AS text[])) AS named (merchant, customer)
    CROSS JOIN LATERAL (
        SELECT channel, max(deliveries.next_attempt_time) AS next_attempt_time FROM deliveries
        WHERE deliveries.customer = named.customer AND deliveries.merchant = named.merchant
          AND state || '' = 'PENDING' AND secret_text IS NULL AND NOT has_attachment
          AND failure_code <> ALL(:unordered)
        GROUP BY channel) AS waiting
""",
    _LastRow,
)


class Outgoing(NamedTuple):
    """A delivery that is to be attempted now, and where to."""

    notice: Notice
    delivery: Delivery
    # Empty when the customer has none any more, or has muted such messages. Not to be logged.
    address: str
    address_version: int
    addressee: Addressee
    # Whether its texts and address could be opened; they are empty if not.
    readable: bool = True
    # Whether the text of the delivery is not stored yet.
    text_is_new: bool = False
    # The file that goes with it, or why there is none now.
    attachment: Attachment | AttachmentProblem | None = None
    # How many messages the merchant allows in a day; 0: any number. Whether this one counts among them.
    daily_message_max: int = 0
    counts: bool = False
    # Where the customer lives; empty: it is not known.
    time_zone: str = ""
    # What its message says as well.
    members: tuple["Outgoing", ...] = ()
    # The gateway that it goes by, where its channel has two.
    route: Route | None = None

    @property
    def is_new(self) -> bool:
        """Whether what is sent, or by which gateway, is to be stored before it is."""
        return self.text_is_new or (self.route is not None and not self.delivery.gateway)


async def due(
    tx: Connection,
    buckets: Sequence[int],
    now: datetime,
    limit: int,
    *,
    channel: Channel,
    has_attachment: bool,
) -> list[Outgoing]:
    """A batch of due deliveries of a channel with a file or without, the oldest notice first."""
    rows = await _DUE.all(
        tx, buckets=buckets, now=now, limit=limit, channel=channel, has_attachment=has_attachment
    )
    return [_outgoing(tx, row) for row in rows]


async def begin(tx: Connection, sending: Sequence[Outgoing], now: datetime) -> list[Outgoing]:
    """Store the words of first attempts before they are made; returns those that may be made."""
    messages = [(outgoing, *outgoing.members) for outgoing in sending if outgoing.is_new]
    of_first = [outgoing for message in messages for outgoing in message]

    def encrypted(column: str) -> list[bytes]:
        return [
            encrypt(
                tx,
                getattr(outgoing.delivery, column),
                *deliveries.aad(outgoing.notice.key, outgoing.delivery.channel, column),
            )
            for outgoing in of_first
        ]

    rows = await _BEGIN.all_for(
        tx,
        [outgoing.delivery for outgoing in of_first],
        merchant=[outgoing.notice.merchant for outgoing in of_first],
        customer=[outgoing.notice.customer for outgoing in of_first],
        notice=[outgoing.notice.notice for outgoing in of_first],
        subject=encrypted("subject"),
        text=encrypted("text"),
        message=[number for number, message in enumerate(messages) for _ in message],
        delivery_count=[len(message) for message in messages for _ in message],
        counted_time=[now if outgoing.counts else None for outgoing in of_first],
        gateway=[message[0].route or "" for message in messages for _ in message],
        pending=DeliveryState.PENDING,
    )
    begun = {(NoticeKey(*row[:3]), row.channel) for row in rows}

    def may_begin(outgoing: Outgoing) -> bool:
        """Whether all that its message says may still be said."""
        said = (outgoing, *outgoing.members)
        return all((it.notice.key, it.delivery.channel) in begun for it in said)

    return [it for it in sending if not it.is_new or may_begin(it)]


async def counted(
    tx: Connection, addresses: Collection[tuple[CustomerKey, Channel]], since: datetime
) -> dict[tuple[CustomerKey, Channel], list[datetime]]:
    """When messages went to customers by channels that count among those of a day, after an instant."""
    rows = await _COUNTED.all(
        tx,
        merchant=[key.merchant for key, _ in addresses],
        customer=[key.customer for key, _ in addresses],
        channel=[channel for _, channel in addresses],
        since=since,
    )
    found: dict[tuple[CustomerKey, Channel], list[datetime]] = defaultdict(list)
    for row in rows:
        found[CustomerKey(row.merchant, row.customer), row.channel].append(row.counted_time)
    return found


async def hold(tx: Connection, waiting: Sequence[tuple[Outgoing, datetime]]) -> None:
    """Have deliveries wait, each until an instant, for a message that says them together."""
    if not waiting:
        return
    await _HOLD.run(
        tx,
        merchant=[it.notice.merchant for it, _ in waiting],
        customer=[it.notice.customer for it, _ in waiting],
        notice=[it.notice.notice for it, _ in waiting],
        channel=[it.delivery.channel for it, _ in waiting],
        until=[until for _, until in waiting],
        waiting=WAITING_DIGEST,
        lifetime=DELIVERY_LIFETIME,
        pending=DeliveryState.PENDING,
    )


async def last(
    tx: Connection, customers: Collection[CustomerKey]
) -> dict[tuple[CustomerKey, Channel], datetime]:
    """When the last of what waits for customers is tried next, by channel."""
    rows = await _LAST.all_for(
        tx, customers, unordered=[FAILURE_UNREADABLE, WAITING_QUIET_HOURS, WAITING_DIGEST]
    )
    return {
        (CustomerKey(row.merchant, row.customer), row.channel): row.next_attempt_time
        for row in rows
    }


def _outgoing(tx: Connection, row: _DueRow) -> Outgoing:
    try:
        texts, address = texts_of(tx, row.key, row), decrypt(tx, row.address or b"", *_aad(row))
        name_aad = contacts.aad(row.key.customer_key, "display_name")
        name = decrypt(tx, row.display_name or b"", *name_aad)
        delivery = delivery_of(row, texts)
        notice, readable = notice_of(tx, row, (delivery,)), True
        if row.own_address is None and is_muted(row.kind, row.channel, row):
            address = ""
    except UnreadableError:
        # One that does not open must not hold up the others.
        address, name = "", ""
        delivery = delivery_of(row, Texts("", "", None))
        notice, readable = notice_of(tx, row, (delivery,), readable=False), False
    addressee = Addressee(
        name,
        row.contact_locale or "",
        row.merchant_display_name or "",
        row.complaint_address or "",
    )
    return Outgoing(
        notice,
        delivery,
        address,
        row.address_version or 0,
        addressee,
        readable,
        daily_message_max=row.daily_message_max,
        time_zone=row.time_zone,
    )


def _aad(row: _DueRow) -> tuple[str, ...]:
    """What an address is bound to: to the table that it comes from."""
    if row.own_address is not None:
        return deliveries.aad(row.key, row.channel, "own_address")
    if row.channel is Channel.EMAIL:
        return contacts.aad(row.key.customer_key, "email")
    if row.kind is NoticeKind.PHONE_CODE:
        return codes.aad(row.key)
    return contacts.aad(row.key.customer_key, "phone")
