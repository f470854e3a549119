"""What may happen to mandates, charges, attempts and refunds, and where it leads.

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
    # It was not paid in time: its order lapses, and the customer can pay it late.
    FALL_OVERDUE = "FALL_OVERDUE"
    ATTEMPT = "ATTEMPT"
    # The attempt brought no money, and another one will be made.
    RETRY = "RETRY"
    SUCCEED = "SUCCEED"
    # The customer's credit is enough: no attempt is made.
    PAY_BY_CREDIT = "PAY_BY_CREDIT"
    REFUSE = "REFUSE"
    ABANDON = "ABANDON"


class AttemptState(StrEnum):
    """What is known of an attempt."""

    UNKNOWN = "UNKNOWN"
    # The provider has it, and says over days what comes of it.
    PENDING = "PENDING"
    # The provider waits for the customer to confirm it with their bank.
    REQUIRES_ACTION = "REQUIRES_ACTION"
    SUCCEEDED = "SUCCEEDED"
    DECLINED = "DECLINED"
    # It never reached the provider, and never will.
    NOT_MADE = "NOT_MADE"


class AttemptEvent(StrEnum):
    """What becomes known of an attempt."""

    # The provider has taken it, and its outcome comes later.
    SUBMIT = "SUBMIT"
    # The customer has to confirm it.
    ASK = "ASK"
    SUCCEED = "SUCCEED"
    DECLINE = "DECLINE"
    # Its key was closed before the provider got it.
    CLOSE = "CLOSE"


class MandateState(StrEnum):
    """Where a mandate stands; only an ACTIVE one is charged."""

    # The customer has not consented yet.
    PENDING = "PENDING"
    ACTIVE = "ACTIVE"
    PAUSED = "PAUSED"
    REVOKED = "REVOKED"
    EXPIRED = "EXPIRED"
    # By a rule pack it was not used for too long.
    LAPSED = "LAPSED"


class MandateEvent(StrEnum):
    """What happens to a mandate."""

    CONFIRM = "CONFIRM"
    # Its terms are changed.
    AMEND = "AMEND"
    PAUSE = "PAUSE"
    RESUME = "RESUME"
    REVOKE = "REVOKE"
    EXPIRE = "EXPIRE"
    LAPSE = "LAPSE"


class RefundState(StrEnum):
    """Where a refund stands; only a failure is final, since a bank may send money back."""

    PENDING = "PENDING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"


class RefundEvent(StrEnum):
    """What becomes known of a refund."""

    SUCCEED = "SUCCEED"
    FAIL = "FAIL"


# What happens again changes nothing, and a consent can be withdrawn in any state.
MANDATE = Transitions(
    {
        (MandateState.PENDING, MandateEvent.CONFIRM): MandateState.ACTIVE,
        (MandateState.ACTIVE, MandateEvent.CONFIRM): MandateState.ACTIVE,
        (MandateState.PAUSED, MandateEvent.CONFIRM): MandateState.PAUSED,
        (MandateState.ACTIVE, MandateEvent.AMEND): MandateState.ACTIVE,
        (MandateState.PAUSED, MandateEvent.AMEND): MandateState.PAUSED,
        (MandateState.ACTIVE, MandateEvent.PAUSE): MandateState.PAUSED,
        (MandateState.PAUSED, MandateEvent.PAUSE): MandateState.PAUSED,
        (MandateState.PAUSED, MandateEvent.RESUME): MandateState.ACTIVE,
        (MandateState.ACTIVE, MandateEvent.RESUME): MandateState.ACTIVE,
        (MandateState.PENDING, MandateEvent.EXPIRE): MandateState.EXPIRED,
        (MandateState.ACTIVE, MandateEvent.EXPIRE): MandateState.EXPIRED,
        (MandateState.PAUSED, MandateEvent.EXPIRE): MandateState.EXPIRED,
        (MandateState.ACTIVE, MandateEvent.LAPSE): MandateState.LAPSED,
        (MandateState.PAUSED, MandateEvent.LAPSE): MandateState.LAPSED,
        **{(state, MandateEvent.REVOKE): MandateState.REVOKED for state in MandateState},
    }
)
CHARGE = Transitions(
    {
        (ChargeState.SCHEDULED, ChargeEvent.REQUEST): ChargeState.REQUESTED,
        (ChargeState.SCHEDULED, ChargeEvent.ATTEMPT): ChargeState.IN_FLIGHT,
        (ChargeState.SCHEDULED, ChargeEvent.PAY_BY_CREDIT): ChargeState.SUCCEEDED,
        (ChargeState.SCHEDULED, ChargeEvent.REFUSE): ChargeState.REFUSED,
        (ChargeState.SCHEDULED, ChargeEvent.ABANDON): ChargeState.ABANDONED,
        (ChargeState.SCHEDULED, ChargeEvent.FALL_OVERDUE): ChargeState.REQUESTED,
        (ChargeState.REQUESTED, ChargeEvent.FALL_OVERDUE): ChargeState.REQUESTED,
        (ChargeState.IN_FLIGHT, ChargeEvent.FALL_OVERDUE): ChargeState.REQUESTED,
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
        (AttemptState.UNKNOWN, AttemptEvent.SUBMIT): AttemptState.PENDING,
        (AttemptState.UNKNOWN, AttemptEvent.SUCCEED): AttemptState.SUCCEEDED,
        (AttemptState.UNKNOWN, AttemptEvent.DECLINE): AttemptState.DECLINED,
        (AttemptState.UNKNOWN, AttemptEvent.CLOSE): AttemptState.NOT_MADE,
        (AttemptState.PENDING, AttemptEvent.SUBMIT): AttemptState.PENDING,
        (AttemptState.PENDING, AttemptEvent.SUCCEED): AttemptState.SUCCEEDED,
        (AttemptState.PENDING, AttemptEvent.DECLINE): AttemptState.DECLINED,
        (AttemptState.UNKNOWN, AttemptEvent.ASK): AttemptState.REQUIRES_ACTION,
        (AttemptState.REQUIRES_ACTION, AttemptEvent.ASK): AttemptState.REQUIRES_ACTION,
        (AttemptState.REQUIRES_ACTION, AttemptEvent.SUBMIT): AttemptState.PENDING,
        (AttemptState.REQUIRES_ACTION, AttemptEvent.SUCCEED): AttemptState.SUCCEEDED,
        (AttemptState.REQUIRES_ACTION, AttemptEvent.DECLINE): AttemptState.DECLINED,
    }
)
# Those whose outcome is not known, and which may have taken money.
OPEN_ATTEMPTS = frozenset(
    {AttemptState.UNKNOWN, AttemptState.PENDING, AttemptState.REQUIRES_ACTION}
)
REFUND = Transitions(
    {
        (RefundState.PENDING, RefundEvent.SUCCEED): RefundState.SUCCEEDED,
        (RefundState.PENDING, RefundEvent.FAIL): RefundState.FAILED,
        (RefundState.SUCCEEDED, RefundEvent.SUCCEED): RefundState.SUCCEEDED,
        (RefundState.SUCCEEDED, RefundEvent.FAIL): RefundState.FAILED,
    }
)
