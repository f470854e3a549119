"""Where notify's personal data are."""

from services.notify.domain.notices import CustomerKey, NoticeKey
from services.notify.domain.replies.inbound import InboundKey
from services.notify.domain.webhooks import EndpointKey
from services.notify.store import (
    codes,
    contacts,
    deliveries,
    facts,
    inbound,
    webhook_endpoints,
    webhook_sending,
)
from services.runtime.db.key_rotation import EncryptedColumn, EncryptedTable, HashedColumn

_CUSTOMER = {"customer": "text", "merchant": "text"}
_NOTICE = {**_CUSTOMER, "notice": "text"}


def _of_contact(column: str) -> EncryptedColumn:
    return EncryptedColumn(
        column, lambda row: contacts.aad(CustomerKey(row.merchant, row.customer), column)
    )


def _of_delivery(column: str) -> EncryptedColumn:
    return EncryptedColumn(
        column,
        lambda row: deliveries.aad(
            NoticeKey(row.merchant, row.customer, row.notice), row.channel, column
        ),
    )


def _of_inbound(column: str) -> EncryptedColumn:
    return EncryptedColumn(
        column, lambda row: inbound.aad(InboundKey(row.gateway, row.gateway_message), column)
    )


def _of_endpoint(column: str) -> EncryptedColumn:
    return EncryptedColumn(
        column,
        lambda row: webhook_endpoints.aad(EndpointKey(row.merchant, row.endpoint), column),
    )


ENCRYPTED_TABLES = (
    EncryptedTable(
        "contacts",
        _CUSTOMER,
        [*map(_of_contact, contacts.ENCRYPTED_COLUMNS)],
        hashes=[
            HashedColumn(
                "phone_index", _of_contact("phone"), lambda row: contacts.index_aad(row.merchant)
            ),
            HashedColumn("reply_index", _of_contact("phone"), lambda _: contacts.REPLY_INDEX_AAD),
        ],
    ),
    EncryptedTable(
        "phone_codes",
        _NOTICE,
        [
            EncryptedColumn(
                "phone", lambda row: codes.aad(NoticeKey(row.merchant, row.customer, row.notice))
            )
        ],
    ),
    EncryptedTable(
        "notices",
        _NOTICE,
        [
            EncryptedColumn(
                "facts", lambda row: facts.aad(NoticeKey(row.merchant, row.customer, row.notice))
            )
        ],
    ),
    EncryptedTable(
        "deliveries",
        {**_NOTICE, "channel": "text"},
        [*map(_of_delivery, ("subject", "text", "secret_text", "own_address"))],
    ),
    EncryptedTable(
        "inbound_messages",
        {"gateway": "text", "gateway_message": "text"},
        [*map(_of_inbound, inbound.ENCRYPTED_COLUMNS)],
    ),
    EncryptedTable(
        "webhook_endpoints",
        {"merchant": "text", "endpoint": "text"},
        [*map(_of_endpoint, webhook_endpoints.ENCRYPTED_COLUMNS)],
    ),
    EncryptedTable(
        "webhook_attempts",
        {"merchant": "text", "endpoint": "text", "event_id": "uuid", "number": "int"},
        [
            EncryptedColumn(
                "answer",
                lambda row: webhook_sending.aad(
                    EndpointKey(row.merchant, row.endpoint), row.event_id, row.number
                ),
            )
        ],
    ),
)
