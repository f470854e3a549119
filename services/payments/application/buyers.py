"""Who buys: what documents to come say of it, and what those say that are issued."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from services.payments.domain.buyers import BillingDetails, Buyer, YearKey
from services.payments.domain.documents import Document
from services.payments.domain.keys import CustomerKey, DocumentKey
from services.payments.names import BILLING_DETAILS
from services.payments.store import billing_details as store
from services.payments.store import document_keys
from services.payments.store.document_keys import BuyerCipher
from services.runtime.db.pool import Connection
from services.runtime.mutations import Applied
from services.runtime.rpc.conversions import check_etag

Ciphers = Mapping[YearKey, BuyerCipher]


async def get(connection: Connection, customer: CustomerKey) -> BillingDetails:
    """What a customer's documents to come say."""
    found = await store.by_customer(connection, [customer])
    return found.get(customer, BillingDetails(*customer))


async def change(
    tx: Connection, wanted: BillingDetails, present_etag: str
) -> Applied[BillingDetails]:
    """Change what a customer's documents to come say. Raises ABORTED ETAG_MISMATCH."""
    present = await store.locked(tx, wanted.key)
    check_etag(present_etag, present.version, BILLING_DETAILS.format(*wanted.key))
    changed = await store.change(tx, replace(wanted, version=present.version))
    return Applied(changed, None if present.buyer is None else present)


async def ciphers(connection: Connection, documents: Iterable[Document]) -> Ciphers:
    """What the buyers on documents are encrypted with, as far as it is kept."""
    years = {document.year_key for document in documents if document.encrypted_buyer}
    return await document_keys.of_years(connection, years)


def cipher(document: Document, by_year: Ciphers) -> BuyerCipher | None:
    """What a document's buyer is encrypted with; None: it names nobody, or its key is erased."""
    return by_year.get(document.year_key) if document.encrypted_buyer else None


def buyer(document: Document, by_year: Ciphers) -> Buyer | None:
    """Who a document names as its buyer; None: nobody, or its key is erased."""
    found = cipher(document, by_year)
    return None if found is None else found.decrypt_buyer(document.key, document.encrypted_buyer)


async def buyers(connection: Connection, documents: Iterable[Document]) -> dict[DocumentKey, Buyer]:
    """Who documents name as their buyers; those that name one."""
    listed = list(documents)
    by_year = await ciphers(connection, listed)
    named = {document.key: buyer(document, by_year) for document in listed}
    return {key: found for key, found in named.items() if found is not None}
