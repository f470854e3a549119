"""How an SMS is encoded, and in how many segments it travels. Pure.

Sources: 3GPP TS 23.038 (the GSM 7-bit default alphabet and its extension table), 3GPP TS 23.040
(concatenated messages).
"""

import re
from enum import StrEnum
from typing import NamedTuple

GSM_7_ALPHABET = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
# Of two septets each: an escape, which is not parted from what comes after it, and a character.
GSM_7_EXTENSION = frozenset("\f^{}\\[~]|€")
# ruff: noqa: RUF001 - characters that look alike
_GSM_7 = GSM_7_ALPHABET | GSM_7_EXTENSION
# Typographic characters, and what says the same within the alphabet.
_PLAIN = str.maketrans({
    "\u00a0": " ", "\u202f": " ", "\u2009": " ", "’": "'", "‘": "'", "“": '"', "”": '"', "„": '"',
    "«": '"', "»": '"', "–": "-", "—": "-", "‑": "-", "…": "...", "•": "-",
})  # fmt: skip
# Letters of Spanish, French and their neighbours that the alphabet has without their accents alone.
_UNACCENTED = str.maketrans({
    "á": "a", "â": "a", "ç": "c", "ê": "e", "ë": "e", "í": "i", "î": "i", "ï": "i", "ó": "o", "ô": "o",
    "ú": "u", "û": "u", "œ": "oe", "Á": "A", "À": "A", "Â": "A", "È": "E", "Ê": "E", "Ë": "E", "Í": "I",
    "Î": "I", "Ï": "I", "Ó": "O", "Ô": "O", "Ú": "U", "Ù": "U", "Û": "U", "Œ": "OE",
})  # fmt: skip
# Spaces of no width of their own take a message out of the alphabet for nothing, in any language.
_SPACES = str.maketrans({"\u00a0": " ", "\u202f": " ", "\u2009": " "})


_NOT_GSM_7 = re.compile(f"[^{re.escape(''.join(sorted(_GSM_7)))}]")
# What takes two units.
_EXTENSION = re.compile(f"[{re.escape(''.join(sorted(GSM_7_EXTENSION)))}]")
_ASTRAL = re.compile("[\U00010000-\U0010ffff]")


class Encoding(StrEnum):
    """How the characters of an SMS travel."""

    GSM_7 = "GSM_7"
    UCS_2 = "UCS_2"


class Limits(NamedTuple):
    """How much fits into the only segment, and into each of several, which have a header."""

    alone: int
    each: int


# In septets and in UTF-16 code units, which UCS-2 is nowadays.
LIMITS = {Encoding.GSM_7: Limits(160, 153), Encoding.UCS_2: Limits(70, 67)}


class Segments(NamedTuple):
    """What an SMS takes."""

    encoding: Encoding
    segment_count: int


def plain(text: str) -> str:
    """The text with plain quotes, dashes and spaces, if it then needs the 7-bit alphabet only.

    Letters lose accents that the alphabet lacks if the text then takes fewer segments, as is usual for
    SMS in Spanish and French.
    """
    if encoding_of(text) is Encoding.GSM_7:
        return text
    plainer, spaced = text.translate(_PLAIN), text.translate(_SPACES)
    if encoding_of(plainer) is Encoding.GSM_7:
        return plainer
    bare = plainer.translate(_UNACCENTED)
    if encoding_of(bare) is not Encoding.GSM_7:
        return spaced
    return min(spaced, bare, key=lambda it: segments(it).segment_count)


def encoding_of(text: str) -> Encoding:
    """The shortest encoding that has all of a text's characters."""
    return Encoding.UCS_2 if _NOT_GSM_7.search(text) else Encoding.GSM_7


def segments(text: str) -> Segments:
    """The encoding of a text, and the number of its segments; no character is parted."""
    encoding = encoding_of(text)
    limits = LIMITS[encoding]
    wide = _EXTENSION if encoding is Encoding.GSM_7 else _ASTRAL
    units = len(text) + len(wide.findall(text))
    if units <= limits.alone:
        return Segments(encoding, 1)
    if units == len(text):
        return Segments(encoding, -(-units // limits.each))
    count, room = 1, limits.each
    for character in text:
        width = 2 if wide.match(character) else 1
        if width > room:
            count, room = count + 1, limits.each
        room -= width
    return Segments(encoding, count)
