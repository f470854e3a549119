"""A stack of its own, since the audit looks at everything that is on it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.embedded.addresses import Addresses
from deploy.embedded.stack import EmbeddedStack

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Recurring:
    """The command, as people and programs run it."""

    stack: EmbeddedStack

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run it to its end; both outputs are kept."""
        return subprocess.run(
            self._command(arguments),
            env=self._environment(),
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )

    @contextmanager
    def running(self, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
        """Run it and read its output line by line; it is ended with the block."""
        with subprocess.Popen(
            self._command(arguments),
            env=self._environment(),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def _command(self, arguments: tuple[str, ...]) -> list[str]:
        return [sys.executable, "-m", "cli", *arguments]

    def _environment(self) -> dict[str, str]:
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith("RECURRING_")
        }
        # Lines are to be read when they are printed, and at a width that is the same everywhere.
        return {
            **inherited,
            "RECURRING_HOME": str(self.stack.home),
            "PYTHONUNBUFFERED": "1",
            "NO_COLOR": "1",
        }


@pytest.fixture(scope="session")
def stack(servers_folder: Path) -> Iterator[EmbeddedStack]:
    stack = EmbeddedStack(servers_folder / "e2e", Addresses.free())
    try:
        stack.up()
        yield stack
    finally:
        stack.destroy()


@pytest.fixture
def recurring(stack: EmbeddedStack) -> Recurring:
    stack.up()
    return Recurring(stack)
