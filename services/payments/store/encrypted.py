"""Where the personal data of payments are, and what they are bound to."""

from typing import Any

from services.payments.domain.keys import (
    ChargeKey,
    CustomerKey,
    MandateKey,
    PaymentMethodKey,
    RefundKey,
)
from services.runtime.db.key_rotation import EncryptedColumn, EncryptedTable


def token_aad(key: PaymentMethodKey) -> tuple[str, ...]:
    """What the encrypted token of a payment method is bound to."""
    owner = key.owner
    return "payment_methods", "provider_token", owner.merchant, owner.customer, key.payment_method


def evidence_aad(key: MandateKey) -> tuple[str, ...]:
    """What the encrypted evidence of a mandate is bound to."""
    return "mandates", "evidence", key.owner.merchant, key.owner.customer, key.mandate


def note_aad(key: RefundKey) -> tuple[str, ...]:
    """What the encrypted note of a refund is bound to."""
    owner = key.charge.owner
    return "refunds", "note", owner.merchant, owner.customer, key.charge.charge, key.refund


def _owner(row: Any) -> CustomerKey:  # noqa: ANN401 - a row
    return CustomerKey(row.merchant, row.customer)


_OWNER = {"customer": "text", "merchant": "text"}

ENCRYPTED_TABLES = (
    EncryptedTable(
        "payment_methods",
        {**_OWNER, "payment_method": "text"},
        [
            EncryptedColumn(
                "provider_token",
                lambda row: token_aad(PaymentMethodKey(_owner(row), row.payment_method)),
            )
        ],
    ),
    EncryptedTable(
        "mandates",
        {**_OWNER, "mandate": "text"},
        [
            EncryptedColumn(
                "evidence", lambda row: evidence_aad(MandateKey(_owner(row), row.mandate))
            )
        ],
    ),
    EncryptedTable(
        "refunds",
        {**_OWNER, "charge": "text", "refund": "text"},
        [
            EncryptedColumn(
                "note",
                lambda row: note_aad(RefundKey(ChargeKey(_owner(row), row.charge), row.refund)),
            )
        ],
    ),
)
