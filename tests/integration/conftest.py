from collections.abc import Iterator

import pytest

from services.runtime import access


@pytest.fixture(autouse=True)
def _every_merchant() -> Iterator[None]:
    """A test acts for every merchant, as loops and handlers do, until it names a caller."""
    token = access._caller.set(access.Caller("test", access.ANY_TENANT))
    yield
    access._caller.reset(token)
