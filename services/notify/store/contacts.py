"""Contacts."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

from services.notify.domain.notices import (
    SMS_RETRY_PAUSE,
    SMS_RETRY_PAUSE_MAX,
    Addressee,
    Contact,
    CustomerId,
    CustomerKey,
    MerchantId,
    UnbindReason,
)
from services.notify.domain.phone_changes import PHONE_PROOF_DAYS, PROOF_RENEWAL
from services.runtime.crypto.encryption import decrypt, encrypt
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query

ENCRYPTED_COLUMNS = ("display_name", "email", "phone", "pending_phone")


class _ContactRow(NamedTuple):
    """A contact; the name and the addresses are encrypted."""

    merchant: MerchantId
    customer: CustomerId
    display_name: bytes
    email: bytes
    phone: bytes
    pending_phone: bytes
    pending_bind_time: datetime | None
    phone_hold_until_time: datetime | None
    phone_lapse_time: datetime | None
    phone_lapse_reason: str
    bind_time: datetime | None
    bind_count: int
    sms_receipts_muted: bool
    email_muted: bool
    create_time: datetime
    version: int
    sms_retry_time: datetime | None
    locale: str
    time_zone: str
    email_bind_time: datetime | None
    sms_stop_time: datetime | None


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


class _AddresseeRow(NamedTuple):
    """How a customer is addressed; the name is encrypted."""

    merchant: MerchantId
    customer: CustomerId
    display_name: bytes | None
    locale: str | None
    merchant_display_name: str | None
    complaint_address: str | None


_INSERT = Query(
    """
    INSERT INTO contacts (merchant, customer, display_name, email, sms_receipts_muted, email_muted,
                          locale, time_zone, create_time)
    VALUES (:merchant, :customer, :display_name, :email, :sms_receipts_muted, :email_muted,
            :locale, :time_zone, :create_time)
    ON CONFLICT (customer, merchant) DO NOTHING
    RETURNING merchant, customer, display_name, email, phone, pending_phone, pending_bind_time,
              phone_hold_until_time, phone_lapse_time, phone_lapse_reason, bind_time, bind_count,
              sms_receipts_muted, email_muted, create_time, version, sms_retry_time, locale,
              time_zone, email_bind_time, sms_stop_time
""",
    _ContactRow,
)

_UPDATE = Query(
    """
    UPDATE contacts SET display_name = :display_name, email = :email,
        sms_receipts_muted = :sms_receipts_muted, email_muted = :email_muted, locale = :locale,
        time_zone = :time_zone, version = version + 1,
        email_bind_time = CASE WHEN NOT :email_changed THEN email_bind_time END
    WHERE customer = :customer AND merchant = :merchant
    RETURNING merchant, customer, display_name, email, phone, pending_phone, pending_bind_time,
              phone_hold_until_time, phone_lapse_time, phone_lapse_reason, bind_time, bind_count,
              sms_receipts_muted, email_muted, create_time, version, sms_retry_time, locale,
              time_zone, email_bind_time, sms_stop_time
""",
    _ContactRow,
)

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
              email_bind_time, sms_stop_time
""",
    _ContactRow,
)

_ANNOUNCE_PHONE = Query(
    """
    UPDATE contacts SET pending_phone = :pending_phone, pending_bind_time = :pending_bind_time,
        version = version + 1
    WHERE customer = :customer AND merchant = :merchant
    RETURNING merchant, customer, display_name, email, phone, pending_phone, pending_bind_time,
              phone_hold_until_time, phone_lapse_time, phone_lapse_reason, bind_time, bind_count,
              sms_receipts_muted, email_muted, create_time, version, sms_retry_time, locale,
              time_zone, email_bind_time, sms_stop_time
""",
    _ContactRow,
)

_BIND_EMAIL = Query(
    """
    UPDATE contacts SET email_bind_time = :now, version = version + 1
    WHERE customer = :customer AND merchant = :merchant
    RETURNING merchant, customer, display_name, email, phone, pending_phone, pending_bind_time,
              phone_hold_until_time, phone_lapse_time, phone_lapse_reason, bind_time, bind_count,
              sms_receipts_muted, email_muted, create_time, version, sms_retry_time, locale,
              time_zone, email_bind_time, sms_stop_time
""",
    _ContactRow,
)

_CANCEL_CHANGE = Query(
    """
    UPDATE contacts SET pending_phone = '', pending_bind_time = NULL, version = version + 1
    WHERE customer = :customer AND merchant = :merchant
    RETURNING merchant, customer, display_name, email, phone, pending_phone, pending_bind_time,
              phone_hold_until_time, phone_lapse_time, phone_lapse_reason, bind_time, bind_count,
              sms_receipts_muted, email_muted, create_time, version, sms_retry_time, locale,
              time_zone, email_bind_time, sms_stop_time
""",
    _ContactRow,
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
              time_zone, email_bind_time, sms_stop_time
""",
    _ContactRow,
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
              email_bind_time, sms_stop_time
""",
    _ContactRow,
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
           time_zone, email_bind_time, sms_stop_time
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
    _ContactRow,
)

_OF_PHONE = Query(
    """
    SELECT merchant, customer, display_name, email, phone, pending_phone, pending_bind_time,
           phone_hold_until_time, phone_lapse_time, phone_lapse_reason, bind_time, bind_count,
           sms_receipts_muted, email_muted, create_time, version, sms_retry_time, locale,
           time_zone, email_bind_time, sms_stop_time
    FROM contacts
    WHERE merchant = :merchant AND phone_index = ANY(CAST(:phone_indexes AS bytea[]))
      AND phone_index <> '' AND phone_lapse_time IS NULL AND customer > :after
    ORDER BY customer LIMIT :limit
""",
    _ContactRow,
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

_DELETE = Command("DELETE FROM contacts WHERE customer = :customer AND merchant = :merchant")

_ONE = Query(
    """
    SELECT merchant, customer, display_name, email, phone, pending_phone, pending_bind_time,
           phone_hold_until_time, phone_lapse_time, phone_lapse_reason, bind_time, bind_count,
           sms_receipts_muted, email_muted, create_time, version, sms_retry_time, locale,
           time_zone, email_bind_time, sms_stop_time
    FROM contacts WHERE customer = :customer AND merchant = :merchant
""",
    _ContactRow,
)

_ONE_LOCKED = Query(
    """
    SELECT merchant, customer, display_name, email, phone, pending_phone, pending_bind_time,
           phone_hold_until_time, phone_lapse_time, phone_lapse_reason, bind_time, bind_count,
           sms_receipts_muted, email_muted, create_time, version, sms_retry_time, locale,
           time_zone, email_bind_time, sms_stop_time
    FROM contacts WHERE customer = :customer AND merchant = :merchant FOR UPDATE
""",
    _ContactRow,
)

_ADDRESSEES = Query(
    """
    SELECT merchant, customer, display_name, locale, merchant_display_name, complaint_address
    FROM unnest(CAST(:merchant AS text[]), CAST(:customer AS text[])) AS named (merchant, customer)
    LEFT JOIN contacts USING (merchant, customer)
    LEFT JOIN notify_settings USING (merchant)
""",
    _AddresseeRow,
)

_OF_MERCHANT = Query(
    """
    SELECT merchant, customer, display_name, email, phone, pending_phone, pending_bind_time,
           phone_hold_until_time, phone_lapse_time, phone_lapse_reason, bind_time, bind_count,
           sms_receipts_muted, email_muted, create_time, version, sms_retry_time, locale,
           time_zone, email_bind_time, sms_stop_time
    FROM contacts WHERE merchant = :merchant AND customer > :after
    ORDER BY customer LIMIT :limit
""",
    _ContactRow,
)

# Without an e-mail address that has to be proved first, and in the time zone of the merchant's settings
# where the contact names none, as `contact_by` of the domain. Locked against being erased, not against
# changes: whoever erases a customer then finds the texts that are made of their name here.
_BY_KEY = Query(
    """
    SELECT merchant, customer, display_name,
           CASE WHEN usable THEN email ELSE '' END AS email, phone, pending_phone, pending_bind_time,
           phone_hold_until_time, phone_lapse_time, phone_lapse_reason, bind_time, bind_count,
           sms_receipts_muted, email_muted, create_time, version, sms_retry_time, locale,
           zone AS time_zone, email_bind_time, sms_stop_time
    FROM contacts
    JOIN unnest(CAST(:customer AS text[]), CAST(:merchant AS text[])) AS named (customer, merchant)
      USING (customer, merchant)
    CROSS JOIN LATERAL (
        SELECT contacts.email_bind_time IS NOT NULL
                   OR NOT coalesce(bool_or(settings.proved_email_only), false) AS usable,
               coalesce(nullif(contacts.time_zone, ''), max(settings.time_zone), '') AS zone
        FROM notify_settings AS settings WHERE settings.merchant = contacts.merchant
        OFFSET 0) AS rules
    FOR KEY SHARE OF contacts
""",
    _ContactRow,
)

# As above, of contacts that may be erased meanwhile: the notices are locked before, and who erases
# takes the contact first.
_AS_REACHED = Query(
    """
    SELECT merchant, customer, display_name,
           CASE WHEN usable THEN email ELSE '' END AS email, phone, pending_phone, pending_bind_time,
           phone_hold_until_time, phone_lapse_time, phone_lapse_reason, bind_time, bind_count,
           sms_receipts_muted, email_muted, create_time, version, sms_retry_time, locale,
           zone AS time_zone, email_bind_time, sms_stop_time
    FROM contacts
    JOIN unnest(CAST(:customer AS text[]), CAST(:merchant AS text[])) AS named (customer, merchant)
      USING (customer, merchant)
    CROSS JOIN LATERAL (
        SELECT contacts.email_bind_time IS NOT NULL
                   OR NOT coalesce(bool_or(settings.proved_email_only), false) AS usable,
               coalesce(nullif(contacts.time_zone, ''), max(settings.time_zone), '') AS zone
        FROM notify_settings AS settings WHERE settings.merchant = contacts.merchant
        OFFSET 0) AS rules
""",
    _ContactRow,
)

_WITH_PHONE = Query(
    """
    SELECT merchant, customer, phone_lapse_reason
    FROM unnest(CAST(:merchant AS text[]), CAST(:customer AS text[])) AS named (merchant, customer)
    JOIN contacts USING (merchant, customer)
    WHERE contacts.phone <> ''
""",
    _PhoneRow,
)


async def insert(tx: Connection, contact: Contact) -> Contact | None:
    """Create a contact without a phone; None if the customer has one."""
    row = await _INSERT.one_or_none(tx, **_columns(tx, contact), create_time=contact.create_time)
    return None if row is None else _contact(tx, row)


async def update(tx: Connection, contact: Contact, *, email_changed: bool) -> Contact:
    """Store the name, e-mail and preferences of an existing contact; another address is not proved."""
    columns = _columns(tx, contact)
    return _contact(tx, await _UPDATE.one(tx, **columns, email_changed=email_changed))


async def bind_email(tx: Connection, key: CustomerKey, now: datetime) -> Contact:
    """Take the address of an existing contact for proved."""
    return _contact(tx, await _BIND_EMAIL.one(tx, **key._asdict(), now=now))


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
    return [_contact(tx, row) for row in rows]


async def announce_phone(
    tx: Connection, key: CustomerKey, phone: str, bind_time: datetime
) -> Contact:
    """Store a phone that becomes an existing contact's bound one at a time."""
    encrypted = encrypt(tx, phone, *aad(key, "pending_phone"))
    values = {"pending_phone": encrypted, "pending_bind_time": bind_time}
    return _contact(tx, await _ANNOUNCE_PHONE.one(tx, **key._asdict(), **values))


async def cancel_change(tx: Connection, key: CustomerKey) -> Contact:
    """Forget the phone that would have become an existing contact's bound one."""
    return _contact(tx, await _CANCEL_CHANGE.one(tx, **key._asdict()))


async def unbind(tx: Connection, key: CustomerKey, hold_until: datetime) -> Contact:
    """Take the phone from an existing contact; another one has to wait until a time."""
    return _contact(tx, await _UNBIND.one(tx, **key._asdict(), hold_until=hold_until))


async def due_changes(
    tx: Connection, buckets: Sequence[int], now: datetime, limit: int
) -> list[Contact]:
    """A batch of contacts whose change of phone has waited long enough."""
    rows = await _DUE_CHANGES.all(tx, buckets=buckets, now=now, limit=limit)
    return [_contact(tx, row) for row in rows]


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
    return [_contact(tx, row) for row in rows]


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
    return [_contact(tx, row) for row in rows]


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


async def delete(tx: Connection, key: CustomerKey) -> None:
    """Delete a contact, if there is one."""
    await _DELETE.run(tx, **key._asdict())


async def one(tx: Connection, key: CustomerKey, *, lock: bool = False) -> Contact | None:
    """A contact, locked until the transaction ends if `lock` is set."""
    row = await (_ONE_LOCKED if lock else _ONE).one_or_none(tx, **key._asdict())
    return None if row is None else _contact(tx, row)


async def addressees(
    tx: Connection, customers: Sequence[CustomerKey]
) -> dict[CustomerKey, Addressee]:
    """How customers are addressed, and by whom: without a contact, by no name."""
    addressed = {}
    for row in await _ADDRESSEES.all_for(tx, customers):
        key = CustomerKey(row.merchant, row.customer)
        addressed[key] = Addressee(
            decrypt(tx, row.display_name or b"", *aad(key, "display_name")),
            row.locale or "",
            row.merchant_display_name or "",
            row.complaint_address or "",
        )
    return addressed


async def of_merchant(
    tx: Connection, merchant: MerchantId, after: str, limit: int
) -> list[Contact]:
    """A merchant's contacts by customer, after a customer."""
    rows = await _OF_MERCHANT.all(tx, merchant=merchant, after=after, limit=limit)
    return [_contact(tx, row) for row in rows]


async def by_key(tx: Connection, customers: Collection[CustomerKey]) -> dict[CustomerKey, Contact]:
    """Those of the contacts that exist, kept from being erased until the transaction ends."""
    rows = await _BY_KEY.all_for(tx, set(customers))
    return {contact.key: contact for contact in (_contact(tx, row) for row in rows)}


async def as_reached(
    tx: Connection, customers: Collection[CustomerKey]
) -> dict[CustomerKey, Contact]:
    """Those of the contacts that exist, as notices use them, and not locked."""
    rows = await _AS_REACHED.all_for(tx, set(customers))
    return {contact.key: contact for contact in (_contact(tx, row) for row in rows)}


async def lapse_reasons(tx: Connection, customers: Sequence[CustomerKey]) -> list[str | None]:
    """Why customers' phones are not proved any more; empty: they are; None: there is none."""
    rows = await _WITH_PHONE.all_for(tx, customers)
    reasons = {CustomerKey(row.merchant, row.customer): row.phone_lapse_reason for row in rows}
    return [reasons.get(key) for key in customers]


def aad(key: CustomerKey, column: str) -> tuple[str, ...]:
    """What an encrypted column of a contact is bound to."""
    return "contacts", column, *key


def _columns(tx: Connection, contact: Contact) -> dict[str, object]:
    return {
        **contact.key._asdict(),
        "display_name": encrypt(tx, contact.display_name, *aad(contact.key, "display_name")),
        "email": encrypt(tx, contact.email, *aad(contact.key, "email")),
        "sms_receipts_muted": contact.sms_receipts_muted,
        "email_muted": contact.email_muted,
        "locale": contact.locale,
        "time_zone": contact.time_zone,
    }


def index_aad(merchant: MerchantId) -> tuple[str, ...]:
    """What the keyed hash of a phone is bound to: the same phone has another at another merchant."""
    return "contacts", "phone_index", merchant


# The phone alone: a reply names nothing else, and many merchants can know a number.
REPLY_INDEX_AAD = ("contacts", "reply_index")


def _contact(tx: Connection, row: _ContactRow) -> Contact:
    key = CustomerKey(row.merchant, row.customer)
    values = row._asdict()
    del values["merchant"], values["customer"]
    for column in ENCRYPTED_COLUMNS:
        values[column] = decrypt(tx, values[column], *aad(key, column))
    return Contact(key, **values)
