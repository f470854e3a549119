"""Templates and facts become texts: an SMS on one line, or an e-mail of paragraphs. Pure.

Compiled templates are kept, so that each version is compiled once.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateError
from jinja2.meta import find_undeclared_variables
from jinja2.sandbox import ImmutableSandboxedEnvironment

from services.notify.domain.locales import fallbacks
from services.notify.domain.notices import Channel, Facts, NoticeKind, Sender
from services.notify.domain.templates.checking import FILTERS, Problem, Reason, problems
from services.notify.domain.templates.examples import (
    EXAMPLE_DISPLAY_NAME,
    EXAMPLE_SENDER,
    EXAMPLES,
    LONGEST,
)
from services.notify.domain.templates.language import language
from services.notify.domain.templates.phones import last_line
from services.notify.domain.templates.segments import Segments, plain, segments
from services.notify.domain.templates.shipped import SHIPPED, reply_hint, shipped_locale
from services.notify.domain.templates.shipped.words import Words
from services.notify.domain.templates.variables import (
    REPLY_HINT,
    Day,
    Moment,
    Number,
    Reader,
    variables,
)

COMPILED_MAX = 2000
# Of an e-mail; what is longer is a mistake.
EMAIL_MAX_CHARACTERS = 50_000
SUBJECT_MAX_CHARACTERS = 200
# Of an SMS, with titles that are cut as far as they may be.
SMS_SEGMENTS_MAX = 6
# A merchant is warned of an SMS of more, since each is paid for.
SMS_SEGMENTS_WARNED = 3
SMS_MAX_CHARACTERS = SMS_SEGMENTS_MAX * 160
# The room for a title, the most first: as much as an SMS leaves for it.
TITLE_MAX_CHARACTERS = (60, 36, 24, 16, 10)
# Where shorter titles would have to make room for the words to reply with, the title is wanted more.
TITLES_WITH_HINT = TITLE_MAX_CHARACTERS[:3]
# Of each of several notices in one SMS.
DIGEST_TITLE_CHARACTERS = 24
UNNAMED = Sender()
_BLANK_LINES = re.compile(r"\n{3,}")
# Punctuation of full width has its space within itself, except before what has none of its own.
_AFTER_FULL_WIDTH = re.compile(r"([。！？；：，、）]) (?=[^\x20-\x7e])")  # noqa: RUF001


@dataclass(frozen=True, slots=True)
class Source:
    """A template as it is written, and the locale that its facts are written in."""

    locale: str
    # Of an e-mail.
    subject: str
    text: str
    # Whether it begins with a greeting that it has no need of.
    greeting_is_optional: bool = False


@dataclass(frozen=True, slots=True)
class Text:
    """A notice in words."""

    subject: str
    text: str


class RenderError(ValueError):
    """A template that cannot be rendered with these facts."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


def render(
    source: Source,
    words: Words,
    channel: Channel,
    facts: Facts,
    display_name: str,
    sender: Sender,
) -> Text:
    """A notice in words, on a channel. Raises RenderError.

    An SMS that takes more than few segments has no greeting of the suite's, then shorter titles, then
    no words to reply with; else titles are cut only as far as they must be. One that has no room for
    who writes goes without: what it is about comes first.
    """
    named = _names_of_both(source)

    def values(name: str, sender: Sender, most: int, hint: str = "") -> dict[str, Any]:
        """What the template names, with titles of so many characters."""
        reader = Reader(language(source.locale), words.reasons, words.reason_unknown, most, hint)
        return reader.values(facts, name, sender, named)

    if channel is Channel.EMAIL:
        written = values(display_name, sender, TITLE_MAX_CHARACTERS[0])
        subject = _one_line(_rendered(source.subject, written, SUBJECT_MAX_CHARACTERS * 4))
        text = _paragraphs(_rendered(source.text, written, EMAIL_MAX_CHARACTERS))
        return Text(subject[:SUBJECT_MAX_CHARACTERS], text)
    unnamed = "" if source.greeting_is_optional else display_name
    has_hint = REPLY_HINT in named and sender.takes_replies
    hint = reply_hint(shipped_locale(source.locale), facts.kind) if has_hint else ""
    for who in (sender, UNNAMED):
        fits = ""
        for name, most, replies in _ways(display_name, unnamed, hint):
            written = values(name, who, most, replies)
            rendered = _rendered(source.text, written, SMS_MAX_CHARACTERS * 4)
            text = plain(_one_line(rendered)) + last_line(facts)
            count = segments(text).segment_count
            if count <= SMS_SEGMENTS_WARNED:
                return Text("", text)
            is_shortest = name == unnamed and not replies
            if count <= SMS_SEGMENTS_MAX and is_shortest and not fits:
                fits = text
        if fits:
            return Text("", fits)
    raise RenderError(
        Problem(Reason.SEGMENTS_TOO_MANY, f"has more than {SMS_SEGMENTS_MAX} SMS segments")
    )


def _ways(display_name: str, unnamed: str, hint: str) -> Iterator[tuple[str, int, str]]:
    """With which name, characters of titles and reply hint an SMS is tried, the longest first."""
    yield display_name, TITLE_MAX_CHARACTERS[0], hint
    if hint:
        yield from ((unnamed, most, hint) for most in TITLES_WITH_HINT)
    yield from ((unnamed, most, "") for most in TITLE_MAX_CHARACTERS)


def rendered_as_shipped(
    facts: Facts, channel: Channel, locale: str, display_name: str, sender: Sender = UNNAMED
) -> Text:
    """A notice in words of the suite's own, in its language that is nearest to a locale."""
    nearest = shipped_locale(locale)
    source = _shipped_source(facts.kind, channel, _written_locale(locale, nearest), nearest)
    return render(source, SHIPPED[nearest].words, channel, facts, display_name, sender)


@lru_cache(COMPILED_MAX)
def _shipped_source(kind: NoticeKind, channel: Channel, locale: str, nearest: str) -> Source:
    template = SHIPPED[nearest].templates[kind, channel]
    return Source(locale, template.subject, template.text, greeting_is_optional=True)


def _written_locale(locale: str, nearest: str) -> str:
    """Facts are written as the reader's country does, if its language is the template's."""
    return locale if locale and nearest in fallbacks(locale) else nearest


def rendered_digest(
    said: Sequence[Facts], channel: Channel, locale: str, display_name: str, sender: Sender
) -> Text:
    """Several notices as one message, in the suite's words.

    An SMS has the first sentence of as many as fit, and how many more there are.
    """
    nearest = shipped_locale(locale)
    shipped, written = SHIPPED[nearest], _written_locale(locale, nearest)
    words = shipped.words
    reader = Reader(language(written), words.reasons, words.reason_unknown, DIGEST_TITLE_CHARACTERS)

    def part(template: str, facts: Facts) -> str:
        values = reader.values(facts, display_name, sender, names_of(template))
        return _rendered(template, values, EMAIL_MAX_CHARACTERS)

    if channel is Channel.EMAIL:
        bodies = [part(shipped.bodies[facts.kind], facts) for facts in said]
        around = [part(text, said[0]) for text in (words.greeting_email, shipped.ending)]
        text = _paragraphs("\n\n".join((around[0], *bodies, around[1])))
        return Text(words.digest_subject, text[:EMAIL_MAX_CHARACTERS])
    beginning = part(words.sender_sms + words.greeting_sms, said[0])
    briefs = [part(words.kinds[facts.kind].sentences[0], facts) for facts in said]

    def first(count: int) -> str:
        more = Number(len(briefs) - count, reader.language)
        ending = _rendered(words.digest_more, {"more": more}, SMS_MAX_CHARACTERS)
        return plain(_one_line(" ".join((beginning, *briefs[:count], ending))))

    texts = (first(count) for count in range(len(briefs), 0, -1))
    fitting = (text for text in texts if segments(text).segment_count <= SMS_SEGMENTS_MAX)
    return Text("", next(fitting, "") or first(1))


def rendered_by(
    source: Source, channel: Channel, facts: Facts, display_name: str, sender: Sender = UNNAMED
) -> Text:
    """A notice in words of a merchant's own template. Raises RenderError."""
    words = SHIPPED[shipped_locale(source.locale)].words
    return render(source, words, channel, facts, display_name, sender)


def check(kind: NoticeKind, channel: Channel, source: Source) -> Iterator[tuple[str, Problem]]:
    """What is wrong with a template, by its field: how it is written, then what it makes of facts."""
    scope = variables(type(EXAMPLES[kind]))
    if (channel is Channel.EMAIL) != bool(source.subject):
        message = "must be given for an e-mail, and for nothing else"
        yield "subject", Problem(Reason.SUBJECT_MISPLACED, message)
        return
    parts = {"text": source.text} | ({"subject": source.subject} if source.subject else {})
    try:
        written = [
            (field, problem)
            for field, part in parts.items()
            for problem in problems(part, scope, _ENVIRONMENT)
        ]
        for part in parts.values():
            _ = written or (names_of(part), compiled(part))
    except RecursionError:
        written = [("text", Problem(Reason.ELEMENT_NOT_ALLOWED, "is nested too deeply"))]
    yield from written
    if written:
        return
    for facts in (EXAMPLES[kind], *LONGEST.get(kind, ())):
        try:
            text = rendered_by(source, channel, facts, EXAMPLE_DISPLAY_NAME, EXAMPLE_SENDER)
        except RenderError as error:
            yield "text", error.problem
            return
        if not text.text.strip():
            yield "text", Problem(Reason.OUTPUT_EMPTY, "says nothing with the facts of an example")
            return


def warnings(text: str) -> list[str]:
    """What a merchant should know of an SMS before they save its template."""
    taken = segments(text)
    if taken.segment_count <= SMS_SEGMENTS_WARNED:
        return []
    return [f"takes {taken.segment_count} segments ({taken.encoding}) with the facts of an example"]


def segments_of(text: str) -> Segments:
    """How an SMS travels."""
    return segments(text)


def _rendered(source: str, values: dict[str, Any], most_characters: int) -> str:
    chunks: list[str] = []
    left = most_characters
    try:
        template = compiled(source)
        # Not by `generate`, which takes as long again for its own context and its own generator.
        context = _ENVIRONMENT.context_class(_ENVIRONMENT, values, None, template.blocks)
        for chunk in template.root_render_func(context):
            left -= len(chunk)
            if left < 0:
                message = f"makes more than {most_characters} characters"
                raise RenderError(Problem(Reason.OUTPUT_TOO_LONG, message))
            chunks.append(chunk)
    except (TemplateError, TypeError, ValueError, RecursionError) as error:
        if isinstance(error, RenderError):
            raise
        raise RenderError(Problem(Reason.ELEMENT_NOT_ALLOWED, str(error)[:200])) from error
    return "".join(chunks)


@lru_cache(COMPILED_MAX)
def compiled(source: str) -> Template:
    """A template as a program. Raises TemplateError."""
    return _ENVIRONMENT.from_string(source)


@lru_cache(COMPILED_MAX)
def names_of(source: str) -> frozenset[str]:
    """The variables that a template names. Raises TemplateError."""
    return frozenset(find_undeclared_variables(_ENVIRONMENT.parse(source)))


@lru_cache(COMPILED_MAX)
def _names_of_both(source: Source) -> frozenset[str]:
    return names_of(source.subject) | names_of(source.text)


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if line.isascii() else _AFTER_FULL_WIDTH.sub(r"\1", line)


def _paragraphs(text: str) -> str:
    lines = "\n".join(" ".join(line.split()) for line in text.splitlines())
    return _BLANK_LINES.sub("\n\n", lines).strip("\n") + "\n"


# --- filters -------------------------------------------------------------------------------------


def _day(value: Any) -> Day | None:  # noqa: ANN401 - of a template
    if isinstance(value, Moment):
        return Day(value.local.date(), value.language)
    return value if isinstance(value, Day) else None


def _date_filter(value: Any) -> str:  # noqa: ANN401
    day = _day(value)
    return str(day) if day else ""


def _day_filter(value: Any) -> str:  # noqa: ANN401
    day = _day(value)
    return day.language.day(day.day) if day else ""


def _month_filter(value: Any) -> str:  # noqa: ANN401
    day = _day(value)
    return day.language.month(day.day) if day else ""


def _time_filter(value: Any) -> str:  # noqa: ANN401
    if not isinstance(value, Moment):
        return ""
    return value.language.time(value.local.time())


def _percent_filter(value: Any) -> str:  # noqa: ANN401
    return value.language.percent(value.number) if isinstance(value, Number) else ""


def _plural_filter(value: Any, **forms: str) -> str:  # noqa: ANN401
    return value.language.plural(value.number, forms) if isinstance(value, Number) else ""


def _upper_filter(value: Any) -> str:  # noqa: ANN401
    return str(value).upper()


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        autoescape=False, undefined=StrictUndefined, trim_blocks=False, keep_trailing_newline=False
    )
    environment.globals.clear()
    environment.filters.clear()
    environment.tests.clear()
    known = {
        "date": _date_filter, "day": _day_filter, "month": _month_filter, "time": _time_filter,
        "percent": _percent_filter, "plural": _plural_filter, "upper": _upper_filter,
    }  # fmt: skip
    environment.filters.update({name: known[name] for name in FILTERS})
    return environment


_ENVIRONMENT = _environment()
