"""The demo ends well, whatever is killed while it plays."""

import pytest

from deploy.embedded.stack import EmbeddedStack
from tests.e2e.conftest import Recurring

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

# Each part, and the event that gives it work: it is killed while it does it.
PARTS_AT_WORK = {
    "scheduler": "PaymentSucceeded",
    "catalog": "OrderConfirmed",
    "payments": "PaymentDue",
    "notify": "OrderUpcoming",
    "nats": "PaymentDue",
    "postgres": "PaymentSucceeded",
}
KILLS = 2
LINES_BETWEEN_KILLS = 50


def test_the_demo_plays_and_the_audit_agrees(recurring: Recurring) -> None:
    played = recurring.run("demo")
    assert played.stdout.splitlines()[-1:] == ["demo: ok"], played.stdout[-4000:]
    assert played.returncode == 0


@pytest.mark.faults
@pytest.mark.parametrize(("part", "event"), PARTS_AT_WORK.items())
def test_the_demo_ends_well_though_a_process_is_killed_at_work(
    recurring: Recurring, stack: EmbeddedStack, part: str, event: str
) -> None:
    # It is played on what the demos before have left, too.
    killed_at_lines: list[int] = []
    lines: list[str] = []
    with recurring.running("demo") as playing:
        assert playing.stdout is not None
        for line in playing.stdout:
            lines.append(line.rstrip("\n"))
            apart = len(lines) - max(killed_at_lines, default=0) >= LINES_BETWEEN_KILLS
            if f" {event} " in line and apart and len(killed_at_lines) < KILLS:
                killed_at_lines.append(len(lines))
                stack.kill(part)
                stack.up()
        status = playing.wait()
    assert len(killed_at_lines) == KILLS
    assert (lines[-1], status) == ("demo: ok", 0), "\n".join(lines[-40:])
