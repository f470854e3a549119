from collections.abc import Iterator

import pytest

from services.runtime.auth import call_context


@pytest.fixture(autouse=True)
def _every_merchant() -> Iterator[None]:
    """A test acts for every merchant, as workers and handlers do, until it names a caller."""
    token = call_context._caller.set(call_context.Caller("test", call_context.ANY_TENANT))
    yield
    call_context._caller.reset(token)
