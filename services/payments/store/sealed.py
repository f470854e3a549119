"""Where the personal data of payments are, and what they are bound to."""

from services.payments.domain.keys import CustomerKey, MandateKey
from services.runtime.resealing import SealedColumn, SealedTable


def evidence_place(key: MandateKey) -> tuple[str, ...]:
    """What the sealed evidence of a mandate is bound to."""
    return "mandates", "evidence", key.owner.merchant, key.owner.customer, key.mandate


SEALED = (
    SealedTable(
        "mandates",
        {"customer": "text", "merchant": "text", "mandate": "text"},
        [
            SealedColumn(
                "evidence",
                lambda row: evidence_place(
                    MandateKey(CustomerKey(row.customer, row.merchant), row.mandate)
                ),
            )
        ],
    ),
)
