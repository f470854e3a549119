"""Revenue over the period that is paid for: deferred when it is sold, recognized day by day. Pure.

What is deferred is spread evenly over the days that are left of the period. No day is ahead of its
share, nor a minor unit behind, and the last one takes the rest. What is given back is taken from what
is deferred and from what is recognized in proportion; what comes back is returned to where it was taken
from. Days of a period are dates of the customer's zone, and are booked on the same dates of the ledger.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum

from services.payments.domain.accounts import DEFERRED_REVENUE, DISPUTES, REFUNDS, REVENUE
from services.payments.domain.charges import Charge
from services.payments.domain.keys import ChargeId, ChargeKey, CustomerId, MerchantId
from services.payments.domain.transfers import Transfer, shares

_DAY = timedelta(days=1)
# Of what a dispute took, the part that was recognized; a kind ends so.
RECOGNIZED_PART = f" {REVENUE}"


class RevenueRecognition(StrEnum):
    """When what was sold is revenue; named as on the wire."""

    ON_CHARGE = "ON_CHARGE"
    OVER_PERIOD = "OVER_PERIOD"


@dataclass(frozen=True, slots=True)
class LedgerSettings:
    """How a merchant's ledger is kept; each merchant has one such choice."""

    merchant: MerchantId
    revenue_recognition: RevenueRecognition = RevenueRecognition.ON_CHARGE
    version: int = 1


@dataclass(frozen=True, slots=True)
class Deferral:
    """What of a charge's sale is deferred still, and how it becomes revenue."""

    merchant: MerchantId
    customer: CustomerId
    charge: ChargeId
    currency: str
    # The days that were paid for, both included.
    start_date: date
    end_date: date
    deferred_minor: int
    # What was recognized, less what was given back of it.
    recognized_minor: int
    # So much was deferred at the end of a day, and is spread over the days after it.
    spread_minor: int
    spread_after_date: date
    # The last day that was recognized, or passed over since its share is less than a minor unit.
    through_date: date
    # Since when what is deferred is so: what is recognized of days before is booked then.
    change_time: datetime

    @property
    def key(self) -> ChargeKey:
        """The charge."""
        return ChargeKey(self.merchant, self.customer, self.charge)

    @property
    def next_date(self) -> date | None:
        """The next day of which something is recognized; None: nothing is deferred."""
        if not self.deferred_minor:
            return None
        following = self.through_date + _DAY
        if following > self.end_date:
            # It came back after the period.
            return max(following, _utc_date(self.change_time))
        days = (self.end_date - self.spread_after_date).days
        days_left = (self.deferred_minor - 1) * days // self.spread_minor
        return max(following, self.end_date - timedelta(days=days_left))

    @property
    def next_recognize_time(self) -> datetime | None:
        """When that day begins (UTC)."""
        next_date = self.next_date
        return None if next_date is None else _midnight(next_date)

    def deferred_after(self, day: date) -> int:
        """What is deferred at the end of a day, if nothing is given back until then."""
        days_left = (self.end_date - day).days
        if days_left <= 0:
            return 0
        days = (self.end_date - self.spread_after_date).days
        return min(self.deferred_minor, -(-self.spread_minor * days_left // days))


def defer(charge: Charge, net_minor: int, now: datetime) -> Deferral | None:
    """What is deferred of a sale; None: there is nothing, or nobody said what period it is for."""
    start_date, end_date = charge.period_start_date, charge.period_end_date
    if start_date is None or end_date is None or not net_minor:
        return None
    return Deferral(
        *charge.key,
        currency=charge.currency,
        start_date=start_date,
        end_date=end_date,
        deferred_minor=net_minor,
        recognized_minor=0,
        spread_minor=net_minor,
        spread_after_date=start_date - _DAY,
        through_date=start_date - _DAY,
        change_time=now,
    )


def recognize(deferral: Deferral, now: datetime, days_max: int) -> tuple[Deferral, list[Transfer]]:
    """What is recognized of the days that have begun, at most so many of them at once.

    A day before the sale is booked with the sale, and keeps its own date.
    """
    today = _utc_date(now)
    booked: list[Transfer] = []
    while len(booked) < days_max and (day := deferral.next_date) is not None and day <= today:
        left_minor = deferral.deferred_after(day)
        book_time = max(_midnight(day), deferral.change_time)
        booked.append(
            Transfer(
                deferral.merchant,
                deferral.customer,
                deferral.key.name,
                f"RECOGNITION {day}",
                DEFERRED_REVENUE,
                REVENUE,
                deferral.deferred_minor - left_minor,
                deferral.currency,
                book_time,
                _midnight(day) if day < _utc_date(book_time) else None,
            )
        )
        deferral = replace(
            deferral,
            deferred_minor=left_minor,
            recognized_minor=deferral.recognized_minor + deferral.deferred_minor - left_minor,
            through_date=day,
        )
    return deferral, booked


def given_back_parts(deferral: Deferral | None, net_minor: int) -> dict[str, int]:
    """The accounts that bear what is given back of a sale: what is deferred, and what is recognized.

    Without a deferral all of it was recognized.
    """
    if deferral is None:
        return {REFUNDS: net_minor} if net_minor else {}
    kept = {DEFERRED_REVENUE: deferral.deferred_minor, REFUNDS: max(0, deferral.recognized_minor)}
    of_kept_minor = min(net_minor, sum(kept.values()))
    parts = shares(of_kept_minor, kept) if of_kept_minor else {}
    if net_minor > of_kept_minor:
        parts[REFUNDS] = parts.get(REFUNDS, 0) + net_minor - of_kept_minor
    return parts


def changed_by(deferral: Deferral, booked: Iterable[Transfer], now: datetime) -> Deferral:
    """The deferral after refunds and disputes of its charge: what was taken, and what came back.

    What is deferred then is spread over the days that are left.
    """
    deferred_minor, recognized_minor = deferral.deferred_minor, deferral.recognized_minor
    for transfer in booked:
        for account, minor in (
            (transfer.debit_account, -transfer.amount_minor),
            (transfer.credit_account, transfer.amount_minor),
        ):
            of_dispute = account == DISPUTES and transfer.kind.endswith(RECOGNIZED_PART)
            if account == DEFERRED_REVENUE:
                deferred_minor += minor
            elif account == REFUNDS or of_dispute:
                recognized_minor += minor
    if deferred_minor == deferral.deferred_minor:
        return replace(deferral, recognized_minor=recognized_minor)
    return replace(
        deferral,
        deferred_minor=deferred_minor,
        recognized_minor=recognized_minor,
        spread_minor=deferred_minor,
        spread_after_date=deferral.through_date,
        change_time=now,
    )


def _utc_date(moment: datetime) -> date:
    return moment.astimezone(UTC).date()


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
