"""When the notice of a charge is made: early enough for its lead, and by day where it can be. Pure."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

# Preparation begins this much before the lead, so that the notice is delivered in time for it.
NOTICE_HEADROOM = timedelta(minutes=15)
# By the clock of the schedule, the hours in which notify lets what can wait, wait.
QUIET_START, QUIET_END = time(21), time(8)
# Zones of no place say nothing of when it is night for a customer.
_NO_PLACE = ("UTC", "GMT", "Etc/")
# An evening that a zone leaves out has one before it.
EVENINGS_MAX = 3


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
    day = local.date() if local.time() < QUIET_END else local.date() + timedelta(days=1)
    if _at(day, QUIET_END, zone) + NOTICE_HEADROOM <= last_moment:
        # Made in the night, it waits for the morning.
        return announce
    for days in range(1, EVENINGS_MAX + 1):
        evening = _at(day - timedelta(days=days), QUIET_START, zone) - NOTICE_HEADROOM
        if evening <= announce and not _is_quiet(evening.astimezone(zone)):
            return evening
    return announce


def _is_quiet(local: datetime) -> bool:
    return not QUIET_END <= local.time() < QUIET_START


def _at(day: date, at: time, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, at, zone).astimezone(UTC)
