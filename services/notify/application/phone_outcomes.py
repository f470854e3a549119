"""What the ends of messages say of the bound phones that they went to."""

from collections.abc import Sequence
from datetime import datetime

from services.notify.application import phones
from services.notify.domain.notices import Channel, Progress, UnbindReason
from services.notify.domain.phone_changes import NUMBER_UNASSIGNED_CODES
from services.notify.domain.transitions import DeliveryState
from services.notify.store import phones as phone_store
from services.notify.store.attempts import Outgoing
from services.notify.store.phones import SmsEnded, WhichPhone
from services.notify.store.receipts import Sent
from services.runtime.db.pool import Connection

_ENDS = {DeliveryState.DELIVERED: True, DeliveryState.FAILED: False}


async def store(
    tx: Connection, results: Sequence[tuple[Outgoing | Sent, Progress]], now: datetime
) -> None:
    """Count which phones took a message and which did not, and lapse those whose number nobody has.

    The last of each customer counts.
    """
    # Only the present phone has a version.
    of_phones = [
        (WhichPhone(*it.notice.customer_key, it.address_version), result)
        for it, result in results
        if it.delivery.channel is Channel.SMS and it.address_version > 0
    ]
    ended = [
        SmsEnded(*phone, _ENDS[result.state])
        for phone, result in of_phones
        # An outage that lasts is the gateway's fault, not the phone's.
        if result.state in _ENDS and (result.deliver_time or result.is_permanent)
    ]
    unassigned = [
        phone
        for phone, result in of_phones
        if result.is_permanent and result.failure_code in NUMBER_UNASSIGNED_CODES
    ]
    await phone_store.count_sms(tx, ended, now)
    await phones.lapse(tx, unassigned, UnbindReason.NUMBER_UNASSIGNED, now)
