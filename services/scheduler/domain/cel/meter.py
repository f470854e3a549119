"""The cost of an evaluation, counted in steps.

Steps are counted and not seconds, so that an expression has the same value on a busy machine. A step is
a node of the tree that is evaluated, an element that is compared or copied, or PIECE_CHARACTERS of a
text.
"""

PIECE_CHARACTERS = 32


class TooCostlyError(Exception):
    """An evaluation took more steps than its meter has."""


class Meter:
    """The steps that evaluations may take together."""

    __slots__ = ("left",)

    def __init__(self, steps: int) -> None:
        self.left = steps

    def count(self, steps: int = 1) -> None:
        """Take steps. Raises TooCostlyError if there are none left."""
        self.left -= steps
        if self.left < 0:
            raise TooCostlyError


def text_steps(characters: int) -> int:
    """The steps of going through a text of so many characters."""
    return 1 + characters // PIECE_CHARACTERS
