"""Where the scheduler's personal data are."""

from typing import Any

from services.runtime.db.key_rotation import SealedColumn, SealedTable
from services.scheduler.store import addresses, sign_ups
from services.scheduler.store.items import with_ship_tos

_STANDING_ORDER = {"merchant": "text", "standing_order": "text"}


def _address(row: Any) -> tuple[str, ...]:  # noqa: ANN401 - a row
    return addresses.place(row.merchant, row.customer)


SEALED = (
    SealedTable(
        "standing_orders",
        _STANDING_ORDER,
        [
            SealedColumn("ship_to", _address),
            SealedColumn("changes", _address, "jsonb", with_ship_tos),
            SealedColumn(
                "import_hash", lambda row: sign_ups.hash_place(row.merchant, row.standing_order)
            ),
        ],
        beside=["customer"],
    ),
    SealedTable(
        "orders",
        {**_STANDING_ORDER, "cycle": "integer"},
        [SealedColumn("ship_to", _address)],
        beside=["customer"],
    ),
)
