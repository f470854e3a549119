"""What others wrote, as it may be shown: nothing of it steers the terminal or turns the text around.

Titles, notes and messages come from callers, providers and stored rows; a terminal obeys escape
sequences, and bidi controls make a line read as another one. They are shown as `\\u001b`,
which in JSON is the same value.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderHook
from rich.segment import Segment

# Lines and tabs are ours; joiners only shape the letters beside them.
_HARMLESS = frozenset("\n\t\u200c\u200d")
# Of the Unicode categories: controls, formats, surrogates, private use, line and paragraph separators.
_STEERING = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
_PLAIN = re.compile(r"[\n\t -~]*")


def shown(text: str) -> str:
    """Text with what is not seen written out."""
    if _PLAIN.fullmatch(text):
        return text
    return "".join(map(_shown, text))


def _shown(character: str) -> str:
    if character in _HARMLESS or unicodedata.category(character) not in _STEERING:
        return character
    # As JSON writes it.
    pairs = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{pairs[place : place + 4]}" for place in range(0, len(pairs), 4))


class ShownOnly(RenderHook):
    """Has a console show the text of everything, whoever wrote it, without obeying it."""

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        """What is printed, with its text as it may be shown."""
        return [_Shown(renderable) for renderable in renderables]


class _Shown:
    def __init__(self, renderable: ConsoleRenderable) -> None:
        self._renderable = renderable

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterable[Segment]:
        yield from _segments(console.render(self._renderable, options))


def _segments(segments: Iterable[Segment]) -> Iterator[Segment]:
    for segment in segments:
        # Control segments are the console's own.
        yield segment if segment.control else Segment(shown(segment.text), segment.style)
