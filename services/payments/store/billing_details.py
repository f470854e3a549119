"""What documents say of who buys: as it is now, encrypted."""

from collections.abc import Iterable
from typing import NamedTuple

from services.payments.domain.buyers import BillingDetails, dump_buyer, load_buyer
from services.payments.domain.keys import CustomerId, CustomerKey, MerchantId
from services.runtime.crypto.encryption import decrypt, encrypt
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query


class _Row(NamedTuple):
    merchant: MerchantId
    customer: CustomerId
    details: bytes
    version: int


_BY_CUSTOMER = Query(
    """
    SELECT merchant, customer, details, version
    FROM unnest(CAST(:merchant AS text[]), CAST(:customer AS text[])) AS wanted (merchant, customer)
    CROSS JOIN LATERAL (
        SELECT details, version FROM billing_details
        WHERE billing_details.customer = wanted.customer
          AND billing_details.merchant = wanted.merchant
        OFFSET 0) AS kept
""",
    _Row,
)

_ENSURE = Command("""
    INSERT INTO billing_details (merchant, customer, details, version)
    VALUES (:merchant, :customer, '', 0)
    ON CONFLICT (customer, merchant) DO NOTHING
""")

_LOCKED = Query(
    """
    SELECT merchant, customer, details, version FROM billing_details
    WHERE customer = :customer AND merchant = :merchant FOR UPDATE
""",
    _Row,
)

_CHANGE = Query(
    """
    UPDATE billing_details SET details = :details, version = version + 1
    WHERE customer = :customer AND merchant = :merchant
    RETURNING merchant, customer, details, version
""",
    _Row,
)


async def by_customer(
    tx: Connection, customers: Iterable[CustomerKey]
) -> dict[CustomerKey, BillingDetails]:
    """The details of those customers that have some."""
    rows = await _BY_CUSTOMER.all_for(tx, set(customers))
    found = [_details(tx, row) for row in rows]
    return {details.key: details for details in found if details.buyer is not None}


async def locked(tx: Connection, customer: CustomerKey) -> BillingDetails:
    """A customer's details, locked; there is a row to lock from then on."""
    await _ENSURE.run(tx, **customer._asdict())
    return _details(tx, await _LOCKED.one(tx, **customer._asdict()))


async def change(tx: Connection, wanted: BillingDetails) -> BillingDetails:
    """Store what a caller's change made of details that are locked."""
    plain = "" if wanted.buyer is None else dump_buyer(wanted.buyer)
    encrypted = encrypt(tx, plain, *aad(wanted.key))
    return _details(tx, await _CHANGE.one(tx, **wanted.key._asdict(), details=encrypted))


def _details(tx: Connection, row: _Row) -> BillingDetails:
    plain = decrypt(tx, row.details, *aad(CustomerKey(row.merchant, row.customer)))
    buyer = load_buyer(plain) if plain else None
    return BillingDetails(row.merchant, row.customer, buyer, row.version)


def aad(customer: CustomerKey) -> tuple[str, ...]:
    """What the encrypted details are bound to."""
    return "billing_details", "details", *customer
