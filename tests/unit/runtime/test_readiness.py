"""A state follows what is seen of it only when that lasts."""

import pytest

from services.runtime.app.readiness import Steady


def states(steady: Steady, seen: str) -> str:
    """One look a second: `+` is there, `-` is away; what the state was after each."""
    return "".join(
        "+" if steady.see(there=look == "+", at=float(second)) else "-"
        for second, look in enumerate(seen)
    )


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        ("++++++", "++++++"),
        # A hiccup is nothing.
        ("+--++++", "+++++++"),
        ("+-+-+-+-+-", "++++++++++"),
        # What lasts counts: three seconds to go, two to come back.
        ("+----", "+++" + "+-"),
        ("+------+++", "++++---" + "--+"),
        # Coming back for a moment only is not enough.
        ("-----+-+---", "+++--------"),
    ],
)
def test_a_state_changes_when_what_is_seen_lasts(seen: str, expected: str) -> None:
    assert states(Steady(away_seconds=3, back_seconds=2), seen) == expected
