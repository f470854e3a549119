"""What the suite says of each kind, by its languages; a merchant's own templates take their place."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from services.notify.domain.locales import DEFAULT_LOCALE, fallbacks
from services.notify.domain.notices import Channel, NoticeKind
from services.notify.domain.templates.shipped import ar, de, en, es, fr, zh
from services.notify.domain.templates.shipped.words import KindWords, Words

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


def shipped_locale(locale: str) -> str:
    """The locale of the suite that is nearest to one."""
    return next((each for each in fallbacks(locale) if each in SHIPPED), DEFAULT_LOCALE)


def _shipped(words: Words) -> Shipped:
    templates: dict[tuple[NoticeKind, Channel], ShippedTemplate] = {}
    for kind, of_kind in words.kinds.items():
        templates[kind, Channel.SMS] = ShippedTemplate("", _sms(words, of_kind))
        email = _email(words, of_kind, has_lines=kind in _WITH_LINES)
        templates[kind, Channel.EMAIL] = ShippedTemplate(of_kind.subject, email)
    return Shipped(words, MappingProxyType(templates))


def _sms(words: Words, of_kind: KindWords) -> str:
    greeting = (words.greeting_sms,) if of_kind.greets else ()
    return "\n".join((*greeting, *of_kind.sentences))


def _email(words: Words, of_kind: KindWords, *, has_lines: bool) -> str:
    first, *others = of_kind.sentences
    lines = (
        f"{{% for line in lines %}}{words.line}\n{{% endfor %}}",
        f"{{% for tax in taxes %}}{words.tax}\n{{% endfor %}}",
    )
    return "\n\n".join((words.greeting_email, first, *(lines if has_lines else ()), *others))


SHIPPED: Mapping[str, Shipped] = MappingProxyType({
    language: _shipped(words)
    for language, words in (
        ("en", en.WORDS), ("zh", zh.WORDS), ("de", de.WORDS), ("es", es.WORDS), ("fr", fr.WORDS),
        ("ar", ar.WORDS),
    )
})  # fmt: skip
