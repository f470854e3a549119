"""A state follows observations only when they last."""

import pytest

from services.runtime.app.readiness import Debounced


def states(state: Debounced, observed: str) -> str:
    """The state after each of the observations, one a second: `+` is there, `-` is away."""
    return "".join(
        "+" if state.observe(there=observation == "+", at=float(second)) else "-"
        for second, observation in enumerate(observed)
    )


@pytest.mark.parametrize(
    ("observed", "expected"),
    [
        ("++++++", "++++++"),
        # A short interruption changes nothing.
        ("+--++++", "+++++++"),
        ("+-+-+-+-+-", "++++++++++"),
        # What lasts counts: three seconds to go, two to come back.
        ("+----", "+++" + "+-"),
        ("+------+++", "++++---" + "--+"),
        # Coming back for a moment only is not enough.
        ("-----+-+---", "+++--------"),
    ],
)
def test_a_state_changes_when_observations_last(observed: str, expected: str) -> None:
    assert states(Debounced(away_seconds=3, back_seconds=2), observed) == expected
