from collections.abc import AsyncIterator

import pytest

from tests.contract.scheduler.shop import Shop, open_shop
from tests.suite import Suite


@pytest.fixture
async def shop(suite: Suite) -> AsyncIterator[Shop]:
    shop = await open_shop(suite)
    yield shop
    await shop.close()
