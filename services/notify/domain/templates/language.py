"""Facts in the forms of a language: amounts, dates, times, numbers, lists and plurals. Pure.

The forms are CLDR's, by Babel. English of no country is written as it is read in most: the day before
the month, and hours up to 24. Currencies are named by their codes, since a sign may be that of several.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from functools import lru_cache

import regex
from babel.core import Locale
from babel.dates import format_skeleton, format_time
from babel.lists import format_list

from services.notify.domain.locales import DEFAULT_LOCALE
from services.runtime.money import Money, minor_digits

_PPM_PER_PERCENT = 10_000
_FORMS_CACHED_MAX = 8192
_LANGUAGES_CACHED_MAX = 512
# A text of the other direction within one that is written from right to left keeps its own (UAX #9).
_ISOLATE, _END_OF_ISOLATE = "\u2068", "\u2069"
_LEFT_TO_RIGHT = regex.compile(r"[\p{bc=L}\p{bc=EN}]")
_OUTER_MARKS = dict.fromkeys(map(ord, "\u200e\u200f\u061c"))


class Language:
    """How one locale writes facts."""

    def __init__(self, locale: str) -> None:
        self.tag = locale
        self._locale = Locale.parse(locale, sep="-")
        self.is_right_to_left = self._locale.text_direction == "rtl"
        symbols = self._locale.number_symbols["latn"]
        self._decimal, self._group = symbols["decimal"], symbols["group"]
        self._minus = symbols["minusSign"].translate(_OUTER_MARKS)
        self._group_sizes = self._locale.decimal_formats[None].grouping
        self._moment = str(self._locale.datetime_formats["medium"])
        self._currency_first = locale != DEFAULT_LOCALE and self._locale.currency_formats[
            "standard"
        ].pattern.startswith("¤")

    def money(self, amount: Money) -> str:
        """An amount with the code of its currency, for example 12.50 EUR."""
        digits = minor_digits(amount.currency)
        units, rest = divmod(abs(amount.amount_minor), 10**digits)
        number = self._grouped(str(units))
        if digits:
            number += f"{self._decimal}{rest:0{digits}d}"
        sign = self._minus if amount.amount_minor < 0 else ""
        if self._currency_first:
            return f"{sign}{amount.currency} {number}"
        return f"{sign}{number} {amount.currency}"

    def _grouped(self, digits: str) -> str:
        """Digits in the groups of the locale, for example 1,250 or 12,34,567."""
        first, others = self._group_sizes
        if len(digits) <= first:
            return digits
        groups = [digits[-first:]]
        digits = digits[:-first]
        while digits:
            groups.append(digits[-others:])
            digits = digits[:-others]
        text: str = self._group.join(reversed(groups))
        return text

    def moment(self, local: dt.datetime) -> str:
        """A local time, for example Sat 31 Jan 2026, 09:00."""
        day, hour = self.date(local.date()), self.time(local.time())
        return self._moment.replace("{1}", day).replace("{0}", hour)

    def time(self, hour: dt.time) -> str:
        """A time of day, for example 09:00."""
        return _time(self.tag, hour.hour, hour.minute)

    def date(self, day: dt.date) -> str:
        """A date, for example Sat 31 Jan 2026."""
        return _date(self.tag, "yMMMEd", day)

    def day(self, day: dt.date) -> str:
        """A date without its year, for example Sat 31 Jan."""
        return _date(self.tag, "MMMEd", day)

    def month(self, day: dt.date) -> str:
        """The month of a date, for example Jan 2026."""
        return _date(self.tag, "yMMM", day.replace(day=1))

    def number(self, number: int) -> str:
        """A number, for example 1,250."""
        return f"{self._minus if number < 0 else ''}{self._grouped(str(abs(number)))}"

    def percent(self, ppm: int) -> str:
        """Parts of a million as percent, for example 19 or 0.875."""
        whole, rest = divmod(ppm, _PPM_PER_PERCENT)
        fraction = f"{rest:04d}".rstrip("0")
        return self.number(whole) + (f"{self._decimal}{fraction}" if fraction else "")

    def listed(self, texts: Sequence[str]) -> str:
        """Several texts, for example "a, b and c"."""
        return format_list(list(texts), locale=self._locale) if texts else ""

    def plural(self, number: int, forms: Mapping[str, str]) -> str:
        """The form of a number (CLDR's zero, one, two, few, many, other), with it in place of #."""
        form = forms.get(self._locale.plural_form(number), forms["other"])
        return form.replace("#", self.number(number))

    def inserted(self, text: str) -> str:
        """A name or a title as it stands within a sentence, which it does not reorder."""
        if self.is_right_to_left and _LEFT_TO_RIGHT.search(text):
            return f"{_ISOLATE}{text}{_END_OF_ISOLATE}"
        return text


@lru_cache(_LANGUAGES_CACHED_MAX)
def language(locale: str) -> Language:
    """The language of a canonical locale."""
    return Language(locale)


@lru_cache(_FORMS_CACHED_MAX)
def _date(locale: str, skeleton: str, day: dt.date) -> str:
    if locale == DEFAULT_LOCALE:
        english = {"yMMMEd": "%a {} %b %Y", "MMMEd": "%a {} %b", "yMMM": "%b %Y"}[skeleton]
        return f"{day:{english}}".replace("{}", str(day.day))
    return format_skeleton(skeleton, day, locale=Locale.parse(locale, sep="-"))


@lru_cache(_FORMS_CACHED_MAX)
def _time(locale: str, hour: int, minute: int) -> str:
    if locale == DEFAULT_LOCALE:
        return f"{hour:02}:{minute:02}"
    return format_time(dt.time(hour, minute), "short", locale=Locale.parse(locale, sep="-"))
