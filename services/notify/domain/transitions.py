"""What may happen to a delivery, and where it leads."""

from enum import StrEnum

from services.runtime.transitions import Transitions


class DeliveryState(StrEnum):
    """How far a notice has come on one channel."""

    PENDING = "PENDING"
    DELIVERED = "DELIVERED"
    FAILED = "FAILED"
    # Not sent, since what it says is not true any more.
    VOIDED = "VOIDED"


class DeliveryEvent(StrEnum):
    """What happens to a delivery."""

    DELIVER = "DELIVER"
    POSTPONE = "POSTPONE"
    FAIL = "FAIL"
    VOID = "VOID"


DELIVERY = Transitions(
    {
        (DeliveryState.PENDING, DeliveryEvent.DELIVER): DeliveryState.DELIVERED,
        (DeliveryState.PENDING, DeliveryEvent.POSTPONE): DeliveryState.PENDING,
        (DeliveryState.PENDING, DeliveryEvent.FAIL): DeliveryState.FAILED,
        (DeliveryState.PENDING, DeliveryEvent.VOID): DeliveryState.VOIDED,
        # A delivery that was voided while it was being sent did arrive.
        (DeliveryState.VOIDED, DeliveryEvent.DELIVER): DeliveryState.DELIVERED,
    }
)
