"""Recognizes numbers of payment cards, which are refused wherever they come in.

A number counts when it has the first digits and the length of a card network's, and its check digit
of ISO/IEC 7812 (Luhn) is right. So most other numbers pass: those of orders and telephones have other
first digits or lengths, and of those that have not, nine in ten have another check digit. Thirteen
digits that are a valid GTIN-13 (the number below a bar code) are read as one: cards of thirteen digits
have not been issued for long.

Sources: ISO/IEC 7812-1; the ranges that the networks publish, as of 2026.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence

import regex

DIGITS_MIN, DIGITS_MAX = 13, 19
_GTIN_DIGITS = 13
# First digits (from, to) -> lengths.
_NETWORKS: Sequence[tuple[str, str, range]] = (
    ("2200", "2204", range(16, 20)),  # Mir
    ("2221", "2720", range(16, 17)),  # Mastercard
    ("300", "305", range(14, 20)),  # Diners Club
    ("3095", "3095", range(14, 20)),
    ("34", "34", range(15, 16)),  # American Express
    ("3528", "3589", range(16, 20)),  # JCB
    ("36", "36", range(14, 20)),  # Diners Club
    ("37", "37", range(15, 16)),  # American Express
    ("38", "39", range(14, 20)),  # Diners Club
    ("4", "4", range(13, 20, 3)),  # Visa
    ("50", "50", range(16, 20)),  # Maestro, Verve, RuPay, Elo
    ("51", "55", range(16, 17)),  # Mastercard
    ("56", "58", range(16, 20)),  # Maestro
    ("60", "65", range(16, 20)),  # Discover, UnionPay, Maestro, RuPay
    ("67", "67", range(16, 20)),  # Maestro
    ("81", "82", range(16, 20)),  # UnionPay, RuPay
    ("9792", "9792", range(16, 17)),  # Troy
)
# People write a number in groups, with one or two of these in between.
_BETWEEN = r"[\p{Zs}\t\n\p{Pd}\p{Pc}./,·•\u2212\p{DI}]{0,2}"
_RUN = regex.compile(rf"[\p{{Nd}}\p{{No}}](?:{_BETWEEN}[\p{{Nd}}\p{{No}}]){{{DIGITS_MIN - 1},}}")
_GROUP = regex.compile(r"[\p{Nd}\p{No}]+")
# In an identifier digits stand for many things, and hyphens everywhere. Shops number what they have
# with thirteen and fourteen digits; of more, only how cards are grouped counts.
_SOME_DIGITS = re.compile(r"[0-9]{4}[-_]?[0-9]{4}")
_IN_IDENTIFIER = regex.compile(
    r"(?<![A-Za-z0-9])(?:[0-9]{15,19}|[0-9]{4}(?:[-_][0-9]{4}){3}(?:[-_][0-9]{1,3})?"
    r"|[0-9]{4}[-_][0-9]{6}[-_][0-9]{5})(?![A-Za-z0-9])"
)


def has_card_number(text: str) -> bool:
    """Whether a part of a text reads as the number of a card, in digits of any script."""
    return any(
        _is_card(digits)
        for run in _RUN.finditer(text)
        if not _is_telephone(text[: run.start()], run[0])
        for digits in _readings(run[0])
    )


def is_in_identifier(identifier: str) -> bool:
    """Whether an id, or a name made of ids, has the number of a card for a part."""
    if not _SOME_DIGITS.search(identifier):
        return False
    matches = _IN_IDENTIFIER.finditer(identifier)
    return any(_is_card(match_[0].replace("-", "").replace("_", "")) for match_ in matches)


def _is_telephone(before: str, run: str) -> bool:
    """Whether thirteen digits are the number of a telephone, written with its plus sign (E.164).

    One in ten of a land whose numbers begin as cards do would be refused otherwise.
    """
    return before.endswith("+") and sum(map(len, _GROUP.findall(run))) == DIGITS_MIN


def _readings(run: str) -> Iterator[str]:
    """The numbers of a card's length that whole groups of digits give, one after the other."""
    groups = ["".join(map(_digit, group[0])) for group in _GROUP.finditer(run)]
    for first in range(len(groups)):
        number = ""
        for group in groups[first:]:
            number += group
            if len(number) > DIGITS_MAX:
                break
            if len(number) >= DIGITS_MIN:
                yield number


def _digit(character: str) -> str:
    """A digit of any script, superscript or in a circle; anything else breaks the number."""
    value = unicodedata.digit(character, None)
    return "x" if value is None else str(value)


def _is_card(digits: str) -> bool:
    if not any(
        low <= digits[: len(low)] <= high and len(digits) in lengths
        for low, high, lengths in _NETWORKS
    ):
        return False
    if not digits.isdecimal() or not _luhn(digits):
        return False
    return len(digits) != _GTIN_DIGITS or not _gtin(digits)


def _luhn(digits: str) -> bool:
    total = 0
    for index, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if index % 2 else 1)
        total += value - 9 if value > 9 else value  # noqa: PLR2004 - the larger digits
    return total % 10 == 0


def _gtin(digits: str) -> bool:
    weighted = (int(digit) * (3 if index % 2 else 1) for index, digit in enumerate(digits))
    return sum(weighted) % 10 == 0
