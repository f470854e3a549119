"""Where the personal data of payments are, and what they are bound to."""

from typing import Any

from services.payments.domain.keys import (
    ChargeKey,
    CustomerKey,
    MandateKey,
    PaymentMethodKey,
    RefundKey,
)
from services.runtime.db.key_rotation import SealedColumn, SealedTable


def token_place(key: PaymentMethodKey) -> tuple[str, ...]:
    """What the sealed token of a payment method is bound to."""
    owner = key.owner
    return "payment_methods", "provider_token", owner.merchant, owner.customer, key.payment_method


def evidence_place(key: MandateKey) -> tuple[str, ...]:
    """What the sealed evidence of a mandate is bound to."""
    return "mandates", "evidence", key.owner.merchant, key.owner.customer, key.mandate


def note_place(key: RefundKey) -> tuple[str, ...]:
    """What the sealed note of a refund is bound to."""
    owner = key.charge.owner
    return "refunds", "note", owner.merchant, owner.customer, key.charge.charge, key.refund


def _owner(row: Any) -> CustomerKey:  # noqa: ANN401 - a row
    return CustomerKey(row.customer, row.merchant)


_OWNER = {"customer": "text", "merchant": "text"}

SEALED = (
    SealedTable(
        "payment_methods",
        {**_OWNER, "payment_method": "text"},
        [
            SealedColumn(
                "provider_token",
                lambda row: token_place(PaymentMethodKey(_owner(row), row.payment_method)),
            )
        ],
    ),
    SealedTable(
        "mandates",
        {**_OWNER, "mandate": "text"},
        [
            SealedColumn(
                "evidence", lambda row: evidence_place(MandateKey(_owner(row), row.mandate))
            )
        ],
    ),
    SealedTable(
        "refunds",
        {**_OWNER, "charge": "text", "refund": "text"},
        [
            SealedColumn(
                "note",
                lambda row: note_place(RefundKey(ChargeKey(_owner(row), row.charge), row.refund)),
            )
        ],
    ),
)
