"""What the suite says of each kind, by its languages; a merchant's own templates take their place."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from types import MappingProxyType

from services.notify.domain.locales import DEFAULT_LOCALE, fallbacks
from services.notify.domain.notices import Channel, NoticeKind
from services.notify.domain.replies.hints import HINTED_KINDS, hinted_acts
from services.notify.domain.replies.words import Word, shown
from services.notify.domain.templates.shipped import ar, de, en, es, fr, zh
from services.notify.domain.templates.shipped.words import KindWords, Words

# How much of the reference and the contact for complaints the SMS of a kind has.
_ENDINGS = {NoticeKind.ORDER_UPCOMING: 1, NoticeKind.RECEIPT: 2}
_LOCALES_CACHED_MAX = 1024
# Where the words of a kind name one that customers reply with.
_WORD = re.compile(r"\[\[([A-Z]+)\]\]")
_WITH_LINES = frozenset({NoticeKind.ORDER_UPCOMING, NoticeKind.RECEIPT})


@dataclass(frozen=True, slots=True)
class ShippedTemplate:
    """A template of the suite's own."""

    # Of an e-mail.
    subject: str
    text: str


@dataclass(frozen=True, slots=True)
class Shipped:
    """A language of the suite's own."""

    words: Words
    templates: Mapping[tuple[NoticeKind, Channel], ShippedTemplate]
    # Of an e-mail: what each kind says between its greeting and its ending, and the latter.
    bodies: Mapping[NoticeKind, str]
    ending: str


@lru_cache(_LOCALES_CACHED_MAX)
def shipped_locale(locale: str) -> str:
    """The locale of the suite that is nearest to one."""
    return next((each for each in fallbacks(locale) if each in SHIPPED), DEFAULT_LOCALE)


@cache
def reply_hint(language: str, kind: NoticeKind) -> str:
    """With which words customers reply to an SMS, in a language of the suite; empty: with none."""
    acts = [shown(word, language) for word in hinted_acts(kind)]
    if not acts:
        return ""
    words = SHIPPED[language].words
    return words.reply_hint.format(
        acts=words.reply_separator.join(acts), stop=shown(Word.STOP, language)
    )


def _shipped(language: str, words: Words) -> Shipped:
    templates: dict[tuple[NoticeKind, Channel], ShippedTemplate] = {}
    bodies, ending = {}, _ending(words)

    def with_words(text: str) -> str:
        return _WORD.sub(lambda word: shown(Word(word[1]), language), text)

    for kind, of_kind in words.kinds.items():
        sms = with_words(_sms(words, kind, of_kind))
        templates[kind, Channel.SMS] = ShippedTemplate("", sms)
        bodies[kind] = with_words(_body(words, of_kind, has_lines=kind in _WITH_LINES))
        email = "\n\n".join((words.greeting_email, bodies[kind], ending))
        templates[kind, Channel.EMAIL] = ShippedTemplate(of_kind.subject, email)
    return Shipped(words, MappingProxyType(templates), MappingProxyType(bodies), ending)


def _sms(words: Words, kind: NoticeKind, of_kind: KindWords) -> str:
    greeting = (words.greeting_sms,) if of_kind.greets else ()
    # The reference costs room, and is there for those whose rules ask for it.
    reference = f"{{% if complaint_address and reference %}}{words.reference}{{% endif %}}"
    complaints = f"{{% if complaint_address %}}- {words.complaints}{{% endif %}}"
    sentences = of_kind.sms_sentences or of_kind.sentences
    hint = ("{{ reply_hint }}",) if kind in HINTED_KINDS else ()
    ending = (reference, complaints)[: _ENDINGS.get(kind, 0)]
    return words.sender_sms + "\n".join((*greeting, *sentences, *hint, *ending))


def _body(words: Words, of_kind: KindWords, *, has_lines: bool) -> str:
    first, *others = of_kind.sentences
    lines = (
        f"{{% for line in lines %}}{words.line}\n{{% endfor %}}",
        f"{{% for tax in taxes %}}{words.tax}\n{{% endfor %}}",
    )
    return "\n\n".join((first, *(lines if has_lines else ()), *others))


def _ending(words: Words) -> str:
    return (
        f"{{% if reference %}}{words.reference}\n{{% endif %}}"
        f"{{% if complaint_address %}}{words.complaints}\n{{% endif %}}"
        "{{ merchant }}"
    )


SHIPPED: Mapping[str, Shipped] = MappingProxyType({
    language: _shipped(language, words)
    for language, words in (
        ("en", en.WORDS), ("zh", zh.WORDS), ("de", de.WORDS), ("es", es.WORDS), ("fr", fr.WORDS),
        ("ar", ar.WORDS),
    )
})  # fmt: skip
