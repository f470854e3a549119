"""Keys as the parameters of statements."""

from collections.abc import Collection
from typing import NamedTuple

from services.notify.domain.notices import CustomerId, CustomerKey, MerchantId, NoticeId

NoticeKey = tuple[CustomerKey, NoticeId]


class NoticeRow(NamedTuple):
    """The key of a notice."""

    merchant: MerchantId
    customer: CustomerId
    notice: NoticeId


def of_customer(key: CustomerKey) -> dict[str, str]:
    """The columns of one customer."""
    return {"merchant": key.merchant, "customer": key.customer}


def of_customers(keys: Collection[CustomerKey]) -> dict[str, list[str]]:
    """The columns of many customers, an array each."""
    return {
        "merchant": [key.merchant for key in keys],
        "customer": [key.customer for key in keys],
    }


def of_notices(keys: Collection[NoticeKey]) -> dict[str, list[str]]:
    """The columns of many notices, an array each."""
    return {
        **of_customers([customer for customer, _ in keys]),
        "notice": [notice for _, notice in keys],
    }


def notice_key(row: NoticeRow) -> NoticeKey:
    """The notice that a row names."""
    return CustomerKey(row.merchant, row.customer), row.notice
