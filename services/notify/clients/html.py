"""A mail's text as HTML, for readers that show that: paragraphs, links, and nothing from elsewhere."""

import re
from html import escape

_LINK = re.compile(r"https?://[^\s<>\"]+[^\s<>\".,;:!?)]")
_PAGE = (
    '<!doctype html><html dir="auto"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width"></head>'
    '<body style="font:16px/1.5 sans-serif;max-width:40em;margin:1em auto;padding:0 1em">{}'
    "</body></html>"
)


def html_of(text: str) -> str:
    """The same words as HTML. Each paragraph is written in the direction of its own first letters."""
    paragraphs = re.split(r"\n{2,}", text.strip("\n"))
    return _PAGE.format(
        "".join(f'<p dir="auto">{_lines(paragraph)}</p>' for paragraph in paragraphs)
    )


def _lines(paragraph: str) -> str:
    return "<br>".join(_linked(line) for line in paragraph.split("\n"))


def _linked(line: str) -> str:
    """A line with its addresses as links, which show where they lead."""
    parts, end = [], 0
    for link in _LINK.finditer(line):
        address = escape(link[0])
        parts += [escape(line[end : link.start()]), f'<a href="{address}">{address}</a>']
        end = link.end()
    return "".join([*parts, escape(line[end:])])
