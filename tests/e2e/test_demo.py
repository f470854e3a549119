"""The demo ends well, whatever is killed while it plays."""

import pytest

from deploy.embedded.addresses import SERVICES
from deploy.embedded.stack import EmbeddedStack
from tests.e2e.conftest import Recurring

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

# One event of each phase of a cycle: when it passes, what follows from it is being done.
MOMENTS = ("OrderUpcoming", "PaymentDue", "PaymentRequested", "PaymentSucceeded")
LINES_BETWEEN_KILLS = 30


def test_the_demo_plays_and_the_audit_agrees(recurring: Recurring) -> None:
    played = recurring.run("demo")
    assert played.stdout.splitlines()[-1:] == ["demo: ok"], played.stdout[-4000:]
    assert played.returncode == 0


@pytest.mark.faults
@pytest.mark.parametrize("part", [*SERVICES, "nats", "postgres"])
def test_the_demo_ends_well_though_a_process_is_killed_again_and_again(
    recurring: Recurring, stack: EmbeddedStack, part: str
) -> None:
    # It is played on what the demos before have left, too.
    waited_for = list(MOMENTS)
    killed_at_line = 0
    lines = []
    with recurring.running("demo") as playing:
        assert playing.stdout is not None
        for line in playing.stdout:
            lines.append(line.rstrip("\n"))
            apart = len(lines) - killed_at_line >= LINES_BETWEEN_KILLS
            if waited_for and apart and f" {waited_for[0]} " in line:
                waited_for.pop(0)
                killed_at_line = len(lines)
                stack.kill(part)
                stack.up()
        status = playing.wait()
    assert not waited_for, f"the demo never came to {waited_for[0]}"
    assert (lines[-1], status) == ("demo: ok", 0), "\n".join(lines[-40:])
