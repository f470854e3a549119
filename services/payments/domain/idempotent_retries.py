"""Attempts that the provider does not have: whether they may be sent once more. Pure functions."""

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from services.payments.domain.attempts import NO_MANDATE, Attempt
from services.payments.domain.charges import Charge, is_expired, method_key, present_method
from services.payments.domain.consent import Mandate, Notice
from services.payments.domain.decisions import Evidence, use_of
from services.payments.domain.declines import UNUSED, MethodUse
from services.payments.domain.guard import guard, rules_applied
from services.payments.domain.keys import MandateKey
from services.payments.domain.periods import Period
from services.payments.domain.rules import dump_applied
from services.payments.domain.verdicts import RESENDING, Verdict, verdict_on

# How far our clock and the provider's may be apart, before or behind.
CLOCKS_DIFFER_MAX = timedelta(hours=1)
# So long after an attempt began its key is relied on: only so long is it sent once more under it. The
# provider remembers a key for at least 24 hours (https://docs.stripe.com/api/idempotent_requests).
KEY_RELIED_ON = timedelta(hours=24) - CLOCKS_DIFFER_MAX


def may_resend(
    charge: Charge,
    attempt: Attempt,
    notice: Notice | None,
    mandate: Mandate | None,
    period_minor: int,
    now: datetime,
    use: MethodUse = UNUSED,
    last_charge_time: datetime | None = None,
) -> bool:
    """Whether an attempt that the provider does not have may be sent once more under its key.

    Only as the charge would be made now: still wanted, allowed by the whole guard, under the same
    mandate and method. `period_minor` leaves out the attempt itself.
    """
    present_mandate = charge.mandate_key.mandate if charge.mandate_key else NO_MANDATE
    same_terms = (present_mandate, present_method(charge, mandate)) == (
        attempt.mandate,
        attempt.payment_method,
    )
    return (
        same_terms
        and attempt.resend_time is None
        and now < attempt.start_time + KEY_RELIED_ON
        and not charge.withdrawn
        and not is_expired(charge, now)
        and not guard(charge, notice, mandate, period_minor, now, use, last_charge_time)
    )


def counted_minor(attempt: Attempt, period: Period) -> int:
    """What an attempt without a known outcome takes of a period's ceiling: wherever it may be made."""
    sent = (attempt.start_time, attempt.resend_time or attempt.start_time)
    return attempt.amount_minor if any(map(period.has, sent)) else 0


def resend_all(
    missing: Iterable[tuple[Charge, Attempt]], evidence: Evidence, now: datetime
) -> Iterator[Verdict]:
    """The permits of those attempts that may be sent once more, each against what others have taken.

    One that may not be counts in its period until it is known that it was not made.
    """
    spent_minor: Counter[MandateKey | None] = Counter(evidence.spent_minor)
    for charge, attempt in missing:
        notice, mandate = evidence.notices.get(charge.key), evidence.mandate_of(charge)
        method = method_key(charge, mandate)
        use = use_of(evidence.uses, method, mandate)
        own_minor = counted_minor(attempt, mandate.period(now)) if mandate else 0
        others_minor = spent_minor[charge.mandate_key] - own_minor
        used = evidence.last_charge_time_of(charge)
        allowed = may_resend(charge, attempt, notice, mandate, others_minor, now, use, used)
        if allowed:
            spent_minor[charge.mandate_key] += attempt.amount_minor - own_minor
            applied = rules_applied(charge, notice, mandate, now, use, used)
            held = charge._replace(applied_rules=dump_applied(applied))
            yield verdict_on(
                held, attempt.number, RESENDING, (), notice, mandate, others_minor, used, now
            )
