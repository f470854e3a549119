"""New standing orders, a set at a time."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.runtime.crypto.encryption import keyring
from services.scheduler.domain.ids import MerchantId, StandingOrderId
from services.scheduler.domain.standing_order import StandingOrder
from services.scheduler.store.standing_orders import columns_of, dump_data

# The columns that sign-up fills, with their types; the others begin with their defaults.
COLUMN_TYPES = {
    "merchant": "text",
    "standing_order": "text",
    "customer": "text",
    "title": "text",
    "items": "jsonb",
    "schedule": "text",
    "billing_mode": "text",
    "mandate": "text",
    "ship_to": "bytea",
    "price_protection": "jsonb",
    "notice_lead": "interval",
    "payment_window": "interval",
    "catch_up_mode": "text",
    "catch_up_window": "interval",
    "conditions": "text",
    "repurchase_window": "interval",
    "repurchase_action": "text",
    "state": "text",
    "base_cycle": "integer",
    "plan_first_cycle": "integer",
    "last_nominal_date": "date",
    "first_cycle": "integer",
    "next_cycle": "integer",
    "next_due_time": "timestamptz",
    "prepare_time": "timestamptz",
    "last_cycle": "integer",
    "resume_time": "timestamptz",
    "last_due_time": "timestamptz",
    "changes": "jsonb",
    "import_hash": "bytea",
    "create_time": "timestamptz",
    "update_time": "timestamptz",
}
# JSON travels as text.
_ARRAYS = ", ".join(
    f"CAST(:{name} AS {'text' if kind == 'jsonb' else kind}[])"
    for name, kind in COLUMN_TYPES.items()
)
_VALUES = ", ".join(
    f"CAST(given.{name} AS jsonb)" if kind == "jsonb" else f"given.{name}"
    for name, kind in COLUMN_TYPES.items()
)

_INSERT = text(f"""
    INSERT INTO standing_orders ({", ".join(COLUMN_TYPES)})
    SELECT {_VALUES} FROM unnest({_ARRAYS}) AS given ({", ".join(COLUMN_TYPES)})
    ON CONFLICT (standing_order, merchant) DO NOTHING
    RETURNING standing_order
""")  # noqa: S608 - column names of this module

_IMPORT_HASHES = text("""
    SELECT standing_order, import_hash FROM standing_orders
    WHERE merchant = :merchant AND standing_order = ANY(CAST(:standing_orders AS text[]))
""")


async def insert(
    tx: AsyncConnection,
    standing_orders: Sequence[StandingOrder],
    import_hashes: Sequence[bytes] | None = None,
) -> set[str]:
    """Store new standing orders of one merchant; returns the ids of those whose id was free."""
    hashes = import_hashes or [b""] * len(standing_orders)
    rows = [_row(tx, one, found) for one, found in zip(standing_orders, hashes, strict=True)]
    stored = await tx.execute(_INSERT, {name: [row[name] for row in rows] for name in COLUMN_TYPES})
    return set(stored.scalars())


async def import_hashes(
    tx: AsyncConnection, merchant: MerchantId, standing_orders: Sequence[str]
) -> dict[str, bytes]:
    """Of those ids that are taken: the hash of the row it was imported from, empty if it was not."""
    rows = await tx.execute(
        _IMPORT_HASHES, {"merchant": merchant, "standing_orders": list(standing_orders)}
    )
    ring = keyring(tx.engine)
    return {
        row.standing_order: ring.decrypt(row.import_hash, *hash_aad(merchant, row.standing_order))
        for row in rows
    }


def hash_aad(merchant: MerchantId, standing_order: StandingOrderId) -> tuple[str, ...]:
    """What the encrypted hash of an imported row is bound to."""
    return "standing_orders", "import_hash", merchant, standing_order


def _row(
    tx: AsyncConnection, standing_order: StandingOrder, import_hash: bytes
) -> Mapping[str, Any]:
    # A row could be found from its hash by trying all addresses.
    place = hash_aad(standing_order.merchant, standing_order.standing_order)
    return {
        **columns_of(standing_order),
        "customer": standing_order.customer,
        "price_protection": dump_data(standing_order.price_protection),
        "first_cycle": standing_order.next_cycle or 1,
        "import_hash": keyring(tx.engine).encrypt(import_hash, *place),
        "create_time": standing_order.create_time,
        "update_time": standing_order.update_time,
    }
