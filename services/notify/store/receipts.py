"""Deliveries that a gateway has taken, and what receipts make of them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from services.notify.domain.notices import (
    Channel,
    CustomerId,
    Delivery,
    DeliveryKey,
    MerchantId,
    Notice,
    NoticeId,
    NoticeKey,
)
from services.notify.store.deliveries import DeliveryRow, Texts, delivery_of
from services.notify.store.notices import NoticeRow, notice_of
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Query


class Accepted(NamedTuple):
    """A message that a gateway has, and is to be asked about."""

    merchant: MerchantId
    customer: CustomerId
    notice: NoticeId
    channel: Channel
    gateway: str
    gateway_message: str
    traceparent: str

    @property
    def key(self) -> DeliveryKey:
        """Which delivery it is."""
        return DeliveryKey(self.merchant, self.customer, self.notice, self.channel)


_DUE = Query(
    """
    SELECT merchant, customer, notice, channel, gateway, gateway_message, traceparent
    FROM (
        SELECT due.* FROM unnest(CAST(:buckets AS smallint[])) AS leased (bucket)
        CROSS JOIN LATERAL (
            SELECT merchant, customer, notice, channel, gateway, gateway_message FROM deliveries
            WHERE state = 'ACCEPTED' AND bucket = leased.bucket AND next_attempt_time <= :now
            ORDER BY next_attempt_time LIMIT :limit) AS due
        LIMIT :limit) AS due
    JOIN notices USING (customer, merchant, notice)
""",
    Accepted,
)


# The fields of NoticeRow come first, then the others of DeliveryRow, then its own.
@dataclass
class _SentRow(DeliveryRow, NoticeRow):
    """A delivery with its notice, and to which of the customer's phones it went."""

    address_version: int


# The phone that was bound when a message was sent, unless another is now.
_SENT = Query(
    """
    SELECT merchant, customer, notice, notices.position, notices.kind, notices.subject_resource,
           notices.promised_amount_minor, notices.promised_currency, notices.charge_not_before,
           notices.notice_lead, notices.billing_mode, notices.traceparent, notices.occur_time,
           notices.create_time, notices.price, notices.price_announce_time,
           notices.standing_orders, notices.facts, notices.original_notice,
           channel, main, deliveries.state, subject, text, NULL AS secret_text, next_attempt_time,
           give_up_time, attempt_count, deliver_time, failure_code, deliveries.expire_time,
           deliveries.locale, deliveries.template, evidence, accept_time, gateway,
           gateway_message, digest_notice,
           CASE WHEN channel = 'SMS' AND notices.kind <> 'PHONE_CODE' AND own_address IS NULL
                     AND contacts.bind_time <= coalesce(accept_time, next_attempt_time)
                THEN contacts.bind_count ELSE 0 END AS address_version
    FROM unnest(
        CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:notice AS text[]),
        CAST(:channel AS text[]))
      AS named (merchant, customer, notice, channel)
    JOIN deliveries USING (customer, merchant, notice, channel)
    JOIN notices USING (customer, merchant, notice)
    LEFT JOIN contacts USING (customer, merchant)
""",
    _SentRow,
)


@dataclass(frozen=True, slots=True)
class Sent:
    """A delivery that went out, without its texts, and to which of the customer's phones."""

    notice: Notice
    delivery: Delivery
    address_version: int

    @property
    def key(self) -> DeliveryKey:
        """Which it is."""
        return DeliveryKey(*self.notice.key, self.delivery.channel)


async def due(tx: Connection, buckets: Sequence[int], now: datetime, limit: int) -> list[Accepted]:
    """A batch of what gateways are to be asked about now."""
    return await _DUE.all(tx, buckets=buckets, now=now, limit=limit)


async def sent(tx: Connection, keys: Collection[DeliveryKey]) -> list[Sent]:
    """Those of the deliveries that exist."""
    rows = await _SENT.all_for(tx, keys)
    return [_sent(tx, row) for row in rows]


def _sent(tx: Connection, row: _SentRow) -> Sent:
    key = NoticeKey(row.merchant, row.customer, row.notice)
    delivery = delivery_of(row, Texts("", "", None))
    assert key == row.key  # noqa: S101 - of the same row
    return Sent(notice_of(tx, row, (delivery,), readable=False), delivery, row.address_version)
