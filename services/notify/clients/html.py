"""A mail's text as HTML, for readers that show that: paragraphs, links, and nothing from elsewhere."""

import re
from html import escape

from babel.core import Locale

_LINK = re.compile(r"https?://[^\s<>\"]+[^\s<>\".,;:!?)]")
_PAGE = (
    '<!doctype html><html{}><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width"></head>'
    '<body style="font:16px/1.5 sans-serif;max-width:40em;margin:1em auto;padding:0 1em">{}'
    "</body></html>"
)


def html_of(text: str, locale: str = "") -> str:
    """The same words as HTML, in the direction of their language.

    A paragraph that begins with a name or a title of the other direction keeps that of the language.
    Of an unknown language (empty), each paragraph has the direction of its own first letters.
    """
    direction = Locale.parse(locale, sep="-").text_direction if locale else "auto"
    language = f' lang="{escape(locale)}"' if locale else ""
    paragraphs = re.split(r"\n{2,}", text.strip("\n"))
    return _PAGE.format(
        f'{language} dir="{direction}"',
        "".join(f'<p dir="{direction}">{_lines(paragraph)}</p>' for paragraph in paragraphs),
    )


def _lines(paragraph: str) -> str:
    return "<br>".join(_linked(line) for line in paragraph.split("\n"))


def _linked(line: str) -> str:
    """A line with its addresses as links, which show where they lead."""
    parts, end = [], 0
    for link in _LINK.finditer(line):
        address = escape(link[0])
        shown = f'<a href="{address}" dir="ltr">{address}</a>'
        parts += [escape(line[end : link.start()]), shown]
        end = link.end()
    return "".join([*parts, escape(line[end:])])
