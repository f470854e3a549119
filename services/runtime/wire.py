"""Between wire types and Python's: money in integer minor units, aware times, civil dates, names.

Sources: google/type/money.proto, google/type/date.proto, AIP-122 (names), AIP-158 (pages).
"""

import base64
import binascii
import hashlib
import re
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Generic, NoReturn, TypeVar

import grpc
from google.protobuf import timestamp_pb2
from google.protobuf.message import Message
from google.type import date_pb2, money_pb2

from services.runtime.currencies import AMOUNT_MINOR_MAX, DIGITS, format_minor, minor_factor
from services.runtime.errors import FieldViolation, Problem, Violations

NANOS_PER_UNIT = 1_000_000_000
PAGE_SIZE_DEFAULT = 50
PAGE_SIZE_MAX = 1000
# Well below what a message may have: the rest of a page of large rows comes with the next one.
PAGE_MAX_BYTES = 3 * 1024**2
# A page of more rows than this may take several looks, and keeps what it has found meanwhile.
LARGE_PAGE_ROWS = 100
# Of rows that are large, so many are looked for at once: more may not fit into the page.
PORTION_ROWS = LARGE_PAGE_ROWS + 1
# What a database keeps as an integer.
_NUMBER = re.compile(r"[0-9]{1,9}")
_PAGE_RULE = "must come from the page before, with the same request"

_FACTORS = {currency: minor_factor(currency) for currency in DIGITS}
# Ends of a list by position.
BEFORE_ALL, AFTER_ALL = uuid.UUID(int=0), uuid.UUID(int=2**128 - 1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Times that callers set. Whatever is added to them, or said of them in any zone, is a time as well. The
# last due time of a calendar that ends with the year 2100, moved to a business day, is one of them.
FIRST_TIME = _EPOCH
LAST_TIME = datetime(2101, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
_SECONDS_PER_DAY = 24 * 3600
_NANOS_PER_MICROSECOND = 1000
_ID = r"[a-z0-9][a-z0-9-]{0,62}"
# An id that is put together from others has room for them.
_DERIVED_ID = r"[a-z0-9][a-z0-9-]{0,126}"
ID_PATTERN = re.compile(_ID)
Row = TypeVar("Row")
M = TypeVar("M", bound=Message)


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in the currency's minor units (cents for EUR)."""

    amount_minor: int
    currency: str


def to_money(amount_minor: int, currency: str) -> money_pb2.Money:
    """An amount in minor units as google.type.Money."""
    factor = _FACTORS.get(currency) or minor_factor(currency)
    # Units and nanos of a negative amount are both negative, so the sign is put aside.
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


# The read functions below take what a caller sent. Where it breaks a rule they note the violation and
# return a placeholder, which nobody sees: `Violations.check` comes before any use.
_NO_MONEY = Money(0, "XXX")
_NO_TIME = datetime.min.replace(tzinfo=UTC)
_NO_UUID = uuid.UUID(int=0)


def read_money(violations: Violations, field: str, money: money_pb2.Money) -> Money:
    """A positive amount in whole minor units, of at most twelve digits."""
    currency = money.currency_code
    if currency not in DIGITS:
        # Their word is not repeated: it could be anything.
        violations.add(f"{field}.currency_code", "must be a current currency of ISO 4217")
        return _NO_MONEY
    nanos_per_minor = NANOS_PER_UNIT // _FACTORS[currency]
    if money.nanos % nanos_per_minor or not -NANOS_PER_UNIT < money.nanos < NANOS_PER_UNIT:
        violations.add(
            f"{field}.nanos",
            f"must be whole minor units of {currency}, which has {DIGITS[currency]} decimal digits",
        )
        return _NO_MONEY
    amount = from_money(money)
    if money.nanos < 0 or not 0 < amount.amount_minor <= AMOUNT_MINOR_MAX:
        most = format_minor(AMOUNT_MINOR_MAX, currency)
        violations.add(field, f"must be more than 0 and at most {most}")
    return amount


def to_timestamp(moment: datetime) -> timestamp_pb2.Timestamp:
    """An aware time as google.protobuf.Timestamp."""
    stamp = timestamp_pb2.Timestamp()
    put_time(stamp, moment)
    return stamp


def put_time(stamp: timestamp_pb2.Timestamp, moment: datetime) -> None:
    """Write an aware time where it stays: a message that is put into another one is copied."""
    # In whole numbers, and without the library's way through calendar and floats.
    since = moment - _EPOCH
    stamp.seconds = since.days * _SECONDS_PER_DAY + since.seconds
    stamp.nanos = since.microseconds * _NANOS_PER_MICROSECOND


def from_timestamp(stamp: timestamp_pb2.Timestamp) -> datetime:
    """A google.protobuf.Timestamp as an aware time in UTC."""
    return _EPOCH + timedelta(
        seconds=stamp.seconds, microseconds=stamp.nanos // _NANOS_PER_MICROSECOND
    )


def read_timestamp(violations: Violations, field: str, stamp: timestamp_pb2.Timestamp) -> datetime:
    """A time that is stored or computed with, from FIRST_TIME to LAST_TIME."""
    found = _time(stamp)
    if found is None or not FIRST_TIME <= found <= LAST_TIME:
        rule = f"must be a time from the year {FIRST_TIME.year} to the year {LAST_TIME.year}"
        violations.add(field, rule)
        return _NO_TIME
    return found


def read_bound(violations: Violations, field: str, stamp: timestamp_pb2.Timestamp) -> datetime:
    """A time that rows are only compared with: between the years 1 and 9999."""
    found = _time(stamp)
    if found is None:
        violations.add(field, "must be a time between the years 1 and 9999")
    return found or _NO_TIME


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


def read_id(violations: Violations, field: str, text: str) -> str:
    """An id that the caller chose (AIP-122)."""
    violations.require(field, f"must match {_ID}", met=ID_PATTERN.fullmatch(text) is not None)
    return text


class NamePattern:
    """A resource name pattern such as `merchants/{merchant}/products/{product}` (AIP-122).

    The variable `wildcard` can also be `-`; the variable `derived` holds an id made from others.
    """

    def __init__(
        self, pattern: str, *, wildcard: str | None = None, derived: str | None = None
    ) -> None:
        self.pattern = pattern
        self._variables = re.findall(r"\{(\w+)\}", pattern)

        def group(match: re.Match[str]) -> str:
            form = _DERIVED_ID if match[1] == derived else _ID
            return f"(?P<{match[1]}>{form}{'|-' if match[1] == wildcard else ''})"

        expression = re.sub(r"\{(\w+)\}", group, pattern)
        self._expression = re.compile(expression)
        self._template = re.sub(r"\{\w+\}", "%s", pattern)

    def read(self, violations: Violations, field: str, name: str) -> tuple[str, ...]:
        """The ids in a caller's name, in order; a violation if it does not match."""
        match = self._expression.fullmatch(name)
        if match is None:
            violations.add(field, f"must match {self.pattern}")
            return ("",) * len(self._variables)
        return match.groups()

    def parse(self, name: str) -> tuple[str, ...]:
        """The ids in a name that a service made or the contract's rules let in.

        Raises ValueError on any other.
        """
        match = self._expression.fullmatch(name)
        if match is None:
            msg = f"{name!r} does not match {self.pattern}"
            raise ValueError(msg)
        return match.groups()

    def format(self, *ids: str) -> str:
        """The name with these ids, in order. Raises TypeError if they are too few or too many."""
        return self._template % ids


def require_within(violations: Violations, field: str, name: str, merchant: str) -> None:
    """A filter by any resource's name: the merchant's own, one below it, or empty for all."""
    violations.require(
        field,
        "must be the name of a resource of the parent merchant",
        met=not name or f"{name}/".startswith(f"merchants/{merchant}/"),
    )


@dataclass(frozen=True, slots=True)
class Page:
    """What part of a list a caller wants: at most `size` rows after the row `after`."""

    size: int
    after: tuple[str, ...]
    # The token belongs to one list with one set of filters.
    fingerprint: str

    @property
    def limit(self) -> int:
        """How many rows to look for: one more than are shown tells whether there are more."""
        return self.size + 1

    def cut(
        self,
        found: Sequence[Row],
        message: Callable[[Row], M],
        key: Callable[[Row], tuple[str, ...]],
    ) -> tuple[list[M], str]:
        """The messages of the page, and the token of the next one if it is not the last.

        Of at most `limit` rows that were found. Rows that are large make a page that is short.
        """
        filling = _Filling(self, message)
        if all(map(filling.takes, found)):
            return filling.shown, ""
        return filling.shown, self.token(key(filling.last))

    async def fill(
        self,
        find: Callable[[Row | None, int], Awaitable[Sequence[Row]]],
        message: Callable[[Row], M],
        key: Callable[[Row], tuple[str, ...]],
    ) -> tuple[list[M], str]:
        """As `cut`, of rows that may be large, and are found in portions.

        `find` finds so many after a row, or after the page before.
        """
        filling = _Filling(self, message)
        while True:
            wanted = min(PORTION_ROWS, self.limit - len(filling.shown))
            portion = await find(filling.last, wanted)
            if not all(map(filling.takes, portion)):
                return filling.shown, self.token(key(filling.last))
            if len(portion) < wanted:
                return filling.shown, ""

    def token(self, last: tuple[str, ...]) -> str:
        """The token of the page that follows the row `last`."""
        text = "\x1f".join((self.fingerprint, *last))
        return base64.urlsafe_b64encode(text.encode()).decode()

    def after_position(self, first: uuid.UUID = BEFORE_ALL) -> uuid.UUID:
        """The row before the page in a list by position; `first` on the first page.

        Raises INVALID_ARGUMENT PAGE_TOKEN_INVALID.
        """
        if not self.after:
            return first
        try:
            return uuid.UUID(self.after[0])
        except ValueError:
            _refuse_page_token()

    def after_time(self) -> datetime | None:
        """The row before the page in a list by one time; None on the first page.

        Raises INVALID_ARGUMENT PAGE_TOKEN_INVALID.
        """
        if not self.after:
            return None
        try:
            return datetime.fromisoformat(self.after[0]).astimezone(UTC)
        except (ValueError, OverflowError):
            _refuse_page_token()

    def after_numbered(self) -> tuple[str, int]:
        """The row before the page in a list by an id and a number; on the first page, none.

        Raises INVALID_ARGUMENT PAGE_TOKEN_INVALID.
        """
        if not self.after:
            return "", 0
        found, number = self.after
        if not _NUMBER.fullmatch(number):
            _refuse_page_token()
        return found, int(number)


class _Filling(Generic[Row, M]):
    """A page while rows are put into it: as many as it may have, and as fit into an answer."""

    def __init__(self, page: Page, message: Callable[[Row], M]) -> None:
        self._size, self._message = page.size, message
        self._left_bytes = PAGE_MAX_BYTES
        self.shown: list[M] = []
        # The row that was put into it last.
        self.last: Any = None

    def takes(self, row: Row) -> bool:
        """Put a row into the page, and say whether there was room: one always fits."""
        if len(self.shown) == self._size:
            return False
        made = self._message(row)
        self._left_bytes -= made.ByteSize()
        if self.shown and self._left_bytes < 0:
            return False
        self.shown.append(made)
        self.last = row
        return True


def _refuse_page_token() -> NoReturn:
    violation = FieldViolation("page_token", "PAGE_TOKEN_INVALID", _PAGE_RULE)
    raise Problem(grpc.StatusCode.INVALID_ARGUMENT, violation.reason, _PAGE_RULE, (violation,))


def read_page(request: Any, *, keys: int) -> Page:  # noqa: ANN401 - any List request
    """The page that a List request asks for; `keys` is the number of sort keys of the list.

    Raises INVALID_ARGUMENT PAGE_SIZE_TOO_LARGE or PAGE_TOKEN_INVALID (AIP-158, but an oversized page
    is refused rather than cut, so that nobody believes to have seen everything).
    """
    violations = Violations()
    if not 0 <= request.page_size <= PAGE_SIZE_MAX:
        violations.add("page_size", f"must be 0 to {PAGE_SIZE_MAX}", "PAGE_SIZE_TOO_LARGE")
    asked = type(request)()
    asked.CopyFrom(request)
    asked.ClearField("page_size")
    asked.ClearField("page_token")
    # Lists of different things can be asked for in the same bytes: the kind of request counts too.
    content = f"{asked.DESCRIPTOR.full_name}\n".encode() + asked.SerializeToString(
        deterministic=True
    )
    fingerprint = hashlib.sha256(content).hexdigest()[:16]
    after: tuple[str, ...] = ()
    if request.page_token:
        try:
            text = base64.urlsafe_b64decode(request.page_token.encode()).decode()
        except (binascii.Error, UnicodeError):
            text = ""
        found, *after_list = text.split("\x1f")
        after = tuple(after_list)
        if found != fingerprint or len(after) != keys or "\x00" in text:
            violations.add("page_token", _PAGE_RULE, "PAGE_TOKEN_INVALID")
    violations.check()
    return Page(request.page_size or PAGE_SIZE_DEFAULT, after, fingerprint)


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
