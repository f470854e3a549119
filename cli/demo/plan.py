"""The plan of the demo: what happens when, and the expected result.

Everything is a function of the start. The dates are computed here a
second time, in the simplest way, so that the check is independent of the scheduler.
"""

import calendar
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from recurring.scheduler.v1.scheduler_pb2 import Order, OrderReason

ZONE = "Europe/Berlin"
CURRENCY = "EUR"
DUE_LOCAL_TIME = time(9, 0)
DEMO_DAYS = 193
START_DAY = 7
NOTICE_LEAD = timedelta(hours=72)

# What things cost, in minor units.
COFFEE_MINOR = 12_50
COFFEE_AFTER_DROP_MINOR = 11_00
COFFEE_AFTER_RISE_MINOR = 13_00
BOX_MINOR = 18_50
LENSES_MINOR = 29_90
REFUND_MINOR = 5_00
# Ada signs up with a code, which takes something off her first orders.
PROMOTION_BPS = 1000
PROMOTION_CYCLES = 4
# Coffee is sold with the reduced German VAT, which its price includes.
VAT_PPM = 70_000
REGION = "DE"
SHOP_ADDRESS = ("Marktplatz 1", "10117 Berlin")
CUSTOMERS_ADDRESS = ("Musterstraße 1", "10115 Berlin")

# When things happen, in days after the beginning.
PRICE_DROP_DAY = 40
PRICE_RISE_ANNOUNCE_DAY = 75
PRICE_RISE_DAY = 76
# Longer than any month, so that one monthly cycle always falls due between the two.
INCREASE_NOTICE_DAYS = 45
PAUSE_DAY = 80
REFUND_DAY = 100
# Before the merchant announces the rise.
PREVIEWS_BEFORE = timedelta(hours=1)
RESUME_DAY = 110
RESTOCK_DAY = 125
DAN_CANCEL_DAY = 160
BEN_CANCEL_DAY = 176

ADA_CYCLES = 6
ADA_BAGS = 2
ADA_MONTH_DAY = 31
BEN_FIRST_DAY = 9
BEN_EVERY_WEEKS = 2
BEN_LAPSED_CYCLE = 4
BEN_SKIPPED_CYCLE = 7
BEN_REACTS_AFTER = timedelta(hours=3)
BEN_SKIPS_BEFORE = timedelta(days=4)
CLEO_MONTH_DAY = 15
CLEO_END_DAY = 185
CLEO_SKIPPED_CYCLE = 3
# Less than the notice lead: the order is announced already, and is withdrawn.
CLEO_SKIPS_BEFORE = timedelta(hours=24)
DAN_FIRST_DAY = 8
DAN_EVERY_DAYS = 30
DAN_LOCKED_CYCLES = 12
EVE_FIRST_DAY = 10
EVE_EVERY_DAYS = 60
EVE_CYCLES = 3
# Her first card is declined; she gives another one before it is tried again.
EVE_MENDS_AFTER = timedelta(hours=3)
# Her second order is paid from her bank account, and the bank sends it back days after it was paid.
EVE_ACCOUNT_DAY = 20
EVE_CARD_DAY = 95
# She disputes what she paid for her third order, and the merchant answers.
EVE_DISPUTES_AFTER = timedelta(days=2)
ANSWERED_AFTER = timedelta(days=3)

BOXES_AT_FIRST = 10
BOXES_LOW = 4
BOXES_RESTOCKED = 10


@dataclass(frozen=True, slots=True)
class Expected:
    """What one cycle must have become."""

    due_time: datetime
    state: Order.State.ValueType
    # In minor units; None when nothing was to be paid.
    amount_minor: int | None = None
    reason: OrderReason.ValueType | None = None


class Plan:
    """The dates of a demo that starts at a moment."""

    def __init__(self, start: datetime) -> None:
        self.start = start
        self.first_date = start.astimezone(ZoneInfo(ZONE)).date()

    def date(self, day: int) -> date:
        """The date so many days after the beginning."""
        return self.first_date + timedelta(days=day)

    def noon(self, day: int) -> datetime:
        """When the participants act, so many days after the start."""
        return _local(self.date(day), time(12, 0))

    @property
    def end(self) -> datetime:
        """The end of the demo."""
        return self.noon(DEMO_DAYS)

    def ada_dues(self) -> list[datetime]:
        """The last days of six months."""
        return _monthly(self.date(START_DAY), ADA_MONTH_DAY)[:ADA_CYCLES]

    def ben_dues(self) -> list[datetime]:
        """Every second week until he cancels, the cycle that was just announced to him included."""
        last = self.noon(BEN_CANCEL_DAY) + NOTICE_LEAD
        return _every_days(self.date(BEN_FIRST_DAY), BEN_EVERY_WEEKS * 7, last)

    def cleo_dues(self) -> list[datetime]:
        """The 15th of each month up to her end date."""
        end = self.date(CLEO_END_DAY)
        dues = _monthly(self.date(START_DAY), CLEO_MONTH_DAY)
        return [due for due in dues if due.astimezone(ZoneInfo(ZONE)).date() <= end]

    def dan_dues(self) -> list[datetime]:
        """Every thirty days until he cancels."""
        return _every_days(self.date(DAN_FIRST_DAY), DAN_EVERY_DAYS, self.noon(DAN_CANCEL_DAY))

    def eve_dues(self) -> list[datetime]:
        """Every sixty days, three times."""
        return _every_days(self.date(EVE_FIRST_DAY), EVE_EVERY_DAYS, self.end)[:EVE_CYCLES]

    def coffee_minor(self, moment: datetime) -> int:
        """What a bag costs a subscriber at a moment, in minor units.

        The drop counts at once; the rise when its notice period is over.
        """
        if moment >= self.noon(PRICE_RISE_ANNOUNCE_DAY) + timedelta(days=INCREASE_NOTICE_DAYS):
            return COFFEE_AFTER_RISE_MINOR
        return COFFEE_AFTER_DROP_MINOR if moment >= self.noon(PRICE_DROP_DAY) else COFFEE_MINOR

    def expected(self) -> dict[str, list[Expected]]:
        """What every cycle must have become, by the first name of its customer."""
        return {
            "Ada": [self._ada(cycle, due) for cycle, due in enumerate(self.ada_dues(), 1)],
            "Ben": [self._ben(cycle, due) for cycle, due in enumerate(self.ben_dues(), 1)],
            "Cleo": [
                _skipped(due) if cycle == CLEO_SKIPPED_CYCLE else _paid(due, LENSES_MINOR)
                for cycle, due in enumerate(self.cleo_dues(), 1)
            ],
            "Dan": [self._dan(due) for due in self.dan_dues()],
            "Eve": [_paid(due, LENSES_MINOR) for due in self.eve_dues()],
        }

    def _ada(self, cycle: int, due: datetime) -> Expected:
        amount_minor = ADA_BAGS * self.coffee_minor(due)
        off_bps = PROMOTION_BPS if cycle <= PROMOTION_CYCLES else 0
        return _paid(due, amount_minor - amount_minor * off_bps // 10_000)

    def _ben(self, cycle: int, due: datetime) -> Expected:
        if cycle == BEN_LAPSED_CYCLE:
            return Expected(due, Order.LAPSED, reason=OrderReason.PAYMENT_REQUEST_EXPIRED)
        if cycle == BEN_SKIPPED_CYCLE:
            return _skipped(due)
        if due > self.noon(BEN_CANCEL_DAY):
            return Expected(due, Order.CANCELLED, reason=OrderReason.STANDING_ORDER_CANCELLED)
        return _paid(due, BOX_MINOR)

    def _dan(self, due: datetime) -> Expected:
        if self.noon(PAUSE_DAY) <= due <= self.noon(RESUME_DAY):
            return Expected(due, Order.SKIPPED, reason=OrderReason.PAUSED)
        # His price is locked: drops reach him, the rise does not.
        return _paid(due, min(self.coffee_minor(due), COFFEE_MINOR))


def _paid(due: datetime, amount_minor: int) -> Expected:
    return Expected(due, Order.PAID, amount_minor)


def _skipped(due: datetime) -> Expected:
    return Expected(due, Order.SKIPPED, reason=OrderReason.SKIPPED_BY_CUSTOMER)


def _local(day: date, local_time: time) -> datetime:
    return datetime.combine(day, local_time, ZoneInfo(ZONE)).astimezone(UTC)


def _monthly(first_date: date, month_day: int) -> list[datetime]:
    """A year of monthly dates; a day that a month lacks is its last."""
    dates = []
    for months in range(13):
        year, month = divmod(first_date.year * 12 + first_date.month - 1 + months, 12)
        length_days = calendar.monthrange(year, month + 1)[1]
        dates.append(date(year, month + 1, min(month_day, length_days)))
    return [_local(day, DUE_LOCAL_TIME) for day in dates if day >= first_date]


def _every_days(first_date: date, every_days: int, last: datetime) -> list[datetime]:
    dues = []
    due = _local(first_date, DUE_LOCAL_TIME)
    while due <= last:
        dues.append(due)
        first_date += timedelta(days=every_days)
        due = _local(first_date, DUE_LOCAL_TIME)
    return dues
