"""A command that is asked to end: what it has started ends with it."""

import signal
import subprocess
import sys

import pytest

COMMAND = """
import asyncio
from cli.command import run_to_exit
async def command():
    try:
        print("started", flush=True)
        await asyncio.sleep(60)
    finally:
        print("ended what it had started", flush=True)
run_to_exit(command())
"""


@pytest.mark.parametrize("asked", [signal.SIGINT, signal.SIGTERM])
def test_a_command_that_is_asked_to_end_ends_what_it_has_started(asked: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND], stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "started\n"
        run.send_signal(asked)
        left, _ = run.communicate(timeout=20)
    assert left == "ended what it had started\n"
