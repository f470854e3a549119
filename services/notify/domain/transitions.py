"""What may happen to deliveries and phone codes, and where it leads.

The database has guards of its own: the CHECK of each table allows these states, and its trigger refuses
whatever leads out of a final one.
"""

from enum import StrEnum

from services.runtime.transitions import Transitions


class DeliveryState(StrEnum):
    """How far a notice has come on one channel."""

    PENDING = "PENDING"
    # A gateway has it, and has not said yet whether it arrived.
    ACCEPTED = "ACCEPTED"
    DELIVERED = "DELIVERED"
    FAILED = "FAILED"
    # A gateway had it, and nobody knows whether it arrived.
    EXPIRED = "EXPIRED"
    # Not sent, since what it says is not true any more.
    VOIDED = "VOIDED"


class DeliveryEvent(StrEnum):
    """What happens to a delivery."""

    ACCEPT = "ACCEPT"
    DELIVER = "DELIVER"
    POSTPONE = "POSTPONE"
    # No receipt yet.
    AWAIT = "AWAIT"
    FAIL = "FAIL"
    EXPIRE = "EXPIRE"
    VOID = "VOID"


class CodeState(StrEnum):
    """What a phone code is good for."""

    PENDING = "PENDING"
    USED = "USED"
    VOID = "VOID"


class CodeEvent(StrEnum):
    """What happens to a phone code."""

    USE = "USE"
    # A wrong guess that leaves others.
    MISS = "MISS"
    VOID = "VOID"


DELIVERY = Transitions(
    {
        (DeliveryState.PENDING, DeliveryEvent.ACCEPT): DeliveryState.ACCEPTED,
        (DeliveryState.PENDING, DeliveryEvent.DELIVER): DeliveryState.DELIVERED,
        (DeliveryState.PENDING, DeliveryEvent.POSTPONE): DeliveryState.PENDING,
        (DeliveryState.PENDING, DeliveryEvent.FAIL): DeliveryState.FAILED,
        # A receipt can come before the answer to the request is stored.
        (DeliveryState.PENDING, DeliveryEvent.EXPIRE): DeliveryState.EXPIRED,
        (DeliveryState.PENDING, DeliveryEvent.VOID): DeliveryState.VOIDED,
        (DeliveryState.ACCEPTED, DeliveryEvent.AWAIT): DeliveryState.ACCEPTED,
        (DeliveryState.ACCEPTED, DeliveryEvent.DELIVER): DeliveryState.DELIVERED,
        (DeliveryState.ACCEPTED, DeliveryEvent.FAIL): DeliveryState.FAILED,
        (DeliveryState.ACCEPTED, DeliveryEvent.EXPIRE): DeliveryState.EXPIRED,
        # A delivery that was voided while it was being sent did arrive.
        (DeliveryState.VOIDED, DeliveryEvent.DELIVER): DeliveryState.DELIVERED,
    }
)
PHONE_CODE = Transitions(
    {
        (CodeState.PENDING, CodeEvent.USE): CodeState.USED,
        (CodeState.PENDING, CodeEvent.MISS): CodeState.PENDING,
        (CodeState.PENDING, CodeEvent.VOID): CodeState.VOID,
    }
)
