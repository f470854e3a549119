"""Where the personal data of payments are, and what they are bound to."""

from collections.abc import Callable
from typing import Any, TypeVar

from services.payments.domain.buyers import YearKey
from services.payments.domain.keys import (
    CustomerKey,
    DisputeKey,
    MandateKey,
    PaymentMethodKey,
    RefundKey,
)
from services.payments.store import billing_details, document_keys
from services.runtime.db.key_rotation import EncryptedColumn, EncryptedTable
from services.runtime.db.statements import fields

K = TypeVar("K", PaymentMethodKey, MandateKey, RefundKey, DisputeKey)


def token_aad(key: PaymentMethodKey) -> tuple[str, ...]:
    """What the encrypted token of a payment method is bound to."""
    return "payment_methods", "provider_token", *key


def evidence_aad(key: MandateKey) -> tuple[str, ...]:
    """What the encrypted evidence of a mandate is bound to."""
    return "mandates", "evidence", *key


def amendment_aad(key: MandateKey, version: int) -> tuple[str, ...]:
    """What the encrypted evidence of a mandate's amendment is bound to: that of no other version."""
    return "mandate_amendments", "evidence", *key, str(version)


def note_aad(key: RefundKey) -> tuple[str, ...]:
    """What the encrypted note of a refund is bound to."""
    return "refunds", "note", *key


def dispute_evidence_aad(key: DisputeKey) -> tuple[str, ...]:
    """What the encrypted evidence of a dispute is bound to."""
    return "disputes", "evidence", *key


def _table(
    name: str, column: str, key_type: type[K], aad: Callable[[K], tuple[str, ...]]
) -> EncryptedTable:
    """A table with one encrypted column; its primary key begins with the shard key, the customer."""
    merchant, customer, *others = fields(key_type)

    def aad_of(row: Any) -> tuple[str, ...]:  # noqa: ANN401 - a row
        return aad(key_type(*(getattr(row, field) for field in fields(key_type))))

    key = dict.fromkeys((customer, merchant, *others), "text")
    return EncryptedTable(name, key, [EncryptedColumn(column, aad_of)])


def _amendment_aad_of(row: Any) -> tuple[str, ...]:  # noqa: ANN401 - a row
    return amendment_aad(MandateKey(row.merchant, row.customer, row.mandate), row.version)


def _billing_aad_of(row: Any) -> tuple[str, ...]:  # noqa: ANN401 - a row
    return billing_details.aad(CustomerKey(row.merchant, row.customer))


def _document_key_aad_of(row: Any) -> tuple[str, ...]:  # noqa: ANN401 - a row
    return document_keys.aad(YearKey(row.merchant, row.customer, row.year))


ENCRYPTED_TABLES = (
    EncryptedTable(
        "billing_details",
        {"customer": "text", "merchant": "text"},
        [EncryptedColumn("details", _billing_aad_of)],
    ),
    EncryptedTable(
        "document_keys",
        {"customer": "text", "merchant": "text", "year": "integer"},
        [EncryptedColumn("data_key", _document_key_aad_of)],
    ),
    _table("payment_methods", "provider_token", PaymentMethodKey, token_aad),
    _table("mandates", "evidence", MandateKey, evidence_aad),
    EncryptedTable(
        "mandate_amendments",
        {"customer": "text", "merchant": "text", "mandate": "text", "version": "integer"},
        [EncryptedColumn("evidence", _amendment_aad_of)],
    ),
    _table("refunds", "note", RefundKey, note_aad),
    _table("disputes", "evidence", DisputeKey, dispute_evidence_aad),
)
