"""Mails as HTML say what their text says."""

import re
from html import unescape

from hypothesis import given
from hypothesis import strategies as st

from services.notify.clients.html import html_of

LETTERS = st.characters(exclude_categories=["Cs", "Cc"], include_characters="\n")


def words(html: str) -> str:
    """What a reader shows of it."""
    body = html.partition("<body")[2].partition(">")[2].partition("</body>")[0]
    return unescape(re.sub(r"<[^>]*>", "", body.replace("<br>", "\n").replace("</p>", "\n\n")))


@given(st.text(LETTERS, max_size=300))
def test_html_says_the_same_words(text: str) -> None:
    assert words(html_of(text)).split() == text.split()


def test_a_link_leads_where_it_says() -> None:
    html = html_of("Pay here: https://pay.example.com/a?b=1&c=2.")

    link = "https://pay.example.com/a?b=1&amp;c=2"
    assert f'Pay here: <a href="{link}" dir="ltr">{link}</a>.' in html


def test_a_line_of_an_arabic_mail_that_begins_with_a_title_runs_from_right_to_left() -> None:
    html = html_of("مرحبا\n\nEspresso: 12.50 EUR", "ar")

    assert html.count('dir="rtl"') == 3
    assert 'lang="ar"' in html


def test_a_mail_of_an_unknown_language_has_the_direction_of_its_letters() -> None:
    assert '<p dir="auto">' in html_of("Espresso")


@given(st.text(LETTERS, max_size=50))
def test_a_title_cannot_bring_elements(title: str) -> None:
    html = html_of(f"<img src=x>{title}")

    assert "<img" not in html
    tags = set(re.findall(r"<(\w+)", html))
    assert tags <= {"html", "head", "meta", "body", "p", "br", "a"}
