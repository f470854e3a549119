"""Contacts."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text

from services.notify.domain.notices import (
    SMS_RETRY_PAUSE,
    SMS_RETRY_PAUSE_MAX,
    Contact,
    CustomerKey,
)
from services.runtime.crypto.encryption import decrypt, encrypt
from services.runtime.db.pool import Connection, columns

_INSERT = text("""
    INSERT INTO contacts (merchant, customer, display_name, email, sms_receipts_muted, email_muted,
                          create_time)
    VALUES (:merchant, :customer, :display_name, :email, :sms_receipts_muted, :email_muted,
            :create_time)
    ON CONFLICT (customer, merchant) DO NOTHING
    RETURNING *
""")

_UPDATE = text("""
    UPDATE contacts SET display_name = :display_name, email = :email,
        sms_receipts_muted = :sms_receipts_muted, email_muted = :email_muted, version = version + 1
    WHERE customer = :customer AND merchant = :merchant
    RETURNING *
""")

_BIND = text("""
    UPDATE contacts SET phone = :phone, bind_time = :now, bind_count = bind_count + 1,
        sms_failure_count = 0, sms_retry_time = NULL,
        version = version + 1
    WHERE customer = :customer AND merchant = :merchant
    RETURNING *
""")

# The pause doubles with each message in a row that the phone did not take.
_COUNT_SMS = text("""
    UPDATE contacts SET
        sms_failure_count = CASE WHEN taken THEN 0 ELSE sms_failure_count + 1 END,
        sms_retry_time = CASE WHEN NOT taken THEN
            CAST(:now AS timestamptz)
            + least(CAST(:pause AS interval) * 2 ^ least(sms_failure_count, 8),
                    CAST(:pause_max AS interval)) END
    FROM unnest(
        CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:bind_count AS integer[]),
        CAST(:taken AS boolean[]))
      AS ended (merchant, customer, bind_count, taken)
    WHERE contacts.customer = ended.customer AND contacts.merchant = ended.merchant
      AND contacts.bind_count = ended.bind_count
      AND (NOT taken OR contacts.sms_failure_count > 0)
""")

_DELETE = text("DELETE FROM contacts WHERE customer = :customer AND merchant = :merchant")

_ONE = text("SELECT * FROM contacts WHERE customer = :customer AND merchant = :merchant")

_ONE_LOCKED = text("""
    SELECT * FROM contacts WHERE customer = :customer AND merchant = :merchant FOR UPDATE
""")

_OF_MERCHANT = text("""
    SELECT * FROM contacts WHERE merchant = :merchant AND customer > :after
    ORDER BY customer LIMIT :limit
""")

# Locked against being erased, not against changes: whoever erases a customer then finds the texts that
# are made of their name here.
_BY_KEY = text("""
    SELECT contacts.* FROM contacts
    JOIN unnest(CAST(:customer AS text[]), CAST(:merchant AS text[])) AS asked (customer, merchant)
      USING (customer, merchant)
    FOR KEY SHARE OF contacts
""")

_WITH_PHONE = text("""
    SELECT asked.place
    FROM unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]))
      WITH ORDINALITY AS asked (customer, merchant, place)
    JOIN contacts USING (customer, merchant)
    WHERE contacts.phone <> ''
""")


async def insert(tx: Connection, contact: Contact) -> Contact | None:
    """Create a contact without a phone; None if the customer has one."""
    row = (await tx.execute(_INSERT, _columns(tx, contact))).one_or_none()
    return _contact(tx, row) if row else None


async def update(tx: Connection, contact: Contact) -> Contact:
    """Store the name, e-mail and preferences of an existing contact."""
    return _contact(tx, (await tx.execute(_UPDATE, _columns(tx, contact))).one())


async def bind(tx: Connection, key: CustomerKey, phone: str, now: datetime) -> Contact:
    """Make a phone an existing contact's bound phone."""
    encrypted = encrypt(tx, phone, *aad(key, "phone"))
    found = await tx.execute(_BIND, {**_key(key), "phone": encrypted, "now": now})
    return _contact(tx, found.one())


@dataclass(frozen=True, slots=True)
class SmsEnded:
    """Whether a bound phone took a message."""

    key: CustomerKey
    # Which of the customer's phones it was.
    bind_count: int
    taken: bool


async def count_sms(tx: Connection, ended: Collection[SmsEnded], now: datetime) -> None:
    """Leave phones alone that did not take a message, longer each time; others begin from zero."""
    if not ended:
        return
    by_key = {one.key: one for one in ended}
    rows = [
        {**_key(key), "bind_count": one.bind_count, "taken": one.taken}
        for key, one in sorted(by_key.items())
    ]
    values = columns(rows, "merchant", "customer", "bind_count", "taken")
    pauses = {"pause": SMS_RETRY_PAUSE, "pause_max": SMS_RETRY_PAUSE_MAX}
    await tx.execute(_COUNT_SMS, {**values, **pauses, "now": now})


async def delete(tx: Connection, key: CustomerKey) -> None:
    """Delete a contact, if there is one."""
    await tx.execute(_DELETE, _key(key))


async def one(tx: Connection, key: CustomerKey, *, lock: bool = False) -> Contact | None:
    """A contact, locked until the transaction ends if asked for."""
    row = (await tx.execute(_ONE_LOCKED if lock else _ONE, _key(key))).one_or_none()
    return _contact(tx, row) if row else None


async def of_merchant(tx: Connection, merchant: str, after: str, limit: int) -> list[Contact]:
    """A merchant's contacts by customer, after a customer."""
    rows = await tx.execute(_OF_MERCHANT, {"merchant": merchant, "after": after, "limit": limit})
    return [_contact(tx, row) for row in rows]


async def by_key(tx: Connection, keys: Collection[CustomerKey]) -> dict[CustomerKey, Contact]:
    """Those of the contacts that exist, kept from being erased until the transaction ends."""
    rows = await tx.execute(_BY_KEY, _keys(set(keys)))
    return {found.key: found for found in (_contact(tx, row) for row in rows)}


async def have_phones(tx: Connection, keys: Sequence[CustomerKey]) -> list[bool]:
    """Whether customers have a bound phone, in their order."""
    places = set((await tx.execute(_WITH_PHONE, _keys(keys))).scalars())
    return [place in places for place in range(1, len(keys) + 1)]


def _key(key: CustomerKey) -> dict[str, Any]:
    return {"merchant": key.merchant, "customer": key.customer}


def _keys(keys: Collection[CustomerKey]) -> dict[str, Any]:
    return {
        "merchant": [key.merchant for key in keys],
        "customer": [key.customer for key in keys],
    }


def aad(key: CustomerKey, column: str) -> tuple[str, ...]:
    """What an encrypted column of a contact is bound to."""
    return "contacts", column, key.merchant, key.customer


def _columns(tx: Connection, contact: Contact) -> dict[str, Any]:
    return {
        **_key(contact.key),
        "display_name": encrypt(tx, contact.display_name, *aad(contact.key, "display_name")),
        "email": encrypt(tx, contact.email, *aad(contact.key, "email")),
        "sms_receipts_muted": contact.sms_receipts_muted,
        "email_muted": contact.email_muted,
        "create_time": contact.create_time,
    }


def _contact(tx: Connection, row: Any) -> Contact:  # noqa: ANN401 - a row
    key = CustomerKey(row.merchant, row.customer)
    return Contact(
        key=key,
        display_name=decrypt(tx, row.display_name, *aad(key, "display_name")),
        email=decrypt(tx, row.email, *aad(key, "email")),
        phone=decrypt(tx, row.phone, *aad(key, "phone")),
        bind_time=row.bind_time,
        bind_count=row.bind_count,
        sms_receipts_muted=row.sms_receipts_muted,
        email_muted=row.email_muted,
        create_time=row.create_time,
        version=row.version,
        sms_retry_time=row.sms_retry_time,
    )
