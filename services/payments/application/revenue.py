"""Sales and when they become revenue, by the merchant's settings."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from services.payments.domain.charges import Charge
from services.payments.domain.keys import ChargeKey
from services.payments.domain.ledger import book_charge, net_minor_of
from services.payments.domain.revenue import (
    Deferral,
    LedgerSettings,
    RevenueRecognition,
    changed_by,
    defer,
    recognize,
)
from services.payments.domain.transfers import Transfer
from services.payments.names import LEDGER_SETTINGS
from services.payments.store import ledger as ledger_store
from services.payments.store import ledger_settings as settings_store
from services.payments.store import revenue as store
from services.runtime.db.pool import Connection
from services.runtime.mutations import Applied
from services.runtime.rpc.conversions import check_etag

# Of one charge at once, as many as a month has; a backlog takes several steps.
DAYS_MAX_A_STEP = 31


async def change_settings(
    tx: Connection, wanted: LedgerSettings, present_etag: str
) -> Applied[LedgerSettings]:
    """Change how a merchant's ledger is kept, as a whole. Raises ABORTED ETAG_MISMATCH."""
    present = await settings_store.get(tx, wanted.merchant, lock=True)
    check_etag(present_etag, present.version, LEDGER_SETTINGS.format(wanted.merchant))
    return Applied(await settings_store.change(tx, wanted), present)


async def book_sales(tx: Connection, paid: Sequence[Charge], now: datetime) -> None:
    """Book charges that have succeeded: what was sold is revenue, or deferred."""
    if not paid:
        return
    settings = await settings_store.of_merchants(tx, [charge.merchant for charge in paid])
    deferrals: list[Deferral] = []
    transfers: list[Transfer] = []
    for charge in paid:
        of_merchant = settings.get(charge.merchant, LedgerSettings(charge.merchant))
        deferral = None
        if of_merchant.revenue_recognition is RevenueRecognition.OVER_PERIOD:
            deferral = defer(charge, net_minor_of(charge), now)
        if deferral is not None:
            deferrals.append(deferral)
        transfers += book_charge(charge, now, defers=deferral is not None)
    await ledger_store.book(tx, transfers)
    await store.insert(tx, deferrals)


async def recognize_due(tx: Connection, charges: Sequence[ChargeKey], now: datetime) -> None:
    """Recognize the days that have begun of the sales of charges."""
    due = await store.take_due(tx, charges, now)
    transfers: list[Transfer] = []
    recognized: list[Deferral] = []
    for deferral in due:
        after, booked = recognize(deferral, now, DAYS_MAX_A_STEP)
        recognized.append(after)
        transfers += booked
    await store.save(tx, recognized)
    await ledger_store.book(tx, transfers)


async def save_changes(
    tx: Connection,
    deferrals: Mapping[ChargeKey, Deferral],
    booked: Mapping[ChargeKey, Sequence[Transfer]],
    now: datetime,
) -> None:
    """Store what refunds and disputes have made of deferrals that are locked, by their charges."""
    changed = [
        changed_by(deferrals[key], transfers, now)
        for key, transfers in sorted(booked.items())
        if key in deferrals
    ]
    await store.save(tx, changed)
