"""Where the scheduler's personal data are."""

from typing import Any

from services.runtime.db.key_rotation import EncryptedColumn, EncryptedTable
from services.scheduler.store import addresses, sign_ups
from services.scheduler.store.items import with_ship_tos

_STANDING_ORDER = {"merchant": "text", "standing_order": "text"}


def _address(row: Any) -> tuple[str, ...]:  # noqa: ANN401 - a row
    return addresses.aad(row.merchant, row.customer)


ENCRYPTED_TABLES = (
    EncryptedTable(
        "standing_orders",
        _STANDING_ORDER,
        [
            EncryptedColumn("ship_to", _address),
            EncryptedColumn("changes", _address, "jsonb", with_ship_tos),
            EncryptedColumn(
                "import_hash", lambda row: sign_ups.hash_aad(row.merchant, row.standing_order)
            ),
        ],
        beside=["customer"],
    ),
    EncryptedTable(
        "orders",
        {**_STANDING_ORDER, "cycle": "integer"},
        [EncryptedColumn("ship_to", _address)],
        beside=["customer"],
    ),
)
