"""The text of a recurrence rule: its lines, parameters and parts, as RFC 5545 allows them.

What the grammar does not allow is malformed; what it allows and nobody here can use is not supported.
"""

import re
from datetime import date, datetime

from services.runtime.time_zones import is_time_zone
from services.scheduler.domain.validation import Reason, Violation

MAX_RRULE_CHARACTERS = 4096
WEEKDAY_CODES = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
COUNTED = re.compile(r"[0-9]{1,6}")
_DAY_NUMBER = re.compile(r"[+-]?[0-9]{1,3}")
PLACED_DAY = re.compile(r"([+-]?[0-9]{1,2})?(MO|TU|WE|TH|FR|SA|SU)")
_MAX_NTH_OF_YEAR = 53
# Lists of numbers: the least, the most, and whether they may count from the end (RFC 5545 §3.3.10).
_LISTS = {
    "BYSECOND": (0, 60, False),
    "BYMINUTE": (0, 59, False),
    "BYHOUR": (0, 23, False),
    "BYMONTHDAY": (1, 31, True),
    "BYYEARDAY": (1, 366, True),
    "BYWEEKNO": (1, 53, True),
    "BYMONTH": (1, 12, False),
    "BYSETPOS": (1, 366, True),
}
_NAMES = {*_LISTS, "FREQ", "UNTIL", "COUNT", "INTERVAL", "BYDAY", "WKST", "RSCALE", "SKIP"}
_TEXT = re.compile(r"[\x21-\x7e \t\r\n]*")
_LINE = re.compile(r"[\x21-\x7e]*")
_TZID = re.compile(r'"[^"]*"|[^"]*')
_STAMP = re.compile(r"[0-9]{8}(T[0-9]{6}Z?)?")
_FOLD = re.compile(r"\r?\n[ \t]")

Parts = dict[str, str]


class RefusedError(Exception):
    """There is no schedule in the text, and why."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.violation = Violation("rrule", reason, message)


def malformed(message: str) -> RefusedError:
    """What is no rule at all."""
    return RefusedError(Reason.RRULE_MALFORMED, message)


def unsupported(part: str, why: str) -> RefusedError:
    """What is a rule, but one that schedules can't follow."""
    message = f"{part:.60} is valid but not supported: {why}"
    return RefusedError(Reason.RRULE_UNSUPPORTED, message)


def read_text(text: str) -> tuple[datetime, str, Parts]:
    """The start as local time, its zone, and the parts of the rule by name. Raises RefusedError."""
    if len(text) > MAX_RRULE_CHARACTERS:
        raise malformed(f"the text is longer than {MAX_RRULE_CHARACTERS} characters")
    # Letters and digits that look like others become them where text is changed to capitals.
    if not _TEXT.fullmatch(text):
        raise malformed("the text must have no characters but those of ASCII")
    properties: dict[str, tuple[str, str]] = {}
    for line in _FOLD.sub("", text).replace("\r\n", "\n").rstrip("\n").split("\n"):
        declaration, colon, content = line.partition(":")
        name, semicolon, parameters = declaration.partition(";")
        name = name.upper()
        if not colon or not _LINE.fullmatch(line) or name in properties:
            raise malformed(
                f"expected one DTSTART and one RRULE, each NAME:VALUE without blanks, at {line!r:.60}"
            )
        if name not in {"DTSTART", "RRULE"}:
            raise unsupported(name, "give days to leave out as blackouts")
        if name == "RRULE" and semicolon:
            raise unsupported(f"RRULE;{parameters}", "a rule takes no parameters")
        properties[name] = (parameters, content)
        if semicolon and not parameters:
            raise malformed(f"expected NAME=VALUE after the semicolon of {name}")
    if not {"DTSTART", "RRULE"} <= properties.keys():
        raise malformed("both DTSTART and RRULE are needed")
    start, time_zone = _start(*properties["DTSTART"])
    return start, time_zone, _parts(properties["RRULE"][1])


def _start(parameters: str, content: str) -> tuple[datetime, str]:
    named = _named(parameters) if parameters else {}
    value = named.pop("VALUE", "DATE-TIME").upper()
    tzid = named.pop("TZID", "")
    stamp = read_stamp("DTSTART", content)
    if named:
        raise unsupported(f"DTSTART;{', '.join(named)}", "only TZID and VALUE are read")
    if value != ("DATE-TIME" if isinstance(stamp, datetime) else "DATE"):
        raise malformed(f"VALUE={value:.20} is not the kind of DTSTART that follows")
    if not isinstance(stamp, datetime):
        why = "it needs a time of day, such as 20250131T090000"
        raise unsupported("DTSTART;VALUE=DATE", why)
    if stamp.tzinfo and tzid:
        raise malformed("DTSTART has a TZID or a Z for UTC, not both")
    if not _TZID.fullmatch(tzid):
        raise malformed(f"TZID has half a pair of quotes: {tzid!r:.60}")
    time_zone = "UTC" if stamp.tzinfo else tzid.strip('"')
    if not time_zone:
        why = "it needs a TZID, or a Z for UTC, since a floating time has no instant"
        raise unsupported("DTSTART in local time", why)
    if not is_time_zone(time_zone):
        raise RefusedError(Reason.TIME_ZONE_UNKNOWN, f"{time_zone!r:.60} is not an IANA time zone")
    return stamp.replace(tzinfo=None), time_zone


def _parts(content: str) -> Parts:
    parts = _named(content.upper())
    _check_names(parts)
    for name, limits in _LISTS.items():
        if name in parts:
            _check_list(name, parts[name], *limits)
    if "BYDAY" in parts:
        _check_days(parts["BYDAY"], parts.get("FREQ", ""))
    if parts.get("WKST", "MO") not in WEEKDAY_CODES:
        raise malformed(f"WKST must be a weekday such as MO, not {parts['WKST']!r:.20}")
    rscale = parts.pop("RSCALE", "GREGORIAN")
    if rscale != "GREGORIAN":
        raise unsupported(f"RSCALE={rscale}", "the calendar is GREGORIAN")
    for name in ("BYHOUR", "BYMINUTE", "BYSECOND"):
        if "," in parts.get(name, ""):
            raise RefusedError(Reason.MORE_OFTEN_THAN_DAILY, f"{name} fires many times a day")
    return parts


def _check_names(parts: Parts) -> None:
    for name in parts:
        if name.startswith("X-"):
            raise unsupported(name, "a rule has the parts of RFC 5545 and RFC 7529")
        if name not in _NAMES:
            raise malformed(f"{name!r:.40} is not a part of a rule")
    if "COUNT" in parts and "UNTIL" in parts:
        raise malformed("a rule has COUNT or UNTIL, not both")
    if "SKIP" in parts and "RSCALE" not in parts:
        raise malformed("SKIP needs RSCALE=GREGORIAN beside it")


def _check_list(name: str, values: str, least: int, most: int, from_end: bool) -> None:  # noqa: FBT001
    for text in values.split(","):
        number = int(text) if _DAY_NUMBER.fullmatch(text) else None
        signed = text[:1] in {"+", "-"}
        if number is None or not least <= abs(number) <= most or (signed and not from_end):
            ends = f", or -{most} to -{least} from the end" if from_end else ""
            raise malformed(f"{name} must be {least} to {most}{ends}, not {text!r:.20}")


def _check_days(values: str, frequency: str) -> None:
    for text in values.split(","):
        match_ = PLACED_DAY.fullmatch(text)
        place = int(match_[1]) if match_ and match_[1] else None
        if not match_ or place == 0 or abs(place or 1) > _MAX_NTH_OF_YEAR:
            raise malformed(f"{text!r:.20} is not a weekday such as MO, 2TU or -1FR")
        if place is not None and frequency not in {"MONTHLY", "YEARLY"}:
            raise malformed(f"{text} has a place, which only MONTHLY and YEARLY rules allow")


def _named(content: str) -> Parts:
    """`A=1;B=2` by name."""
    named: Parts = {}
    for part in content.split(";"):
        name, _, value = part.partition("=")
        name = name.upper()
        if not name or not value or name in named:
            raise malformed(f"expected NAME=VALUE, each name once, at {part!r:.60}")
        named[name] = value
    return named


def read_stamp(name: str, text: str) -> date | datetime:
    """A date, or a date-time in local time or in UTC. Raises RefusedError."""
    try:
        moment = datetime.fromisoformat(text) if _STAMP.fullmatch(text.upper()) else None
    except ValueError:
        moment = None
    if moment is None:
        raise malformed(f"{name} must be a date-time such as 20250131T090000, not {text!r:.60}")
    return moment if "T" in text.upper() else moment.date()
