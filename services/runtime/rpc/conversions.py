"""Conversions between wire types and Python's: money in minor units, aware times, civil dates, ids.

Sources: google/type/money.proto, google/type/date.proto, AIP-122 (names), AIP-158 (pages).
"""

import uuid
from datetime import UTC, date, datetime, timedelta
from typing import TypeVar

from google.protobuf import timestamp_pb2
from google.protobuf.message import Message
from google.type import date_pb2, money_pb2

from services.runtime.errors import Violations, etag_mismatch
from services.runtime.money import AMOUNT_MINOR_MAX, DIGITS, Money, format_minor, minor_factor

NANOS_PER_UNIT = 1_000_000_000

_FACTORS = {currency: minor_factor(currency) for currency in DIGITS}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# The range of times that callers set. Sums with them, and their local times in any zone, are valid
# times. It contains the last due time of a calendar that ends with the year 2100, moved to a business
# day.
FIRST_TIME = _EPOCH
LAST_TIME = datetime(2101, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
_SECONDS_PER_DAY = 24 * 3600
_NANOS_PER_MICROSECOND = 1000
M = TypeVar("M", bound=Message)


def to_money(amount_minor: int, currency: str) -> money_pb2.Money:
    """An amount in minor units as google.type.Money."""
    factor = _FACTORS.get(currency) or minor_factor(currency)
    # Units and nanos of a negative amount are both negative.
    sign = -1 if amount_minor < 0 else 1
    units, rest = divmod(abs(amount_minor), factor)
    return money_pb2.Money(
        currency_code=currency,
        units=sign * units,
        nanos=sign * rest * (NANOS_PER_UNIT // factor),
    )


def from_money(money: money_pb2.Money) -> Money:
    """google.type.Money from a service that is trusted to send whole minor units."""
    currency = money.currency_code
    factor = _FACTORS.get(currency) or minor_factor(currency)
    return Money(money.units * factor + money.nanos // (NANOS_PER_UNIT // factor), currency)


# The read functions below read the values of a caller. If one breaks a rule, they add the violation and
# return a placeholder, which is never used: `Violations.check` comes before.
_NO_MONEY = Money(0, "XXX")
_NO_TIME = datetime.min.replace(tzinfo=UTC)
_NO_UUID = uuid.UUID(int=0)


def read_money(violations: Violations, field: str, money: money_pb2.Money) -> Money:
    """A positive amount in whole minor units, of at most twelve digits."""
    amount = _read_whole(violations, field, money)
    if amount is not None and (money.nanos < 0 or not 0 < amount.amount_minor <= AMOUNT_MINOR_MAX):
        most = format_minor(AMOUNT_MINOR_MAX, amount.currency)
        violations.add(field, f"must be more than 0 and at most {most}")
    return amount or _NO_MONEY


def read_signed_money(violations: Violations, field: str, money: money_pb2.Money) -> Money:
    """An amount above or below 0 in whole minor units, of at most twelve digits."""
    amount = _read_whole(violations, field, money)
    if amount is not None and (
        money.units * money.nanos < 0 or not 0 < abs(amount.amount_minor) <= AMOUNT_MINOR_MAX
    ):
        most = format_minor(AMOUNT_MINOR_MAX, amount.currency)
        violations.add(field, f"must be at most {most} above or below 0, and not 0")
    return amount or _NO_MONEY


def _read_whole(violations: Violations, field: str, money: money_pb2.Money) -> Money | None:
    """An amount in whole minor units of its currency; None if it is none."""
    currency = money.currency_code
    if currency not in DIGITS:
        # The value is not repeated: it could be anything.
        violations.add(f"{field}.currency_code", "must be a current currency of ISO 4217")
        return None
    nanos_per_minor = NANOS_PER_UNIT // _FACTORS[currency]
    if money.nanos % nanos_per_minor or not -NANOS_PER_UNIT < money.nanos < NANOS_PER_UNIT:
        violations.add(
            f"{field}.nanos",
            f"must be whole minor units of {currency}, which has {DIGITS[currency]} decimal digits",
        )
        return None
    return from_money(money)


def to_timestamp(moment: datetime) -> timestamp_pb2.Timestamp:
    """An aware time as google.protobuf.Timestamp."""
    stamp = timestamp_pb2.Timestamp()
    put_time(stamp, moment)
    return stamp


def optional_timestamp(moment: datetime | None) -> timestamp_pb2.Timestamp | None:
    """As `to_timestamp`; None leaves a message's field unset."""
    return None if moment is None else to_timestamp(moment)


def put_time(stamp: timestamp_pb2.Timestamp, moment: datetime) -> None:
    """Write an aware time into its message, without a copy."""
    # In integers; the library's conversion uses the calendar and floats.
    since = moment - _EPOCH
    stamp.seconds = since.days * _SECONDS_PER_DAY + since.seconds
    stamp.nanos = since.microseconds * _NANOS_PER_MICROSECOND


def from_timestamp(stamp: timestamp_pb2.Timestamp) -> datetime:
    """A google.protobuf.Timestamp as an aware time in UTC."""
    return _EPOCH + timedelta(
        seconds=stamp.seconds, microseconds=stamp.nanos // _NANOS_PER_MICROSECOND
    )


def read_timestamp(violations: Violations, field: str, stamp: timestamp_pb2.Timestamp) -> datetime:
    """A time from FIRST_TIME to LAST_TIME, to be stored or computed with."""
    instant = _time(stamp)
    if instant is None or not FIRST_TIME <= instant <= LAST_TIME:
        rule = f"must be a time from the year {FIRST_TIME.year} to the year {LAST_TIME.year}"
        violations.add(field, rule)
        return _NO_TIME
    return instant


def read_bound(violations: Violations, field: str, stamp: timestamp_pb2.Timestamp) -> datetime:
    """A time between the years 1 and 9999, to be compared with."""
    instant = _time(stamp)
    if instant is None:
        violations.add(field, "must be a time between the years 1 and 9999")
    return instant or _NO_TIME


def _time(stamp: timestamp_pb2.Timestamp) -> datetime | None:
    if not 0 <= stamp.nanos < NANOS_PER_UNIT:
        return None
    try:
        return from_timestamp(stamp)
    except OverflowError:
        return None


def to_date(day: date) -> date_pb2.Date:
    """A civil date as google.type.Date."""
    return date_pb2.Date(year=day.year, month=day.month, day=day.day)


def optional_date(day: date | None) -> date_pb2.Date | None:
    """As `to_date`; None leaves a message's field unset."""
    return None if day is None else to_date(day)


def from_date(day: date_pb2.Date) -> date:
    """A civil date that another service has sent. Raises ValueError if there is no such date."""
    return date(day.year, day.month, day.day)


def read_date(violations: Violations, field: str, day: date_pb2.Date) -> date:
    """A full civil date that exists."""
    if not (day.year or day.month or day.day):
        violations.add(field, "must be given")
        return date.min
    try:
        return date(day.year, day.month, day.day)
    except ValueError:
        violations.add(field, "must be a full date that exists")
        return date.min


def read_uuid(violations: Violations, field: str, text: str) -> uuid.UUID:
    """A UUID in its canonical form."""
    try:
        value = uuid.UUID(text)
    except ValueError:
        value = None
    if value is None or str(value) != text.lower():
        violations.add(field, "must be a UUID, for example 0190b0c2-5e1c-7c3a-8d5e-1f2a3b4c5d6e")
        return _NO_UUID
    return value


def etag(version: int) -> str:
    """The etag of a version of a resource (AIP-154)."""
    return f'"{version}"'


def check_etag(given: str, version: int | None, name: str) -> None:
    """See that a change is of the present version of a resource, of None if there is none.

    Raises ABORTED ETAG_MISMATCH. Without an etag, a change is of whatever version there is.
    """
    if given and (version is None or given != etag(version)):
        raise etag_mismatch(name)
