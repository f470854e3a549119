"""What human text may be: one rule for titles, names, notes, addresses, evidence, in all four
services.

It is judged on what will be shown. Allowed is whatever people write in any script: letters and
their marks, digits, punctuation, symbols, emoji and spaces. Refused is what does something else
than be seen:

* control characters, escape sequences with them, and separators of lines and paragraphs; a text
  that may have several lines has them by LF, and tabs;
* what changes the direction of the text around it (bidi embeddings, overrides and isolates); the
  marks LRM, RLM and ALM are allowed in texts that have right-to-left letters;
* what is not shown (default-ignorable code points): allowed only where it shapes what is before it,
  such as a joiner after a letter of a script that joins (Persian, Sinhala, Malayalam …) or within
  an emoji, a variation selector after what has variants, a word break between letters of a script
  without spaces (Thai, Khmer), the tags of a flag;
* code points that mean nothing to others: private use, noncharacters, interlinear annotations;
* text in which nothing is seen at all: blanks of any kind, fillers, marks without a letter;
* more marks on one letter than any language has;
* what reads as the number of a payment card (`services/runtime/card_numbers.py`).

Text is kept in NFC, so that what looks the same is the same. Its length counts characters as they
are seen (extended grapheme clusters), and each of them has room for so many bytes on average.

Sources: UAX #9 (bidi), UAX #15 (NFC), UAX #29 (grapheme clusters), UTS #51 (emoji), RFC 5892
appendix A.1 and A.2 (joiners), RFC 8264 (freeform strings).
"""

import unicodedata
from collections.abc import Iterator

import regex

from services.runtime.card_numbers import has_card_number

# On average: a consonant cluster of an Indic script takes nine to twelve.
BYTES_PER_CHARACTER_MAX = 12
# The points of Hebrew and the vowels of Tibetan come to four or five.
MARKS_PER_CHARACTER_MAX = 8

CARD_RULE = "must not hold what reads as the number of a payment card"
# Scripts in which joiners shape letters: the joining ones, and those of India and its neighbours.
_JOINING = "".join(
    rf"\p{{{script}}}"
    for script in (
        "Arab", "Syrc", "Mand", "Nko", "Mong", "Phag", "Adlm", "Rohg", "Sogd", "Mani", "Deva",
        "Beng", "Guru", "Gujr", "Orya", "Taml", "Telu", "Knda", "Mlym", "Sinh", "Tibt", "Mymr",
        "Khmr", "Limb", "Cham", "Java", "Bali", "Sund", "Newa", "Gran", "Tirh", "Sidd", "Modi",
        "Takr", "Cakm", "Mtei", "Saur", "Thaa",
    )
)  # fmt: skip
# Every look back is short, and begins at the character in question: a text is read in linear time.
_BASE = rf"\p{{M}}{{0,{MARKS_PER_CHARACTER_MAX}}}"
_PICTOGRAPH = r"\p{Extended_Pictographic}[\uFE0F\p{Emoji_Modifier}]{0,2}"
_UNSPACED = r"[\p{Thai}\p{Laoo}\p{Khmr}\p{Mymr}]"
_TAG = r"[\U000E0030-\U000E0039\U000E0061-\U000E007A]"
# What is not shown, where it shapes what is.
_SHAPING = regex.compile(
    "|".join((
        # A joiner after a letter, or after the marks of one.
        rf"[\u200C\u200D](?<=[{_JOINING}]{_BASE}.)(?![\u200C\u200D])",
        # A joiner within an emoji.
        rf"\u200D(?<={_PICTOGRAPH}.)(?=\p{{Extended_Pictographic}})",
        # The look of an emoji, a digit on a key cap, an ideograph, a letter with a variant.
        r"[\uFE0E\uFE0F](?<=[\p{Emoji}\p{S}\p{Po}].)",
        r"[\uFE00-\uFE0F\U000E0100-\U000E01EF](?<=[\p{Han}\p{Phag}\p{Mymr}\p{Sm}].)",
        r"[\u180B-\u180F](?<=\p{Mong}.)",
        # Where a word ends in a script without spaces.
        rf"\u200B(?<={_UNSPACED}{_BASE}.)(?={_UNSPACED})",
        # The tags of a flag.
        rf"{_TAG}(?<=\U0001F3F4{_TAG}{{1,6}})(?={_TAG}{{0,5}}\U000E007F)",
        rf"\U000E007F(?<=\U0001F3F4{_TAG}{{1,6}}.)",
    ))
)  # fmt: skip
_DIRECTION_MARKS = regex.compile(r"[\u200E\u200F\u061C]")
_RIGHT_TO_LEFT = regex.compile(r"[[\p{bc=R}\p{bc=AL}]&&\p{L}]", regex.V1)
_UNSEEN = regex.compile(
    r"[\p{Cc}\p{Zl}\p{Zp}\p{Co}\p{Cs}\p{DI}\p{Bidi_Control}\p{Noncharacter_Code_Point}\uFFF9-\uFFFC]"
)
_MARKS = regex.compile(rf"\p{{M}}{{{MARKS_PER_CHARACTER_MAX + 1},}}")
# Of what is seen, at least one. The braille pattern without dots is a blank.
_SEEN = regex.compile(r"[[\p{L}\p{N}\p{P}\p{S}]--[\u2800\p{DI}]]", regex.V1)
_CHARACTER = regex.compile(r"\X")
_LINE_ENDS = regex.compile(r"\r\n?")
_PLAIN = regex.compile(r"[ -~]*")


def normalised(text: str) -> str:
    """The text as it is stored: in NFC, with LF as the end of lines."""
    return (
        text if _PLAIN.fullmatch(text) else unicodedata.normalize("NFC", _LINE_ENDS.sub("\n", text))
    )


def broken_rules(text: str, most_characters: int, *, lines: bool = False) -> Iterator[str]:
    """The rules that a text breaks, in words that do not repeat the text.

    With `lines` it may have several lines. `most_characters` of 0 is no limit.
    """
    if most_characters and len(text.encode()) > most_characters * BYTES_PER_CHARACTER_MAX:
        yield f"must have at most {most_characters * BYTES_PER_CHARACTER_MAX} bytes"
        return
    if not _SEEN.search(text):
        yield "must have something in it that is seen"
    yield from visibility_rule(text, lines=lines)
    if _MARKS.search(text):
        yield f"must have at most {MARKS_PER_CHARACTER_MAX} marks on one character"
    if most_characters and length(text) > most_characters:
        yield f"must have at most {most_characters} characters"
        return
    yield from card_number_rule(text)


def card_number_rule(text: str) -> Iterator[str]:
    """The rule against card numbers, if a text breaks it."""
    if has_card_number(text):
        yield CARD_RULE


def visibility_rule(text: str, *, lines: bool) -> Iterator[str]:
    """The rule against invisible characters, if a text breaks it, with the first code point."""
    if unseen := _first_unseen(text, lines=lines):
        yield f"must not have U+{ord(unseen):04X}, which is not shown as a character"


def _first_unseen(text: str, *, lines: bool) -> str:
    if _PLAIN.fullmatch(text):
        return ""
    rest = _SHAPING.sub("", text)
    if _RIGHT_TO_LEFT.search(rest):
        rest = _DIRECTION_MARKS.sub("", rest)
    if lines:
        rest = rest.translate({ord("\n"): None, ord("\t"): None})
    unseen = _UNSEEN.search(rest)
    return unseen[0] if unseen else ""


def length(text: str) -> int:
    """The number of visible characters."""
    return len(text) if text.isascii() else sum(1 for _ in _CHARACTER.finditer(text))


def cut(text: str, most_characters: int, ending: str = "...") -> str:
    """The text, or as much of it as fits with an ending, in whole characters."""
    if length(text) <= most_characters:
        return text
    kept = _CHARACTER.findall(text)[: most_characters - len(ending)]
    return "".join(kept).rstrip() + ending


def one_line(text: str) -> str:
    """Any text on one line, without characters that control a phone, a mail header or a terminal."""
    text = normalised(text)
    while unseen := _first_unseen(text, lines=False):
        text = text.replace(unseen, " ")
    return " ".join(text.split())
