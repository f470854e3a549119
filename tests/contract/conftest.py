"""Every mutation is sent again, at once and after its test; the last test asks what none has seen.

The suite is one that was started for the tests, or a deployment that the environment describes.
"""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.contract.deployment import TARGET_VARIABLE, suite_of
from tests.suite import Suite, recorder

HERE = Path(__file__).parent
LAST = HERE / "test_nothing_is_left_out.py"


@pytest.fixture(autouse=True)
def _twice() -> Iterator[None]:
    """Send each mutation of these tests twice, as after a time-out: it must change nothing for them."""
    recorder.repeats = True
    yield
    recorder.repeats = False


@pytest.fixture
async def suite(request: pytest.FixtureRequest) -> AsyncIterator[Suite]:
    """The suite by its contracts; each test makes a merchant of its own in it.

    After the test, each mutation is sent once more: it is answered as before, whatever has become of
    what it was about.
    """
    suite = suite_of(request)
    yield suite
    await suite.cancel_standing_orders()
    otherwise = await recorder.repeat_all()
    await suite.close()
    assert otherwise == []


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the last test behind the others of this folder; leave out what looks beneath a deployment."""
    _put_last(config, items)
    if TARGET_VARIABLE in os.environ:
        beneath = [item for item in items if item.get_closest_marker("embedded")]
        items[:] = [item for item in items if item not in beneath]
        config.hook.pytest_deselected(items=beneath)


def _put_last(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the last test behind all others of this folder, and leave it out where some are left out."""
    last = [item for item in items if item.path == LAST]
    others = [item for item in items if item.path != LAST]
    if not last:
        return
    behind = max(
        (number for number, item in enumerate(others, 1) if HERE in item.path.parents), default=0
    )
    options = config.option
    chosen = bool(
        options.keyword or options.markexpr or any("::" in argument for argument in config.args)
    )
    whole = set(HERE.rglob("test_*.py")) <= {item.path for item in items}
    if whole and not chosen:
        items[:] = [*others[:behind], *last, *others[behind:]]
    else:
        items[:] = others
        config.hook.pytest_deselected(items=last)
