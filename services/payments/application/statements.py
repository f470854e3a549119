"""Statements of customers: computed from the books whenever they are asked for."""

from collections.abc import Iterable
from datetime import UTC, datetime, time, timedelta
from hashlib import sha256
from typing import NamedTuple

from services.payments.application import buyers
from services.payments.clients.rendering.process import DocumentRenderer
from services.payments.domain.documents import (
    DocumentCause,
    DocumentSettings,
    DocumentType,
    Seller,
)
from services.payments.domain.keys import ChargeId, ChargeKey, CustomerKey, RefundKey
from services.payments.domain.statements import (
    TRANSFERS_MAX,
    EntryType,
    Period,
    Statement,
    dump_statement,
    entries_of,
    months_of,
    sums_of,
)
from services.payments.domain.transfers import Transfer
from services.payments.store import document_settings as settings_store
from services.payments.store import documents as document_store
from services.payments.store import statements as store
from services.payments.store.ledger_periods import kept_through_date
from services.runtime.db.pool import Connection, Database
from services.runtime.errors import Violations, wrong_state
from services.runtime.time_zones import zone

# By what a document was issued for, the entry that it belongs to.
_ENTRY_TYPES = {
    DocumentCause.PAYMENT: EntryType.INVOICE,
    DocumentCause.REFUND: EntryType.CREDIT_NOTE,
    DocumentCause.REFUND_TO_CREDIT: EntryType.CREDIT_NOTE,
    DocumentCause.REFUND_FAILURE: EntryType.DEBIT_NOTE,
}

# What happens at an instant has happened by then.
_INSTANT = timedelta(microseconds=1)


class StatementFile(NamedTuple):
    """A statement as a file."""

    content: bytes
    content_sha256: str
    format: str
    language_code: str


async def statement(
    connection: Connection, customer: CustomerKey, period: Period, now: datetime
) -> Statement:
    """What happened to a customer in a period.

    Raises INVALID_ARGUMENT for one that has not begun, FAILED_PRECONDITION STATEMENT_TOO_LONG.
    """
    settings = await settings_store.get(connection, customer.merchant)
    return await _statement(connection, settings, customer, period, now)


async def download(
    database: Database,
    renderer: DocumentRenderer,
    customer: CustomerKey,
    period: Period,
    file_format: str,
    language_code: str,
    now: datetime,
) -> StatementFile:
    """A statement as a file. Raises as `statement`, and UNAVAILABLE DEPENDENCY_UNAVAILABLE."""
    async with database.read() as connection:
        settings = await settings_store.get(connection, customer.merchant)
        made = await _statement(connection, settings, customer, period, now)
        logo = await settings_store.logo(connection, customer.merchant, settings.logo_sha256)
    language = language_code or settings.language_code
    seller = Seller(
        settings.seller_name,
        tuple(settings.seller_address),
        settings.seller_tax_id,
        settings.logo_sha256,
    )
    # No transaction is open meanwhile.
    content = await renderer.render_statement(
        dump_statement(made), seller, settings.footer, file_format, language, logo
    )
    return StatementFile(content, sha256(content).hexdigest(), file_format, language)


async def _statement(
    connection: Connection,
    settings: DocumentSettings,
    customer: CustomerKey,
    period: Period,
    now: datetime,
) -> Statement:
    local = zone(settings.time_zone)
    from_time, until_time = (
        datetime.combine(day, time(), local) for day in (period.start_date, period.until_date)
    )
    violations = Violations()
    violations.require("name", "must be of a period that has begun", met=from_time <= now)
    violations.check()
    booked = await store.booked(connection, customer, (from_time, until_time), TRANSFERS_MAX + 1)
    if len(booked) > TRANSFERS_MAX:
        raise wrong_state(
            "STATEMENT_TOO_LONG",
            f"more than {TRANSFERS_MAX} transfers are booked of the customer; ask for a month",
        )
    details = await buyers.get(connection, customer)
    opening = await store.balance(connection, customer, from_time)
    due = await store.due(connection, customer, min(until_time, now + _INSTANT))
    entries = tuple(entries_of(booked, opening, await _documents(connection, booked)))
    closed_time = datetime.combine(await kept_through_date(connection), time(), UTC)
    dates = [entry.book_time.astimezone(local).date() for entry in entries]
    return Statement(
        customer.merchant,
        customer.customer,
        period,
        settings.time_zone,
        closed_time + timedelta(days=1) >= until_time,
        sums_of(entries, opening, due),
        entries if period.month else (),
        () if period.month else months_of(entries, opening, dates),
        details.buyer,
    )


async def _documents(
    connection: Connection, booked: Iterable[Transfer]
) -> dict[tuple[str, EntryType], str]:
    """The numbers of documents, by the name of what they are about and the entry that it makes."""
    sources = {it.source for it in booked if "/charges/" in it.source}
    charges = {
        ChargeKey(it.merchant, it.customer, ChargeId(it.source.split("/")[5]))
        for it in booked
        if it.source in sources
    }
    numbers = {}
    for document in await document_store.issued(connection, charges):
        charge = document.charge_key
        is_receipt = document.type is DocumentType.RECEIPT
        kind = EntryType.PAYMENT if is_receipt else _ENTRY_TYPES[document.cause]
        source = RefundKey(*charge, document.refund) if document.refund else charge
        # The id is the number in small letters.
        numbers[source.name, kind] = document.document.upper()
    return numbers
