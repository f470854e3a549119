"""Deliveries: what notices say on each channel."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from services.notify.domain.notices import (
    Channel,
    CustomerId,
    CustomerKey,
    Delivery,
    Evidence,
    MerchantId,
    Notice,
    NoticeId,
    NoticeKey,
)
from services.notify.domain.transitions import DeliveryState
from services.runtime.crypto.encryption import decrypt, encrypt
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query


@dataclass
class DeliveryRow:
    """A delivery; its texts are encrypted."""

    merchant: MerchantId
    customer: CustomerId
    notice: NoticeId
    channel: Channel
    main: bool
    state: DeliveryState
    subject: bytes
    text: bytes
    secret_text: bytes | None
    next_attempt_time: datetime
    give_up_time: datetime
    attempt_count: int
    deliver_time: datetime | None
    failure_code: str
    expire_time: datetime | None
    locale: str
    template: str
    evidence: Evidence
    accept_time: datetime | None
    gateway: str
    gateway_message: str
    digest_notice: str


_INSERT = Command("""
    INSERT INTO deliveries (merchant, customer, notice, channel, main, has_attachment, evidence, state,
                            secret_text, next_attempt_time, give_up_time, failure_code, expire_time,
                            own_address)
    SELECT * FROM unnest(
        CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:notice AS text[]),
        CAST(:channel AS text[]), CAST(:main AS boolean[]), CAST(:has_attachment AS boolean[]),
        CAST(:evidence AS text[]), CAST(:state AS text[]), CAST(:secret_text AS bytea[]),
        CAST(:next_attempt_time AS timestamptz[]), CAST(:give_up_time AS timestamptz[]),
        CAST(:failure_code AS text[]), CAST(:expire_time AS timestamptz[]),
        CAST(:own_address AS bytea[]))
""")

# The secret text stays where it is: nobody but the delivery worker reads it.
_OF_NOTICES = Query(
    """
    SELECT merchant, customer, notice, channel, main, state, subject, text, NULL AS secret_text,
           next_attempt_time, give_up_time, attempt_count, deliver_time, failure_code, expire_time,
           locale, template, evidence, accept_time, gateway, gateway_message, digest_notice
    FROM deliveries
    JOIN unnest(CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:notice AS text[]))
      AS wanted (merchant, customer, notice) USING (merchant, customer, notice)
    ORDER BY main DESC
""",
    DeliveryRow,
)

_ATTEMPTED = Query(
    """
    SELECT DISTINCT merchant, customer, notice FROM deliveries
    JOIN unnest(CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:notice AS text[]))
      AS wanted (merchant, customer, notice) USING (merchant, customer, notice)
    WHERE attempt_count > 0
""",
    NoticeKey,
)

# Of copies, what they repeat.
_STORE_WORDS = Command("""
    UPDATE deliveries SET locale = copy.locale, template = copy.template, subject = copy.subject,
        text = copy.text
    FROM unnest(
        CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:notice AS text[]),
        CAST(:channel AS text[]), CAST(:locale AS text[]), CAST(:template AS text[]),
        CAST(:subject AS bytea[]), CAST(:text AS bytea[]))
      AS copy (merchant, customer, notice, channel, locale, template, subject, text)
    WHERE deliveries.customer = copy.customer AND deliveries.merchant = copy.merchant
      AND deliveries.notice = copy.notice AND deliveries.channel = copy.channel
""")

# Whether a notice was delivered stays known; what it said does not.
_ERASE_TEXTS = Command("""
    UPDATE deliveries SET subject = '', text = '', locale = '', template = '', secret_text = NULL,
        own_address = NULL
    WHERE customer = :customer AND merchant = :merchant
      AND (subject <> '' OR text <> '' OR secret_text IS NOT NULL OR own_address IS NOT NULL)
""")


async def insert(tx: Connection, notices: Sequence[Notice]) -> None:
    """Store the deliveries of notices that are new."""
    pairs = [(notice, delivery) for notice in notices for delivery in notice.deliveries]

    def encrypted(column: str, values: Sequence[str | None]) -> list[bytes | None]:
        return [
            None
            if value is None
            else encrypt(tx, value, *aad(notice.key, delivery.channel, column))
            for (notice, delivery), value in zip(pairs, values, strict=True)
        ]

    deliveries = [delivery for _, delivery in pairs]
    await _INSERT.run_for(
        tx,
        deliveries,
        merchant=[notice.merchant for notice, _ in pairs],
        customer=[notice.customer for notice, _ in pairs],
        notice=[notice.notice for notice, _ in pairs],
        secret_text=encrypted("secret_text", [delivery.secret_text for delivery in deliveries]),
        own_address=encrypted("own_address", [delivery.address or None for delivery in deliveries]),
    )


async def store_words(tx: Connection, notices: Sequence[Notice]) -> None:
    """Store the words of deliveries that have them before their first attempt."""
    pairs = [(it, delivery) for it in notices for delivery in it.deliveries if delivery.text]

    def encrypted(column: str) -> list[bytes]:
        return [
            encrypt(tx, getattr(delivery, column), *aad(notice.key, delivery.channel, column))
            for notice, delivery in pairs
        ]

    await _STORE_WORDS.run_for(
        tx,
        [delivery for _, delivery in pairs],
        merchant=[notice.merchant for notice, _ in pairs],
        customer=[notice.customer for notice, _ in pairs],
        notice=[notice.notice for notice, _ in pairs],
        subject=encrypted("subject"),
        text=encrypted("text"),
    )


async def of_notices(
    tx: Connection, notices: Sequence[NoticeKey]
) -> dict[NoticeKey, list[Delivery]]:
    """The deliveries of notices, the main one first."""
    deliveries: dict[NoticeKey, list[Delivery]] = defaultdict(list)
    for row in await _OF_NOTICES.all_for(tx, notices):
        key = NoticeKey(row.merchant, row.customer, row.notice)
        deliveries[key].append(delivery_of(row, texts_of(tx, key, row)))
    return deliveries


async def attempted(tx: Connection, notices: Sequence[NoticeKey]) -> set[NoticeKey]:
    """Those of the notices that it was tried to deliver, by any channel."""
    return set(await _ATTEMPTED.all_for(tx, notices))


async def erase_texts(tx: Connection, customer: CustomerKey) -> None:
    """Erase what a customer's notices say."""
    await _ERASE_TEXTS.run(tx, **customer._asdict())


class Texts(NamedTuple):
    """What a delivery says."""

    subject: str
    text: str
    secret_text: str | None


def texts_of(tx: Connection, key: NoticeKey, row: DeliveryRow) -> Texts:
    """A row's texts, decrypted. Raises UnreadableError."""

    def decrypted(column: str, encrypted: bytes) -> str:
        return decrypt(tx, encrypted, *aad(key, row.channel, column))

    return Texts(
        decrypted("subject", row.subject),
        decrypted("text", row.text),
        None if row.secret_text is None else decrypted("secret_text", row.secret_text),
    )


def delivery_of(row: DeliveryRow, texts: Texts) -> Delivery:
    """The delivery of a row."""
    return Delivery(
        channel=row.channel,
        main=row.main,
        state=row.state,
        subject=texts.subject,
        text=texts.text,
        secret_text=texts.secret_text,
        next_attempt_time=row.next_attempt_time,
        give_up_time=row.give_up_time,
        attempt_count=row.attempt_count,
        deliver_time=row.deliver_time,
        failure_code=row.failure_code,
        expire_time=row.expire_time,
        locale=row.locale,
        template=row.template,
        evidence=row.evidence,
        accept_time=row.accept_time,
        gateway=row.gateway,
        gateway_message=row.gateway_message,
        digest_notice=row.digest_notice,
    )


def aad(key: NoticeKey, channel: str, column: str) -> tuple[str, ...]:
    """What an encrypted column of a delivery is bound to."""
    return "deliveries", column, *key, channel
