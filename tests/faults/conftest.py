"""A stack of its own, whose parts are taken away and given back."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from deploy.embedded import wiring
from deploy.embedded.databases import PROGRAMS, wheel_root
from deploy.embedded.keys import Keys
from deploy.embedded.program import ROOT
from deploy.embedded.stack import EmbeddedStack
from tests.conftest import whole_stack
from tests.contract.customer import Customer, new_customer
from tests.suite import Suite


@dataclass(frozen=True)
class Operator:
    """Whoever follows a runbook."""

    stack: EmbeddedStack
    suite: Suite

    async def types(self, service: str, *arguments: str) -> list[dict[str, Any]]:
        """Run a command of a service; returns the lines that it printed."""
        keys = Keys(self.stack.home / "keys")
        settings = wiring.service_environment(service, self.stack.addresses, keys)
        printed = await self._run(settings, "-m", f"services.{service}", *arguments)
        return [json.loads(line) for line in printed.splitlines()]

    async def prove(self) -> str:
        """Compare the four databases with the sandbox's own records; returns what that found."""
        return await self._run(
            {"RECURRING_HOME": str(self.stack.home)}, "-m", "cli", "prove", "--full"
        )

    async def postgres(self, program: str, service: str, *arguments: str) -> None:
        """Run one of PostgreSQL's own programs on the database of a service."""
        keys = Keys(self.stack.home / "keys")
        url = wiring.database_url(service, self.stack.addresses, keys, "_migrator")
        command = [str(wheel_root() / PROGRAMS / program), f"--dbname={url}", *arguments]
        done = await asyncio.to_thread(
            subprocess.run, command, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr

    @property
    def streams_url(self) -> str:
        """Where the broker is, for whoever makes the streams."""
        keys = Keys(self.stack.home / "keys")
        return wiring.nats_url(wiring.STREAMS_USER, self.stack.addresses, keys)

    async def _run(self, settings: dict[str, str], *command: str) -> str:
        inherited = {n: v for n, v in os.environ.items() if not n.startswith("RECURRING_")}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *command,
            cwd=ROOT,
            env={**inherited, **settings, "PYTHONPATH": f"{ROOT}:{ROOT / 'gen'}"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        printed, complaints = await process.communicate()
        assert process.returncode == 0, printed.decode() + complaints.decode()
        return printed.decode()


@pytest.fixture(scope="session")
def frail_stack(servers_folder: Path) -> Iterator[EmbeddedStack]:
    """The stack; a test leaves it as it found it."""
    with whole_stack(servers_folder / "faults", "faults") as stack:
        yield stack


@pytest.fixture
async def operator(frail_stack: EmbeddedStack) -> AsyncIterator[Operator]:
    suite = Suite.on(frail_stack)
    yield Operator(frail_stack, suite)
    await suite.close()
    await asyncio.to_thread(frail_stack.up)


@pytest.fixture
async def ann(operator: Operator) -> Customer:
    return await new_customer(operator.suite)
