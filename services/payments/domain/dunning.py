"""What follows a decline: a merchant's policy as data. Pure.

Sources of the published schedules, read on 2026-11-29: `org.killbill.payment.retry.days` of Kill Bill's
PaymentConfig.java, 8,8,8; https://docs.messagecloud.com/article/53-retries, of Payforit's monthly
subscriptions: three retries, a week apart.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from services.payments.domain.keys import MerchantId

RETRIES_MAX = 10
RETRY_DAYS_MAX = 60
# Of a request to pay that an automatic charge ends in.
ASK_TO_PAY_DAYS_MAX = 60
# Before a request to pay ends; a merchant may say other times.
REMINDER_HOURS = (24,)
ONE_DAY = timedelta(days=1)


class RetrySchedule(StrEnum):
    """When a declined charge is tried again."""

    STANDARD = "STANDARD"
    KILL_BILL = "KILL_BILL"
    PAYFORIT = "PAYFORIT"
    CUSTOM = "CUSTOM"


# Days from each decline to the retry after it.
PUBLISHED_DAYS = {
    RetrySchedule.STANDARD: (1, 3, 5),
    RetrySchedule.KILL_BILL: (8, 8, 8),
    RetrySchedule.PAYFORIT: (7, 7, 7),
}


@dataclass(frozen=True, slots=True)
class DunningPolicy:
    """A merchant's policy; each merchant has one."""

    merchant: MerchantId
    schedule: RetrySchedule = RetrySchedule.STANDARD
    # Days from each decline to the retry after it; none: it is not tried again.
    retry_days: tuple[int, ...] = PUBLISHED_DAYS[RetrySchedule.STANDARD]
    # The hour of the customer's day at which it is tried again; None: that of the decline.
    retry_hour: int | None = None
    # Weekdays (1: Monday) on which it is tried again; none: any.
    weekdays: tuple[int, ...] = ()
    # Whether the next of the customer's fallbacks is charged at once after a decline.
    uses_fallbacks: bool = True
    # Whether what needs another payment method waits for it until the last retry.
    awaits_new_method: bool = False
    # After its last retry a charge becomes a request to pay, for so many days; 0: it is over.
    ask_to_pay_days: int = 0
    # So many hours before a request to pay ends its customer is reminded.
    reminder_hours: tuple[int, ...] = REMINDER_HOURS
    # The merchant's page on which customers pay: a link is this and a token. Empty: no links are sent.
    payment_page_uri: str = ""
    version: int = 0

    def retry_time(self, retry_count: int, time_zone: str, now: datetime) -> datetime | None:
        """When a charge that was tried again so often is tried the next time; None: never."""
        if retry_count >= len(self.retry_days):
            return None
        moment = now + timedelta(days=self.retry_days[retry_count])
        if self.retry_hour is None and not self.weekdays:
            return moment
        local = moment.astimezone(ZoneInfo(time_zone))
        if self.retry_hour is not None:
            local = local.replace(hour=self.retry_hour, minute=0, second=0, microsecond=0, fold=0)
        while self.weekdays and local.isoweekday() not in self.weekdays:
            local += ONE_DAY
        return local.astimezone(now.tzinfo)


# Of a merchant that has set none.
STANDARD = DunningPolicy(MerchantId(""))
