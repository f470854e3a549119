"""The demo ends well, whatever is killed while it plays."""

import re

import pytest

from deploy.embedded.stack import EmbeddedStack
from tests.e2e.conftest import Recurring

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

# Each part, and the event that gives it work: it is killed while it does it.
PARTS_AT_WORK = [
    ("scheduler", "PaymentSucceeded"),
    ("payments", "PaymentDue"),
    ("notify", "OrderUpcoming"),
    ("nats", "PaymentDue"),
    ("postgres", "PaymentSucceeded"),
    ("catalog", "OrderConfirmed"),
]
LINES_BETWEEN_KILLS = 20
# A mended card, a bank debit that fails late, a dispute, in the order in which they are printed.
EVES_STEPS = [
    "insufficient_funds, again",
    "is notified that her card was declined, and gives another",
    "29.90 EUR, attempt 2",
    "pays from her bank account",
    "29.90 EUR sent back by the bank, insufficient_funds",
    "is notified that her bank sent the debit back",
    "disputes it at her bank",
    "29.90 EUR disputed, unrecognized",
    "answers with her consent",
    "29.90 EUR WON",
]

# The latest first: what she got back, the first order, and what its invoice says.
ADAS_DOCUMENTS = [
    r"CREDIT_NOTE [^\n]* 5\.00 EUR",
    r"INVOICE [^\n]* 21\.03 EUR +22\.50 EUR",
    r"from The Corner Shop to Ada",
    r"25\.00 EUR +Welcome -2\.50 EUR",
    r"VAT +70000 +CHARGED +21\.03 EUR +1\.47 EUR",
]


@pytest.mark.faults
def test_the_demo_ends_well_though_each_part_is_killed_at_work(
    recurring: Recurring, stack: EmbeddedStack
) -> None:
    to_kill = list(PARTS_AT_WORK)
    killed_at_line = 0
    lines: list[str] = []
    with recurring.running("demo") as playing:
        assert playing.stdout is not None
        for line in playing.stdout:
            lines.append(line.rstrip("\n"))
            apart = len(lines) - killed_at_line >= LINES_BETWEEN_KILLS
            if to_kill and apart and f" {to_kill[0][1]} " in line:
                killed_at_line = len(lines)
                stack.kill(to_kill.pop(0)[0])
                stack.up()
        status = playing.wait()
    assert to_kill == []
    assert (lines[-1], status) == ("demo: ok", 0), "\n".join(lines[-40:])
    printed = "\n".join(lines)
    in_order = ".*".join(map(re.escape, EVES_STEPS))
    assert re.search(in_order, printed, re.DOTALL), printed
    in_order = ".*".join(ADAS_DOCUMENTS)
    assert re.search(in_order, printed, re.DOTALL), printed
