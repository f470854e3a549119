"""New standing orders, a set at a time."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from services.runtime.db.pool import Connection
from services.runtime.db.statements import Query, scalar
from services.scheduler.domain.ids import MerchantId, StandingOrderId, StandingOrderKey
from services.scheduler.domain.standing_order import StandingOrder
from services.scheduler.store.standing_order_rows import columns_of


class _ImportedRow(NamedTuple):
    standing_order: StandingOrderId
    import_hash: bytes


# The columns that sign-up does not fill begin with their defaults.
_INSERT: Query[StandingOrderId] = Query(
    """
    INSERT INTO standing_orders (
        merchant, standing_order, customer, title, items, schedule, billing_mode, mandate,
        ship_to, region_code, tax_id, price_protection, notice_lead, payment_window, currency,
        promotion_code, rule_lead, notice_rule_pack, price_agreements, protection_end_time,
        protection_notice_time, ending_promotion, promotion_notice_time,
        catch_up_mode, catch_up_window, conditions, repurchase_window, repurchase_action,
        slot_days_before, slot_days_after, state, base_cycle, plan_first_cycle, last_nominal_date,
        first_cycle, next_cycle, next_due_time,
        prepare_time, last_cycle, resume_time, last_due_time, changes, import_hash, create_time,
        update_time
    )
    SELECT * FROM unnest(
        CAST(:merchant AS text[]), CAST(:standing_order AS text[]), CAST(:customer AS text[]),
        CAST(:title AS text[]), CAST(:items AS jsonb[]), CAST(:schedule AS text[]),
        CAST(:billing_mode AS text[]), CAST(:mandate AS text[]), CAST(:ship_to AS bytea[]),
        CAST(:region_code AS text[]), CAST(:tax_id AS text[]),
        CAST(:price_protection AS jsonb[]), CAST(:notice_lead AS interval[]),
        CAST(:payment_window AS interval[]), CAST(:currency AS text[]),
        CAST(:promotion_code AS text[]), CAST(:rule_lead AS interval[]),
        CAST(:notice_rule_pack AS text[]), CAST(:price_agreements AS jsonb[]),
        CAST(:protection_end_time AS timestamptz[]), CAST(:protection_notice_time AS timestamptz[]),
        CAST(:ending_promotion AS jsonb[]), CAST(:promotion_notice_time AS timestamptz[]),
        CAST(:catch_up_mode AS text[]),
        CAST(:catch_up_window AS interval[]), CAST(:conditions AS text[]),
        CAST(:repurchase_window AS interval[]), CAST(:repurchase_action AS text[]),
        CAST(:slot_days_before AS int[]), CAST(:slot_days_after AS int[]),
        CAST(:state AS text[]), CAST(:base_cycle AS int[]), CAST(:plan_first_cycle AS int[]),
        CAST(:last_nominal_date AS date[]), CAST(:first_cycle AS int[]),
        CAST(:next_cycle AS int[]), CAST(:next_due_time AS timestamptz[]),
        CAST(:prepare_time AS timestamptz[]), CAST(:last_cycle AS int[]),
        CAST(:resume_time AS timestamptz[]), CAST(:last_due_time AS timestamptz[]),
        CAST(:changes AS jsonb[]), CAST(:import_hash AS bytea[]),
        CAST(:create_time AS timestamptz[]), CAST(:update_time AS timestamptz[])
    )
    ON CONFLICT (standing_order, merchant) DO NOTHING
    RETURNING standing_order
    """,
    scalar,
)

_IMPORT_HASHES = Query(
    """
    SELECT standing_order, import_hash FROM standing_orders
    WHERE merchant = :merchant AND standing_order = ANY(CAST(:standing_orders AS text[]))
    """,
    _ImportedRow,
)


_STORED = Query(
    """
    SELECT merchant, standing_order FROM standing_orders
    JOIN unnest(CAST(:merchant AS text[]), CAST(:standing_order AS text[]))
      AS wanted (merchant, standing_order) USING (merchant, standing_order)
    """,
    StandingOrderKey,
)


async def stored(tx: Connection, keys: Sequence[StandingOrderKey]) -> set[StandingOrderKey]:
    """Those of the standing orders that there are."""
    return set(await _STORED.all_for(tx, keys))


async def insert(
    tx: Connection,
    standing_orders: Sequence[StandingOrder],
    import_hashes: Sequence[bytes] | None = None,
) -> set[StandingOrderId]:
    """Store new standing orders of one merchant; returns the ids of those whose id was free."""
    hashes = import_hashes or [b""] * len(standing_orders)
    rows = [_row(tx, one, found) for one, found in zip(standing_orders, hashes, strict=True)]
    if not rows:
        return set()
    return set(await _INSERT.all(tx, **{name: [row[name] for row in rows] for name in rows[0]}))


async def import_hashes(
    tx: Connection, merchant: MerchantId, standing_orders: Sequence[str]
) -> dict[str, bytes]:
    """Of those ids that are taken: the hash of the row it was imported from, empty if it was not."""
    rows = await _IMPORT_HASHES.all(tx, merchant=merchant, standing_orders=list(standing_orders))
    ring = tx.keyring
    return {
        row.standing_order: ring.decrypt(row.import_hash, *hash_aad(merchant, row.standing_order))
        for row in rows
    }


def hash_aad(merchant: MerchantId, standing_order: StandingOrderId) -> tuple[str, ...]:
    """What the encrypted hash of an imported row is bound to."""
    return "standing_orders", "import_hash", merchant, standing_order


def _row(tx: Connection, standing_order: StandingOrder, import_hash: bytes) -> Mapping[str, Any]:
    # A row could be found from its hash by trying all addresses.
    aad = hash_aad(standing_order.merchant, standing_order.standing_order)
    return {
        **columns_of(standing_order),
        "customer": standing_order.customer,
        "currency": standing_order.currency,
        "promotion_code": standing_order.promotion_code,
        "first_cycle": standing_order.next_cycle or 1,
        "import_hash": tx.keyring.encrypt(import_hash, *aad),
        "create_time": standing_order.create_time,
        "update_time": standing_order.update_time,
    }
