"""A command that is asked to end: what it has started ends with it."""

import signal
import subprocess
import sys

import pytest

# Whoever starts the tests may have SIGINT ignored, as a shell has for what it starts in the background.
COMMAND = """
import asyncio, signal, sys
from cli.command import run_to_exit
signal.signal(signal.SIGINT, signal.SIG_IGN if "ignore" in sys.argv else signal.default_int_handler)
async def command():
    try:
        print("started", flush=True)
        await asyncio.sleep(60)
    finally:
        print("ended what it had started", flush=True)
run_to_exit(command())
"""


@pytest.mark.parametrize(
    ("asked", "interrupts"),
    [(signal.SIGINT, "raise"), (signal.SIGTERM, "raise"), (signal.SIGTERM, "ignore")],
)
def test_a_command_that_is_asked_to_end_ends_what_it_has_started(
    asked: signal.Signals, interrupts: str
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND, interrupts], stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "started\n"
        run.send_signal(asked)
        left, _ = run.communicate(timeout=20)
    assert left == "ended what it had started\n"
