"""Time zones by their names in the IANA database, as the locked `tzdata` has them."""

from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

_CACHED_ZONES = 1024
_ZONES_OF_THE_MACHINE = {"localtime", "Factory"}
"""Names in the zone database that are no place: what they mean is up to the machine."""


def is_time_zone(name: str) -> bool:
    """Whether the name is one of the IANA time zone database."""
    return name in _names()


@lru_cache(maxsize=_CACHED_ZONES)
def zone(name: str) -> ZoneInfo:
    """The rules of a time zone."""
    # ZoneInfo itself keeps only eight zones alive and would read the file again for a ninth.
    return ZoneInfo(name)


@lru_cache(maxsize=1)
def _names() -> frozenset[str]:
    return frozenset(available_timezones() - _ZONES_OF_THE_MACHINE)
