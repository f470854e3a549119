"""What gateways say later of messages that they took. Pure."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from services.notify.domain.notices import (
    FAILURE_NO_RECEIPT,
    RECEIPT_POLL_MAX,
    RECEIPT_POLL_MIN,
    RECEIPT_WAIT_MIN,
    Delivery,
    Progress,
)
from services.notify.domain.transitions import DELIVERY, DeliveryEvent


class ReceiptStatus(StrEnum):
    """What became of a message."""

    # It is on its way, or the gateway could not be asked.
    UNKNOWN = "UNKNOWN"
    DELIVERED = "DELIVERED"
    FAILED = "FAILED"
    EXPIRED = "EXPIRED"


class ReceiptEffect(StrEnum):
    """What a receipt has come to."""

    STORED = "STORED"
    # What it says was known, or comes too late.
    REPEATED = "REPEATED"
    # It is about no message of ours.
    UNMATCHED = "UNMATCHED"


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a gateway says of a message."""

    status: ReceiptStatus
    # As the gateway names it.
    gateway_message: str
    failure_code: str = ""
    # Whether it failed since the address does not take messages.
    is_permanent: bool = False


_EVENTS = {
    ReceiptStatus.DELIVERED: DeliveryEvent.DELIVER,
    ReceiptStatus.FAILED: DeliveryEvent.FAIL,
    ReceiptStatus.EXPIRED: DeliveryEvent.EXPIRE,
}


def is_about(delivery: Delivery, receipt: Receipt) -> bool:
    """Whether a receipt is about the message of a delivery, as far as its id is known."""
    return delivery.gateway_message in {"", receipt.gateway_message}


def receipt_progress(delivery: Delivery, receipt: Receipt, now: datetime) -> Progress | None:
    """What a receipt about its message makes of a delivery; None: nothing, since it is over."""
    event = _EVENTS.get(receipt.status)
    failure_code = receipt.failure_code
    if event is None:
        is_over = now >= receipt_until(delivery)
        event = DeliveryEvent.EXPIRE if is_over else DeliveryEvent.AWAIT
        failure_code = FAILURE_NO_RECEIPT if is_over else delivery.failure_code
    if delivery.state not in DELIVERY.sources(event):
        return None
    return Progress(
        DELIVERY.to(delivery.state, event),
        # Who sent it may have ended before it could count that.
        max(delivery.attempt_count, 1),
        next_poll_time(delivery, now),
        deliver_time=now if event is DeliveryEvent.DELIVER else None,
        failure_code="" if event is DeliveryEvent.DELIVER else failure_code,
        is_permanent=receipt.is_permanent,
        accept_time=delivery.accept_time or now,
        gateway=delivery.gateway,
        gateway_message=receipt.gateway_message,
    )


def receipt_until(delivery: Delivery) -> datetime:
    """Until when a message that a gateway took may still arrive."""
    if delivery.accept_time is None:
        return delivery.give_up_time
    return max(delivery.give_up_time, delivery.accept_time + RECEIPT_WAIT_MIN)


def next_poll_time(delivery: Delivery, now: datetime) -> datetime:
    """When a gateway is asked again: later and later, and for the last time when it is over."""
    age = now - (delivery.accept_time or now)
    poll = now + min(max(age, RECEIPT_POLL_MIN), RECEIPT_POLL_MAX)
    until = receipt_until(delivery)
    return min(poll, until) if now < until else poll
