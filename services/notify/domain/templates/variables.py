"""What templates can name: the facts of each kind, as variables with a type. Pure.

A variable is a field or a property of the kind's facts; `name` is the customer's. What holds names or
titles is shown on one line, and cut where a channel has no room for it. Links are never cut.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import date, datetime
from enum import StrEnum
from functools import cache, lru_cache
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints
from zoneinfo import ZoneInfo

from services.notify.domain.notices import Facts, Sender
from services.notify.domain.templates.language import Language
from services.notify.domain.templates.lines import Line, MonthTotal, Promotion, Tax
from services.notify.domain.templates.replies import ReplyOption
from services.runtime.money import Money
from services.runtime.text import cut, one_line

# Of the customer.
NAME = "name"
# Of who writes, in the order of Sender; never cut.
_OF_SENDER = ("merchant", "complaint_address", "reference")
# With which words an SMS is replied to.
REPLY_HINT = "reply_hint"
# How times are written, and what a choice is called inside, is of no interest to who reads them.
_HIDDEN = frozenset({"kind", "subject_resource", "time_zone"})
_LINK_SUFFIX = "_uri"
# A longer one would leave no room in an SMS for what it is for, and is empty.
LINK_MAX_CHARACTERS = 180
# Names to compare with, and what is read by machines: never cut, and with nothing around them.
_CODES = frozenset({"answer", "change", "code", "document_type", "not_charged", "word"})
_REASONS = "reasons"
# What is no fact of a notice.
_OUTSIDE = (NAME, *_OF_SENDER, REPLY_HINT)
_NAMED_CACHED_MAX = 2000


class Type(StrEnum):
    """What a variable is."""

    TEXT = "text"
    LINK = "link"
    CODE = "code"
    REASONS = "reasons"
    TEXTS = "texts"
    AMOUNT = "amount"
    MOMENT = "moment"
    DAY = "day"
    NUMBER = "number"
    FLAG = "flag"
    ROWS = "rows"
    RECORD = "record"


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable, with those of each of its rows if it has any."""

    type: Type
    columns: Mapping[str, "Variable"]


_SIMPLE: Mapping[Any, Type] = {
    str: Type.TEXT,
    Money: Type.AMOUNT,
    datetime: Type.MOMENT,
    date: Type.DAY,
    int: Type.NUMBER,
    bool: Type.FLAG,
}
_RECORDS = (Line, Tax, Promotion, MonthTotal, ReplyOption)
# Further ones are left to the account.
REASONS_MAX = 2


@cache
def variables(facts_type: type) -> Mapping[str, Variable]:
    """The variables of a kind, by their names."""
    outside = dict.fromkeys(_OUTSIDE, Variable(Type.TEXT, {}))
    return {**_members(facts_type), **outside}


@lru_cache(_NAMED_CACHED_MAX)
def _named_facts(facts_type: type, named: frozenset[str]) -> tuple[tuple[str, Variable], ...]:
    """The variables of a kind that are named, without those that are no facts of it."""
    return tuple(
        (name, variable)
        for name, variable in variables(facts_type).items()
        if name in named and name not in _OUTSIDE
    )


def _members(owner: type) -> dict[str, Variable]:
    hints = {name: hint for name, hint in get_type_hints(owner).items() if name not in _HIDDEN}
    names = [field.name for field in fields(owner)] if is_dataclass(owner) else list(hints)
    found = {name: _variable(name, hints[name]) for name in names if name in hints}
    for name, member in vars(owner).items():
        if isinstance(member, property):
            found[name] = _variable(name, get_type_hints(member.fget)["return"])
    return found


def _variable(name: str, hint: Any) -> Variable:  # noqa: ANN401 - any type
    if get_origin(hint) in {Union, UnionType}:
        [hint] = [each for each in get_args(hint) if each is not NoneType]
    if get_origin(hint) is tuple:
        [item, _] = get_args(hint)
        if item in _RECORDS:
            return Variable(Type.ROWS, _members(item))
        return Variable(Type.REASONS if name == _REASONS else Type.TEXTS, {})
    if hint in _RECORDS:
        return Variable(Type.RECORD, _members(hint))
    if hint is str and name.endswith(_LINK_SUFFIX):
        return Variable(Type.LINK, {})
    if name in _CODES:
        return Variable(Type.CODE, {})
    return Variable(_SIMPLE[hint], {})


# --- values --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Amount:
    """An amount of money, written as its reader's language does."""

    money: Money
    language: Language

    def __str__(self) -> str:
        return self.language.money(self.money)


@dataclass(frozen=True, slots=True)
class Moment:
    """An instant, written as the time of day where the customer is."""

    moment: datetime
    time_zone: str
    language: Language

    @property
    def local(self) -> datetime:
        """The time of day there."""
        return self.moment.astimezone(ZoneInfo(self.time_zone))

    def __str__(self) -> str:
        return self.language.moment(self.local)


@dataclass(frozen=True, slots=True)
class Day:
    """A date."""

    day: date
    language: Language

    def __str__(self) -> str:
        return self.language.date(self.day)


@dataclass(frozen=True, slots=True)
class Number:
    """A number."""

    number: int
    language: Language

    def __str__(self) -> str:
        return self.language.number(self.number)

    def __bool__(self) -> bool:
        return bool(self.number)

    def __eq__(self, other: object) -> bool:
        return self.number == (other.number if isinstance(other, Number) else other)

    def __lt__(self, other: object) -> bool:
        return self.number < _plain(other)

    def __le__(self, other: object) -> bool:
        return self.number <= _plain(other)

    def __gt__(self, other: object) -> bool:
        return self.number > _plain(other)

    def __ge__(self, other: object) -> bool:
        return self.number >= _plain(other)

    def __hash__(self) -> int:
        return hash(self.number)


def _plain(number: object) -> int:
    if isinstance(number, Number):
        return number.number
    if isinstance(number, int):
        return number
    raise TypeError("numbers are compared with numbers")


@dataclass(frozen=True, slots=True)
class Texts:
    """Several texts, written as a list."""

    texts: tuple[str, ...]
    language: Language

    def __str__(self) -> str:
        return self.language.listed(self.texts)

    def __bool__(self) -> bool:
        return bool(self.texts)

    def __contains__(self, text: object) -> bool:
        return text in self.texts


@dataclass(frozen=True, slots=True)
class Reasons(Texts):
    """Names of reasons, written in words."""

    words: str

    def __str__(self) -> str:
        return self.words


@dataclass(frozen=True, slots=True)
class Reader:
    """For whom facts are written: in which language, and how much of a title there is room for."""

    language: Language
    reasons: Mapping[str, str]
    reason_unknown: str
    title_max_characters: int
    # Empty: the message cannot be replied to.
    reply_hint: str = ""

    def values(
        self, facts: Facts, display_name: str, sender: Sender, named: frozenset[str]
    ) -> dict[str, Any]:
        """The values of those of a kind's variables that are named."""
        time_zone: str = getattr(facts, "time_zone", "UTC")
        values = {
            name: self._value(variable, getattr(facts, name), time_zone)
            for name, variable in _named_facts(type(facts), named)
        }
        if NAME in named:
            values[NAME] = self.text(display_name)
        if REPLY_HINT in named:
            values[REPLY_HINT] = self.reply_hint
        for name, text in zip(_OF_SENDER, sender[:3], strict=True):
            if name in named:
                values[name] = self._whole(text)
        return values

    def _value(self, variable: Variable, value: Any, time_zone: str) -> Any:  # noqa: ANN401
        if value is None:
            return ""
        if variable.type is Type.MOMENT:
            return Moment(value, time_zone, self.language)
        if variable.type is Type.RECORD:
            return self._record(variable, value, time_zone)
        if variable.type is Type.ROWS:
            return [self._record(variable, row, time_zone) for row in value]
        return _WRITTEN[variable.type](self, value)

    def _record(self, variable: Variable, row: Any, time_zone: str) -> dict[str, Any]:  # noqa: ANN401
        return {
            name: self._value(column, getattr(row, name), time_zone)
            for name, column in variable.columns.items()
        }

    def text(self, text: str) -> str:
        """A name or a title, on one line and cut."""
        return self.language.inserted(cut(one_line(text), self.title_max_characters))

    def _whole(self, text: str) -> str:
        """A text that would be another one if it were cut."""
        # Most messages lack one of these, and each notice asks for all.
        return self.language.inserted(one_line(text)) if text else ""

    def in_words(self, reasons: tuple[str, ...]) -> str:
        """Reasons in words, at most two."""
        known = (self.reasons.get(reason, self.reason_unknown) for reason in reasons)
        words = list(dict.fromkeys(known)) or [self.reason_unknown]
        return self.language.listed(words[:REASONS_MAX])


# What is made of a value that is no row, no record and no instant.
_WRITTEN: Mapping[Type, Callable[[Reader, Any], Any]] = {
    Type.TEXT: lambda reader, text: reader.text(text),
    Type.LINK: lambda _, link: link if len(link) <= LINK_MAX_CHARACTERS else "",
    Type.CODE: lambda _, code: code,
    Type.AMOUNT: lambda reader, money: Amount(money, reader.language),
    Type.DAY: lambda reader, day: Day(day, reader.language),
    Type.NUMBER: lambda reader, number: Number(number, reader.language),
    Type.TEXTS: lambda reader, texts: Texts(tuple(map(reader.text, texts)), reader.language),
    Type.REASONS: lambda reader, names: Reasons(names, reader.language, reader.in_words(names)),
    Type.FLAG: lambda _, flag: bool(flag),
}
