"""What may happen to charges, attempts and refunds, and where it leads.

The database has guards of its own: the CHECK of each table allows these states, and its trigger refuses
whatever leads out of a final one.
"""

from enum import StrEnum

from services.runtime.transitions import Transitions


class ChargeState(StrEnum):
    """Where a charge stands; the last three are final."""

    SCHEDULED = "SCHEDULED"
    REQUESTED = "REQUESTED"
    IN_FLIGHT = "IN_FLIGHT"
    SUCCEEDED = "SUCCEEDED"
    REFUSED = "REFUSED"
    ABANDONED = "ABANDONED"


class ChargeEvent(StrEnum):
    """What happens to a charge."""

    # The customer has to confirm it.
    REQUEST = "REQUEST"
    CONFIRM = "CONFIRM"
    ATTEMPT = "ATTEMPT"
    # The attempt brought no money, and another one will be made.
    RETRY = "RETRY"
    SUCCEED = "SUCCEED"
    REFUSE = "REFUSE"
    ABANDON = "ABANDON"


class AttemptState(StrEnum):
    """What is known of an attempt."""

    UNKNOWN = "UNKNOWN"
    SUCCEEDED = "SUCCEEDED"
    DECLINED = "DECLINED"
    # It never reached the provider, and never will.
    NOT_MADE = "NOT_MADE"


class AttemptEvent(StrEnum):
    """What becomes known of an attempt."""

    SUCCEED = "SUCCEED"
    DECLINE = "DECLINE"
    # Its key was closed before the provider got it.
    CLOSE = "CLOSE"


class RefundState(StrEnum):
    """Where a refund stands; only a failure is final, since a bank may send money back."""

    PENDING = "PENDING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"


class RefundEvent(StrEnum):
    """What becomes known of a refund."""

    SUCCEED = "SUCCEED"
    FAIL = "FAIL"


CHARGE = Transitions(
    {
        (ChargeState.SCHEDULED, ChargeEvent.REQUEST): ChargeState.REQUESTED,
        (ChargeState.SCHEDULED, ChargeEvent.ATTEMPT): ChargeState.IN_FLIGHT,
        (ChargeState.SCHEDULED, ChargeEvent.REFUSE): ChargeState.REFUSED,
        (ChargeState.SCHEDULED, ChargeEvent.ABANDON): ChargeState.ABANDONED,
        (ChargeState.REQUESTED, ChargeEvent.CONFIRM): ChargeState.SCHEDULED,
        (ChargeState.REQUESTED, ChargeEvent.ABANDON): ChargeState.ABANDONED,
        (ChargeState.IN_FLIGHT, ChargeEvent.SUCCEED): ChargeState.SUCCEEDED,
        (ChargeState.IN_FLIGHT, ChargeEvent.RETRY): ChargeState.SCHEDULED,
        (ChargeState.IN_FLIGHT, ChargeEvent.REQUEST): ChargeState.REQUESTED,
        (ChargeState.IN_FLIGHT, ChargeEvent.ABANDON): ChargeState.ABANDONED,
    }
)
ATTEMPT = Transitions(
    {
        (AttemptState.UNKNOWN, AttemptEvent.SUCCEED): AttemptState.SUCCEEDED,
        (AttemptState.UNKNOWN, AttemptEvent.DECLINE): AttemptState.DECLINED,
        (AttemptState.UNKNOWN, AttemptEvent.CLOSE): AttemptState.NOT_MADE,
    }
)
REFUND = Transitions(
    {
        (RefundState.PENDING, RefundEvent.SUCCEED): RefundState.SUCCEEDED,
        (RefundState.PENDING, RefundEvent.FAIL): RefundState.FAILED,
        (RefundState.SUCCEEDED, RefundEvent.SUCCEED): RefundState.SUCCEEDED,
        (RefundState.SUCCEEDED, RefundEvent.FAIL): RefundState.FAILED,
    }
)
