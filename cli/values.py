"""Values as people type and read them: numbers, money, durations, dates, times.

Commands and imports share these parsers. Each reads the whole text in ASCII digits, or refuses it: no
prefix is read, no separator guessed, and nothing that was not written is added. They raise
typer.BadParameter, which names the argument at fault and ends with status 2.
"""

import re
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

import iso4217
import typer
from google.protobuf import duration_pb2, timestamp_pb2
from google.type import date_pb2, money_pb2, postal_address_pb2, timeofday_pb2

NANOS_PER_UNIT = 1_000_000_000
# What does not fit into the contract's 32 bits is out of every range anyway.
NUMBER_DIGITS_MAX = 9
DURATION_DIGITS_MAX = 6
# google.protobuf.Duration has no more; it is 10,000 years.
DURATION_SECONDS_MAX = 315_576_000_000

# What the list of ISO 4217 does not have any more was stored before it left.
_MINOR_DIGITS_DEFAULT = 2
_MINOR_DIGITS = {
    code: int(str(entry["CcyMnrUnts"]))
    for code, entry in iso4217.raw_table.items()
    if code and str(entry["CcyMnrUnts"]).isdigit()
}
YES = ("yes", "true", "1")
NO = ("no", "false", "0")
_PERCENT = re.compile(r"([0-9]{1,4})(?:\.([0-9]{1,2}))?")
_BASIS_POINTS_PER_PERCENT = 100
_TAX_RATE = re.compile(r"([0-9]{1,3})(?:\.([0-9]{1,4}))?")
_MONEY = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?) ?([A-Z]{3})")
_NUMBER = re.compile(rf"-?[0-9]{{1,{NUMBER_DIGITS_MAX}}}")
_DURATION = re.compile(
    "".join(rf"(?:(?P<{unit}>[0-9]{{1,{DURATION_DIGITS_MAX}}}){unit})?" for unit in "wdhms")
)
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIME_OF_DAY = re.compile(r"[0-9]{2}:[0-9]{2}")
_MOMENT = re.compile(
    rf"{_DATE.pattern}(?:[T ]{_TIME_OF_DAY.pattern}(?::[0-9]{{2}}(?:\.[0-9]{{1,6}})?)?"
    rf"(?:Z|[+-]{_TIME_OF_DAY.pattern})?)?"
)
_REGION = re.compile(r"[A-Z]{2}")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
PPM_PER_PERCENT = 10_000
PORT_MAX = 65_535
TAX_RATE_MAX_PPM = 1_000_000


def parse_text(text: str) -> str:
    """A text that says something: left out is one thing, blank another."""
    if not text.strip():
        raise typer.BadParameter("must not be empty")
    return text


def parse_yes_no(text: str) -> bool:
    """A choice in a table."""
    if text.lower() not in {*YES, *NO}:
        raise typer.BadParameter(f"{text!r} is neither yes nor no")
    return text.lower() in YES


def parse_number(text: str, low: int | None = None, high: int | None = None) -> int:
    """A whole number in plain digits, within its bounds (inclusive)."""
    if not _NUMBER.fullmatch(text):
        raise typer.BadParameter(
            f"{text!r} is not a whole number in at most {NUMBER_DIGITS_MAX} digits from 0 to 9"
        )
    number = int(text)
    if low is not None and number < low:
        raise typer.BadParameter(f"{text!r} is too small: it must be at least {low}")
    if high is not None and number > high:
        raise typer.BadParameter(f"{text!r} is too large: it must be at most {high}")
    return number


def parse_host_port(text: str) -> tuple[str, int]:
    """A host and a port: 127.0.0.1:9464, or [::]:9464, whose host is ::."""
    host, _, port = text.rpartition(":")
    if not host:
        raise typer.BadParameter(f"{text!r} is not a host and a port: 127.0.0.1:9464")
    return host.removeprefix("[").removesuffix("]"), parse_number(port, 1, PORT_MAX)


def parse_count(text: str) -> int:
    """How many of something: a whole number from 1."""
    return parse_number(text, low=1)


def parse_percent(text: str) -> int:
    """A whole number of per cent, from 0 and without its sign."""
    return parse_number(text, low=0)


def parse_basis_points(text: str | int) -> int:
    """A share in per cent, such as 7.5, as basis points; typer gives the default through here, too."""
    if isinstance(text, int):
        return text
    match = _PERCENT.fullmatch(text)
    if match is None:
        raise typer.BadParameter(f"{text!r} is not a share in per cent such as 5, 7.5 or 7.25")
    return int(match[1]) * _BASIS_POINTS_PER_PERCENT + int((match[2] or "").ljust(2, "0"))


def format_basis_points(share_bps: int) -> str:
    """A share as people read it."""
    percent, rest = divmod(share_bps, _BASIS_POINTS_PER_PERCENT)
    return f"{percent}.{rest:02}".rstrip("0").rstrip(".") + "%"


def parse_rate(text: str | int) -> int:
    """A percentage in parts per million, exactly. Raises BadParameter."""
    if isinstance(text, int):
        return text
    match = _TAX_RATE.fullmatch(text)
    if match is None:
        rule = 'is no percentage such as "19" or "8.875", with at most four decimal digits'
        raise typer.BadParameter(f"{text!r} {rule}")
    rate_ppm = int(match[1]) * PPM_PER_PERCENT + int((match[2] or "").ljust(4, "0"))
    if rate_ppm > TAX_RATE_MAX_PPM:
        raise typer.BadParameter(f"{text!r} must be 0 to 100 %")
    return rate_ppm


def format_rate(rate_ppm: int) -> str:
    """Parts per million as a percentage."""
    whole, rest = divmod(rate_ppm, PPM_PER_PERCENT)
    return f"{whole}.{rest:04d}".rstrip("0").rstrip(".") + " %"


def parse_money(text: str) -> money_pb2.Money:
    """An amount such as "12.50 EUR"; the service judges how many digits the currency has."""
    match = _MONEY.fullmatch(text)
    if match is None:
        raise typer.BadParameter(
            f'{text!r} is not an amount such as "12.50 EUR": digits, a point, a currency\'s code'
        )
    if match[2] not in _MINOR_DIGITS:
        raise typer.BadParameter(f"{text!r}: {match[2]} is not a currency of ISO 4217")
    amount = Decimal(match[1])
    units = int(amount)
    nanos = int((amount - units) * NANOS_PER_UNIT)
    return money_pb2.Money(currency_code=match[2], units=units, nanos=nanos)


def minor_digits(currency: str) -> int:
    """How many decimal digits the currency's minor unit has (ISO 4217)."""
    return _MINOR_DIGITS.get(currency, _MINOR_DIGITS_DEFAULT)


def to_minor(money: money_pb2.Money) -> int:
    """The amount in minor units of its currency (cents for EUR)."""
    factor = int(10 ** minor_digits(money.currency_code))
    amount_minor: int = money.units * factor + money.nanos // (NANOS_PER_UNIT // factor)
    return amount_minor


def from_minor(amount_minor: int, currency: str) -> money_pb2.Money:
    """An amount of minor units, not negative, on the wire."""
    factor = int(10 ** minor_digits(currency))
    units, rest = divmod(amount_minor, factor)
    nanos = rest * (NANOS_PER_UNIT // factor)
    return money_pb2.Money(currency_code=currency, units=units, nanos=nanos)


def format_minor(amount_minor: int, currency: str) -> str:
    """Minor units as people read them, for example "12.50 EUR"."""
    digits = minor_digits(currency)
    return f"{Decimal(amount_minor).scaleb(-digits):,.{digits}f} {currency}"


def format_money(money: money_pb2.Money) -> str:
    """An amount as people read it; empty when there is none."""
    if not money.currency_code:
        return ""
    return format_minor(to_minor(money), money.currency_code)


def parse_duration(text: str) -> timedelta:
    """A length of time such as "30d", "72h" or "1d12h"; more than nothing."""
    match = _DURATION.fullmatch(text)
    if match is None or not text:
        raise typer.BadParameter(
            f'{text!r} is not a length of time such as "30d", "72h" or "1d12h": numbers with their'
            " units (w, d, h, m for minutes, s), the largest first, each once"
        )
    seconds = sum(int(number) * _SECONDS[unit] for unit, number in match.groupdict("0").items())
    if not seconds:
        raise typer.BadParameter(f"{text!r} is no time at all")
    if seconds > DURATION_SECONDS_MAX:
        raise typer.BadParameter(f"{text!r} is too long: it must be at most 10,000 years")
    return timedelta(seconds=seconds)


def to_duration(length: timedelta | None) -> duration_pb2.Duration | None:
    """A length of time on the wire; nothing for nothing."""
    if length is None:
        return None
    duration = duration_pb2.Duration()
    duration.FromTimedelta(length)
    return duration


def format_duration(duration: duration_pb2.Duration) -> str:
    """A length of time in the largest units that give it exactly, for example "72h" as "3d"."""
    seconds = duration.ToSeconds()
    for unit, unit_seconds in reversed(_SECONDS.items()):
        if unit != "w" and seconds and seconds % unit_seconds == 0:
            return f"{seconds // unit_seconds}{unit}"
    return f"{seconds}s"


def parse_date(text: str) -> date_pb2.Date:
    """A civil date, for example "2026-12-31"."""
    try:
        if _DATE.fullmatch(text):
            return to_date(date.fromisoformat(text))
    except ValueError:
        pass
    raise typer.BadParameter(f'{text!r} is not a date such as "2026-12-31"')


def to_date(day: date) -> date_pb2.Date:
    """A civil date on the wire."""
    return date_pb2.Date(year=day.year, month=day.month, day=day.day)


def from_date(day: date_pb2.Date) -> date:
    """A civil date from the wire."""
    return date(day.year, day.month, day.day)


def format_date(day: date_pb2.Date) -> str:
    """A civil date as people read it; empty when there is none."""
    return from_date(day).isoformat() if day.year else ""


def parse_moment(text: str) -> datetime:
    """An instant such as "2026-12-31T09:00+01:00"; without an offset, and for a bare date, in UTC."""
    try:
        if _MOMENT.fullmatch(text):
            moment = datetime.fromisoformat(text)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise typer.BadParameter(
        f'{text!r} is not a time such as "2026-12-31", "2026-12-31T09:00Z" or'
        ' "2026-12-31T09:00+01:00"'
    )


def to_timestamp(moment: datetime | None) -> timestamp_pb2.Timestamp | None:
    """An instant on the wire; nothing for nothing."""
    if moment is None:
        return None
    stamp = timestamp_pb2.Timestamp()
    stamp.FromDatetime(moment)
    return stamp


def from_timestamp(stamp: timestamp_pb2.Timestamp) -> datetime:
    """An instant from the wire, aware, in UTC."""
    return stamp.ToDatetime(tzinfo=UTC)


def format_moment(moment: datetime) -> str:
    """An instant as people read it, to the minute, in UTC and saying so."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}Z"


def format_timestamp(stamp: timestamp_pb2.Timestamp) -> str:
    """An instant as people read it; empty when there is none."""
    return format_moment(from_timestamp(stamp)) if stamp.seconds else ""


ADDRESS_HELP = 'For example "High Street 1, Bath, GB".'


def parse_address(text: str) -> postal_address_pb2.PostalAddress:
    """A postal address such as "High Street 1, Bath, GB": its lines, and the country's code last."""
    *lines, region = (part.strip() for part in text.split(","))
    if not lines or not all(lines) or not _REGION.fullmatch(region):
        raise typer.BadParameter(
            f'{text!r} is not an address such as "High Street 1, Bath, GB": lines with commas'
            " between them, a country's code last"
        )
    return postal_address_pb2.PostalAddress(region_code=region, address_lines=lines)


def format_address(address: postal_address_pb2.PostalAddress) -> str:
    """An address as people read it, as it can be typed where it has no more than lines."""
    parts = [
        address.organization,
        *address.recipients,
        *address.address_lines,
        address.sublocality,
        " ".join(filter(None, (address.postal_code, address.locality))),
        address.administrative_area,
        address.region_code,
    ]
    return ", ".join(filter(None, parts))


def parse_time_of_day(text: str) -> timeofday_pb2.TimeOfDay:
    """A local time to the minute, for example "09:00"."""
    try:
        if _TIME_OF_DAY.fullmatch(text):
            parsed = time.fromisoformat(text)
            return timeofday_pb2.TimeOfDay(hours=parsed.hour, minutes=parsed.minute)
    except ValueError:
        pass
    raise typer.BadParameter(f'{text!r} is not a time of day such as "09:00" (HH:MM, to 23:59)')
