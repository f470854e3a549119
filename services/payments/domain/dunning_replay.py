"""What a policy on declines would have brought, replayed over declines of the past. Pure.

History says how the retries of a charge ended that were made, and nothing of any other moment. So a
retry is taken to be declined until the last one that was, and between that and the payment; from the
payment on it is taken to succeed. What would have been tried after the last retry of a charge that was
never paid is unknown, and never counted as recovered.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from services.payments.domain.declines import DeclineClass, classify
from services.payments.domain.dunning import DunningPolicy

# Retries so far apart are taken to end alike: what a policy moves is an hour of the day.
ALIKE = timedelta(hours=12)
# What was tried so soon after a decline was the customer's next payment method.
AT_ONCE = timedelta(hours=1)
ONE_DAY = timedelta(days=1)


class RetryOutcome(StrEnum):
    """How a replayed retry ends."""

    DECLINED = "DECLINED"
    RECOVERED = "RECOVERED"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True)
class DeclinedCharge:
    """A charge whose first attempt was declined, with all of its attempts."""

    amount_minor: int
    currency: str
    time_zone: str
    # Of the first decline.
    decline_code: str
    # When each attempt began, and whether it succeeded, in their order; what was not made is left out.
    start_times: Sequence[datetime]
    succeeded: Sequence[bool]

    @property
    def first_time(self) -> datetime:
        """When it was declined first."""
        return self.start_times[0]

    @property
    def pay_time(self) -> datetime | None:
        """When it was paid after all."""
        return self.start_times[-1] if self.succeeded[-1] else None

    @property
    def last_decline_time(self) -> datetime:
        """When it was declined last."""
        return self.start_times[-2] if self.succeeded[-1] else self.start_times[-1]

    @property
    def decline_class(self) -> DeclineClass:
        """What can follow the first decline."""
        return classify(self.decline_code)


@dataclass(slots=True)
class Totals:
    """Charges and their amounts, by currency."""

    charge_count: int = 0
    amount_minor: Counter[str] = field(default_factory=Counter)

    def add(self, charge: DeclinedCharge) -> None:
        """Count a charge."""
        self.charge_count += 1
        self.amount_minor[charge.currency] += charge.amount_minor


@dataclass(slots=True)
class Replay:
    """What a policy would have brought, and what history did."""

    declined: Totals = field(default_factory=Totals)
    recovered_in_fact: Totals = field(default_factory=Totals)
    recovered: Totals = field(default_factory=Totals)
    unknown: Totals = field(default_factory=Totals)
    # By the number of the retry, from 1, and its outcome. What was tried at once is number 0.
    retries: Counter[tuple[int, RetryOutcome]] = field(default_factory=Counter)
    # In fact: by class and whole days since the first decline, the retries and what they recovered.
    tried: Counter[tuple[DeclineClass, int]] = field(default_factory=Counter)
    paid: Counter[tuple[DeclineClass, int]] = field(default_factory=Counter)


def replay(charges: Iterable[DeclinedCharge], policy: DunningPolicy) -> Replay:
    """Replay a policy over charges that were declined."""
    result = Replay()
    for charge in charges:
        result.declined.add(charge)
        if charge.pay_time is not None:
            result.recovered_in_fact.add(charge)
        for start_time, succeeded in list(zip(charge.start_times, charge.succeeded, strict=True))[
            1:
        ]:
            delay = (charge.decline_class, (start_time - charge.first_time) // ONE_DAY)
            result.tried[delay] += 1
            result.paid[delay] += succeeded
        last = RetryOutcome.DECLINED
        for number, outcome in retries_of(charge, policy):
            result.retries[number, outcome] += 1
            last = outcome
        if last is RetryOutcome.RECOVERED:
            result.recovered.add(charge)
        elif last is RetryOutcome.UNKNOWN:
            result.unknown.add(charge)
    return result


def retries_of(charge: DeclinedCharge, policy: DunningPolicy) -> Iterator[tuple[int, RetryOutcome]]:
    """The retries that a policy makes of a charge, each with how it ends; none follows a payment, or
    what is not known.
    """
    following, pay_time = charge.decline_class, charge.pay_time
    if following is DeclineClass.NEVER:
        return
    if policy.uses_fallbacks and pay_time and pay_time - charge.first_time <= AT_ONCE:
        yield 0, RetryOutcome.RECOVERED
        return
    if following is not DeclineClass.LATER and not policy.awaits_new_method:
        return
    now = charge.first_time
    for count in range(len(policy.retry_days)):
        retry_time = policy.retry_time(count, charge.time_zone, now)
        if retry_time is None:
            return
        outcome = _outcome_at(charge, retry_time)
        yield count + 1, outcome
        if outcome is not RetryOutcome.DECLINED:
            return
        now = retry_time


def _outcome_at(charge: DeclinedCharge, retry_time: datetime) -> RetryOutcome:
    """How a retry would have ended at an instant, as far as what was tried says so."""
    if charge.pay_time is not None:
        paid = retry_time >= charge.pay_time - ALIKE
        return RetryOutcome.RECOVERED if paid else RetryOutcome.DECLINED
    tried = retry_time <= charge.last_decline_time + ALIKE
    return RetryOutcome.DECLINED if tried else RetryOutcome.UNKNOWN
