"""Where notify's personal data are."""

from collections.abc import Callable
from typing import Any

from services.notify.domain.notices import CustomerKey
from services.notify.store import codes, contacts, deliveries
from services.runtime.db.key_rotation import EncryptedColumn, EncryptedTable

_CUSTOMER = {"customer": "text", "merchant": "text"}
_NOTICE = {**_CUSTOMER, "notice": "text"}

Place = Callable[[Any], tuple[str, ...]]


def _key(row: Any) -> CustomerKey:  # noqa: ANN401 - a row
    return CustomerKey(row.merchant, row.customer)


def _of_contact(column: str) -> Place:
    return lambda row: contacts.aad(_key(row), column)


def _of_delivery(column: str) -> Place:
    return lambda row: deliveries.aad(_key(row), row.notice, row.channel, column)


ENCRYPTED_TABLES = (
    EncryptedTable(
        "contacts",
        _CUSTOMER,
        [EncryptedColumn(name, _of_contact(name)) for name in ("display_name", "email", "phone")],
    ),
    EncryptedTable(
        "phone_codes",
        _NOTICE,
        [EncryptedColumn("phone", lambda row: codes.aad(_key(row), row.notice))],
    ),
    EncryptedTable(
        "deliveries",
        {**_NOTICE, "channel": "text"},
        [
            EncryptedColumn(name, _of_delivery(name))
            for name in ("subject", "text", "secret_text", "own_address")
        ],
    ),
)
