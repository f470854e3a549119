"""Phones of contacts: bound, changed, and not proved any more."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

from services.notify.domain.notices import (
    SMS_RETRY_PAUSE,
    SMS_RETRY_PAUSE_MAX,
    Contact,
    CustomerId,
    CustomerKey,
    MerchantId,
    UnbindReason,
)
from services.notify.domain.phone_changes import PHONE_PROOF_DAYS, PROOF_RENEWAL
from services.notify.store.contacts import REPLY_INDEX_AAD, ContactRow, aad, from_row, index_aad
from services.runtime.crypto.encryption import encrypt
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query


class WhichPhone(NamedTuple):
    """One of the phones that a customer has bound so far."""

    merchant: MerchantId
    customer: CustomerId
    bind_count: int


class _PhoneRow(NamedTuple):
    """A customer who has a phone, and why it is not proved any more; empty: it is."""

    merchant: MerchantId
    customer: CustomerId
    phone_lapse_reason: str


_BIND = Query(
    """
    UPDATE contacts SET phone = bound.phone, phone_index = bound.phone_index,
        reply_index = bound.reply_index, sms_stop_time = NULL, bind_time = :now,
        bind_count = bind_count + 1, sms_failure_count = 0, sms_retry_time = NULL,
        pending_phone = '', pending_bind_time = NULL, phone_hold_until_time = NULL,
        phone_lapse_time = NULL, phone_lapse_reason = '',
        phone_proof_end_time = CAST(:now AS timestamptz) + interval '1 day' * coalesce(
            (SELECT phone_proof_days FROM notify_settings
             WHERE notify_settings.merchant = contacts.merchant), :proof_days),
        version = contacts.version + 1
    FROM unnest(
        CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:phone AS bytea[]),
        CAST(:phone_index AS bytea[]), CAST(:reply_index AS bytea[]), CAST(:version AS integer[]))
      AS bound (merchant, customer, phone, phone_index, reply_index, version)
    WHERE contacts.customer = bound.customer AND contacts.merchant = bound.merchant
      AND contacts.version = bound.version
    RETURNING contacts.merchant, contacts.customer, display_name, email, contacts.phone,
              pending_phone, pending_bind_time, phone_hold_until_time, phone_lapse_time,
              phone_lapse_reason, bind_time, bind_count, sms_receipts_muted, email_muted,
              create_time, contacts.version, sms_retry_time, locale, time_zone,
              email_bind_time, sms_stop_time, summaries_muted
""",
    ContactRow,
)

_ANNOUNCE_PHONE = Query(
    """
    UPDATE contacts SET pending_phone = :pending_phone, pending_bind_time = :pending_bind_time,
        version = version + 1
    WHERE customer = :customer AND merchant = :merchant
    RETURNING merchant, customer, display_name, email, phone, pending_phone, pending_bind_time,
              phone_hold_until_time, phone_lapse_time, phone_lapse_reason, bind_time, bind_count,
              sms_receipts_muted, email_muted, create_time, version, sms_retry_time, locale,
              time_zone, email_bind_time, sms_stop_time, summaries_muted
""",
    ContactRow,
)

_CANCEL_CHANGE = Query(
    """
    UPDATE contacts SET pending_phone = '', pending_bind_time = NULL, version = version + 1
    WHERE customer = :customer AND merchant = :merchant
    RETURNING merchant, customer, display_name, email, phone, pending_phone, pending_bind_time,
              phone_hold_until_time, phone_lapse_time, phone_lapse_reason, bind_time, bind_count,
              sms_receipts_muted, email_muted, create_time, version, sms_retry_time, locale,
              time_zone, email_bind_time, sms_stop_time, summaries_muted
""",
    ContactRow,
)

_UNBIND = Query(
    """
    UPDATE contacts SET phone = '', phone_index = '', reply_index = '', sms_stop_time = NULL,
        bind_time = NULL, pending_phone = '',
        pending_bind_time = NULL, phone_hold_until_time = :hold_until, phone_lapse_time = NULL,
        phone_lapse_reason = '', phone_proof_end_time = NULL, sms_failure_count = 0,
        sms_retry_time = NULL, version = version + 1
    WHERE customer = :customer AND merchant = :merchant
    RETURNING merchant, customer, display_name, email, phone, pending_phone, pending_bind_time,
              phone_hold_until_time, phone_lapse_time, phone_lapse_reason, bind_time, bind_count,
              sms_receipts_muted, email_muted, create_time, version, sms_retry_time, locale,
              time_zone, email_bind_time, sms_stop_time, summaries_muted
""",
    ContactRow,
)

# A phone that has been replaced since stays as it is. Nobody is left to object to a change that waits.
_LAPSE = Query(
    """
    UPDATE contacts SET phone_lapse_time = :now, phone_lapse_reason = :reason,
        phone_proof_end_time = NULL,
        pending_bind_time = CASE WHEN pending_bind_time IS NOT NULL
                                 THEN least(pending_bind_time, CAST(:now AS timestamptz)) END,
        version = version + 1
    FROM unnest(
        CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:bind_count AS integer[]))
      AS lapsed (merchant, customer, bind_count)
    WHERE contacts.customer = lapsed.customer AND contacts.merchant = lapsed.merchant
      AND contacts.bind_count = lapsed.bind_count AND phone <> '' AND phone_lapse_time IS NULL
      AND (NOT :silent OR phone_proof_end_time <= :now)
    RETURNING contacts.merchant, contacts.customer, display_name, email, phone,
              pending_phone, pending_bind_time, phone_hold_until_time, phone_lapse_time,
              phone_lapse_reason, bind_time, contacts.bind_count, sms_receipts_muted, email_muted,
              create_time, version, sms_retry_time, locale, time_zone,
              email_bind_time, sms_stop_time, summaries_muted
""",
    ContactRow,
)

_DUE_SILENCE = Query(
    """
    SELECT due.merchant, due.customer, due.bind_count
    FROM unnest(CAST(:buckets AS smallint[])) AS leased (bucket)
    CROSS JOIN LATERAL (
        SELECT merchant, customer, bind_count FROM contacts
        WHERE bucket = leased.bucket AND phone_proof_end_time <= :now
        ORDER BY phone_proof_end_time LIMIT :limit) AS due
    LIMIT :limit
""",
    WhichPhone,
)

# Those whose change has waited long enough, the one that has for longest first.
_DUE_CHANGES = Query(
    """
    SELECT merchant, customer, display_name, email, phone, pending_phone, pending_bind_time,
           phone_hold_until_time, phone_lapse_time, phone_lapse_reason, bind_time, bind_count,
           sms_receipts_muted, email_muted, create_time, version, sms_retry_time, locale,
           time_zone, email_bind_time, sms_stop_time, summaries_muted
    FROM (
        SELECT due.customer, due.merchant
        FROM unnest(CAST(:buckets AS smallint[])) AS leased (bucket)
        CROSS JOIN LATERAL (
            SELECT customer, merchant FROM contacts
            WHERE bucket = leased.bucket AND pending_bind_time <= :now
            ORDER BY pending_bind_time LIMIT :limit) AS due
        LIMIT :limit) AS due
    JOIN contacts USING (customer, merchant)
    ORDER BY customer, merchant
""",
    ContactRow,
)

_OF_PHONE = Query(
    """
    SELECT merchant, customer, display_name, email, phone, pending_phone, pending_bind_time,
           phone_hold_until_time, phone_lapse_time, phone_lapse_reason, bind_time, bind_count,
           sms_receipts_muted, email_muted, create_time, version, sms_retry_time, locale,
           time_zone, email_bind_time, sms_stop_time, summaries_muted
    FROM contacts
    WHERE merchant = :merchant AND phone_index = ANY(CAST(:phone_indexes AS bytea[]))
      AND phone_index <> '' AND phone_lapse_time IS NULL AND customer > :after
    ORDER BY customer LIMIT :limit
""",
    ContactRow,
)

# The pause doubles with each message in a row that the phone did not take.
_COUNT_SMS = Command("""
    UPDATE contacts SET
        sms_failure_count = CASE WHEN taken THEN 0 ELSE sms_failure_count + 1 END,
        sms_retry_time = CASE WHEN NOT taken THEN
            CAST(:now AS timestamptz)
            + least(CAST(:pause AS interval) * 2 ^ least(sms_failure_count, 8),
                    CAST(:pause_max AS interval)) END,
        phone_proof_end_time = CASE WHEN taken AND phone_lapse_time IS NULL
                                    THEN proof.end_time ELSE phone_proof_end_time END
    FROM unnest(
        CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:bind_count AS integer[]),
        CAST(:taken AS boolean[]))
      AS ended (merchant, customer, bind_count, taken)
    CROSS JOIN LATERAL (
        SELECT CAST(:now AS timestamptz) + interval '1 day' * coalesce(
            (SELECT phone_proof_days FROM notify_settings
             WHERE notify_settings.merchant = ended.merchant), :proof_days) AS end_time
        OFFSET 0) AS proof
    WHERE contacts.customer = ended.customer AND contacts.merchant = ended.merchant
      AND contacts.bind_count = ended.bind_count AND phone <> ''
      AND (NOT taken OR contacts.sms_failure_count > 0
           OR phone_proof_end_time < proof.end_time - CAST(:renewal AS interval))
""")

_WITH_PHONE = Query(
    """
    SELECT merchant, customer, phone_lapse_reason
    FROM unnest(CAST(:merchant AS text[]), CAST(:customer AS text[])) AS named (merchant, customer)
    JOIN contacts USING (merchant, customer)
    WHERE contacts.phone <> ''
""",
    _PhoneRow,
)


class BoundPhone(NamedTuple):
    """A phone that takes the place of the one that a contact has."""

    contact: Contact
    phone: str


async def bind(tx: Connection, bound: Sequence[BoundPhone], now: datetime) -> list[Contact]:
    """Make phones the bound ones of contacts that have not changed since they were read.

    Returns these. What waited to be bound is forgotten.
    """
    rows = await _BIND.all(
        tx,
        merchant=[contact.key.merchant for contact, _ in bound],
        customer=[contact.key.customer for contact, _ in bound],
        phone=[encrypt(tx, phone, *aad(contact.key, "phone")) for contact, phone in bound],
        phone_index=[
            tx.keyring.keyed_hash(phone, *index_aad(contact.key.merchant))
            for contact, phone in bound
        ],
        reply_index=[tx.keyring.keyed_hash(phone, *REPLY_INDEX_AAD) for _, phone in bound],
        version=[contact.version for contact, _ in bound],
        proof_days=PHONE_PROOF_DAYS,
        now=now,
    )
    return [from_row(tx, row) for row in rows]


async def announce_phone(
    tx: Connection, key: CustomerKey, phone: str, bind_time: datetime
) -> Contact:
    """Store a phone that becomes an existing contact's bound one at a time."""
    encrypted = encrypt(tx, phone, *aad(key, "pending_phone"))
    values = {"pending_phone": encrypted, "pending_bind_time": bind_time}
    return from_row(tx, await _ANNOUNCE_PHONE.one(tx, **key._asdict(), **values))


async def cancel_change(tx: Connection, key: CustomerKey) -> Contact:
    """Forget the phone that would have become an existing contact's bound one."""
    return from_row(tx, await _CANCEL_CHANGE.one(tx, **key._asdict()))


async def unbind(tx: Connection, key: CustomerKey, hold_until: datetime) -> Contact:
    """Take the phone from an existing contact; another one has to wait until a time."""
    return from_row(tx, await _UNBIND.one(tx, **key._asdict(), hold_until=hold_until))


async def due_changes(
    tx: Connection, buckets: Sequence[int], now: datetime, limit: int
) -> list[Contact]:
    """A batch of contacts whose change of phone has waited long enough."""
    rows = await _DUE_CHANGES.all(tx, buckets=buckets, now=now, limit=limit)
    return [from_row(tx, row) for row in rows]


async def of_phone(
    tx: Connection, merchant: MerchantId, phone: str, after: str, limit: int
) -> list[Contact]:
    """A merchant's contacts whose bound phone it is, by customer, after a customer.

    A family can share a phone, so there may be several.
    """
    rows = await _OF_PHONE.all(
        tx,
        merchant=merchant,
        phone_indexes=tx.keyring.keyed_hashes(phone, *index_aad(merchant)),
        after=after,
        limit=limit,
    )
    return [from_row(tx, row) for row in rows]


async def lapse(
    tx: Connection, phones: Collection[WhichPhone], reason: UnbindReason, now: datetime
) -> list[Contact]:
    """Take phones for proved no more, unless that is known or they were replaced; returns whose."""
    rows = await _LAPSE.all_for(
        tx,
        sorted(set(phones)),
        reason=reason,
        silent=reason is UnbindReason.PHONE_SILENT,
        now=now,
    )
    return [from_row(tx, row) for row in rows]


async def due_silence(
    tx: Connection, buckets: Sequence[int], now: datetime, limit: int
) -> list[WhichPhone]:
    """A batch of phones at which no message has arrived for too long."""
    return await _DUE_SILENCE.all(tx, buckets=buckets, now=now, limit=limit)


class SmsEnded(NamedTuple):
    """Whether a bound phone took a message."""

    merchant: MerchantId
    customer: CustomerId
    # Which of the customer's phones it was.
    bind_count: int
    taken: bool


async def count_sms(tx: Connection, ended: Collection[SmsEnded], now: datetime) -> None:
    """Leave phones alone that did not take a message, longer each time; others begin from zero."""
    # The last message to each customer counts. Rows are locked in the order of their key.
    last = sorted({sms[:2]: sms for sms in ended}.values())
    await _COUNT_SMS.run_for(
        tx,
        last,
        pause=SMS_RETRY_PAUSE,
        pause_max=SMS_RETRY_PAUSE_MAX,
        proof_days=PHONE_PROOF_DAYS,
        renewal=PROOF_RENEWAL,
        now=now,
    )


async def lapse_reasons(tx: Connection, customers: Sequence[CustomerKey]) -> list[str | None]:
    """Why customers' phones are not proved any more; empty: they are; None: there is none."""
    rows = await _WITH_PHONE.all_for(tx, customers)
    reasons = {CustomerKey(row.merchant, row.customer): row.phone_lapse_reason for row in rows}
    return [reasons.get(key) for key in customers]
