"""What the provider said of a payment or a refund, and when to ask again if it said nothing."""

from dataclasses import dataclass
from datetime import timedelta

from services.payments.domain.declines import DeclineClass, classify

# An unknown outcome is looked up again this long afterwards, then later and later.
RETRY_DELAY_FIRST = timedelta(seconds=30)
RETRY_DELAY_MAX = timedelta(hours=1)
# What a bank decides over days is looked up so often, if no webhook comes before.
PENDING_LOOKUP_DELAY = timedelta(days=1)
# So long a customer has to confirm a payment with their bank; until then it is looked up so often.
ACTION_WINDOW = timedelta(hours=24)
ACTION_LOOKUP_DELAY = timedelta(hours=1)
# Enough to come to the longest delay; an outage may well bring more questions than that.
_DOUBLINGS_MAX = 7


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The money moved."""

    # The provider's id of the payment or refund.
    provider_id: str


@dataclass(frozen=True, slots=True)
class Declined:
    """The money did not move and, by this attempt, never will."""

    code: str
    # Declined for good: trying the same method again is pointless, or forbidden.
    hard: bool
    provider_id: str = ""
    # What the issuer advises, as the provider names it.
    advice: str = ""

    @property
    def following(self) -> DeclineClass:
        """What can follow it; after a request that makes no sense, nothing."""
        following = classify(self.code, self.advice)
        senseless = self.hard and following is DeclineClass.LATER
        return DeclineClass.NEVER if senseless else following


@dataclass(frozen=True, slots=True)
class NotMade:
    """The provider has not made the attempt, and refuses it from now on."""

    # Whose the payment method has come to be at the provider; empty: that is as it was.
    provider_customer: str = ""


@dataclass(frozen=True, slots=True)
class Pending:
    """The provider has the payment, and says over days whether the money moved."""

    provider_id: str


@dataclass(frozen=True, slots=True)
class RequiresAction:
    """The provider waits for the customer to confirm the payment with their bank."""

    provider_id: str
    # Where they do.
    url: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """Nobody knows whether the money moved."""

    why: str
    # How the provider's answer differs from the request; empty if it does not, or there is none.
    mismatch: str = ""


# What ends an attempt.
FinalOutcome = Succeeded | Declined | NotMade
Outcome = FinalOutcome | Pending | RequiresAction | Unknown


def retry_delay(try_count: int) -> timedelta:
    """How long to wait after so many tries (from 0) without an answer."""
    doublings = min(try_count, _DOUBLINGS_MAX)
    return min(RETRY_DELAY_FIRST * (1 << doublings), RETRY_DELAY_MAX)
