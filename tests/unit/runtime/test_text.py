# ruff: noqa: RUF001 - texts in many scripts
"""Human text: the writing of any script is accepted, and no invisible characters."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.runtime.text import (
    BYTES_PER_CHARACTER_MAX,
    MARKS_PER_CHARACTER_MAX,
    broken_rules,
    cut,
    length,
    normalised,
    one_line,
)

MOST = 60

WRITTEN = {
    "English": "Coffee & tea: 2 × 500 g (fair-trade)",
    "an apostrophe": "Kids' O’Brien",
    "Persian with a joiner": "می\u200cخواهم",
    "Persian where the joiner changes nothing": "کار\u200cها",
    "Sinhala": "ශ්\u200dරී ලංකා",
    "Malayalam with a chillu": "ന്\u200d",
    "Hindi": "क्\u200dष",
    "Bengali": "র\u200d্য",
    "Khmer with word breaks": "ខ្ញុំ\u200bចង់បាន",
    "Thai": "กาแฟสด",
    "Hebrew with points": "חָמֵץ",
    "Arabic with a mark of direction": "قهوة\u200f (250 g)",
    "Japanese with a variant": "葛\U000e0100飾",
    "Mongolian": "ᠮᠣᠩ\u180bᠭᠣᠯ",
    "Tibetan": "བོད་སྐད",
    "a family": "👨\u200d👩\u200d👧\u200d👦",
    "an astronaut": "👩🏽\u200d🚀",
    "a heart on fire": "❤\ufe0f\u200d🔥",
    "the flag of England": "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
    "a key cap": "1\ufe0f\u20e3",
    "braille": "⠓⠑⠀⠺",
    "a currency and a fraction": "½ € ₹",
}
HIDDEN = {
    "an escape sequence": "\x1b[31mred",
    "an escape sequence of one byte": "\x9b31m",
    "a null": "a\x00b",
    "a line break": "a\nb",
    "a tab": "a\tb",
    "a delete": "a\x7fb",
    "a line separator": "a\u2028b",
    "an override": "a\u202eb",
    "an embedding": "\u202aa\u202c",
    "an isolate that is not closed": "\u2066a",
    "an isolate that is closed": "\u2067a\u2069",
    "a mark of direction among Latin letters": "a\u200fb",
    "a space without width": "a\u200bb",
    "a joiner among Latin letters": "a\u200db",
    "two joiners": "می\u200c\u200cخ",
    "a joiner that begins": "\u200cخ",
    "a byte order mark": "\ufeffa",
    "a soft hyphen": "a\u00adb",
    "a Hangul filler": "a\u3164b",
    "tags": "a\U000e0041\U000e0042",
    "tags after a flag that never ends": "🏴" + "\U000e0061" * 7 + "\U000e007f",
    "private use": "a\ue000",
    "a noncharacter": "a\ufdd0",
    "an annotation": "a\ufff9b\ufffb",
    "a variation of nothing": "a\U000e0101",
}
BLANK = [" ", "\u3000", "\u00a0\u2003", "\u2800", "\u3164", "\u200b", "\u0301", "\u200d", "\ufe0f"]


@pytest.mark.parametrize("text", WRITTEN.values(), ids=WRITTEN)
def test_what_people_write_is_taken(text: str) -> None:
    assert list(broken_rules(normalised(text), MOST)) == []


@pytest.mark.parametrize("text", HIDDEN.values(), ids=HIDDEN)
def test_what_is_not_seen_is_refused_by_its_code_point(text: str) -> None:
    [fault] = broken_rules(normalised(text), MOST)
    assert fault.startswith("must not have U+")
    assert fault.isascii()
    assert fault.isprintable()


@pytest.mark.parametrize("text", BLANK)
def test_what_shows_nothing_at_all_is_no_text(text: str) -> None:
    assert "must have something in it that is seen" in broken_rules(text, MOST)


def test_a_text_with_room_for_paragraphs_may_have_lines_and_nothing_else() -> None:
    text = normalised("I agree.\r\n\tCharge me.\rEvery week.")
    assert text == "I agree.\n\tCharge me.\nEvery week."
    assert list(broken_rules(text, 2000, lines=True)) == []
    assert list(broken_rules("I agree.\x1b[1A", 2000, lines=True)) != []


def test_what_looks_the_same_is_the_same() -> None:
    assert normalised("Cafe\u0301") == "Café"


@pytest.mark.parametrize(
    "text", ["é", "👨\u200d👩\u200d👧\u200d👦", "ක්\u200d", "🇩🇪", "a\u0308\u0323"]
)
def test_a_character_counts_once_however_it_is_made(text: str) -> None:
    text = normalised(text)
    assert length(text) == 1
    assert "must have at most 60 characters" not in broken_rules(text * 60, 60)
    assert list(broken_rules("a" * 60 + text, 60)) == ["must have at most 60 characters"]


def test_a_tower_of_marks_is_no_character() -> None:
    most = "q" + "\u0301" * MARKS_PER_CHARACTER_MAX
    assert list(broken_rules(most, MOST)) == []
    assert list(broken_rules(most + "\u0301", MOST)) == [
        "must have at most 8 marks on one character"
    ]


def test_a_text_has_an_end_in_bytes_too() -> None:
    marked = "q" + "\u0301" * MARKS_PER_CHARACTER_MAX
    assert length(marked * MOST) == MOST
    most_bytes = MOST * BYTES_PER_CHARACTER_MAX
    assert list(broken_rules(marked * MOST, MOST)) == [f"must have at most {most_bytes} bytes"]


@given(st.text(max_size=80), st.integers(4, 60))
def test_a_cut_leaves_whole_characters_and_fits(text: str, most_characters: int) -> None:
    shortened = cut(text, most_characters)
    assert length(shortened) <= most_characters or length(text) <= most_characters
    kept = shortened.removesuffix("...") if shortened != text else text
    assert text.startswith(kept)


def test_a_family_is_not_cut_apart() -> None:
    family = WRITTEN["a family"]
    assert cut(family * 10, 8) == family * 5 + "..."


@given(st.text())
def test_one_line_of_anything_has_nothing_that_steers(text: str) -> None:
    line = one_line(text)
    assert not {unicodedata.category(character) for character in line} & {
        "Cc",
        "Zl",
        "Zp",
        "Cs",
        "Co",
    }
    assert one_line(line) == line


@pytest.mark.parametrize("text", WRITTEN.values(), ids=WRITTEN)
def test_one_line_keeps_what_people_write(text: str) -> None:
    assert one_line(text) == " ".join(normalised(text).split())
