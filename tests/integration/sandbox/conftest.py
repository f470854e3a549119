"""Sandbox processes on free ports, stopped when the test ends."""

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.integration.sandbox.process import Sandbox, StartSandbox


@pytest.fixture
async def start_sandbox(tmp_path: Path) -> AsyncIterator[StartSandbox]:
    running: list[Sandbox] = []
    async with aiohttp.ClientSession() as http:

        async def start(**environment: str) -> Sandbox:
            file = tmp_path / str(len(running)) / "record.sqlite3"
            sandbox = Sandbox(file, http, environment=environment)
            running.append(sandbox)
            await sandbox.start()
            return sandbox

        try:
            yield start
        finally:
            for sandbox in running:
                await sandbox.close()


@pytest.fixture
async def sandbox(start_sandbox: StartSandbox) -> Sandbox:
    return await start_sandbox()
