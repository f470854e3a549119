"""A browser and a sandbox with nothing in it, for each test."""

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.browser.chromium import Chromium, Page
from tests.integration.sandbox.process import Sandbox


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def sandbox(tmp_path: Path, http: aiohttp.ClientSession) -> AsyncIterator[Sandbox]:
    sandbox = Sandbox(
        tmp_path / "record.sqlite3", http, environment={"SANDBOX_EXPECTED_SERVICES": ","}
    )
    try:
        await sandbox.start()
        yield sandbox
    finally:
        await sandbox.close()


@pytest.fixture
async def page(tmp_path: Path, http: aiohttp.ClientSession) -> AsyncIterator[Page]:
    """A tab of a browser of its own; its scripts and its policy had nothing to complain of."""
    browser = Chromium(tmp_path, http)
    try:
        await browser.start()
        page = await browser.new_page()
        yield page
        assert page.complaints == []
    finally:
        await browser.close()
