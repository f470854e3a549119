"""Customers' keys for the buyers on documents: one a year, encrypted with the keys of the database."""

import secrets
from base64 import b64decode, b64encode
from collections.abc import Collection
from typing import NamedTuple

from services.payments.domain.buyers import Buyer, YearKey, dump_buyer, load_buyer
from services.payments.domain.keys import CustomerId, DocumentKey, MerchantId
from services.payments.store.documents import WantedFile
from services.runtime.crypto.encryption import KEY_BYTES, Keyring
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query

_KEY_ID = "buyer"


class _Row(NamedTuple):
    merchant: MerchantId
    customer: CustomerId
    year: int
    data_key: bytes


_KEEP = Command("""
    INSERT INTO document_keys (merchant, customer, year, data_key)
    SELECT merchant, customer, year, data_key
    FROM unnest(CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:year AS integer[]),
                CAST(:data_key AS bytea[]))
      AS made (merchant, customer, year, data_key)
    ORDER BY customer, merchant, year
    ON CONFLICT (customer, merchant, year) DO NOTHING
""")

_OF_YEARS = Query(
    """
    SELECT merchant, customer, year, data_key
    FROM unnest(CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:year AS integer[]))
      AS wanted (merchant, customer, year)
    CROSS JOIN LATERAL (
        SELECT data_key FROM document_keys
        WHERE document_keys.customer = wanted.customer
          AND document_keys.merchant = wanted.merchant AND document_keys.year = wanted.year
        OFFSET 0) AS kept
""",
    _Row,
)


class BuyerCipher:
    """Encrypts the buyers on a customer's documents of a year, and the files that name them."""

    def __init__(self, data_key: bytes) -> None:
        self._keyring = Keyring({_KEY_ID: data_key})

    def encrypt_buyer(self, document: DocumentKey, buyer: Buyer) -> str:
        """A buyer, for one document."""
        encrypted = self._keyring.encrypt(dump_buyer(buyer).encode(), "buyer", *document)
        return b64encode(encrypted).decode()

    def decrypt_buyer(self, document: DocumentKey, encrypted: str) -> Buyer:
        """The buyer of a document. Raises UnreadableError."""
        plain = self._keyring.decrypt(b64decode(encrypted), "buyer", *document)
        return load_buyer(plain.decode())

    def encrypt_file(self, file: WantedFile, content: bytes) -> bytes:
        """A file."""
        return self._keyring.encrypt(content, "file", *file)

    def decrypt_file(self, file: WantedFile, encrypted: bytes) -> bytes:
        """A file's content. Raises UnreadableError."""
        return self._keyring.decrypt(encrypted, "file", *file)


async def of_years(tx: Connection, years: Collection[YearKey]) -> dict[YearKey, BuyerCipher]:
    """What is encrypted with, of those years whose keys are kept."""
    rows = await _OF_YEARS.all_for(tx, set(years))
    return {
        YearKey(*row[:3]): BuyerCipher(tx.keyring.decrypt(row.data_key, *aad(YearKey(*row[:3]))))
        for row in rows
    }


async def ensured(tx: Connection, years: Collection[YearKey]) -> dict[YearKey, BuyerCipher]:
    """What is encrypted with; a year that has no key gets one."""
    kept = await of_years(tx, years)
    missing = set(years) - kept.keys()
    if not missing:
        return kept
    made = [tx.keyring.encrypt(secrets.token_bytes(KEY_BYTES), *aad(year)) for year in missing]
    await _KEEP.run_for(tx, missing, data_key=made)
    # Another process may have made one meanwhile.
    return kept | await of_years(tx, missing)


def aad(year: YearKey) -> tuple[str, ...]:
    """What an encrypted key is bound to."""
    return "document_keys", "data_key", year.merchant, year.customer, str(year.year)
