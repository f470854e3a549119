"""Payment methods that expire: when customers are notified, and what networks renew. Pure."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import NamedTuple

from services.payments.domain.payment_methods import PaymentMethod

# The earliest notice that can be set, and the earliest look at a method.
NOTICE_DAYS_MAX = 90
NOTICE_AHEAD_MAX = timedelta(days=NOTICE_DAYS_MAX)
# A method that nothing is charged by is looked at again so much later: a mandate may come.
UNUSED_DELAY = timedelta(days=1)
UNREACHABLE_DELAY = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class ExpiringMethod(PaymentMethod):
    """A payment method that expires, as it is looked at."""

    # When it was to be looked at.
    expiry_check_time: datetime | None = None
    # Whether an active mandate is charged by it.
    in_use: bool = False
    # Whether a charge was announced for a time at which it is not valid any more.
    is_announced_beyond: bool = False


class Shown(NamedTuple):
    """What the provider shows of a payment method."""

    brand: str
    last4: str
    expire_time: datetime | None


class Checked(NamedTuple):
    """What a look at a payment method comes to."""

    method: ExpiringMethod
    # None: it is not looked at any more.
    next_check_time: datetime | None
    is_notice_due: bool = False


def first_check_time(expire_time: datetime | None) -> datetime | None:
    """When a payment method is looked at first."""
    return None if expire_time is None else expire_time - NOTICE_AHEAD_MAX


def wait_time(method: ExpiringMethod, notice_ahead: timedelta, now: datetime) -> datetime | None:
    """When a method is looked at again that is not asked about now; None: it is asked about now."""
    assert method.expire_time is not None  # noqa: S101 - what does not expire is never looked at
    notice_time = method.expire_time - notice_ahead
    if now < notice_time and not method.is_announced_beyond:
        return notice_time
    if now < method.expire_time and not method.in_use:
        return min(now + UNUSED_DELAY, method.expire_time)
    return None


def check(method: ExpiringMethod, shown: Shown | None, now: datetime) -> Checked:
    """What is done about a method that is about to expire, or has expired.

    A method that its network has renewed gives no notice. Another one gives one before it expires, and
    is looked at once more when it has.
    """
    if shown is not None and shown.expire_time != method.expire_time:
        renewed = replace(method, **shown._asdict())
        following = first_check_time(shown.expire_time)
        return Checked(renewed, None if following is None else max(following, now))
    assert method.expire_time is not None  # noqa: S101 - what does not expire is never looked at
    if now >= method.expire_time:
        return Checked(method, None)
    return Checked(method, method.expire_time, is_notice_due=True)
