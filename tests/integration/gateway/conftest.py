import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.gateway.envoy import Gateway
from tests.integration.runtime.catalog_server import CatalogServer
from tests.manifests.cluster import SERVICES

Begin = Callable[..., Awaitable[Gateway]]


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[CatalogServer]:
    """A catalog server, as in production."""
    async with CatalogServer(
        tmp_path / "keys", plaintext=False, behind_proxy=True
    ).running() as server:
        yield server


@pytest.fixture
def begin(server: CatalogServer, tmp_path: Path) -> Iterator[Begin]:
    """Begins a gateway that finds the catalog wherever it looks for a service."""
    begun: list[Gateway] = []

    async def one(**limits: int) -> Gateway:
        folder = tmp_path / f"gateway-{len(begun)}"
        folder.mkdir()
        services = dict.fromkeys(SERVICES, server.addresses.platforms)
        begun.append(Gateway(folder, server.keys, services, limits))
        # It asks the catalog, which answers in this thread, how it is.
        await asyncio.to_thread(begun[-1].start)
        return begun[-1]

    yield one
    for gateway in begun:
        gateway.stop()


@pytest.fixture
async def gateway(begin: Begin) -> Gateway:
    """A gateway as production has it."""
    return await begin()
