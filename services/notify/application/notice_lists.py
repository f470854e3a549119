"""Lists of notices: of a customer, and of what did not arrive at any of a merchant's customers."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from services.notify.application.rendering import with_texts
from services.notify.domain.notices import CustomerKey, MerchantId, Notice
from services.notify.domain.replies.inbound import SenderNumbers
from services.notify.names import ANY_CUSTOMER
from services.notify.store import contacts, notices, templates
from services.notify.store.notices import NoticeFilter
from services.notify.store.templates import MerchantKind
from services.runtime.db.pool import Connection
from services.runtime.rpc.paging import Page

_END_OF_TIME = datetime.max.replace(tzinfo=UTC)


class ListedNotice(NamedTuple):
    """A notice with its texts, and its sort keys in the list."""

    notice: Notice
    keys: tuple[str, ...]


def sort_key_count(customer: CustomerKey) -> int:
    """The number of sort keys of the list of a customer, or of all customers."""
    return 3 if customer.customer == ANY_CUSTOMER else 1


async def page_of(
    connection: Connection,
    customer: CustomerKey,
    wanted: NoticeFilter,
    page: Page,
    senders: SenderNumbers,
) -> list[ListedNotice]:
    """A customer's notices by age; of all customers, what did not arrive, the newest first.

    Raises INVALID_ARGUMENT PAGE_TOKEN_INVALID.
    """
    if customer.customer != ANY_CUSTOMER:
        after = page.after_position()
        rows = await notices.of_customer(connection, customer, wanted, after, page.limit)
        return await _with_texts(
            connection,
            customer.merchant,
            [ListedNotice(notice, (str(position),)) for position, notice in rows],
            senders,
        )
    last_customer, last_notice = page.after[1:] or ("", "")
    before = (page.after_time() or _END_OF_TIME, last_customer, last_notice)
    failed = await notices.undelivered(connection, customer.merchant, wanted, before, page.limit)
    return await _with_texts(
        connection,
        customer.merchant,
        [
            ListedNotice(notice, (due_time.isoformat(), notice.customer, notice.notice))
            for due_time, notice in failed
        ],
        senders,
    )


async def _with_texts(
    connection: Connection,
    merchant: MerchantId,
    listed: Sequence[ListedNotice],
    senders: SenderNumbers,
) -> list[ListedNotice]:
    addressees = await contacts.addressees(connection, _customers(listed))
    kinds = [MerchantKind(merchant, kind) for kind in {row.notice.kind for row in listed}]
    own = await templates.for_notices(connection, kinds)
    return [
        ListedNotice(with_texts(notice, addressees[notice.customer_key], own, senders), keys)
        for notice, keys in listed
    ]


def _customers(listed: Iterable[ListedNotice]) -> list[CustomerKey]:
    return list(dict.fromkeys(row.notice.customer_key for row in listed))
