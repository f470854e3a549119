"""The words that customers reply with, in each language, whatever their case, accents and width. Pure.

Every language's words are understood by all: who reads German may still write STOP. The English words
that stop and start messages are those of CTIA's Messaging Principles and Best Practices.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

# No word is nearly as long; the rest of a long text is not read.
READ_CHARACTERS_MAX = 200
# Numbers of a list have two digits at most.
NUMBER_DIGITS_MAX = 2
# Letters that Arabic writers use for each other at the end of a word, and German digraphs without dots.
_SAME = str.maketrans({"ى": "ي", "ة": "ه", "ـ": None, "ı": "i"})  # noqa: RUF001 - Arabic
# Folding twice changes nothing, as far as is known; whatever a text is, it ends.
_FOLDS_MAX = 4


class Word(StrEnum):
    """What a customer wants."""

    # To leave out the next order.
    SKIP = "SKIP"
    # To have the standing order wait.
    PAUSE = "PAUSE"
    # To confirm a payment.
    PAY = "PAY"
    # No more messages to this phone.
    STOP = "STOP"
    # Messages again.
    START = "START"
    # To know the words.
    HELP = "HELP"


# These ask something of another service; each acts on what a notice was about.
ACTS = frozenset({Word.SKIP, Word.PAUSE, Word.PAY})

# The first of each language is the one that messages name, so it is short and in the alphabet of SMS.
_WORDS: Mapping[Word, Mapping[str, tuple[str, ...]]] = {
    Word.SKIP: {
        "en": ("skip",),
        "zh": ("跳过", "跳過", "略过", "略過"),
        "de": ("auslassen", "überspringen", "ueberspringen"),
        "es": ("omitir", "saltar"),
        "fr": ("sauter", "passer"),
        "ar": ("تخطي", "تخط", "تجاوز"),
    },
    Word.PAUSE: {
        "en": ("pause", "hold"),
        "zh": ("暂停", "暫停"),
        "de": ("pause", "pausieren", "anhalten"),
        "es": ("pausa", "pausar"),
        "fr": ("pause", "suspendre"),
        "ar": ("تعليق", "إيقاف مؤقت", "توقف مؤقت"),
    },
    Word.PAY: {
        "en": ("pay",),
        "zh": ("付款", "支付"),
        "de": ("zahlen", "bezahlen"),
        "es": ("pagar",),
        "fr": ("payer",),
        "ar": ("ادفع", "دفع"),
    },
    Word.STOP: {
        "en": (
            "stop", "stopall", "stop all", "unsubscribe", "cancel", "end", "quit", "revoke",
            "optout", "opt out", "opt-out",
        ),
        "zh": ("退订", "退訂", "停止", "td"),
        "de": ("stopp", "abmelden", "abbestellen", "ende"),
        "es": ("baja", "alto", "parar", "cancelar"),
        "fr": ("stop", "arrêt", "arrêter", "désabonner", "fin"),
        "ar": ("إيقاف", "أوقف", "توقف", "إلغاء"),
    },
    Word.START: {
        "en": ("start", "unstop"),
        "zh": ("开始", "開始", "订阅", "訂閱"),
        "de": ("start", "starten", "anmelden"),
        "es": ("alta", "inicio", "iniciar"),
        "fr": ("start", "commencer", "démarrer"),
        "ar": ("ابدأ", "بدء", "اشترك"),
    },
    Word.HELP: {
        "en": ("help", "info"),
        "zh": ("帮助", "幫助"),
        "de": ("hilfe",),
        "es": ("ayuda",),
        "fr": ("aide",),
        "ar": ("مساعدة",),
    },
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Reply:
    """What a text says: a word, a number of a list, or both; neither: nothing that is known."""

    word: Word | None = None
    number: int | None = None


UNKNOWN = Reply()


def shown(word: Word, language: str) -> str:
    """A word as messages in a language name it."""
    return _WORDS[word][language][0].upper()


def folded(text: str) -> str:
    """A text without case, accents, width, and what stands around its words.

    Marks between words stay, for a number can be behind them.
    """
    for _ in range(_FOLDS_MAX):
        again = " ".join(_characters(text).split())
        again = again.strip("".join({each for each in again if not _is_read(each)}))
        if again == text:
            break
        text = again
    return text


def _characters(text: str) -> str:
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return "".join(_read_character(each) for each in plain.translate(_SAME))


def _read_character(character: str) -> str:
    """A character as it is compared; a mark or a sign that nobody sees is none."""
    category = unicodedata.category(character)
    if category in {"Mn", "Me", "Cf"}:
        return ""
    if category == "Nd":
        return str(unicodedata.digit(character))
    return " " if category[0] in "ZC" else character


def _is_read(character: str) -> bool:
    return unicodedata.category(character)[0] in "LNM"


def _by_text() -> Iterator[tuple[str, Word]]:
    for word, by_language in _WORDS.items():
        for texts in by_language.values():
            for text in texts:
                yield folded(text), word


# The longest first: a pause can begin as a stop does.
WORDS: Mapping[str, Word] = MappingProxyType(
    dict(sorted(_by_text(), key=lambda entry: -len(entry[0])))
)
_NUMBERED = re.compile(
    rf"(?P<word>{'|'.join(map(re.escape, WORDS))})?[\W_]*(?P<number>[0-9]{{1,{NUMBER_DIGITS_MAX}}})?"
)


def read_reply(text: str) -> Reply:
    """What a customer says.

    A text is a word, with the number of a list or without, or a number alone. One that begins with a
    word that stops messages is obeyed whatever follows: nobody has to know how to say it.
    """
    read = folded(text[:READ_CHARACTERS_MAX])
    if (match := _NUMBERED.fullmatch(read)) is not None:
        number = int(match["number"]) if match["number"] else None
        return Reply(WORDS.get(match["word"] or ""), number)
    return Reply(Word.STOP) if _begins_as(read) is Word.STOP else UNKNOWN


def _begins_as(read: str) -> Word | None:
    """The longest word that a text begins with."""
    return next(
        (
            word
            for text, word in WORDS.items()
            if read.startswith(text) and not read[len(text) : len(text) + 1].isalnum()
        ),
        None,
    )
