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
    assert f'Pay here: <a href="{link}">{link}</a>.' in html


@given(st.text(LETTERS, max_size=50))
def test_a_title_cannot_bring_elements(title: str) -> None:
    html = html_of(f"<img src=x>{title}")

    assert "<img" not in html
    tags = set(re.findall(r"<(\w+)", html))
    assert tags <= {"html", "head", "meta", "body", "p", "br", "a"}
