"""The hours of the night in which nothing goes out that can wait, and when notices are made. Pure."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

# By the clock of a place. Most laws that name hours allow messages from 8 to 21 o'clock.
QUIET_START, QUIET_END = time(21), time(8)
# A notice is made this much before it must be out, so that it is delivered in time for that.
NOTICE_HEADROOM = timedelta(minutes=15)
# Zones of no place say nothing of when it is night for a customer.
_NO_PLACE = ("UTC", "GMT", "Etc/")
# An evening that a zone leaves out has one before it.
EVENINGS_MAX = 3


def quiet_until(now: datetime, time_zone: str) -> datetime:
    """When the quiet hours end in which an instant is; the instant itself if it is in none."""
    zone = ZoneInfo(time_zone)
    local = now.astimezone(zone)
    return max(now, _at(_morning(local), QUIET_END, zone)) if _is_quiet(local) else now


def announce_time(last_moment: datetime, time_zone: str) -> datetime:
    """When an order is announced whose notice must be out at the last moment.

    A notice that would have to go out in the night, since the morning is too late, goes out on the
    evening before: earlier, and never later.
    """
    announce = last_moment - NOTICE_HEADROOM
    if time_zone.startswith(_NO_PLACE):
        return announce
    zone = ZoneInfo(time_zone)
    local = announce.astimezone(zone)
    if not _is_quiet(local):
        return announce
    morning = _morning(local)
    if _at(morning, QUIET_END, zone) + NOTICE_HEADROOM <= last_moment:
        # Made in the night, it waits for the morning.
        return announce
    for days in range(1, EVENINGS_MAX + 1):
        evening = _at(morning - timedelta(days=days), QUIET_START, zone) - NOTICE_HEADROOM
        if evening <= announce and not _is_quiet(evening.astimezone(zone)):
            return evening
    return announce


def _is_quiet(local: datetime) -> bool:
    return not QUIET_END <= local.time() < QUIET_START


def _morning(local: datetime) -> date:
    """The day on which the night of an instant ends."""
    return local.date() if local.time() < QUIET_END else local.date() + timedelta(days=1)


def _at(day: date, at: time, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, at, zone).astimezone(UTC)
