"""The demo ends well, whatever is killed while it plays."""

import pytest

from deploy.embedded.addresses import SERVICES
from deploy.embedded.stack import EmbeddedStack
from tests.e2e.conftest import Recurring

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

# As the simulated months go by: an early payment, a request to pay, a decline, and a late one.
MOMENTS = ("PaymentDue", "PaymentRequested", "PaymentDeclined", "RefundSucceeded")


def test_the_demo_plays_and_the_audit_agrees(recurring: Recurring) -> None:
    played = recurring.run("demo")
    assert played.stdout.splitlines()[-1:] == ["demo: ok"], played.stdout[-4000:]
    assert played.returncode == 0


def test_the_demo_can_be_played_again_on_what_the_last_one_left(recurring: Recurring) -> None:
    played = recurring.run("demo")
    assert played.stdout.splitlines()[-1:] == ["demo: ok"], played.stdout[-4000:]
    assert recurring.run("audit").returncode == 0


@pytest.mark.faults
@pytest.mark.parametrize("part", [*SERVICES, "nats", "postgres"])
def test_the_demo_ends_well_though_a_process_is_killed_again_and_again(
    recurring: Recurring, stack: EmbeddedStack, part: str
) -> None:
    waited_for = list(MOMENTS)
    lines = []
    with recurring.running("demo") as playing:
        assert playing.stdout is not None
        for line in playing.stdout:
            lines.append(line.rstrip("\n"))
            if waited_for and f" {waited_for[0]} " in line:
                waited_for.pop(0)
                stack.kill(part)
                stack.up()
        status = playing.wait()
    assert not waited_for, f"the demo never came to {waited_for[0]}"
    assert (lines[-1], status) == ("demo: ok", 0), "\n".join(lines[-40:])
