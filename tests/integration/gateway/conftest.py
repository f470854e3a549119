from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.integration.gateway.envoy import Gateway
from tests.integration.runtime.door import Door
from tests.manifests.cluster import SERVICES


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    """The catalog's doors, as in production."""
    door = Door(tmp_path / "keys", plaintext=False, behind_proxy=True)
    await door.server.start()
    await door.server.ready(serving=True)
    yield door
    await door.channel.close()
    await door.server.stop(0)


@pytest.fixture
def gateway(door: Door, tmp_path: Path) -> Iterator[Gateway]:
    """A gateway that finds the catalog wherever it looks for a service."""
    (tmp_path / "gateway").mkdir()
    services = dict.fromkeys(SERVICES, door.addresses.platforms)
    gateway = Gateway(tmp_path / "gateway", door.keys, services)
    gateway.start()
    yield gateway
    gateway.stop()
