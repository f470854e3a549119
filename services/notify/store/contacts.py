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
)
from services.runtime.crypto.encryption import decrypt, encrypt
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query

ENCRYPTED_COLUMNS = ("display_name", "email", "phone")


class _ContactRow(NamedTuple):
    """A contact; the name and the addresses are encrypted."""

    merchant: MerchantId
    customer: CustomerId
    display_name: bytes
    email: bytes
    phone: bytes
    bind_time: datetime | None
    bind_count: int
    sms_receipts_muted: bool
    email_muted: bool
    create_time: datetime
    version: int
    sms_retry_time: datetime | None
    locale: str
    time_zone: str


class _AddresseeRow(NamedTuple):
    """How a customer is addressed; the name is encrypted."""

    display_name: bytes
    locale: str


_INSERT = Query(
    """
    INSERT INTO contacts (merchant, customer, display_name, email, sms_receipts_muted, email_muted,
                          locale, time_zone, create_time)
    VALUES (:merchant, :customer, :display_name, :email, :sms_receipts_muted, :email_muted,
            :locale, :time_zone, :create_time)
    ON CONFLICT (customer, merchant) DO NOTHING
    RETURNING merchant, customer, display_name, email, phone, bind_time, bind_count,
              sms_receipts_muted, email_muted, create_time, version, sms_retry_time,
              locale, time_zone
""",
    _ContactRow,
)

_UPDATE = Query(
    """
    UPDATE contacts SET display_name = :display_name, email = :email,
        sms_receipts_muted = :sms_receipts_muted, email_muted = :email_muted, locale = :locale,
        time_zone = :time_zone, version = version + 1
    WHERE customer = :customer AND merchant = :merchant
    RETURNING merchant, customer, display_name, email, phone, bind_time, bind_count,
              sms_receipts_muted, email_muted, create_time, version, sms_retry_time,
              locale, time_zone
""",
    _ContactRow,
)

_BIND = Query(
    """
    UPDATE contacts SET phone = :phone, bind_time = :now, bind_count = bind_count + 1,
        sms_failure_count = 0, sms_retry_time = NULL,
        version = version + 1
    WHERE customer = :customer AND merchant = :merchant
    RETURNING merchant, customer, display_name, email, phone, bind_time, bind_count,
              sms_receipts_muted, email_muted, create_time, version, sms_retry_time,
              locale, time_zone
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
                    CAST(:pause_max AS interval)) END
    FROM unnest(
        CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:bind_count AS integer[]),
        CAST(:taken AS boolean[]))
      AS ended (merchant, customer, bind_count, taken)
    WHERE contacts.customer = ended.customer AND contacts.merchant = ended.merchant
      AND contacts.bind_count = ended.bind_count
      AND (NOT taken OR contacts.sms_failure_count > 0)
""")

_DELETE = Command("DELETE FROM contacts WHERE customer = :customer AND merchant = :merchant")

_ONE = Query(
    """
    SELECT merchant, customer, display_name, email, phone, bind_time, bind_count,
           sms_receipts_muted, email_muted, create_time, version, sms_retry_time,
           locale, time_zone
    FROM contacts WHERE customer = :customer AND merchant = :merchant
""",
    _ContactRow,
)

_ONE_LOCKED = Query(
    """
    SELECT merchant, customer, display_name, email, phone, bind_time, bind_count,
           sms_receipts_muted, email_muted, create_time, version, sms_retry_time,
           locale, time_zone
    FROM contacts WHERE customer = :customer AND merchant = :merchant FOR UPDATE
""",
    _ContactRow,
)

_ADDRESSEE = Query(
    "SELECT display_name, locale FROM contacts WHERE customer = :customer AND merchant = :merchant",
    _AddresseeRow,
)

_OF_MERCHANT = Query(
    """
    SELECT merchant, customer, display_name, email, phone, bind_time, bind_count,
           sms_receipts_muted, email_muted, create_time, version, sms_retry_time,
           locale, time_zone
    FROM contacts WHERE merchant = :merchant AND customer > :after
    ORDER BY customer LIMIT :limit
""",
    _ContactRow,
)

# Locked against being erased, not against changes: whoever erases a customer then finds the texts that
# are made of their name here.
_BY_KEY = Query(
    """
    SELECT merchant, customer, display_name, email, phone, bind_time, bind_count,
           sms_receipts_muted, email_muted, create_time, version, sms_retry_time,
           locale, time_zone
    FROM contacts
    JOIN unnest(CAST(:customer AS text[]), CAST(:merchant AS text[])) AS named (customer, merchant)
      USING (customer, merchant)
    FOR KEY SHARE OF contacts
""",
    _ContactRow,
)

_WITH_PHONE = Query(
    """
    SELECT merchant, customer
    FROM unnest(CAST(:merchant AS text[]), CAST(:customer AS text[])) AS named (merchant, customer)
    JOIN contacts USING (merchant, customer)
    WHERE contacts.phone <> ''
""",
    CustomerKey,
)


async def insert(tx: Connection, contact: Contact) -> Contact | None:
    """Create a contact without a phone; None if the customer has one."""
    row = await _INSERT.one_or_none(tx, **_columns(tx, contact), create_time=contact.create_time)
    return None if row is None else _contact(tx, row)


async def update(tx: Connection, contact: Contact) -> Contact:
    """Store the name, e-mail and preferences of an existing contact."""
    return _contact(tx, await _UPDATE.one(tx, **_columns(tx, contact)))


async def bind(tx: Connection, key: CustomerKey, phone: str, now: datetime) -> Contact:
    """Make a phone an existing contact's bound phone."""
    encrypted = encrypt(tx, phone, *aad(key, "phone"))
    return _contact(tx, await _BIND.one(tx, **key._asdict(), phone=encrypted, now=now))


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
        tx, last, pause=SMS_RETRY_PAUSE, pause_max=SMS_RETRY_PAUSE_MAX, now=now
    )


async def delete(tx: Connection, key: CustomerKey) -> None:
    """Delete a contact, if there is one."""
    await _DELETE.run(tx, **key._asdict())


async def one(tx: Connection, key: CustomerKey, *, lock: bool = False) -> Contact | None:
    """A contact, locked until the transaction ends if `lock` is set."""
    row = await (_ONE_LOCKED if lock else _ONE).one_or_none(tx, **key._asdict())
    return None if row is None else _contact(tx, row)


async def addressee(tx: Connection, key: CustomerKey) -> Addressee:
    """How a customer is addressed: without a contact, by no name."""
    row = await _ADDRESSEE.one_or_none(tx, **key._asdict())
    if row is None:
        return Addressee("", "")
    return Addressee(decrypt(tx, row.display_name, *aad(key, "display_name")), row.locale)


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


async def have_phones(tx: Connection, customers: Sequence[CustomerKey]) -> list[bool]:
    """Whether customers have a bound phone, in their order."""
    reached = set(await _WITH_PHONE.all_for(tx, customers))
    return [key in reached for key in customers]


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


def _contact(tx: Connection, row: _ContactRow) -> Contact:
    key = CustomerKey(row.merchant, row.customer)
    name, email, phone = (
        decrypt(tx, getattr(row, column), *aad(key, column)) for column in ENCRYPTED_COLUMNS
    )
    # The others are in the order of the contact's fields.
    return Contact(key, name, email, phone, *row[5:])
