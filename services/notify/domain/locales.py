"""The languages and time zones of people. Pure.

Locales are named as in BCP 47 and known from CLDR, which Babel holds.
"""

import zoneinfo
from functools import cache, lru_cache

from babel.core import Locale, UnknownLocaleError, get_global

# In which everything can be said.
DEFAULT_LOCALE = "en"
_LOCALES_CACHED_MAX = 1024
_SCRIPT_LETTERS = 4


@lru_cache(_LOCALES_CACHED_MAX)
def canonical_locale(tag: str) -> str:
    """A tag as it is written, for example "zh-Hant-TW" for "zh-tw"; empty if nobody speaks that."""
    if not tag:
        return ""
    try:
        return _tag(Locale.parse(tag, sep="-"))
    except (UnknownLocaleError, ValueError):
        return ""


@lru_cache(_LOCALES_CACHED_MAX)
def fallbacks(locale: str) -> tuple[str, ...]:
    """A canonical locale and those that stand in for it, the nearest first; English is not among them.

    A language in the script that most write it in does not stand in for it in another one.
    """
    found: list[str] = []
    name = locale
    while name:
        found.append(name)
        parent, _, last = name.rpartition("-")
        is_script = len(last) == _SCRIPT_LETTERS and last.isalpha()
        name = "" if is_script and last != _usual_script(parent) else parent
    return tuple(found)


def _usual_script(language: str) -> str:
    script: str = get_global("likely_subtags").get(language, "__").split("_")[1]
    return script


@cache
def _time_zones() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones())


def is_time_zone(name: str) -> bool:
    """Whether the name is one of the IANA time zone database."""
    return name in _time_zones()


def _tag(locale: Locale) -> str:
    parts = (locale.language, locale.script, locale.territory, locale.variant)
    return "-".join(part for part in parts if part)
