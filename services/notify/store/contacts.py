"""Contacts."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

from services.notify.domain.notices import (
    Addressee,
    Contact,
    CustomerId,
    CustomerKey,
    MerchantId,
)
from services.runtime.crypto.encryption import decrypt, encrypt
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query

ENCRYPTED_COLUMNS = ("display_name", "email", "phone", "pending_phone")


class ContactRow(NamedTuple):
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
    summaries_muted: bool


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
                          summaries_muted, locale, time_zone, create_time)
    VALUES (:merchant, :customer, :display_name, :email, :sms_receipts_muted, :email_muted,
            :summaries_muted, :locale, :time_zone, :create_time)
    ON CONFLICT (customer, merchant) DO NOTHING
    RETURNING merchant, customer, display_name, email, phone, pending_phone, pending_bind_time,
              phone_hold_until_time, phone_lapse_time, phone_lapse_reason, bind_time, bind_count,
              sms_receipts_muted, email_muted, create_time, version, sms_retry_time, locale,
              time_zone, email_bind_time, sms_stop_time, summaries_muted
""",
    ContactRow,
)

_UPDATE = Query(
    """
    UPDATE contacts SET display_name = :display_name, email = :email,
        sms_receipts_muted = :sms_receipts_muted, email_muted = :email_muted,
        summaries_muted = :summaries_muted, locale = :locale, time_zone = :time_zone,
        version = version + 1,
        email_bind_time = CASE WHEN NOT :email_changed THEN email_bind_time END
    WHERE customer = :customer AND merchant = :merchant
    RETURNING merchant, customer, display_name, email, phone, pending_phone, pending_bind_time,
              phone_hold_until_time, phone_lapse_time, phone_lapse_reason, bind_time, bind_count,
              sms_receipts_muted, email_muted, create_time, version, sms_retry_time, locale,
              time_zone, email_bind_time, sms_stop_time, summaries_muted
""",
    ContactRow,
)


_BIND_EMAIL = Query(
    """
    UPDATE contacts SET email_bind_time = :now, version = version + 1
    WHERE customer = :customer AND merchant = :merchant
    RETURNING merchant, customer, display_name, email, phone, pending_phone, pending_bind_time,
              phone_hold_until_time, phone_lapse_time, phone_lapse_reason, bind_time, bind_count,
              sms_receipts_muted, email_muted, create_time, version, sms_retry_time, locale,
              time_zone, email_bind_time, sms_stop_time, summaries_muted
""",
    ContactRow,
)


_DELETE = Command("DELETE FROM contacts WHERE customer = :customer AND merchant = :merchant")

_ONE = Query(
    """
    SELECT merchant, customer, display_name, email, phone, pending_phone, pending_bind_time,
           phone_hold_until_time, phone_lapse_time, phone_lapse_reason, bind_time, bind_count,
           sms_receipts_muted, email_muted, create_time, version, sms_retry_time, locale,
           time_zone, email_bind_time, sms_stop_time, summaries_muted
    FROM contacts WHERE customer = :customer AND merchant = :merchant
""",
    ContactRow,
)

_ONE_LOCKED = Query(
    """
    SELECT merchant, customer, display_name, email, phone, pending_phone, pending_bind_time,
           phone_hold_until_time, phone_lapse_time, phone_lapse_reason, bind_time, bind_count,
           sms_receipts_muted, email_muted, create_time, version, sms_retry_time, locale,
           time_zone, email_bind_time, sms_stop_time, summaries_muted
    FROM contacts WHERE customer = :customer AND merchant = :merchant FOR UPDATE
""",
    ContactRow,
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
           time_zone, email_bind_time, sms_stop_time, summaries_muted
    FROM contacts WHERE merchant = :merchant AND customer > :after
    ORDER BY customer LIMIT :limit
""",
    ContactRow,
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
           zone AS time_zone, email_bind_time, sms_stop_time, summaries_muted
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
    ContactRow,
)

# As above, of contacts that may be erased meanwhile: the notices are locked before, and who erases
# takes the contact first.
_AS_REACHED = Query(
    """
    SELECT merchant, customer, display_name,
           CASE WHEN usable THEN email ELSE '' END AS email, phone, pending_phone, pending_bind_time,
           phone_hold_until_time, phone_lapse_time, phone_lapse_reason, bind_time, bind_count,
           sms_receipts_muted, email_muted, create_time, version, sms_retry_time, locale,
           zone AS time_zone, email_bind_time, sms_stop_time, summaries_muted
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
    ContactRow,
)


# Whoever makes a notice goes on meanwhile.
_LOCK = Command("""
    SELECT FROM contacts
    JOIN unnest(CAST(:customer AS text[]), CAST(:merchant AS text[])) AS named (customer, merchant)
      USING (customer, merchant)
    ORDER BY customer, merchant FOR NO KEY UPDATE OF contacts
""")


async def insert(tx: Connection, contact: Contact) -> Contact | None:
    """Create a contact without a phone; None if the customer has one."""
    row = await _INSERT.one_or_none(tx, **_columns(tx, contact), create_time=contact.create_time)
    return None if row is None else from_row(tx, row)


async def update(tx: Connection, contact: Contact, *, email_changed: bool) -> Contact:
    """Store the name, e-mail and preferences of an existing contact; another address is not proved."""
    columns = _columns(tx, contact)
    return from_row(tx, await _UPDATE.one(tx, **columns, email_changed=email_changed))


async def bind_email(tx: Connection, key: CustomerKey, now: datetime) -> Contact:
    """Take the address of an existing contact for proved."""
    return from_row(tx, await _BIND_EMAIL.one(tx, **key._asdict(), now=now))


async def delete(tx: Connection, key: CustomerKey) -> None:
    """Delete a contact, if there is one."""
    await _DELETE.run(tx, **key._asdict())


async def one(tx: Connection, key: CustomerKey, *, lock: bool = False) -> Contact | None:
    """A contact, locked until the transaction ends if `lock` is set."""
    row = await (_ONE_LOCKED if lock else _ONE).one_or_none(tx, **key._asdict())
    return None if row is None else from_row(tx, row)


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
    return [from_row(tx, row) for row in rows]


async def by_key(tx: Connection, customers: Collection[CustomerKey]) -> dict[CustomerKey, Contact]:
    """Those of the contacts that exist, kept from being erased until the transaction ends."""
    rows = await _BY_KEY.all_for(tx, set(customers))
    return {contact.key: contact for contact in (from_row(tx, row) for row in rows)}


async def as_reached(
    tx: Connection, customers: Collection[CustomerKey]
) -> dict[CustomerKey, Contact]:
    """Those of the contacts that exist, as notices use them, and not locked."""
    rows = await _AS_REACHED.all_for(tx, set(customers))
    return {contact.key: contact for contact in (from_row(tx, row) for row in rows)}


async def lock(tx: Connection, customers: Collection[CustomerKey]) -> None:
    """Keep others from changing or erasing these contacts until the transaction ends."""
    await _LOCK.run_for(tx, set(customers))


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
        "summaries_muted": contact.summaries_muted,
        "locale": contact.locale,
        "time_zone": contact.time_zone,
    }


def index_aad(merchant: MerchantId) -> tuple[str, ...]:
    """What the keyed hash of a phone is bound to: the same phone has another at another merchant."""
    return "contacts", "phone_index", merchant


# The phone alone: a reply names nothing else, and many merchants can know a number.
REPLY_INDEX_AAD = ("contacts", "reply_index")


def from_row(tx: Connection, row: ContactRow) -> Contact:
    """A contact as its row has it, decrypted."""
    key = CustomerKey(row.merchant, row.customer)
    values = row._asdict()
    del values["merchant"], values["customer"]
    for column in ENCRYPTED_COLUMNS:
        values[column] = decrypt(tx, values[column], *aad(key, column))
    return Contact(key, **values)
