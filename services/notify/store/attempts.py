"""Attempts at deliveries: which are due, where they go, and what they came to."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from services.notify.domain.attachments import Attachment, AttachmentProblem
from services.notify.domain.fallbacks import next_channel
from services.notify.domain.notices import (
    DELIVERY_LIFETIME,
    FAILURE_GATEWAY_AWAY,
    FAILURE_UNREADABLE,
    WAITING_DIGEST,
    WAITING_QUIET_HOURS,
    Addressee,
    Channel,
    CustomerId,
    CustomerKey,
    Delivery,
    DeliveryKey,
    MerchantId,
    Notice,
    NoticeId,
    NoticeKey,
    NoticeKind,
    Progress,
    is_muted,
)
from services.notify.domain.planning import Circumstances, stand_in_send
from services.notify.domain.quiet_hours import deadline
from services.notify.domain.routes import Route
from services.notify.domain.transitions import DELIVERY, DeliveryEvent, DeliveryState
from services.notify.store import codes, contacts, deliveries, fallbacks
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

# A receipt comes for what a gateway has, for what is being sent, and for what was voided meanwhile.
_SAVE_RECEIPTS = Command("""
    UPDATE deliveries SET state = done.state, attempt_count = done.attempt_count,
        next_attempt_time = done.next_attempt_time, deliver_time = done.deliver_time,
        accept_time = done.accept_time, gateway_message = done.gateway_message,
        failure_code = done.failure_code,
        given_up = done.state = ANY(CAST(:given_up_states AS text[])) AND NOT done.is_permanent,
        secret_text = NULL
    FROM unnest(
        CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:notice AS text[]),
        CAST(:channel AS text[]), CAST(:state AS text[]), CAST(:attempt_count AS integer[]),
        CAST(:next_attempt_time AS timestamptz[]), CAST(:deliver_time AS timestamptz[]),
        CAST(:accept_time AS timestamptz[]), CAST(:gateway_message AS text[]),
        CAST(:failure_code AS text[]), CAST(:is_permanent AS boolean[]))
      AS done (merchant, customer, notice, channel, state, attempt_count, next_attempt_time,
               deliver_time, accept_time, gateway_message, failure_code, is_permanent)
    WHERE deliveries.customer = done.customer AND deliveries.merchant = done.merchant
      AND deliveries.notice = done.notice AND deliveries.channel = done.channel
""")

# What was voided while it was sent stays so, and may arrive.
_SAVE = Command("""
    UPDATE deliveries SET
        state = CASE WHEN deliveries.state = :pending OR done.state = :delivered
                     THEN done.state ELSE deliveries.state END,
        attempt_count = done.attempt_count, next_attempt_time = done.next_attempt_time,
        deliver_time = done.deliver_time, accept_time = done.accept_time,
        gateway = done.gateway, gateway_message = done.gateway_message,
        region_code = done.region_code, segment_count = done.segment_count,
        cost_micros = done.cost_micros, cost_currency = done.cost_currency,
        failure_code = CASE WHEN deliveries.state = :pending OR done.state = :delivered
                            THEN done.failure_code ELSE deliveries.failure_code END,
        given_up = deliveries.state = :pending AND done.state = :failed AND NOT done.is_permanent,
        secret_text = CASE WHEN done.state = :pending THEN deliveries.secret_text END
    FROM unnest(
        CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:notice AS text[]),
        CAST(:channel AS text[]), CAST(:state AS text[]), CAST(:attempt_count AS integer[]),
        CAST(:next_attempt_time AS timestamptz[]), CAST(:deliver_time AS timestamptz[]),
        CAST(:accept_time AS timestamptz[]), CAST(:gateway AS text[]),
        CAST(:gateway_message AS text[]), CAST(:failure_code AS text[]),
        CAST(:region_code AS text[]), CAST(:segment_count AS integer[]),
        CAST(:cost_micros AS bigint[]), CAST(:cost_currency AS text[]),
        CAST(:is_permanent AS boolean[]))
      AS done (merchant, customer, notice, channel, state, attempt_count, next_attempt_time,
               deliver_time, accept_time, gateway, gateway_message, failure_code, region_code,
               segment_count, cost_micros, cost_currency, is_permanent)
    WHERE deliveries.customer = done.customer AND deliveries.merchant = done.merchant
      AND deliveries.notice = done.notice AND deliveries.channel = done.channel
      -- Another transaction, or a receipt, may have ended it meanwhile.
      AND (deliveries.state = :pending
           OR (done.state = :delivered AND deliveries.state = ANY(CAST(:deliverable AS text[])))
           OR (done.state = :accepted AND deliveries.state = :voided))
""")

_LOCK = Command("""
    SELECT FROM notices
    JOIN unnest(
        CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:notice AS text[]))
      AS named (merchant, customer, notice) USING (merchant, customer, notice)
    ORDER BY customer, merchant, notice FOR UPDATE OF notices
""")


class _EndedRow(NamedTuple):
    """How a notice ended."""

    merchant: MerchantId
    customer: CustomerId
    notice: NoticeId
    outcome: DeliveryState
    deliver_time: datetime | None
    failure_code: str


# A notice that arrived by the main channel is delivered. One that arrived by another is once the main
# channel was tried in vain, and then it was when it arrived.
_SETTLE = Query(
    """
    UPDATE notices SET outcome = ended.outcome
    FROM (
        SELECT customer, merchant, notice,
               CASE WHEN count(*) FILTER (WHERE main AND evidence_time IS NOT NULL) > 0
                        THEN :delivered
                    WHEN count(evidence_time) > 0
                        AND count(*) FILTER (
                            WHERE main AND (attempt_count > 0 OR failure_code = :gateway_away)) > 0
                        THEN :delivered
                    WHEN count(*) FILTER (WHERE state IN (:pending, :accepted)) > 0 THEN NULL
                    WHEN count(*) FILTER (WHERE state = :voided) > 0 THEN :voided
                    ELSE :failed END AS outcome,
               min(evidence_time) AS deliver_time,
               coalesce(max(failure_code) FILTER (WHERE main), '') AS failure_code
        FROM deliveries
        JOIN unnest(
            CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:notice AS text[]))
          AS named (merchant, customer, notice) USING (merchant, customer, notice)
        GROUP BY customer, merchant, notice) AS ended
    WHERE notices.customer = ended.customer AND notices.merchant = ended.merchant
      AND notices.notice = ended.notice AND notices.outcome IS NULL AND ended.outcome IS NOT NULL
    RETURNING notices.merchant, notices.customer, notices.notice, notices.outcome,
              ended.deliver_time, ended.failure_code
""",
    _EndedRow,
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


class Ended(NamedTuple):
    """How a notice ended."""

    notice: Notice
    outcome: DeliveryState
    # The first time that it arrived by any channel.
    deliver_time: datetime | None
    # Why the main channel failed.
    failure_code: str


async def finish(
    tx: Connection, results: Sequence[tuple[Outgoing, Progress]], now: datetime
) -> list[Ended]:
    """Store what attempts came to; returns the notices that ended by it.

    What has failed or is too late for its deadline goes through the next channel.
    """
    notices = {outgoing.notice.key: outgoing.notice for outgoing, _ in results}
    # Two processes that finish two channels of one notice each see what the other came to.
    await _LOCK.run_for(tx, notices)
    sent = [outgoing.notice for outgoing, _ in results]
    await _SAVE.run_for(
        tx,
        [progress for _, progress in results],
        merchant=[notice.merchant for notice in sent],
        customer=[notice.customer for notice in sent],
        notice=[notice.notice for notice in sent],
        channel=[outgoing.delivery.channel for outgoing, _ in results],
        region_code=[progress.usage.region_code for _, progress in results],
        segment_count=[progress.usage.segment_count for _, progress in results],
        cost_micros=[progress.usage.cost_micros for _, progress in results],
        cost_currency=[progress.usage.cost_currency for _, progress in results],
        pending=DeliveryState.PENDING,
        accepted=DeliveryState.ACCEPTED,
        delivered=DeliveryState.DELIVERED,
        voided=DeliveryState.VOIDED,
        failed=DeliveryState.FAILED,
        deliverable=sorted(DELIVERY.sources(DeliveryEvent.DELIVER) - {DeliveryState.ACCEPTED}),
    )
    await fall_back(tx, [(it.notice, it.delivery, progress) for it, progress in results], now)
    return await settle(tx, notices)


async def fall_back(
    tx: Connection, changed: Sequence[tuple[Notice, Delivery, Progress]], now: datetime
) -> None:
    """Make the deliveries of the next channels that are needed now, of locked notices."""
    needed = [
        (notice, deadline(notice.promise, delivery.expire_time), channel)
        for notice, delivery, progress in changed
        if (channel := next_channel(notice, delivery, progress, now)) is not None
    ]
    reached = await contacts.as_reached(tx, [notice.customer_key for notice, _, _ in needed])
    wanted = {}
    for notice, until, channel in needed:
        given = Circumstances(reached.get(notice.customer_key), {}, until, now)
        if (send := stand_in_send(notice.kind, channel, given)) is not None:
            wanted[DeliveryKey(*notice.key, channel)] = send
    await fallbacks.insert(tx, wanted, now)


async def lock(tx: Connection, notices: Collection[NoticeKey]) -> None:
    """Keep others from ending these notices until the transaction ends."""
    await _LOCK.run_for(tx, notices)


async def save_receipts(
    tx: Connection,
    progresses: Sequence[Progress],
    notices: Sequence[NoticeKey],
    channels: Sequence[Channel],
) -> None:
    """Store what receipts have made of deliveries of locked notices."""
    await _SAVE_RECEIPTS.run_for(
        tx,
        progresses,
        merchant=[notice.merchant for notice in notices],
        customer=[notice.customer for notice in notices],
        notice=[notice.notice for notice in notices],
        channel=channels,
        given_up_states=[DeliveryState.FAILED, DeliveryState.EXPIRED],
    )


async def settle(tx: Connection, notices: Mapping[NoticeKey, Notice]) -> list[Ended]:
    """End those of the notices that are decided now."""
    rows = await _SETTLE.all_for(
        tx,
        notices,
        pending=DeliveryState.PENDING,
        accepted=DeliveryState.ACCEPTED,
        delivered=DeliveryState.DELIVERED,
        voided=DeliveryState.VOIDED,
        failed=DeliveryState.FAILED,
        gateway_away=FAILURE_GATEWAY_AWAY,
    )
    return [
        Ended(
            notices[NoticeKey(row.merchant, row.customer, row.notice)],
            row.outcome,
            row.deliver_time,
            row.failure_code,
        )
        for row in rows
    ]


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
